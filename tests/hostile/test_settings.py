"""Files of settings that are no settings: one line."""

from pathlib import Path

import pytest

from blindvsr import InputError
from blindvsr.lit.settings import check_settings
from tests.conftest import REPOSITORY

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{y}: &{y} [*{x}, *{x}, *{x}, *{x}, *{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize("content", [
    b"model: &a [*a]", b"&x {model: *x}", b"data: &a {b: &b [*a, *b]}", BOMB.encode(), b"[" * 5000, b"a: " * 3000,
    "seed_everything: 0 # \xe9".encode("latin1"), b"\xff\xfea\x00", b"a: [", b"x" * 2_000_000, b"\x00",
    b"!!python/x {}",
], ids=range(12))
def test_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    for arguments in (["fit", "--config", str(tmp_path / "x.yaml")], ["fit", f"--config={tmp_path}/x.yaml"]):
        with pytest.raises(InputError, match="--config"):
            check_settings(arguments)


def test_settings_that_are_fine(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {b: 1}\nc: *a\nd: [*a, *a]\n")
    for path in (*(REPOSITORY / "configs").glob("**/*.yaml"), tmp_path / "x.yaml"):
        check_settings(["fit", "--config", str(path)])
