PYTHON ?= python3
VENV ?= .venv
# Jittor runs on Linux, and with Python up to 3.12
EXTRAS ?= $(shell $(PYTHON) -c "import sys; \
	print('dev,jittor' if sys.platform == 'linux' and sys.version_info < (3, 13) else 'dev')")
# The releases that the tests have passed with, by hash, for this Python and platform: used where there is such a file.
# Without them (`make LOCKS= test`) the newest that setup.cfg admits are installed.
LOCKS ?= locks
TAG := $(shell $(PYTHON) -c "import sys, sysconfig; \
	print('py%d.%d-%s' % (*sys.version_info[:2], sysconfig.get_platform()))")
QUICK = tests/test_parity.py tests/test_stream.py tests/test_degrade.py tests/test_weights.py tests/lit/test_footage.py \
	tests/video

# as the package does for itself: see blindvsr/container.py
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lock test-oldest test-newest

# Installs the package into $(VENV): $(1) are the extras, if any, with brackets, $(2) the same without them
define install
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	if [ -f '$(LOCKS)/$(2)-$(TAG).txt' ]; then \
		$(VENV)/bin/python -m pip install --quiet --require-hashes -r '$(LOCKS)/$(2)-$(TAG).txt' && \
		$(VENV)/bin/python -m pip install --quiet --no-deps --editable .; \
	else \
		$(VENV)/bin/python -m pip install --quiet --editable '.$(1)'; \
	fi
	touch $@
endef

# the tests' environment will do, and where there is none a smaller one
demo: $(or $(wildcard $(VENV)/installed),$(VENV)/plain)
	$(VENV)/bin/python demo/demo.py

test: $(VENV)/installed
	$(VENV)/bin/flake8
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

$(VENV)/installed: setup.cfg setup.py pyproject.toml blindvsr/ops/winograd.c
	$(call install,[$(EXTRAS)],$(EXTRAS))

$(VENV)/plain: setup.cfg setup.py pyproject.toml blindvsr/ops/winograd.c
	$(call install,,plain)

# Writes the lock files anew for this Python and platform
lock: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet uv
	$(VENV)/bin/uv pip compile setup.cfg --quiet --generate-hashes --no-header --no-annotate --upgrade \
		-o 'locks/plain-$(TAG).txt'
	$(VENV)/bin/uv pip compile setup.cfg --quiet --generate-hashes --no-header --no-annotate --upgrade \
		$(foreach extra,$(subst $(comma), ,$(EXTRAS)),--extra $(extra)) -o 'locks/$(EXTRAS)-$(TAG).txt'

# The open ranges of setup.cfg at both ends, in environments of their own
test-oldest: RESOLUTION = lowest-direct
test-newest: RESOLUTION = highest
test-oldest test-newest:
	$(PYTHON) -m venv --clear build/$@
	build/$@/bin/python -m pip install --quiet uv
	build/$@/bin/uv pip install --quiet --python build/$@ --resolution $(RESOLUTION) --editable . 'pytest>=8'
	build/$@/bin/python -m pytest $(QUICK)

comma := ,
