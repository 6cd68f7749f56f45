"""Tensors to a file and back, the library as witness, and files that lie."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from faltung.formats.tensors import NAMES, Words, check_tensors, load_tensors, save_tensors

safetensors_numpy = pytest.importorskip("safetensors.numpy")

METADATA = {name: name * 3 for name in "gfedcba"} | {"ü": 'tab\t"quote" \\ \u2028 \x01'}


def every_dtype() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {
        name: (rng.standard_normal((2, 3)) * 50).astype(np.dtype(text))
        for name, text in NAMES.items()
    }
    made["empty"] = np.zeros((0, 4), np.float32)
    made["scalar"] = np.array(7, np.int64)
    made["turned"] = made["F32"].T
    made["big-endian"] = made["F64"].astype(">f8")
    made['ü "quoted"\n'] = np.array([np.nan, np.inf, -0.0], np.float32)
    return made


def test_there_and_back(tmp_path: Path) -> None:
    path, made = tmp_path / "x.safetensors", every_dtype()
    save_tensors(path, made, METADATA)
    found, metadata = load_tensors(path)
    assert metadata == METADATA
    assert set(found) == set(made)
    for name, tensor in made.items():
        assert found[name].dtype == tensor.dtype.newbyteorder("=")
        assert found[name].flags.writeable and found[name].shape == tensor.shape
        np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize("coded", [False, True])
def test_bfloat16_is_written_as_words_and_read_as_float32(tmp_path: Path, coded: bool) -> None:
    path, words = tmp_path / "x.safetensors", np.arange(0x3F80, 0x3F98, dtype=np.uint16)
    tensors = {"half": Words(words.reshape(4, 6)), "whole": np.arange(3, dtype=np.float32)}
    save_tensors(path, tensors, {"a": "b"}, coded=coded)
    found, metadata = load_tensors(path)
    assert metadata == {"a": "b"}
    assert found["half"].dtype == np.float32
    assert found["half"].shape == (4, 6)
    want = (words.astype(np.uint32) << 16).view(np.float32)
    assert found["half"].tobytes() == want.tobytes()
    assert found["whole"].tolist() == [0, 1, 2]
    if not coded:
        assert b'"half":{"dtype":"BF16","shape":[4,6]' in path.read_bytes()


def test_the_library_reads_the_same(tmp_path: Path) -> None:
    path, made = tmp_path / "x.safetensors", every_dtype()
    save_tensors(path, made, METADATA)
    theirs = safetensors_numpy.load_file(path)
    assert set(theirs) == set(made)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(tensor, made[name])
    import safetensors

    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == METADATA


def test_it_is_the_file_that_the_library_writes(tmp_path: Path) -> None:
    made = {name: np.arange(n, dtype=np.float32) for n, name in enumerate(["b", "a", "c.d"], 3)}
    save_tensors(tmp_path / "ours", made, {"one": "1"})
    safetensors_numpy.save_file(made, tmp_path / "theirs", {"one": "1"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    found, metadata = load_tensors(tmp_path / "theirs")
    assert list(found) and metadata == {"one": "1"}


def test_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    made = every_dtype()
    save_tensors(tmp_path / "a", made, METADATA)
    backwards = dict(reversed(list(made.items()))), dict(reversed(list(METADATA.items())))
    save_tensors(tmp_path / "b", *backwards)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "says"),
    [
        ({"c": np.zeros(2, complex)}, {}, TypeError, r"'c'\.dtype=complex128: not in safetensors"),
        ({"o": np.array([{}])}, {}, TypeError, "'o'.dtype=object"),
        ({"__metadata__": np.zeros(2)}, {}, ValueError, "is a name that the format reserves"),
        ({"\ud800": np.zeros(2)}, {}, ValueError, "must be UTF-8"),
        ({}, {"n": 3}, TypeError, "'n'=3: names and values must be text"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, tensors: dict, metadata: dict, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        save_tensors(tmp_path / "x", tensors, metadata)
    assert os.listdir(tmp_path) == []


def made(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "empty": b"",
    "short": b"\x10\0\0",
    "no header": made(b""),
    "text": b"These are not tensors, although it is a long enough line.",
    "pickle": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x05posix\x94.",
    "huge header": made({}, length=2**63),
    "header beyond the end": made({}, length=1000),
    "not JSON": made(b"{'a': 1}"),
    "not UTF-8": made(b'{"\xff\xff": 1}'),
    "a list": made([1, 2]),
    "deep": made(b'{"a":' * 100_000),
    "NaN metadata": made(b'{"__metadata__":{"x":NaN}}'),
    "metadata of numbers": made({"__metadata__": {"x": 1}}),
    "metadata twice": made(b'{"__metadata__":{},"__metadata__":{"x":"1"}}'),
    "a name twice": made(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "cut off": made({"a": entry([4], 0, 16)}, bytes(15)),
    "too long": made({"a": entry([4], 0, 16)}, bytes(17)),
    "a hole": made({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
    "two in one place": made({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, bytes(4)),
    "backwards": made({"a": entry([1], 4, 0)}, bytes(4)),
    "other size": made({"a": entry([3], 0, 16)}, bytes(16)),
    "negative": made({"a": entry([-1], 0, 4)}, bytes(4)),
    "overflow": made({"a": entry([2**32, 2**32], 0, 0)}),
    "axes without end": made({"a": entry([1] * 100, 0, 4)}, bytes(4)),
    "no dtype": made({"a": entry([1], 0, 4, "F33")}, bytes(4)),
    "eight bits": made({"a": entry([4], 0, 4, "F8_E4M3")}, bytes(4)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_files_that_lie(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "liar.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"liar\.safetensors: not a whole safetensors file, ") as e:
        load_tensors(path)
    assert len(str(e.value).splitlines()) == 1


@examples(12)
@given(st.data())
def test_damage_is_an_error_or_another_tensor(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    save_tensors(path, {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(3, np.uint8)}, {"k": "v"})
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        tensors, metadata = load_tensors(path)
    except ValueError as error:
        assert "damaged.safetensors" in str(error)
    else:
        assert sum(tensor.nbytes for tensor in tensors.values()) < 200
        assert all(isinstance(word, str) for pair in metadata.items() for word in pair)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        load_tensors(tmp_path / "none.safetensors")


def test_one_error_names_all_that_does_not_fit() -> None:
    found = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4), "x": np.zeros(1)}
    check_tensors(found, {n: (t.shape, t.dtype) for n, t in found.items()})
    expected = {"a": ((3, 2), "float32"), "b": ((4,), np.float32), "c": ((), "float64")}
    with pytest.raises(ValueError) as error:
        check_tensors(found, expected, "run/last.safetensors")
    assert str(error.value) == (
        "run/last.safetensors: does not fit; missing: 'c'; not expected: 'x'; other shape: "
        "'a' is float32 (2, 3), must be float32 (3, 2), 'b' is float64 (4), must be float32 (4)"
    )
    with pytest.raises(ValueError, match=r"missing: '0', '1', '2', '3' and 96 more$"):
        check_tensors({}, {str(n): ((), "float32") for n in range(100)})
