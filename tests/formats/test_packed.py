"""Tensors in whole numbers of 8 bits, as the library sees them, and files that lie."""

import json
from pathlib import Path

import numpy as np
import pytest
from formats.test_coded import kinds

from faltung.formats.tensors import load_tensors, save_tensors

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def test_the_same_bits_there_and_back(tmp_path: Path) -> None:
    made, path = kinds(), tmp_path / "x.safetensors"
    save_tensors(path, made, {"k": "v"}, packed=True)
    found, metadata = load_tensors(path)
    assert metadata == {"k": "v"} and set(found) == set(made)
    for name, tensor in made.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert found[name].tobytes() == np.ascontiguousarray(tensor).tobytes(), name


def test_others_read_levels_and_palettes(tmp_path: Path) -> None:
    made, path = kinds(), tmp_path / "x.safetensors"
    save_tensors(path, made, packed=True)
    theirs = safetensors_numpy.load_file(path)
    assert theirs["grid"].dtype == np.int8 and theirs["palette"].dtype == np.uint8
    np.testing.assert_array_equal(
        theirs["grid"] * theirs["grid_scale"][:, np.newaxis], made["grid"]
    )
    np.testing.assert_array_equal(theirs["palette.palette"][theirs["palette"]], made["palette"])
    np.testing.assert_array_equal(theirs["raw"], made["raw"])


LEVELS, SCALE = np.zeros((2, 3), np.int8), np.ones(2, np.float32)
LIES = {
    "not JSON": "{'a'",
    "deep": "[" * 100_000,
    "a list": [],
    "no row": {"a": 1},
    "other form": {"a": ["planes", "s", 0]},
    "nothing": {"b": ["grid", "s", 0]},
    "no scale": {"a": ["grid", "t", 0]},
    "scale of numbers": {"a": ["grid", 1, 0]},
    "itself": {"a": ["grid", "a", 0]},
    "other axis": {"a": ["grid", "s", 2]},
    "axis of words": {"a": ["grid", "s", "0"]},
    "other count": {"a": ["grid", "s", 1]},
    "levels for places": {"a": ["palette", "s", 0]},
    "places for levels": {"p": ["grid", "s", 0]},
    "beyond the palette": {"p": ["palette", "s", 0]},
    "palette of levels": {"p": ["palette", "a", 0]},
}


@pytest.mark.parametrize("how", LIES.values(), ids=LIES)
def test_files_that_lie(tmp_path: Path, how: object) -> None:
    path = tmp_path / "liar.safetensors"
    tensors = {"a": LEVELS, "s": SCALE, "p": np.full(3, 2, np.uint8)}
    text = how if isinstance(how, str) else json.dumps(how)
    save_tensors(path, tensors, {"packed": text})
    with pytest.raises(ValueError, match=r"liar\.safetensors: not a whole packed file, ") as error:
        load_tensors(path)
    assert len(str(error.value).splitlines()) == 1
