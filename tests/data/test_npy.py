"""NumPy's files: what NumPy writes is read, what lies is refused before memory is asked for."""

import io
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data.hostile import npy_header, zip_of
from grid import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from faltung.data import limits
from faltung.data.npy import read_npy, read_npz

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "array",
    [
        RANDOM.standard_normal((3, 4, 5)),
        np.asfortranarray(RANDOM.standard_normal((3, 4)).astype(np.float32)),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.array(["a", "猫"]),
        np.array(3.5),
        np.zeros((0, 4)),
        np.ones((2, 3), bool),
    ],
)
def test_what_numpy_writes(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    got = read_npy(tmp_path / "a.npy", "a.npy")
    np.testing.assert_array_equal(got, array)
    assert got.dtype.isnative
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", x=array, other=np.arange(3))
        found = read_npz(tmp_path / "a.npz", "a.npz", ("x", "y"))
        assert set(found) == {"x"}
        np.testing.assert_array_equal(found["x"], array)


def test_large_arrays_are_read_in_blocks(tmp_path: Path) -> None:
    array = RANDOM.integers(0, 255, 40_000_000, np.uint8)
    np.savez(tmp_path / "a.npz", x=array)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz", "a", ("x",))["x"], array)


LIES = {
    "a thousand million elements": npy_header("(1000000000,)") + b"\0" * 64,
    "more than an address": npy_header("(10**3,)") + b"\0",
    "overflow": npy_header("(4294967296, 4294967296, 4294967296)") + b"\0" * 64,
    "negative": npy_header("(-1,)") + b"\0" * 64,
    "two negatives": npy_header("(-4, -4)") + b"\0" * 64,
    "truncated": npy_header("(16,)") + b"\0" * 63,
    "no header": b"\x93NUMPY\x01\x00",
    "another magic": b"PK\x05\x06" + b"\0" * 60,
    "pickle": npy_header("(1,)", "'|O'") + b"\0" * 64,
    "structure": npy_header("(1,)", "[('a', '<f4')]") + b"\0" * 64,
    "dates": npy_header("(1,)", "'<M8[s]'") + b"\0" * 64,
    "no bytes each": npy_header("(1000000000,)", "'<U0'") + b"\0" * 64,
    "no dtype": npy_header("(1,)", "'nonsense'"),
    "code": npy_header("__import__('os').getcwd()"),
    "nesting": npy_header("(" * 1900 + ")" * 1900),
    "brackets that stay open": npy_header("(" * 3900),
    "deeper nesting": npy_header("(" * 5000 + ")" * 5000, version=2),
    "a header of 60 kB": npy_header("(1,)", more=", 'a': '" + "x" * 60_000 + "'") + b"\0" * 4,
    "a length of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100,
    "version 9": npy_header("(1,)", version=9) + b"\0" * 4,
    "seventy axes": npy_header("(" + "1," * 70 + ")") + b"\0" * 4,
    "nothing": b"",
}


@pytest.mark.parametrize("what", LIES)
def test_lies(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(LIES[what])
    zip_of(tmp_path / "a.npz", {"x.npy": LIES[what]})
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^a\.npy"):
        read_npy(tmp_path / "a.npy", "a.npy")
    with pytest.raises(ValueError, match=r"^a\.npz"):
        read_npz(tmp_path / "a.npz", "a.npz", ("x",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24


def test_messages_are_one_line(tmp_path: Path) -> None:
    for data in LIES.values():
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(ValueError) as error:
            read_npy(tmp_path / "a.npy", "a.npy")
        assert str(error.value).isprintable() and len(str(error.value)) < 300


def test_a_bomb_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 1 << 20)  # the real one is slow to write
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(1 << 24, np.uint8))
    assert path.stat().st_size < 1 << 15
    with pytest.raises(ValueError, match="refused as a decompression bomb"):
        read_npz(path, "bomb.npz", ("x",))


def test_zeros_that_fit_are_no_bomb(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000)))
    assert read_npz(tmp_path / "a.npz", "a", ("x",))["x"].shape == (1000, 1000)


def test_a_member_that_lies_about_its_length(tmp_path: Path) -> None:
    """The directory of the zip says 100 bytes; what is packed is more."""
    data = npy_header("(1000,)") + b"\0" * 4000
    path = zip_of(tmp_path / "a.npz", {"x.npy": data})
    raw = path.read_bytes().replace(len(data).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a.npz"):
        read_npz(path, "a.npz", ("x",))
    # And the other way: it says 4 GB.
    huge = raw.replace((100).to_bytes(4, "little"), (0xFFFFFFF0).to_bytes(4, "little"))
    path.write_bytes(huge)
    with pytest.raises(ValueError, match=r"more than its .* can hold"):
        read_npz(path, "a.npz", ("x",))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings(method: int, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.npz", {"x.npy": npy_header("(1,)") + b"\0" * 4}, method)
    with pytest.raises(ValueError, match="packed in a way that NumPy does not write"):
        read_npz(path, "a.npz", ("x",))


def test_names_that_lead_elsewhere_are_not_looked_at(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.npz", {"../x.npy": b"", "/x.npy": b"", "x": b""})
    assert read_npz(path, "a.npz", ("x",)) == {}


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=re.escape("a.npz: cannot be read")):
        read_npz(tmp_path / "a.npz", "a.npz", ("x",))


def whole() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(50.0))
    return file.getvalue()


@given(st.data())
@examples(6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    """Cut short or with a byte changed: right, or a ValueError, and nothing else."""
    raw = bytearray(whole())
    cut = data.draw(st.integers(1, len(raw)))
    place = data.draw(st.integers(0, cut - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "a.npz"
    path.write_bytes(raw[:cut])
    try:
        read_npz(path, "a.npz", ("x",))
    except ValueError as error:
        assert str(error).startswith("a.npz")
