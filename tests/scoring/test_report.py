"""The HTML page of scores, and temporal consistency, on frames whose numbers are known."""

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from blindvsr.cli import main
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame
from blindvsr.scoring.temporal import Consistency
from tests.conftest import draw_video, run_fails


@pytest.fixture(scope="module")
def scored(bundled_frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test set of one video, and results that are bicubic; the fifth frame of them is worst."""
    root = tmp_path_factory.mktemp("scored")
    draw_video(root / "hr" / "clip & co", bundled_frames, (120, 60), (64, 64))
    assert main(["degrade", "--hr", str(root / "hr"), "--out", str(root / "set"), "--kind", "gaussian"]) == 0
    (root / "sr" / "clip & co").mkdir(parents=True)
    for path in sorted((root / "set" / "LR_blurdown_x4" / "clip & co").iterdir()):
        frame = bicubic_up(np.asarray(Image.open(path)))
        Image.fromarray(frame // 2 if path.stem == "00000004" else frame).save(root / "sr" / "clip & co" / path.name)
    return root


def pictures(page: str) -> dict[str, Frame]:
    """The images of a page by their kind; of several frames, those of the last."""
    found = re.findall(r'data-kind="(\w+)".*?src="data:image/webp;base64,([^"]+)"', page)
    files = {kind: np.frombuffer(base64.b64decode(data), np.uint8) for kind, data in found}
    return {kind: cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1] for kind, data in files.items()}


def test_page(scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    command = ["score", "--sr", str(scored / "sr"), "--gt", str(scored / "set"), "--html", str(out)]
    assert main(command) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    page = out.read_text()
    assert not re.search(r"https?://|<link|@import|src=\"(?!data:)|\{\{", page), "nothing is loaded from elsewhere"
    assert f"<td>clip &amp; co</td><td>{table[1][-3]}</td><td>{table[1][-2]}</td>" in page
    assert page.count("<svg") == 2 and page.count('<circle class="restored"') == page.count('<circle class="bicubic"')
    assert "frame 00000004" in page, "the worst"
    images = pictures(page)
    folders = {"input": "set/LR_blurdown_x4", "truth": "set/HR", "restored": "sr"}
    assert list(images) == ["input", "bicubic", "restored", "truth"]
    for kind, folder in folders.items():
        file = scored / folder / "clip & co" / "00000004.png"
        np.testing.assert_array_equal(images[kind], np.asarray(Image.open(file)))
    assert main([*command, "--overwrite", "--show", "clip & co/00000002"]) == 0
    assert "frame 00000002" in out.read_text() and "frame 00000004" not in out.read_text()
    line = run_fails([*command, "--overwrite", "--show", "clip & co/00000001"], capsys)
    assert "--show clip & co/00000001: no such frame among those that are scored" in line
    assert "--html" in run_fails([*command[:5], "--show", "clip & co/00000002"], capsys)


def test_page_without_low_resolution_frames(scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["score", "--sr", str(scored / "sr"), "--gt", str(scored / "hr"), "--html", str(out)]) == 0
    assert list(pictures(out.read_text())) == ["restored", "truth"]
    assert "bicubic PSNR" not in out.read_text()


def test_temporal_consistency_in_the_table(scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = tmp_path / "frames.csv"
    command = ["score", "--sr", str(scored / "sr"), "--gt", str(scored / "set"), "--temporal"]
    assert main([*command, "--per_frame", str(frames)]) == 0
    head, row = (line.split() for line in capsys.readouterr().out.splitlines()[:2])
    assert head[-3:] == ["warping", "error", "tof"]
    rows = [line.split(",") for line in frames.read_text().splitlines()]
    assert rows[0] == ["video", "frame", "psnr", "ssim", "warping_error", "tof"]
    assert rows[1][4:] == ["", ""]
    errors = [float(line[4]) for line in rows[2:]]
    assert np.mean(errors) == pytest.approx(float(row[-2]), abs=1e-6)
    assert min(errors[1:]) > errors[0], "to the dark frame and from it"


def texture(shift: int) -> Frame:
    """A smooth picture that moves to the left by `shift` pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    large = cv2.resize(noise, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(large[:, shift : shift + 128])


def test_values_of_flicker_and_of_false_motion() -> None:
    still = texture(4)
    flicker, drift, perfect = (Consistency() for _ in range(3))
    for index in range(3):
        flicker.add(np.clip(still.astype(int) // 2 + 40 + 20 * (index % 2), 0, 255).astype(np.uint8), still)
        drift.add(texture(4 + 2 * index), still)
        perfect.add(texture(4 + 2 * index), texture(4 + 2 * index))
    # truth that does not move: the error is the square of the flicker, and no more than flow that is not quite 0 adds
    assert flicker.result("clip")["warping_error"] == pytest.approx([(20 / 255) ** 2] * 2, rel=0.05)
    assert drift.result("clip")["tof"] == pytest.approx([2, 2], rel=0.15)
    assert perfect.result("clip")["tof"] == [0, 0]
    assert max(perfect.result("clip")["warping_error"]) < 0.1 * min(drift.result("clip")["warping_error"])
