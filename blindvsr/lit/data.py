"""LightningDataModule for training on HR footage that is degraded online, and for validation, test and prediction."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler, SequentialSampler

from blindvsr import InputError
from blindvsr.datasets import (
    TRAIN_FOLDERS, VAL_FOLDERS, WINDOW, Video, check_frames, check_names, decoded, find_videos, hold_out,
)
from blindvsr.degrade import SCALE, blur_down
from blindvsr.disturbance import Disturbance
from blindvsr.frames import image_size
from blindvsr.lit.footage import Footage, Kind, TrainingPatches, ValidationClips, photographs
from blindvsr.lit.loaders import EpochSampler, FirstEpoch, Items, OnceSampler, TrainingLoader, deaf_worker, single
from blindvsr.lit.motion import MovingPairs, PairBatches
from blindvsr.ops import to_tensor
from blindvsr.layouts.pairs import input_videos, paired_videos
from blindvsr.layouts.reds import without_reds4

LEAST_PATCH = 4 * SCALE


def _warn_of_crop(videos: Sequence[Video]) -> None:
    """One warning for all videos whose sides are no multiples of 4."""
    sizes = {video.name: image_size(video.files[0]) for video in videos if video.files}
    odd = [f"{name} ({size[1]}x{size[0]})" for name, size in sizes.items() if size[0] % SCALE or size[1] % SCALE]
    if odd:
        rank_zero_warn(
            f"validation crops to multiples of {SCALE} at the right and the bottom: {', '.join(odd)}", stacklevel=3
        )


def _check_numbers(numbers: dict[str, tuple[float, float, float]]) -> None:
    """Raises InputError for the first of name -> (value, least, most) that is out of range, or no number."""
    for name, (value, least, most) in numbers.items():
        if not least <= value <= most or value == math.inf:
            wanted = f"{least} is the least" if most == math.inf else f"give {least} to {most}"
            raise InputError(f"data.{name}={value}: {wanted}")


class BlindVSRData(pl.LightningDataModule):
    """Footage for every command.

    Args:
        train_root: HR videos: <root>/HR/<video>/<frame>.png or .jpg, REDS (its root, or train_sharp; the clips of
            REDS4 are left out), <root>/<video>/<frame>.png, or video files (they need `cache`).
        val_root: HR videos to validate on, likewise (REDS: val_sharp). Without it the last video of train_root is held
            out; of a single video, the frames after those that are trained on.
        test_root: test set of `blindvsr degrade` (HR/, LR_blurdown_x4/), of the toolboxes (GT/, BIx4/ or BDx4/), or
            SPMCS (<clip>/truth/, <clip>/input4/).
        test_hr: high-resolution half of a test set whose folders have other names.
        test_lr: low-resolution half of it, likewise.
        predict_root: LR videos: folders of frames, video files, or a test set.
        kind: kernels that blur the footage during training: gaussian (sigma 0.4 to 2.0), realistic, mixed (these two
            and anisotropic ones, sigma to 2.4, and plain decimation), or none for footage that is itself the
            low-resolution input and has no ground truth.
        patch: side of the training crop, or of the pair of frames, LR pixels.
        batch_size: clips of a batch, per device.
        frames_per_video: training uses only the first so many of each video.
        batches_per_epoch: an epoch repeats the footage until it has at least so many batches.
        val_frames: frames of each validation video.
        num_workers: processes that read and crop.
        cache: folder for decoded frames (disk: N x H x W x 3 bytes per video); training reads from it ever after.
        seed: of crops, turns and kernels.
        shrink: training crops come from frames reduced by factors between 1 and this: finer detail than the footage
            has at its own size, less of its compression, smaller motion. 1 leaves the footage as it is.
        disturbance: noise and encoders that go over the low-resolution clips; none by default.
        synthetic: share of the training clips that are made of photographs under a moving camera, see `lit.camera`:
            frames that agree exactly, from which the reconstruction learns soonest what the neighbours are good for.
        stills: folder of photographs for them; without it they are made of frames of the footage.
        soft: share of the training clips whose middle is enlarged, 1.2 to 2.2 times: footage whose pixels are finer
            than its detail, as most is that people have.
        moving_pairs: pairs of frames with known motion instead of clips; set by model.objective.
    """

    def __init__(
        self,
        train_root: str | None = None,
        val_root: str | None = None,
        test_root: str | None = None,
        test_hr: str | None = None,
        test_lr: str | None = None,
        predict_root: str | None = None,
        kind: Kind = "gaussian",
        patch: int = 160,
        batch_size: int = 8,
        frames_per_video: int = 50,
        batches_per_epoch: int = 1000,
        val_frames: int = 9,
        num_workers: int = 4,
        cache: str | None = None,
        seed: int = 0,
        shrink: float = 1.0,
        disturbance: Disturbance = Disturbance(),
        synthetic: float = 0.0,
        stills: str | None = None,
        soft: float = 0.0,
        moving_pairs: bool = False,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more devices than videos to predict
        _check_numbers({
            "patch": (patch, LEAST_PATCH, math.inf), "batch_size": (batch_size, 1, math.inf),
            "seed": (seed, 0, math.inf), "batches_per_epoch": (batches_per_epoch, 1, math.inf),
            "num_workers": (num_workers, 0, math.inf), "frames_per_video": (frames_per_video, WINDOW, math.inf),
            "val_frames": (val_frames, WINDOW, math.inf), "shrink": (shrink, 1, math.inf),
            "synthetic": (synthetic, 0, 1), "soft": (soft, 0, 1),
        })
        if patch % SCALE:
            raise InputError(f"data.patch={patch}: it must be a multiple of {SCALE}")
        if disturbance and kind == "none":
            raise InputError("data.disturbance: footage of --data.kind none is not degraded; choose another kind")
        self.shrink, self.soft, self.moving_pairs = shrink, soft, moving_pairs
        self.disturbance, self.synthetic, self.stills = disturbance, synthetic, photographs(stills) if stills else []
        self.kind, self.batch_size, self.batches_per_epoch = kind, batch_size, batches_per_epoch
        self.num_workers, self.seed, self.val_frames = num_workers, seed, val_frames
        self.patch, self.frames_per_video = patch, frames_per_video
        self.cache = Path(cache) if cache else None
        self._find(train_root, val_root, test_root, test_hr, test_lr, predict_root)

    def _find(
        self, train_root: str | None, val_root: str | None, test_root: str | None, test_hr: str | None,
        test_lr: str | None, predict_root: str | None,
    ) -> None:
        """Everything that can be wrong with a folder is said here, before a trainer starts."""
        self.train_videos, self.val_videos = self._footage(train_root, val_root)
        _warn_of_crop(self.val_videos)
        self.test_name = Path((given := test_root or test_hr or test_lr) or ".").resolve().name
        self.test_pairs = paired_videos(test_root, test_hr, test_lr, say=rank_zero_warn) if given else []
        self.predict_videos = input_videos(predict_root, "data.predict_root") if predict_root else []
        check_frames(self.predict_videos, "data.predict_root", least=1)
        check_names(self.predict_videos, "data.predict_root")

    def _train_videos(self, root: str) -> list[Video]:
        name = f"data.train_root={root!r}"
        videos = without_reds4(find_videos(root, "data.train_root", TRAIN_FOLDERS, "train"), name, rank_zero_warn)
        self._check_cache(videos, name)
        check_frames(videos, "data.train_root", self.frames_per_video + self.val_frames)
        return videos

    def _footage(self, train_root: str | None, val_root: str | None) -> tuple[list[Video], list[Video]]:
        """The parts of videos to train on and to validate on."""
        train = self._train_videos(train_root) if train_root else []
        if val_root is None:
            return hold_out(train, self.frames_per_video, self.val_frames) if train else ([], [])
        val = find_videos(val_root, "data.val_root", VAL_FOLDERS)
        check_frames(val, "data.val_root", self.val_frames)
        if self.moving_pairs:
            self._check_cache(val, f"data.val_root={val_root!r}")
        trained = {video.source.resolve() for video in train}
        both = [video.name for video in val if video.source.resolve() in trained]
        if both:
            rank_zero_warn(f"validation is on footage that is trained on: {', '.join(both)}", stacklevel=2)
        return ([video.part(0, self.frames_per_video) for video in train],
                [video.part(0, self.val_frames) for video in val])

    def _check_cache(self, videos: Sequence[Video], name: str) -> None:
        if self.cache is None and any(not video.files for video in videos):
            raise InputError(f"{name} has video files: give --data.cache DIR to decode them into")

    def _place(self) -> tuple[int, int]:
        """How many devices there are, and which this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def prepare_data(self) -> None:
        """Fills the cache in one process of each machine, while the others wait."""
        if self.cache and self.trainer and self.trainer.state.fn == "fit":
            for video in self.train_videos + (self.val_videos if self.moving_pairs else []):
                decoded(video, self.cache, self.frames_per_video)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches {"frames": uint8 (B, 5, S, S, 3), "kernel": float32 (B, 1, 13, 13)}, which the device degrades; or of
        moving pairs."""
        if not self.train_videos:
            raise InputError("data.train_root is missing: give --data.train_root DIR")
        data: Any = self._pairs(self.train_videos) if self.moving_pairs else self._patches()
        devices, rank = self._place()
        length = max(len(data), self.batches_per_epoch * self.batch_size * devices)
        sampler: Sampler[Any] = EpochSampler(length, self.seed, devices, rank)
        if getattr(self.trainer, "overfit_batches", 0):
            data = FirstEpoch(data, length)
            sampler = SequentialSampler(data)
        loader = TrainingLoader(
            data, self.batch_size, sampler=sampler, drop_last=True, num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0, pin_memory=torch.cuda.is_available(), worker_init_fn=deaf_worker,
        )
        loader.trainer = self.trainer
        return loader

    def _patches(self) -> TrainingPatches:
        side = self.patch if self.kind == "none" else self.patch * SCALE
        data = TrainingPatches(
            self.train_videos, side=side, frames_per_video=self.frames_per_video, kind=self.kind, seed=self.seed,
            cache=self.cache, shrink=self.shrink, disturbance=self.disturbance, synthetic=self.synthetic,
            stills=self.stills, soft=self.soft,
        )
        self._check_sides(data.footage, data.drawn_side)
        return data

    def _pairs(self, videos: list[Video]) -> MovingPairs:
        footage = Footage(videos, self.frames_per_video, self.cache)
        self._check_sides(footage, self.patch)
        return MovingPairs(footage, side=self.patch, seed=self.seed)

    def _check_sides(self, footage: Footage, side: int) -> None:
        for index, video in enumerate(footage.sources):
            height, width = footage.frame(index, 0).shape[:2]
            if min(height, width) < side:
                largest = min(height, width) // (side // self.patch) // SCALE * SCALE
                remedy = f"give --data.patch {largest} or less" if largest >= LEAST_PATCH else "leave it out"
                raise InputError(f"data.patch={self.patch} takes frames of {side}x{side}, but {video.source} is "
                                 f"{width}x{height}; {remedy}")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves training batches; whole videos stay behind, and the stream moves them frame by frame."""
        if isinstance(batch, dict):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Degrades training crops, batched, on the training device: -> {"clip": (B, 5, 3, h, w) in [0, 1], "kernel"}.

        LR stays float and unrounded, as in the official training; disturbed LR comes from the workers.
        """
        if self.moving_pairs or not isinstance(batch, dict):
            return batch
        clip = to_tensor(batch["low" if "low" in batch else "frames"])
        blurred = "kernel" in batch and "low" not in batch
        return {**batch, "clip": blur_down(clip, batch["kernel"]) if blurred else clip}

    def _loader(self, data: Dataset[Any], once: bool = False) -> DataLoader[Any]:
        # equally many steps on every device, as collective operations want them, unless each item must come once
        sampler = OnceSampler(data, *self._place()) if once else DistributedSampler(data, *self._place(), shuffle=False)
        return DataLoader(data, batch_size=1, sampler=sampler, collate_fn=single, num_workers=0)

    def val_dataloader(self) -> DataLoader[Any]:
        """One ValidationClip per step; or one of `val_frames` batches of moving pairs, the same in every epoch."""
        if self.moving_pairs:
            return self._loader(PairBatches(self._pairs(self.val_videos), self.val_frames, self.batch_size))
        return self._loader(ValidationClips(self.val_videos, kind=self.kind, seed=self.seed))

    def test_dataloader(self) -> DataLoader[Any]:
        """One (HR video, LR video) per step."""
        if not self.test_pairs:
            raise InputError("data.test_root is missing: give --data.test_root DIR")
        return self._loader(Items(self.test_pairs))

    def predict_dataloader(self) -> DataLoader[Any]:
        """One video per step."""
        if not self.predict_videos:
            raise InputError("data.predict_root is missing: give --data.predict_root DIR")
        return self._loader(Items(self.predict_videos), once=True)
