"""The same seed and configuration train the same network, bit for bit, however many processes read the footage."""

from pathlib import Path
from typing import Any

import pytest
import torch

from blindvsr.cli import main
from blindvsr.frames import Frame
from tests.conftest import draw_video
from tests.lit.test_commands import fit_arguments

# all that is random: kernels, noise, encoders, moving photographs
RANDOM = ("--model.objective=supervised", "--data.kind=mixed", "--data.disturbance.noisy=0.5",
          "--data.disturbance.encoded=0.5", "--data.synthetic=0.3", "--trainer.max_epochs=1")


def assert_equal(first: Any, second: Any) -> None:
    """Of tensors in dictionaries and lists, every bit."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_equal(value, second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second


@pytest.mark.usefixtures("one_thread")
def test_any_number_of_workers(bundled_frames: list[Frame], tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_video(tmp_path / "HR" / name, bundled_frames, (100, 60), (192, 192))
    contents = []
    for workers in (0, 1, 4):
        root = tmp_path / str(workers)
        assert main(fit_arguments(tmp_path, root, *RANDOM, f"--data.num_workers={workers}")) == 0
        content = torch.load(next(root.glob("**/last.ckpt")), weights_only=True)
        contents.append({name: content[name] for name in ("state_dict", "optimizer_states", "lr_schedulers")})
    assert_equal(contents[0], contents[1])
    assert_equal(contents[0], contents[2])
