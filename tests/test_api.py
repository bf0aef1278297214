"""What `from blindvsr import ...` gives, and the example of docs/api.md."""

import re
import subprocess
import sys

import pytest

import blindvsr
from tests.conftest import REPOSITORY


def test_the_names_are_there_and_import_nothing_before_they_are_used() -> None:
    code = "import sys, blindvsr; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "cv2", "skimage", "pytorch_lightning", "numpy"} & set(modules)
    for name in blindvsr.__all__:
        assert getattr(blindvsr, name).__module__.startswith("blindvsr"), name
        assert name in dir(blindvsr)
    assert {"BlindVSR", "NetConfig", "cost_volume", "restore", "self_supervised"} <= set(blindvsr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        blindvsr.absent  # noqa: B018
    with pytest.raises(ImportError):
        from blindvsr import absent  # noqa: F401


def test_example_of_the_documentation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "api.md").read_text(), re.S)
    assert block
    monkeypatch.chdir(REPOSITORY)
    names: dict[str, object] = {}
    exec(block[1], names)
    rgb, luma, error = capsys.readouterr().out.splitlines()
    assert float(rgb.split()[0]) > 28 and float(luma) > float(rgb.split()[0])
    assert "no such weights file" in error
    assert names["middle"].shape == (1, 3, 240, 320) and names["estimated"].shape == (1, 1, 13, 13)
