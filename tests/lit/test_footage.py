from pathlib import Path

import numpy as np
import pytest
import torch

from blindvsr.datasets import find_videos
from blindvsr.degrade import blur_down
from blindvsr.disturbance import Disturbance
from blindvsr.lit.data import BlindVSRData
from blindvsr.lit.footage import TrainingPatches, texture
from blindvsr.lit.loaders import EpochSampler
from tests.conftest import REPOSITORY


def patches(footage: Path, **changes: object) -> TrainingPatches:
    options = {"side": 64, "frames_per_video": 8, "kind": "gaussian", "seed": 0, "cache": None, **changes}
    return TrainingPatches(find_videos(footage, "root", ("HR",)), **options)


def test_draws_depend_on_seed_epoch_and_index_alone(footage: Path) -> None:
    data = patches(footage)
    assert len(data) == 2 * 4
    first = data[0, 5]
    assert first["frames"].shape == (5, 64, 64, 3)
    assert first["frames"].dtype == torch.uint8
    assert first["kernel"].shape == (1, 13, 13)
    again = patches(footage)[0, 5]
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (data[1, 5], data[0, 5 + len(data)], patches(footage, seed=1)[0, 5]):
        assert not torch.equal(first["frames"], other["frames"])


def test_the_cache_changes_nothing(footage: Path, tmp_path: Path) -> None:
    plain, cached = patches(footage), patches(footage, cache=tmp_path)
    assert all(torch.equal(plain[2, index]["frames"], cached[2, index]["frames"]) for index in range(8))


def test_flat_patches_are_drawn_again(tmp_path: Path) -> None:
    """In frames that are flat but for one corner, most crops have no texture: five draws find some."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "clip").mkdir()
    frame = np.full((128, 128, 3), 90, np.uint8)
    frame[:64, :64] = rng.integers(0, 256, (64, 64, 3))
    for index in range(5):
        Image.fromarray(frame).save(tmp_path / "clip" / f"{index}.png")
    data = patches(tmp_path, side=32)
    shares = np.mean([texture(data[0, index]["frames"][2].numpy()) >= 7 for index in range(60)])
    touching = (96 / 128) ** 2  # a single draw touches the corner about this often
    assert shares > touching + 0.1
    assert texture(np.full((32, 32, 3), 90, np.uint8)) == 0


def test_shrinking_shows_more_of_the_frame_in_the_same_crop(tmp_path: Path) -> None:
    """In frames that are ramps, one grey level per pixel, a crop's slope is the factor that it was reduced by."""
    from PIL import Image

    (tmp_path / "clip").mkdir()
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (96, 160, 3)).copy()
    for index in range(5):
        Image.fromarray(ramp).save(tmp_path / "clip" / f"{index}.png")

    def slopes(shrink: float) -> list[float]:
        data = patches(tmp_path, side=32, shrink=shrink)
        crops = [data[0, index]["frames"].numpy() for index in range(40)]
        assert {crop.shape for crop in crops} == {(5, 32, 32, 3)}
        return [max(float(np.ptp(crop[2].mean(axis, dtype=float))) for axis in (0, 1)) / 31 for crop in crops]

    assert set(slopes(1)) == {1}
    found = slopes(2)
    assert 1 <= min(found) < 1.2
    assert 1.8 < max(found) < 2.1
    assert max(slopes(8)) < 3.2, "never more than the frame has"


def test_disturbed_crops_belong_to_their_truth(footage: Path) -> None:
    """What an encoder at its best leaves of a crop is the crop, blurred and reduced: the two are cut at one place."""
    always = Disturbance(noisy=0, encoded=1, crf=(0, 4), jpeg=(95, 95))
    data = patches(footage, side=32, disturbance=always, synthetic=0.5)
    for index in range(8):
        item = data[0, index]
        assert item["frames"].shape == (5, 32, 32, 3) and item["low"].shape == (5, 8, 8, 3)
        expected = blur_down(item["frames"].permute(0, 3, 1, 2)[None].float(), item["kernel"][None])
        inside = (..., slice(2, -2), slice(2, -2))  # crops of the truth end where the low-resolution ones went on
        difference = expected[0][inside] - item["low"].permute(0, 3, 1, 2).float()[inside]
        assert difference.abs().mean() < 12
    assert all(torch.equal(data[1, 3][name], data[1, 3][name]) for name in ("frames", "low", "kernel"))


def test_what_is_switched_off_leaves_the_published_patches_as_they_were(footage: Path) -> None:
    plain, made = patches(footage)[0, 2], patches(footage, synthetic=1.0)[0, 2]
    assert "low" not in plain
    assert not torch.equal(plain["frames"], made["frames"])


def test_sampler_shares_epochs_out_and_tells_them(footage: Path) -> None:
    def keys(rank: int, devices: int, epoch: int) -> list[tuple[int, int]]:
        sampler = EpochSampler(12, seed=0, devices=devices, rank=rank)
        sampler.begin(epoch)
        return list(sampler)

    assert sorted(keys(0, 1, 3)) == [(3, index) for index in range(12)]
    assert sorted(keys(0, 2, 3) + keys(1, 2, 3)) == sorted(keys(0, 1, 3))
    assert keys(0, 1, 3) != [(3, index) for _, index in keys(0, 1, 4)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_degraded_at_once(footage: Path, workers: int) -> None:
    data = BlindVSRData(train_root=str(footage), patch=16, batch_size=2, batches_per_epoch=3, num_workers=workers)
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    batch = data.on_after_batch_transfer(batches[0], 0)
    assert batch["clip"].shape == (2, 5, 3, 16, 16)
    frames = batch["frames"].permute(0, 1, 4, 2, 3).float() / 255
    torch.testing.assert_close(batch["clip"][1:], blur_down(frames[1:], batch["kernel"][1:]))
    assert not torch.equal(batch["clip"] * 255, (batch["clip"] * 255).round()), "unrounded, as the official training"


def test_video_files_train_through_the_cache(tmp_path: Path) -> None:
    data = BlindVSRData(train_root=str(REPOSITORY / "demo"), patch=16, batch_size=1, batches_per_epoch=2,
                        frames_per_video=6, num_workers=0, cache=str(tmp_path))
    batch = next(iter(data.train_dataloader()))
    assert batch["frames"].shape == (1, 5, 64, 64, 3)


def test_soft_clips_have_less_detail_than_pixels(footage: Path) -> None:
    plain, soft = patches(footage)[0, 2]["frames"].numpy(), patches(footage, soft=1.0)[0, 2]["frames"].numpy()

    assert soft.shape == plain.shape and soft.dtype == plain.dtype
    assert texture(soft[2]) < 0.9 * texture(plain[2])
    assert patches(footage, soft=0.0)[0, 2]["frames"].numpy().tobytes() == plain.tobytes()
