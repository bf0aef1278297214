"""How data reach a trainer: in which order, shared out among devices, and from which batch on after a break."""

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class Items(Dataset[Any]):
    """A list as a data set: what test and prediction hand out are names of files, read as a stream."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class FirstEpoch(Dataset[Any]):
    """The patches of the first epoch, for ever: what trainer.overfit_batches trains on.

    Args:
        data: takes (epoch, index).
        length: how many.
    """

    def __init__(self, data: Dataset[Any], length: int) -> None:
        self.data, self.length = data, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.data[0, index]


class EpochSampler(DistributedSampler[Any]):
    """Shuffles `length` indices anew every epoch, shares them out among devices, and tells the data set the epoch."""

    def __init__(self, length: int, seed: int, devices: int, rank: int) -> None:
        # devices take turns, so that their batches are together the batch that one device would draw; what is too
        # little for a turn of all is dropped, as the loader drops what is too little for a batch
        indices: Any = range(length)
        super().__init__(indices, devices, rank, shuffle=True, seed=seed, drop_last=True)
        self._seen = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning's number of the epoch is not ours after a training that stopped within one, see `begin`."""

    def begin(self, epoch: int, seen: int = 0) -> None:
        """The next pass is over this epoch, of which so many items have been seen."""
        self.epoch, self._seen = epoch, seen

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in list(super().__iter__())[self._seen :])


class OnceSampler(DistributedSampler[Any]):
    """Shares a data set out among devices, each item to one of them: the last devices may get fewer, or nothing."""

    def __init__(self, data: Dataset[Any], devices: int, rank: int) -> None:
        super().__init__(data, devices, rank, shuffle=False)
        self.indices = range(rank, len(data), devices)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


class TrainingLoader(DataLoader[Any]):
    """Goes on after the last batch that a training had done: at another number of the epoch, and within one."""

    trainer: pl.Trainer | None = None

    def __iter__(self) -> Any:
        if isinstance(self.sampler, EpochSampler) and self.trainer:
            epoch, batch = self._place(self.trainer.fit_loop)
            self.sampler.begin(epoch, batch * (self.batch_size or 1))
        return super().__iter__()

    @staticmethod
    def _place(fit: Any) -> tuple[int, int]:
        """The next batch by Lightning's counters, a checkpoint's too: epoch, and number within it, both from 0."""
        epochs, batches = fit.epoch_progress.current, fit.epoch_loop.batch_progress
        if epochs.started < epochs.ready:
            return epochs.ready - 1, 0
        if batches.is_last_batch:
            return epochs.ready, 0
        return max(epochs.ready - 1, 0), batches.current.processed


def single(items: list[Any]) -> Any:
    """Collates a batch of one: the item itself."""
    return items[0]


def deaf_worker(number: int) -> None:
    """A process that reads data leaves signals to the trainer, which may still want a batch before it stops."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
