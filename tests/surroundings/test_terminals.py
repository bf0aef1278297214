"""Standard output that is full or closed, and a terminal that knows neither UTF-8 nor the letters of a file's name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(("redirected", "code", "said"), [
    (">/dev/full", 1, "error: No space left on device"), (">&-", 0, "3 frames"), ("", 0, "3 frames"),
])
def test_upscale(redirected: str, code: int, said: str, noise: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "видео").symlink_to(noise / "a")
    call = f'"{sys.executable}" -m blindvsr upscale "{tmp_path}/видео" "{tmp_path}/выход" --weights "{weights}"'
    done = subprocess.run(["sh", "-c", f"{call} {redirected}"], capture_output=True, cwd=REPOSITORY,
                          env={**os.environ, **ASCII})
    told = (done.stdout + done.stderr).decode("ascii")
    assert done.returncode == code, told
    assert "Traceback" not in told
    assert redirected == ">&-" or said in told
    assert len(list((tmp_path / "выход").iterdir())) == 3
