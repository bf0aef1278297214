"""Hostile pickles and torch files: refused in one line, in a process that may not take much memory."""

import pickle
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blindvsr.untrusted.pickled import Machine, check_numbers, read_arrays
from blindvsr.untrusted.torchfile import read_torch

FLOAT = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4\x89\x88tR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"


def built(shape: bytes, kind: bytes, data: bytes) -> bytes:
    """A pickle of {"a": array} whose state is given piece by piece."""
    return b"\x80\x02}X\x01\x00\x00\x00a" + ARRAY + b"(K\x01" + shape + kind + b"\x89" + data + b"tbs."


def dtype_state(name: bytes, state: bytes) -> bytes:
    return b"cnumpy\ndtype\n(X\x02\x00\x00\x00" + name + b"\x89\x88tR(" + state + b"tb"


EIGHT = b"C\x08AAAAAAAA"
PLAIN = b"K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
HOSTILE = {
    "memo of 268 million": b"\x80\x02]r\xff\xff\xff\x0f.",
    "objects by name": built(b"K\x01\x85", dtype_state(b"O8", PLAIN), EIGHT),
    "objects by fields": built(
        b"K\x01\x85",
        dtype_state(b"V8", b"K\x03X\x01\x00\x00\x00|NX\x01\x00\x00\x00f\x85}X\x01\x00\x00\x00f"
                    + dtype_state(b"O8", PLAIN) + b"K\x00\x86sK\x08K\x01K\x00"), EIGHT),
    "flags cleared": built(b"K\x01\x85", dtype_state(b"f8", PLAIN[:-2] + b"K\x3f"), EIGHT),
    "subarray": built(b"K\x01\x85", dtype_state(b"f8", PLAIN.replace(b"<N", b"<" + FLOAT + b"K\x02\x85\x86")), EIGHT),
    "state of a state": built(b"K\x01\x85", dtype_state(b"f8", b"K\x03(NNtNNNK\x00K\x00K\x00"), EIGHT),
    "absurd shape": built(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", FLOAT, EIGHT),
    "negative shape": built(b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86", FLOAT, EIGHT),
    "empty side": built(b"J\xff\xff\xff\x7fK\x00\x86", FLOAT, b"C\x00"),
    "many sides": built(b"(" + b"K\x01" * 5000 + b"t", FLOAT, b"C\x04AAAA"),
    "long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
    "long byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
    "long number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.",
    "negative length": b"\x80\x02\x8b" + struct.pack("<i", -1) + b"a.",
    "decimal number": b"L" + b"9" * 100_000 + b"L\n.",
    "absurd frame": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"a.",
    "nested names": b"\x80\x02}" + b"(" * 1 + b")" + b"\x85" * 50_000 + b"K\x01s.",
    "nested lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "lists doubled": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x00" * 60 + b".",
    "lists copied": b"\x80\x02(" + b"(NNl" * 40_000 + b"lq\x00"
    + b"ccollections\nOrderedDict\nh\x00\x85R0" * 10_000 + b"}.",
    "text encoded again and again": b"\x80\x02X" + struct.pack("<I", 2_000_000) + b"a" * 2_000_000
    + b"q\x00X\x06\x00\x00\x00latin1q\x01" + b"c_codecs\nencode\n(h\x00h\x01tR" * 5000 + b"l.",
    "empty stack": b"\x80\x020000R.",
    "no end": b"\x80\x02}q\x00",
    "persistent": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "extension": b"\x80\x02\x82\x01.",
    "out of band": b"\x80\x05\x97.",
    "byte array of numbers": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "name within a name": b"\x80\x04X\x02\x00\x00\x00npX\x09\x00\x00\x00load.load\x93.",
    "a name that is no text": b"\x80\x04]]\x93.",
    "operations without end": b"\x80\x02" + b"N0" * 300_000 + b".",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name: str, tmp_path: Path) -> None:
    """Nothing but a list or a dictionary without arrays comes of them, or an error; test_mutants limits memory."""
    (tmp_path / "x.pkl").write_bytes(HOSTILE[name])
    try:
        content = read_arrays(tmp_path / "x.pkl")
    except (ValueError, TypeError, LookupError) as error:
        assert len(str(error)) < 300
    else:
        assert name in ("memo of 268 million", "nested lists", "nested names", "lists doubled", "empty side")
        assert not isinstance(content, dict) or not content


@pytest.mark.parametrize("kind", ["<f4", ">f8", "f2", "i1", "<u2", "?"])
@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back(kind: str, protocol: int) -> None:
    array = np.asfortranarray(np.arange(24).reshape(2, 3, 4)).astype(kind)
    content: Any = Machine(BytesIO(pickle.dumps({"a": array, "b": array[0, 0, 0]}, protocol))).load()
    np.testing.assert_array_equal(content["a"].values, array)
    assert content["b"].values == array[0, 0, 0]


def test_numbers_and_bytes() -> None:
    check_numbers([40, 60], 100)
    with pytest.raises(ValueError, match="101 numbers in 100 bytes"):
        check_numbers([40, 61], 100)


def save(path: Path, content: Any, old: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("old", [False, True])
def test_torch_files(old: bool, tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {"base": base, "view": base[:, 1:, ::2], "half": base.half(), "brain": base.bfloat16(),
               "last": base[None].to(memory_format=torch.channels_last), "number": torch.tensor(3)}
    content = read_torch(save(tmp_path / "x.pt", {**tensors, "rest": (torch.Size([1]), {1, 2}, torch.float16)}, old))
    for name, tensor in tensors.items():
        assert torch.equal(content.tensor(content.value[name]), tensor)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("content", [
    {"a": torch.zeros(3).to_sparse()}, {"a": torch.zeros(3, device="meta")}, {"a": bytearray(8)}, [torch.nn.Conv2d],
], ids=["sparse", "meta", "bytearray", "class"])
def test_torch_files_of_something_else(content: Any, old: bool, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="which is not an array|no tensor"):
        read_torch(save(tmp_path / "x.pt", content, old))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("size", [2**20, 2**30])
def test_storages_larger_than_the_file(old: bool, size: int, tmp_path: Path) -> None:
    """100,001 numbers become many more, in the storage and in the tensor."""
    path = save(tmp_path / "x.pt", {"a": torch.zeros(100_001)}, old)
    content = path.read_bytes().replace(b"J" + struct.pack("<i", 100_001), b"J" + struct.pack("<i", size))
    if not old:
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "y.pt", "w") as forged:
            for entry in whole.namelist():
                forged.writestr(entry, whole.read(entry).replace(b"J" + struct.pack("<i", 100_001),
                                                                 b"J" + struct.pack("<i", size)))
        content = (tmp_path / "y.pt").read_bytes()
    path.write_bytes(content)
    with pytest.raises(ValueError):
        read = read_torch(path)
        read.tensor(read.value["a"])


def test_zipped_bombs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + b"0" * 2**20)
    with pytest.raises(ValueError, match="compressed"):
        read_torch(tmp_path / "x.pt")
