"""Coded files: the same numbers in fewer bytes, and files that lie."""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from faltung.formats import coded
from faltung.formats.tensors import _DTYPES, NAMES, load_tensors, save_tensors

pytest.importorskip("constriction")
pytest.importorskip("safetensors")

METADATA = {"about": "the same words, " * 50, "ü": "\u2028"}


def kinds() -> dict[str, np.ndarray]:
    """Tensors of each form, and what is odd."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((40, 30)).astype(np.float32)
    scale = np.linspace(0.01, 0.02, 40, dtype=np.float32)
    whole = np.clip(np.rint(normal * 30), -128, 127)
    made = {
        "raw": normal,
        "half": normal.astype(np.float16).astype(np.float32),
        "palette": np.float32(0.3) * np.rint(normal * 2) + np.float32(0),
        "grid": whole * scale[:, None] + np.float32(0),
        "grid_scale": scale,
        "turned": whole[:, :20] * np.linspace(1, 2, 20, dtype=np.float32) + np.float32(0),
        "turned_scale": np.linspace(1, 2, 20, dtype=np.float32),
        "not a grid": normal,
        "not a grid_scale": scale,
        "one": np.full((3, 7), 2.5),
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.array(7),
        "view": normal.T[::2],
        "odd": np.array([np.nan, np.inf, -0.0, 0.0, 1e-45], np.float32),
        "bias": rng.standard_normal(6).astype(np.float32),
    }
    for word, text in NAMES.items():
        made[word] = (rng.standard_normal((2, 3)) * 50).astype(np.dtype(text))
    return made


def size(path: Path, tensors: dict[str, np.ndarray]) -> int:
    save_tensors(path, tensors, coded=True)
    return path.stat().st_size


def test_the_same_bits_there_and_back(tmp_path: Path) -> None:
    made, path = kinds(), tmp_path / "x.safetensors"
    save_tensors(path, made, METADATA, coded=True)
    bits: dict[str, float] = {}
    found, metadata = load_tensors(path, bits=bits)
    assert metadata == METADATA and set(found) == set(made) == set(bits)
    for name, tensor in made.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert found[name].tobytes() == np.ascontiguousarray(tensor).tobytes(), name
        assert found[name].flags.writeable and found[name].flags.aligned
    assert sum(bits.values()) < 8 * path.stat().st_size
    assert bits["palette"] < 4 * 1200 and bits["grid"] < 8 * 1200 < bits["half"] < bits["raw"]


def test_few_values_take_few_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = {f"layer{i}.weight": rng.standard_normal((100, 100)) for i in range(3)}
    sparse = {name: np.float32(w * (rng.random(w.shape) < 0.1)) for name, w in weights.items()}
    few = {name: np.float32(np.rint(w) / 4 + 0.0) for name, w in sparse.items()}
    least = size(tmp_path / "few", few)
    counts = np.unique(np.concatenate([w.ravel() for w in few.values()]), return_counts=True)[1]
    entropy = (counts * np.log2(counts.sum() / counts)).sum() / 8
    assert least < 1.02 * entropy + 400  # names, the palette that all share, header
    assert least < size(tmp_path / "sparse", sparse) / 5


def test_a_file_without_numbers(tmp_path: Path) -> None:
    assert size(tmp_path / "x", {}) < 200
    assert load_tensors(tmp_path / "x") == ({}, {})


def test_zeros_without_end_are_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file must not claim too much for its length, so this one is made longer."""
    monkeypatch.setattr(coded, "ALLOWANCE", 10_000)
    many = 5_000_000
    save_tensors(tmp_path / "x", {"a": np.zeros(many, np.uint8)}, coded=True)
    assert load_tensors(tmp_path / "x")[0]["a"].shape == (many,)


def test_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    made = kinds()
    save_tensors(tmp_path / "a", made, METADATA, coded=True)
    save_tensors(tmp_path / "b", dict(reversed(made.items())), METADATA, coded=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


GOLDEN = (
    "809889799100000078dadbc5c0c050ad94ae64151d6da863a0631aab136da063a26302a48d8074349067646aa663"
    "0816c7cd02021da55c25ab6aa56c252ba532a55a1da512909940937594dc8c8d9440c6191bc402ad504a8f2f4e4e"
    "cc4955d20172a3113c98b2581d239078015cc40ca80e649752118a90516c6c2d0f08309c3d7b96e1cc99330c677c"
    "ce30d8dad9710a0a0a02001f7c369d7a2ee60f412d99af8f31b38e5e250440f8c72d854ced6ca7b3321687dddbe6"
    "9b1beefc1ee0fe95e8b736edc2b99541460165878cd88249e8f05b36ba802a5fdbb9c560c1ad8aaeb4909195a866"
    "d1812ff669a4aa0cc9f0d00d2d8cceee8fbd9191057c32b5e1ac30f5a8e0868312561002f2c880018a1b043fd31e"
    "68e027c89793996eb983b740ec6422b65f803b240fecdeb886fba909f0ad41b0fc7c326a882d01323f77c048e553"
    "78056a30db830191c4fa2dce2c8f5ab1a89f02d5ccc3baa12cbb46a8cbee111b3f6285631ad5f811cd843f01500b"
    "c3c0fb8d49e97d8fdb161682ea16161616161616164242ae16424242424242424242424242424242424242424242"
    "42424242424242424242424242424241424242000094f5"
)


def test_a_file_of_another_machine() -> None:
    """What one machine has written, every other reads."""
    found, metadata = coded.decode(bytes.fromhex(GOLDEN), _DTYPES)
    assert metadata == {"k": "v"}
    rng = np.arange(60, dtype=np.float32)
    np.testing.assert_array_equal(found["p"], np.float32(0.1) * (rng * rng % 7))
    np.testing.assert_array_equal(found["r"], np.sqrt(rng))
    np.testing.assert_array_equal(found["g"], (rng % 5).reshape(2, 30) * found["g_scale"][:, None])


def test_what_a_plain_file_cannot_hold_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'c'.dtype=complex128: not in safetensors"):
        save_tensors(tmp_path / "x", {"c": np.zeros(2, complex)}, coded=True)
    assert os.listdir(tmp_path) == []


# Files that lie -----------------------------------------------------------------------------------


def sealed(head: object, side: bytes = b"", rest: bytes = b"") -> bytes:
    """A block with this header, whose checksum is right."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    packed = zlib.compress(len(text).to_bytes(4, "little") + text + side)
    body = len(packed).to_bytes(4, "little") + packed + rest
    return zlib.crc32(body).to_bytes(4, "little") + body


def head(tensors: object, groups: object, metadata: object = None) -> dict[str, object]:
    return {"m": {} if metadata is None else metadata, "t": tensors, "g": groups}


VALUES, GRID, PLANES = [0, 4, 2], [1, -3, 7], [2, 4, [[0, 1, 0]] * 4]
SIDE = bytes(8) + bytes([1, 1])
LIES = {
    "empty": b"",
    "no header": sealed(b""),
    "not JSON": sealed(b"{'a'"),
    "deep": sealed(b"[" * 100_000),
    "a long number": sealed(b'{"m":{},"g":[],"t":' + b"9" * 5000 + b"}"),
    "a list": sealed([1]),
    "other keys": sealed({"m": {}, "t": []}),
    "metadata of numbers": sealed(head([], [], {"a": 1})),
    "bomb": sealed(b" " * (coded.MAX_HEADER + 10)),
    "no form": sealed(head([], [[3, 4, 2]])),
    "true": sealed(head([], [[True, 4, 2]])),
    "odd width": sealed(head([], [[0, 3, 2]]), bytes(8)),
    "no symbols": sealed(head([], [[0, 4, 0]])),
    "too many symbols": sealed(head([], [[0, 4, 257]]), bytes(5000)),
    "no palette": sealed(head([["a", "F32", [3], 0]], [VALUES])),
    "palette too long": sealed(head([["a", "F32", [3], 0]], [VALUES]), SIDE + b"1"),
    "empty table": sealed(head([["a", "F32", [3], 0]], [VALUES]), bytes(10)),
    "giant": sealed(head([["a", "F32", [2**40], 0]], [VALUES]), SIDE),
    "giant product": sealed(head([["a", "F32", [2**20] * 9, 0]], [VALUES]), SIDE),
    "many axes": sealed(head([["a", "F32", [1] * 99, 0]], [VALUES]), SIDE),
    "negative": sealed(head([["a", "F32", [-1], 0]], [VALUES]), SIDE),
    "half": sealed(head([["a", "F32", [1.5], 0]], [VALUES]), SIDE),
    "twice": sealed(head([["a", "F32", [3], 0]] * 2, [VALUES]), SIDE),
    "no dtype": sealed(head([["a", "F33", [3], 0]], [VALUES]), SIDE),
    "unhashable dtype": sealed(head([["a", {}, [3], 0]], [VALUES]), SIDE),
    "other width": sealed(head([["a", "F64", [3], 0]], [VALUES]), SIDE),
    "no group": sealed(head([["a", "F32", [3], 1]], [VALUES]), SIDE),
    "no groups at all": sealed(head([["a", "F32", [3], 0]], [])),
    "name of numbers": sealed(head([[1, "F32", [3], 0]], [VALUES]), SIDE),
    "grid without scale": sealed(head([["a", "F32", [3], 0]], [GRID]), bytes([1] * 7)),
    "grid of a missing scale": sealed(head([["a", "F32", [3], 0, "s", 0]], [GRID]), bytes(7)),
    "grid of itself": sealed(head([["a", "F32", [3], 0, "a", 0]], [GRID]), bytes([1] * 7)),
    "scale of no grid": sealed(head([["a", "F32", [3], 0, "a", 0]], [VALUES]), SIDE),
    "two planes": sealed(head([], [[2, 4, [[0, 1, 0]] * 2]])),
    "planes beyond": sealed(head([], [[2, 1, [[200, 57, 0]]]])),
    "flat part": sealed(head([], [[2, 1, [[0, 7, 1]]]])),
    "other scale": sealed(
        head([["a", "F32", [3], 0, "s", 0], ["s", "F32", [2], 1]], [GRID, PLANES]), bytes([1] * 7)
    ),
    "other axis": sealed(
        head([["a", "F32", [3], 0, "s", 1], ["s", "F32", [3], 1]], [GRID, PLANES]), bytes([1] * 7)
    ),
}


def laid(folder: Path, data: bytes) -> Path:
    path = folder / "liar.safetensors"
    save_tensors(path, {"coded": np.frombuffer(data, np.uint8)}, {"coded": coded.FORMAT})
    return path


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_files_that_lie(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"liar\.safetensors: not a whole coded file, ") as error:
        load_tensors(laid(tmp_path, data))
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 400


def test_what_is_no_coded_file(tmp_path: Path) -> None:
    path, block = tmp_path / "x", np.frombuffer(coded.encode({}, _DTYPES, {}), np.uint8)
    save_tensors(path, {"coded": block}, {"coded": "2"})
    with pytest.raises(ValueError, match="coded='2': must be 1 for this faltung"):
        load_tensors(path)
    for tensors in ({}, {"coded": block, "more": block}, {"coded": np.zeros(3)}):
        save_tensors(path, tensors, {"coded": "1"})
        with pytest.raises(ValueError, match="must have one tensor of bytes"):
            load_tensors(path)


@pytest.fixture(scope="module")
def small() -> Iterator[bytes]:
    """A file that may decode to a megabyte and no more."""
    made = {name: kinds()[name] for name in ("palette", "grid", "grid_scale", "bias")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coded, "ALLOWANCE", 1 << 20)
        yield coded.encode(made, _DTYPES, {"k": "v"})


@examples(40)
@given(st.data())
def test_damage_is_an_error(small: bytes, data: st.DataObject) -> None:
    """Also where whoever damaged it has set the checksum right: an error, or other numbers."""
    whole = bytearray(small)
    seal = data.draw(st.booleans())
    length = 8 + int.from_bytes(whole[4:8], "little")
    if data.draw(st.booleans()):  # inside the header, as it is before zlib
        text = bytearray(zlib.decompress(bytes(whole[8:length])))
        for _ in range(data.draw(st.integers(1, 3))):
            text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
        packed = zlib.compress(bytes(text))
        whole[4:length] = len(packed).to_bytes(4, "little") + packed
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
        del whole[data.draw(st.integers(1, len(whole))) :]
    if seal:
        whole[:4] = zlib.crc32(whole[4:]).to_bytes(4, "little")
    try:
        tensors, metadata = coded.decode(bytes(whole), _DTYPES)
    except (ValueError, MemoryError) as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(isinstance(value, str) for value in metadata.values())
        assert sum(t.nbytes for t in tensors.values()) <= coded.ALLOWANCE + coded.RATIO * len(whole)
