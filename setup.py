"""What setup.cfg cannot say: the package has a part in C. All else is there."""

from setuptools import Extension, setup

setup(ext_modules=[
    Extension("blindvsr.ops._winograd", ["blindvsr/ops/winograd.c"], extra_compile_args=["-fopenmp"],
              extra_link_args=["-fopenmp"], optional=True),  # without a C compiler torch convolves
])
