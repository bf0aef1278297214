"""LightningDataModule for training on HR footage that is degraded online, and for validation, test and prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from blindvsr import InputError
from blindvsr.datasets import (
    LR_FOLDER, REDS4, TRAIN_FOLDERS, VAL_FOLDERS, Video, check_frames, decoded, find_videos, is_reds_train,
    paired_videos,
)
from blindvsr.degrade import SCALE, blur_down
from blindvsr.frames import image_size, read_image
from blindvsr.lit.footage import EpochSampler, Kind, OnceSampler, TrainingPatches, ValidationClips


class Items(Dataset[Any]):
    """A list as a data set: what test and prediction hand out are names of files, read as a stream."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def _only(items: list[Any]) -> Any:
    return items[0]


def _warn_of_crop(videos: Sequence[Video]) -> None:
    """One warning for all videos whose sides are no multiples of 4."""
    sizes = {video.name: image_size(video.files[0]) for video in videos if video.files}
    odd = [f"{name} ({size[1]}x{size[0]})" for name, size in sizes.items() if size[0] % SCALE or size[1] % SCALE]
    if odd:
        rank_zero_warn(
            f"validation crops to multiples of {SCALE} at the right and the bottom: {', '.join(odd)}", stacklevel=3
        )


def _check_names(videos: Sequence[Video]) -> None:
    """Refuses a.mp4 beside a.mkv: each video is written to the folder of its name, perhaps by two devices at once."""
    sources: dict[str, Path] = {}
    for video in videos:
        if video.name in sources:
            raise InputError(
                f"data.predict_root: {sources[video.name]} and {video.source} would both be written to {video.name}/; "
                "rename one"
            )
        sources[video.name] = video.source


class BlindVSRData(pl.LightningDataModule):
    """Footage for every command.

    Args:
        train_root: HR videos: <root>/HR/<video>/<frame>.png or .jpg, REDS (its root, or train_sharp; the clips of
            REDS4 are left out), <root>/<video>/<frame>.png, or video files (they need `cache`).
        val_root: HR videos to validate on, likewise (REDS: val_sharp). Without it the last video of train_root is held
            out; of a single video, the frames after the training ones or its last ones.
        test_root: <root>/{HR,LR_blurdown_x4}/<video>/<frame>.png, as `blindvsr degrade` writes it.
        predict_root: LR videos: folders of frames, video files, or a test set.
        kind: kernels that blur the footage during training: gaussian (sigma 0.4 to 2.0), realistic, or none for
            footage that is itself the low-resolution input and has no ground truth. "motion" trains the flow network
            alone, on pairs of frames with known motion.
        patch: side of the training crop, or of the pair of frames, LR pixels.
        batch_size: clips of a batch, per device.
        frames_per_video: training uses only the first so many of each video.
        batches_per_epoch: an epoch repeats the footage until it has at least so many batches.
        val_frames: frames of each validation video; batches of pairs where kind is motion.
        num_workers: processes that read and crop.
        cache: folder for decoded frames (disk: N x H x W x 3 bytes per video); training reads from it ever after.
        seed: of crops, turns and kernels.
        shrink: training crops come from frames reduced by factors between 1 and this: finer detail than the footage
            has at its own size, less of its compression, smaller motion. 1 leaves the footage as it is.
        pan: share of the training clips that are one frame seen by a moving camera: frames that agree exactly, from
            which the reconstruction learns soonest what the neighbours are good for.
    """

    def __init__(
        self,
        train_root: str | None = None,
        val_root: str | None = None,
        test_root: str | None = None,
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
        pan: float = 0.0,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more devices than videos to predict
        if patch < 4 * SCALE or patch % SCALE:
            raise InputError(f"data.patch={patch}: it must be a multiple of {SCALE} and at least {4 * SCALE}")
        if shrink < 1:
            raise InputError(f"data.shrink={shrink}: frames are reduced by factors from 1 to this; give 1 or more")
        if not 0 <= pan <= 1:
            raise InputError(f"data.pan={pan}: it is a share of the clips; give 0 to 1")
        self.shrink, self.pan = shrink, pan
        self.kind, self.batch_size, self.batches_per_epoch = kind, batch_size, batches_per_epoch
        self.num_workers, self.seed, self.val_frames = num_workers, seed, val_frames
        self.patch, self.frames_per_video = patch, frames_per_video
        self.cache = Path(cache) if cache else None
        self.val_start = 0
        # everything that can be wrong with a folder is said here, before a trainer starts
        self.train_videos = self._train_videos(train_root) if train_root else []
        self.val_videos = self._val_videos(val_root) if train_root or val_root else []
        _warn_of_crop(self.val_videos)
        self.test_pairs = paired_videos(test_root, "data.test_root") if test_root else []
        self.test_name = Path(test_root).resolve().name if test_root else ""
        self.predict_videos = find_videos(predict_root, "data.predict_root", (LR_FOLDER,)) if predict_root else []
        check_frames(self.predict_videos, "data.predict_root", least=1)
        _check_names(self.predict_videos)

    def _train_videos(self, root: str) -> list[Video]:
        videos = find_videos(root, "data.train_root", TRAIN_FOLDERS)
        if is_reds_train(videos):
            videos = [video for video in videos if video.name not in REDS4]
        if self.cache is None and any(not video.files for video in videos):
            raise InputError(f"data.train_root={root!r} has video files: give --data.cache DIR to decode them into")
        check_frames(videos, "data.train_root", self.frames_per_video)
        return videos

    def _val_videos(self, root: str | None) -> list[Video]:
        if root:
            videos = find_videos(root, "data.val_root", VAL_FOLDERS)
            check_frames(videos, "data.val_root", self.val_frames)
            return videos
        if len(self.train_videos) > 1:
            return [self.train_videos.pop()]
        frames = len(self.train_videos[0].files)
        self.val_start = max(0, min(self.frames_per_video, frames - self.val_frames))
        return self.train_videos

    def _place(self) -> tuple[int, int]:
        """How many devices there are, and which this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def prepare_data(self) -> None:
        """Fills the cache in one process of each machine, while the others wait."""
        if self.cache and self.trainer and self.trainer.state.fn == "fit":
            for video in self.train_videos:
                decoded(video, self.cache, self.frames_per_video)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches {"frames": uint8 (B, 5, S, S, 3), "kernel": float32 (B, 1, 13, 13)}; the device degrades them. Pairs
        with known motion if kind is motion."""
        if not self.train_videos:
            raise InputError("data.train_root is missing: give --data.train_root DIR")
        data = self._patches(self.train_videos)
        devices, rank = self._place()
        length = max(len(data), self.batches_per_epoch * self.batch_size * devices)
        return DataLoader(
            data, self.batch_size, sampler=EpochSampler(length, self.seed, devices, rank), drop_last=True,
            num_workers=self.num_workers, persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _patches(self, videos: list[Video]) -> TrainingPatches:
        side = self.patch if self.kind in ("none", "motion") else self.patch * SCALE
        data = TrainingPatches(
            videos, side=side, frames_per_video=self.frames_per_video, kind=self.kind, seed=self.seed,
            cache=self.cache, shrink=self.shrink, pan=self.pan,
        )
        self._check_sides(data, side)
        return data

    def _check_sides(self, data: TrainingPatches, side: int) -> None:
        for video, frames in zip(data.sources, data.videos, strict=True):
            first = frames[0]
            height, width = (read_image(first) if isinstance(first, Path) else first).shape[:2]
            if min(height, width) < side:
                scale = side // self.patch
                raise InputError(
                    f"data.patch={self.patch} takes frames of {side}x{side}, but {video.source} is {width}x{height}; "
                    f"give --data.patch {min(height, width) // scale} or less"
                )

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves training batches; whole videos stay behind, and the stream moves them frame by frame."""
        if isinstance(batch, dict):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Degrades training crops, batched, on the training device: -> {"clip": (B, 5, 3, h, w) in [0, 1], "kernel"}.

        LR stays float and unrounded, as in the official training.
        """
        if not (isinstance(batch, dict) and "frames" in batch):
            return batch
        clip = batch["frames"].permute(0, 1, 4, 2, 3).float() / 255
        return {**batch, "clip": blur_down(clip, batch["kernel"]) if "kernel" in batch else clip}

    def _loader(self, data: Dataset[Any], once: bool = False) -> DataLoader[Any]:
        # equally many steps on every device, as collective operations want them, unless each item must come once
        sampler = OnceSampler(data, *self._place()) if once else DistributedSampler(data, *self._place(), shuffle=False)
        return DataLoader(data, batch_size=1, sampler=sampler, collate_fn=_only, num_workers=0)

    def val_dataloader(self) -> DataLoader[Any]:
        """One ValidationClip per step; if kind is motion, the same `val_frames` batches of pairs in every epoch."""
        if self.kind == "motion":
            epoch = [(0, index) for index in range(self.val_frames * self.batch_size)]
            return DataLoader(self._patches(self.val_videos), self.batch_size, sampler=epoch)
        clips = ValidationClips(
            self.val_videos, start=self.val_start, frames=self.val_frames, kind=self.kind, seed=self.seed
        )
        return self._loader(clips)

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
