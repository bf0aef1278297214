"""The bundled model: what `blindvsr upscale` uses when no weights are given."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from skimage.io import imsave

from blindvsr.cli import main
from blindvsr.degrade import bicubic_up, crop_to_scale, degrade_frame, draw_kernel, gaussian_kernel
from blindvsr.frames import Frame, image_files, read_image
from blindvsr.metrics import psnr
from blindvsr.video.reader import read_video
from blindvsr.weights import BUNDLED, load_network
from tests.conftest import REPOSITORY


def test_it_is_small_and_describes_itself() -> None:
    path = BUNDLED["clean"]
    assert path.stat().st_size < 8e6
    with safe_open(str(path), framework="np") as file:
        assert file.metadata()["format"] == "blindvsr/1"
        assert {str(file.get_slice(name).get_dtype()) for name in file.keys()} == {"F16"}  # noqa: SIM118
    assert (path.parent / "README.md").is_file(), "the model card goes with it"


def test_upscale_without_weights_beats_bicubic(bundled_frames: list[Frame], tmp_path: Path) -> None:
    """Footage that it has never seen, blurred by kernels it is not told. The stronger the blur, the more is to win."""
    for sigma, least in ((0.8, 0.2), (1.6, 0.8)):
        low, restored = tmp_path / f"low-{sigma}", tmp_path / f"restored-{sigma}"
        truth = [crop_to_scale(frame)[60:252, 120:376] for frame in bundled_frames]
        low.mkdir()
        for index, frame in enumerate(truth):
            imsave(low / f"{index:08d}.png", degrade_frame(frame, gaussian_kernel(sigma)), check_contrast=False)
        assert main(["upscale", str(low), str(restored)]) == 0
        files = image_files(restored)
        assert len(files) == len(truth)
        gains = [psnr(read_image(file), frame) - psnr(bicubic_up(read_image(low / file.name)), frame)
                 for file, frame in zip(files, truth, strict=True)]
        assert np.mean(gains) > least, f"sigma {sigma}"


@torch.no_grad()
def test_estimated_kernels_are_nearer_than_any_fixed_guess() -> None:
    """Of all fixed guesses the entries' median has the least mean L1 distance to the three true kernels. The clip is
    halved: at its own size it is too soft for a narrow kernel to leave a trace."""
    whole = itertools.islice(read_video(REPOSITORY / "demo" / "bigbuckbunny.mp4"), 5)
    frames = [np.asarray(cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA), np.uint8) for frame in whole]
    true = [draw_kernel("gaussian", np.random.default_rng(0), sigma) for sigma in (0.6, 1.2, 1.8)]
    net = load_network("clean")
    distances = []
    for kernel in true:
        low = np.stack([degrade_frame(frame, kernel) for frame in frames])
        clip = torch.from_numpy(low).permute(0, 3, 1, 2)[None].float() / 255
        distances.append(np.abs(net.estimate_kernel(clip)[0, 0].numpy() - kernel).sum())
    guess = np.median(true, axis=0)
    assert np.mean(distances) < 0.7 * np.mean([np.abs(guess - kernel).sum() for kernel in true])
