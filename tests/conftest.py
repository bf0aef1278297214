"""Fixtures: numbers computed by the official code, the weights they belong to, and small real files."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blindvsr.cli import main
from blindvsr.frames import Frame
from blindvsr.network import BlindVSR, NetConfig
from blindvsr.signals import SIGNALS
from blindvsr.weights import load_network, save_network
from tests.official import official_weights

REPOSITORY = Path(__file__).parents[1]
FIXTURES = Path(__file__).parent / "fixtures"
SMALL = NetConfig(num_features=8, extract_blocks=1, recon_blocks=2, flow_width=0.1)


def heed_signals() -> None:
    """Makes a process, as `preexec_fn` a child of this one, heed what nohup or a shell's background has it ignore."""
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def held_memory() -> int:
    """Bytes of memory that this process holds, files that are mapped left out (Linux)."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024


def load_fixture(name: str) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def official_state() -> dict[str, torch.Tensor]:
    """The official state dict, under the official names, that the fixtures were computed with."""
    return official_weights()


@pytest.fixture(scope="session")
def official_file(official_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in a file of the official layout."""
    path = tmp_path_factory.mktemp("weights") / "official.pt"
    torch.save(official_state, path)
    return path


@pytest.fixture
def official_net(official_file: Path) -> BlindVSR:
    return load_network(official_file)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small network that has learnt nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_network(BlindVSR(SMALL), path)
    return path


@pytest.fixture(scope="session")
def bundled_frames() -> list[Frame]:
    """The first frames of the bundled clip, halved to 640x360."""
    from blindvsr.video.reader import read_video  # PyAV, which most tests do without

    frames = itertools.islice(read_video(REPOSITORY / "demo" / "bigbuckbunny.mp4"), 8)
    return [np.ascontiguousarray(frame[::2, ::2]) for frame in frames]


@pytest.fixture(scope="session")
def footage(bundled_frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HR videos `left` and `right` of 8 frames of 96x128, as <root>/HR/<video>/<frame>.png."""
    root = tmp_path_factory.mktemp("footage")
    for name, corner in {"left": (120, 60), "right": (200, 330)}.items():
        draw_video(root / "HR" / name, bundled_frames, corner)
    return root


def draw_video(folder: Path, frames: list[Frame], corner: tuple[int, int], size: tuple[int, int] = (96, 128),
               suffix: str = ".png") -> None:
    """Writes one region of the frames as a folder of images."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        region = frame[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        Image.fromarray(region).save(folder / f"{index:08d}{suffix}")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of benchmark footage that is too large, or not ours, to ship."""
    root = Path(os.environ.get("BLINDVSR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no benchmark footage at {root}: set BLINDVSR_DATA to a folder with vid4/HR/<clip>/<frame>.png")
    return root


def run_fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Runs a command that must fail, and returns the one line that it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code not in (0, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    return lines[0]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """That many threads of torch for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def moving_network() -> BlindVSR:
    """Small, but its flow is not zero: the last layers of an untrained flow network are."""
    torch.manual_seed(0)
    net = BlindVSR(SMALL)
    for module in (*(decoder.predict for decoder in net.flow_net.decoders), net.flow_net.refiner[-1]):
        torch.nn.init.normal_(module.weight, std=0.1)
        torch.nn.init.normal_(module.bias, std=0.05)
    return net.eval()
