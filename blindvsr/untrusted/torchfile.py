"""Files of `torch.save`, zipped or of before 2020, read as plain containers of tensors.

Sizes are checked before anything is made of them, and nothing that a file names is called: `torch.load` believes
sizes, also with `weights_only`.
"""

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blindvsr.untrusted.pickled import NAMES, Machine, check_size

MAGIC = 0x1950A86A20F9469CFC6C  # of files of before torch 1.6
NUMBERS = {"Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
           "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
           "Bool": torch.bool}
BIG_ENDIAN = "its bytes are in big-endian order; save it again on another machine"


@dataclass(eq=False)
class Storage:
    """Numbers that lie outside the pickle."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(eq=False)
class Stored:
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Content:
    """A file, whose tensors are read when they are asked for.

    Attributes:
        value: plain containers, with `Stored` in the places of tensors, and `pickled.Array` in those of arrays.
        storages: key -> the bytes of a storage.
    """

    value: Any
    storages: "dict[str, bytearray] | _Zipped"

    def tensor(self, stored: Stored) -> Tensor:
        """The tensor, a view of the storage's bytes.

        Raises:
            ValueError: if it reaches beyond its storage.
            KeyError: if the file has no such storage.
        """
        storage = stored.storage
        return torch.frombuffer(self.storages[storage.key], dtype=storage.dtype, count=storage.count).as_strided(
            stored.size, stored.stride, stored.offset)


def _storage(name: Any) -> Storage:
    """What a persistent identity says; "storage" is all that there may be outside the pickle."""
    if not isinstance(name, tuple) or len(name) not in (5, 6) or name[0] != "storage" or name[5:] not in ((), (None,)):
        raise ValueError("it refers to what is no tensor")
    _, dtype, key, _, count = name[:5]
    if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not isinstance(count, int) or count < 0:
        raise ValueError("a storage is not made of plain numbers")
    return Storage(key, dtype, count)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Stored:
    """What a view says, once it lies within its storage; gradients and hooks are passed over."""
    sides, steps = ((side if isinstance(side, tuple) else (None,)) for side in (size, stride))
    numbers = (offset, *sides, *steps)
    if not isinstance(storage, Storage) or len(sides) != len(steps) or len(sides) > 8:
        raise ValueError("a tensor has no numbers")
    if not all(isinstance(number, int) and 0 <= number < 2**31 for number in numbers):
        raise ValueError("a tensor has an impossible shape")
    last = offset + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if math.prod(sides) and last >= storage.count:
        raise ValueError(f"a tensor of shape {sides} reaches beyond its {storage.count} numbers")
    return Stored(storage, offset, sides, steps)


TENSORS = {
    **NAMES,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    **{(module, f"{name}Storage"): dtype for module in ("torch", "torch.cuda") for name, dtype in NUMBERS.items()},
    # what checkpoints hold beside weights; nobody looks at it
    ("torch", "Size"): lambda *_: None,
    ("torch", "device"): lambda *_: None,
    ("builtins", "set"): lambda *_: None,
    ("__builtin__", "set"): lambda *_: None,
    ("collections", "defaultdict"): lambda *_: {},
    ("collections", "Counter"): lambda *_: {},
    **{("torch", str(dtype).removeprefix("torch.")): None for dtype in NUMBERS.values()},
}


class _Zipped:
    """The storages of a zipped file by their keys."""

    def __init__(self, file: zipfile.ZipFile, folder: str) -> None:
        self._file, self._folder = file, folder
        self._read: dict[str, bytearray] = {}  # many tensors may share one

    def __getitem__(self, key: str) -> bytearray:
        if key not in self._read:
            self._read[key] = bytearray(self._file.read(f"{self._folder}/data/{key}"))
        return self._read[key]


def read_torch(path: Path) -> Content:
    """Reads what `torch.save` wrote.

    Raises:
        ValueError, LookupError, TypeError, OSError, zipfile.BadZipFile: for a file that is too large, damaged, or holds
            anything but tensors and arrays in plain containers.
    """
    check_size(path)
    return _read_zipped(path) if zipfile.is_zipfile(path) else _read_plain(path)


def _read_zipped(path: Path) -> Content:
    file = zipfile.ZipFile(path)
    entries = file.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or (
            sum(entry.file_size for entry in entries) > path.stat().st_size):
        raise ValueError("it is compressed, which torch never does")
    folder = next((name.removesuffix("/data.pkl") for name in file.namelist() if name.endswith("/data.pkl")), None)
    if folder is None:
        raise ValueError("it is no file of torch.save: no data.pkl in it")
    if f"{folder}/byteorder" in file.namelist() and file.read(f"{folder}/byteorder") != b"little":
        raise ValueError(BIG_ENDIAN)
    value = Machine(BytesIO(file.read(f"{folder}/data.pkl")), TENSORS, _storage).load()
    return Content(value, _Zipped(file, folder))


def _read_plain(path: Path) -> Content:
    """Magic number, version, facts about the machine, the object, the keys of storages, then these one by one."""
    stream = BytesIO(path.read_bytes())
    named: dict[str, Storage] = {}

    def persistent(name: Any) -> Storage:
        storage = _storage(name)
        return named.setdefault(storage.key, storage)

    if Machine(stream).load() != MAGIC:
        raise ValueError("it is no file of torch.save")
    Machine(stream).load()
    if not Machine(stream).load().get("little_endian", True):
        raise ValueError(BIG_ENDIAN)
    value = Machine(stream, TENSORS, persistent).load()
    return Content(value, dict(_plain_storages(stream, Machine(stream).load(), named)))


def _plain_storages(stream: BytesIO, keys: Any, named: dict[str, Storage]) -> Iterator[tuple[str, bytearray]]:
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(named):
        raise ValueError("its storages are not those of its tensors")
    for key in keys:
        size = named[key].count * named[key].dtype.itemsize
        if int.from_bytes(stream.read(8), "little") != named[key].count:
            raise ValueError(f"storage {key[:60]} has another size than its tensors say")
        content = bytearray(stream.read(size))
        if len(content) != size:
            raise ValueError("it is cut off")
        yield key, content
