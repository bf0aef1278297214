"""Pickles of arrays, read without `pickle`: nothing that a file names is called, memory stays in step with its size.

`pickle.Unpickler` believes a file: a memo index of nine bytes takes gigabytes, and numpy's own `__setstate__` turns
bytes into pointers. The machine here knows plain containers and the names in a table, and makes arrays by itself.
"""

import math
import pickletools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**31  # bytes of a file: a checkpoint of the published network has a ninth of it
OPERATIONS = 300_000  # of a pickle, half a second's work: such a checkpoint has a tenth of it
PLAIN = (None, None, None, -1, -1, 0)  # the end of the state of a dtype that has neither fields nor objects

VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
          "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
          "BINBYTES8", "BYTEARRAY8"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(eq=False)
class Kind:
    """A plain numeric dtype: its name without byte order, and its byte order."""

    name: str
    order: str = "="


@dataclass(eq=False)
class Array:
    """What a pickle calls an array; `values` is None until its content has come."""

    values: NDArray[Any] | None = None


def _kind(name: Any, *_: Any) -> Kind:
    if not isinstance(name, str) or not re.fullmatch(r"f[248]|[iu][1248]|b1", name):
        raise ValueError("it asks for numbers of a kind that is not plain")
    return Kind(name)


def _array(shape: Any, kind: Any, data: Any, order: str) -> NDArray[Any]:
    """The numbers that a pickle describes, a view of its bytes."""
    if isinstance(data, str):  # how Python 2 writes bytes
        data = data.encode("latin1")
    sides = shape if isinstance(shape, tuple) else (None,)
    if len(sides) > 8 or not all(isinstance(side, int) and 0 < side < 2**31 for side in sides):
        raise ValueError("an array has an impossible shape")
    if not isinstance(kind, Kind) or not isinstance(data, (bytes, bytearray)):
        raise ValueError("an array is not made of plain numbers")
    dtype = np.dtype(kind.order + kind.name)
    if math.prod(sides) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {sides} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(sides, order="F" if order == "F" else "C")


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """OrderedDict; Python 2 hands it its items."""
    if not isinstance(pairs, list) and pairs != ():
        raise ValueError("a dictionary is not made of pairs")
    return _updated({}, [item for key, value in pairs for item in (key, value)])


def _updated(target: Any, items: list[Any]) -> Any:
    """A dictionary with key, value, key, value ... put in; pairs with other keys than names and numbers are left out,
    since hashing may go arbitrarily deep."""
    if not isinstance(target, dict):
        raise ValueError("items are put into what is no dictionary")
    target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=True)
                  if isinstance(key, (str, int)))
    return target


def _latin1(text: Any, codec: Any) -> bytes:
    if codec != "latin1" or not isinstance(text, str):
        raise ValueError("it asks for another codec than latin1")
    return text.encode("latin1")


NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _kind,
    ("_codecs", "encode"): _latin1,  # how protocol 2 writes bytes
    ("jittor_core", "Var"): lambda array: array,  # Jittor pickles a variable as Var(array)
}
for _core in ("numpy.core", "numpy._core"):  # of numpy 1 and 2
    NAMES[f"{_core}.multiarray", "_reconstruct"] = lambda *_: Array()
    NAMES[f"{_core}.multiarray", "scalar"] = lambda kind, data: Array(_array((), kind, data, "C"))
    NAMES[f"{_core}.numeric", "_frombuffer"] = lambda data, kind, shape, order: Array(_array(shape, kind, data, order))


class Machine:
    """Reads one pickle.

    Args:
        stream: is left behind the pickle's end.
        names: (module, name) -> what stands for it: a function of the arguments that the pickle gives, or None where
            it is only mentioned. Other names are refused.
        persistent: stands for objects that are kept outside the pickle.
    """

    def __init__(self, stream: BinaryIO, names: Mapping[tuple[str, str], Any] = NAMES,
                 persistent: Callable[[Any], Any] | None = None) -> None:
        self._stream, self._names, self._persistent = stream, names, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._left = OPERATIONS
        start = stream.tell()
        self._letters = stream.seek(0, SEEK_END) - start  # that may be made into bytes: no more than there are
        stream.seek(start)

    def load(self) -> Any:
        """The object, with `Array` in the places of arrays.

        Raises:
            ValueError, TypeError, LookupError: for anything but plain containers and the known names.
        """
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._spend()
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)

    def _spend(self, copied: Sequence[Any] = ()) -> None:
        """Counts an operation and what it copies: what the file has once, a few bytes could copy again and again."""
        self._left -= 1 + sum(len(item) for item in copied if isinstance(item, list))
        self._letters -= sum(len(item) for item in copied if isinstance(item, str))
        if self._left < 0 or self._letters < 0:
            raise ValueError(f"it has more than {OPERATIONS} operations, or repeats itself")

    def _taken(self, count: int) -> list[Any]:
        """The last items of the stack, taken off."""
        start = len(self._stack) - count
        if start < 0:
            raise ValueError("its stack runs empty")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _marked(self) -> list[Any]:
        return self._taken(max(0, len(self._stack) - self._marks.pop()))

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name in TUPLES:
            stack.append(tuple(self._taken(TUPLES[name])))
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._marked()
            stack.append({"TUPLE": tuple, "LIST": list}[name](items) if name != "DICT" else _updated({}, items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._name(*(argument.split(" ", 1) if name == "GLOBAL" else self._taken(2)))
        elif name not in ("PROTO", "FRAME"):
            self._change(name)

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in self._names:
            raise ValueError(f"it asks for {str(module)[:60]}.{str(name)[:60]}, which is not an array")
        self._stack.append(self._names[module, name])

    def _change(self, name: str) -> None:
        """Operations on what lies on the stack."""
        if name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = self._taken(1) if name == "APPEND" else self._marked()
            if not isinstance(self._stack[-1], list):
                raise ValueError("items are put into what is no list")
            self._stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._taken(2) if name == "SETITEM" else self._marked()
            _updated(self._stack[-1], items)
        elif name == "REDUCE":
            function, arguments = self._taken(2)
            if not callable(function) or not isinstance(arguments, tuple):
                raise ValueError("it calls what is not an array")
            self._spend(arguments)
            self._stack.append(function(*arguments))
        elif name == "BUILD":
            target, state = self._taken(2)
            self._build(target, state)
            self._stack.append(target)
        elif name == "BINPERSID" and self._persistent:
            self._stack.append(self._persistent(self._taken(1)[0]))
        else:
            raise ValueError(f"it does more than hold arrays ({name})")

    def _build(self, target: Any, state: Any) -> None:
        """Gives a dtype its byte order and an array its content; the attributes of a dictionary are passed over."""
        if isinstance(target, Kind):
            if not isinstance(state, tuple) or len(state) != 8 or state[2:] != PLAIN or state[1] not in ("<", ">", "|"):
                raise ValueError("a dtype has a state of its own")
            target.order = state[1]
        elif isinstance(target, Array):
            if not isinstance(state, tuple) or len(state) != 5:
                raise ValueError("an array has an unknown state")
            self._spend(state)
            target.values = _array(*state[1:3], state[4], "F" if state[3] else "C")
        elif not isinstance(target, dict):
            raise ValueError("it changes what is not an array")


def check_size(path: Path) -> int:
    """The bytes of a file, before it is read into memory.

    Raises:
        ValueError: if they are more than any network here has.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has {size / 2**30:.1f} GB, more than the {LARGEST // 2**30} GB of any network here")
    return size


def check_numbers(counts: Iterable[int], size: int) -> None:
    """Raises ValueError if a file of `size` bytes claims more numbers than it can hold: shared or repeated ones, which
    would take memory out of step with it."""
    numbers = sum(counts)
    if numbers > size:
        raise ValueError(f"it claims {numbers} numbers in {size} bytes")


def read_arrays(path: Path) -> Any:
    """The object in a file, with `Array` in the places of arrays.

    Raises:
        ValueError, TypeError, LookupError: for a file that is too large, or anything but arrays in plain containers.
    """
    check_size(path)
    return Machine(BytesIO(path.read_bytes())).load()
