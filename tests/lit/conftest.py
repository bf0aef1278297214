"""A finished run, a test set and one thread, which several files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blindvsr.cli import main
from tests.conftest import threads
from tests.lit.test_commands import fit_arguments


@pytest.fixture(scope="session")
def fitted(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run."""
    root = tmp_path_factory.mktemp("fitted")
    assert main(fit_arguments(footage, root)) == 0
    return root / "lightning_logs" / "version_0"


@pytest.fixture(scope="session")
def test_set(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "pair"
    assert main(["degrade", "--hr", str(footage), "--out", str(root), "--kind", "gaussian"]) == 0
    return root


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as these gain nothing from more, and lose much on a busy machine."""
    with threads(1):
        yield
