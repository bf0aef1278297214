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
    """Goes on after the last batch that a checkpoint's training had done.

    Lightning keeps the state of loaders that have one, and gives it back before it asks for the first batch.
    """

    trainer: pl.Trainer | None = None
    _next: dict[str, int] | None = None

    def _fit(self) -> Any:
        return self.trainer.fit_loop if self.trainer else None

    def state_dict(self) -> dict[str, int]:
        """The next batch: {"epoch", "batch" of that epoch}, both from 0."""
        begun, done = self._fit().epoch_progress.current.ready, self._fit().epoch_loop.batch_progress.current.processed
        if done >= self._fit().max_batches:
            return {"epoch": begun, "batch": 0}
        return {"epoch": begun - 1, "batch": done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._next = state

    def __iter__(self) -> Any:
        if isinstance(self.sampler, EpochSampler) and self._fit():
            epoch = max(self._fit().epoch_progress.current.ready - 1, 0)
            begin, self._next = self._next or {"epoch": epoch, "batch": 0}, None
            self.sampler.begin(begin["epoch"], begin["batch"] * (self.batch_size or 1))
        return super().__iter__()


def deaf_worker(number: int) -> None:
    """A process that reads data leaves signals to the trainer, which may still want a batch before it stops."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
