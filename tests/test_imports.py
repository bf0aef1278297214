"""Import direction: what each module may bring along, seen in a fresh process."""

import subprocess
import sys

import pytest


def loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "module",
    ["flow", "kernel", "network", "losses", "degrade", "metrics", "scoring.folders", "frames", "stream", "weights",
     "datasets", "testset", "ops", "export", "cli", "video.reader", "video.writer", "upscale.pipeline", "lit.motion"],
)
def test_no_lightning_outside_lit(module: str) -> None:
    modules = loaded(f"blindvsr.{module}")
    assert not {"pytorch_lightning", "lightning", "jittor", "cupy", "onnx", "onnxruntime"} & modules
    if module == "ops":
        assert not {"blindvsr.network", "blindvsr.flow"} & modules
    if module == "losses":
        assert not {"cv2", "skimage"} & modules
    if module == "cli":
        assert "torch" not in modules  # --help must be quick


@pytest.mark.parametrize("module", ["video", "upscale", "datasets", "testset", "lit.command", "stream"])
def test_videos_alone_need_pyav(module: str) -> None:
    assert "av" not in loaded(f"blindvsr.{module}")


def test_lit_is_where_lightning_comes_in() -> None:
    assert "pytorch_lightning" in loaded("blindvsr.lit.task")
