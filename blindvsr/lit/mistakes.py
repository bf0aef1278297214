"""What Lightning finds wrong with a run, told in one line and in the words of the command; and what it need not say."""

import logging
import re
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jsonargparse import ArgumentError
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.multiprocessing import ProcessRaisedException

from blindvsr import InputError

USERS = (ArgumentError, MisconfigurationException, ImportError, OSError, MemoryError, torch.OutOfMemoryError)
LIBRARIES = re.compile(r"[/\\](pytorch_lightning|lightning_fabric|jsonargparse)[/\\]")
NEEDLESS = (  # true of runs like ours, and nothing that a user should act on
    ".*does not have many workers.*", ".*smaller than the logging interval.*", ".*LeafSpec.*",
    ".*dirpath has changed.*", ".*Checkpoint directory .* exists and is not empty.*", ".*trying to `self.log.*",
    ".*your dataloader is not resumable.*",  # it is, by the trainer's counters
    ".*requested to overfit but enabled .* shuffling.*",
    r".*callbacks used to create the checkpoint need to be provided.*\['Timer'\].*",  # of a run with trainer.max_time
)


def quiet() -> None:
    """Keeps advertisements and needless warnings of the libraries out of the output."""
    for pattern in NEEDLESS:
        warnings.filterwarnings("ignore", pattern)
    of_threads = threading.excepthook  # what TensorBoard's thread cannot write is raised in the main one as well
    threading.excepthook = lambda told: None if isinstance(told.exc_value, OSError) else of_threads(told)
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    log.addFilter(lambda record: "Tip:" not in record.getMessage())


@contextmanager
def in_one_line() -> Iterator[None]:
    """Makes an InputError of everything that a user can mend.

    That is what Lightning raises in its own code, which checks what it was told, and what the machine refuses. Whatever
    fails elsewhere is a fault of the program, and keeps its traceback.
    """
    try:
        yield
    except InputError:
        raise
    except ProcessRaisedException as error:
        # of a process that Lightning has spawned only the traceback comes over, as text
        last = str(error).strip().splitlines()[-1]
        name = last.partition(":")[0].rpartition(".")[2]
        if name not in ("InputError", *(kind.__name__ for kind in USERS)):
            raise
        raise InputError(_told(last.partition(":")[2])) from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not isinstance(error, USERS) and not LIBRARIES.search(frames[-1].filename):
            raise
        raise InputError(_told(str(error)) or type(error).__name__) from error


def _told(text: str) -> str:
    """A message of the libraries in one line, with flags instead of their names for values."""
    text = " ".join(text.split())
    text = re.sub(r".*Problem with given class_path '([\w.]+)': (.*?)(?: - .*)?$", r"\1: \2", text)
    if text.startswith("unrecognized arguments: --") and re.search("optimizer|lr_scheduler", text):
        text += ": the optimizer is Adam, with a rate for each part: --model.lr, --model.kernel_lr, --model.flow_lr, " \
                "all halved every --model.halve_every epochs"
    text = re.sub(r'Parser key "([\w.]+)"', r"--\1", text)
    return re.sub(r"`?(?:pl\.)?Trainer\((\w+)=([^,)]*)[^)]*\)`?", r"--trainer.\1 \2", text)
