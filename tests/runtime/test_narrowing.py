"""Whole numbers keep their value or are refused; and no file converts them in another way."""

import ast
from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung.data import ArraySource
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.runtime.narrowing import clipped, narrowed

SOURCE = Path(faltung.__file__).parent
WHOLE = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def extremes(dtype: str) -> list[int]:
    limits = np.iinfo(dtype)
    return sorted({int(limits.min), 0, 1, int(limits.max) // 2, int(limits.max)})


@pytest.mark.parametrize("given", WHOLE)
@pytest.mark.parametrize("wanted", WHOLE)
def test_every_pair_of_dtypes(given: str, wanted: str) -> None:
    """Python's own integers, which have no width, say what is right."""
    low, high = int(np.iinfo(wanted).min), int(np.iinfo(wanted).max)
    for value in extremes(given):
        array = np.array([1, value], given)
        fits = low <= value <= high
        if fits:
            assert narrowed("x", array, wanted).tolist() == [1, value]
        else:
            with pytest.raises(FaltungError, match=rf"x\[1\]={value}: must be from {low} "):
                narrowed("x", array, wanted)
        made = clipped("x", array, wanted)
        assert made.tolist() == [1, min(max(value, low), high)] and made.dtype == wanted


def test_shapes_and_layouts_stay() -> None:
    given = np.arange(24, dtype=np.uint64).reshape(2, 3, 4)[:, ::-1].T
    for convert in (narrowed, clipped):
        made = convert("x", given, np.int32)
        assert made.flags.c_contiguous and np.array_equal(made, given)
        assert convert("x", np.uint64(5), np.int64).shape == ()
        assert convert("x", np.zeros((0, 3), np.uint64), np.int64).shape == (0, 3)
        with pytest.raises(FaltungTypeError, match=r"x\.dtype=float64: must be whole"):
            convert("x", np.ones(2), np.int64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index", ["int64", "uint64", "int32", "int16"])
@pytest.mark.parametrize("last", [False, True])
def test_an_index_of_a_maximum_does_not_wrap(dtype: str, index: str, last: bool) -> None:
    """One outside its window adds nothing, as documented, however far outside."""
    limits = np.iinfo(index)
    shape, size = ((1, 2, 1), (1, 4, 1)) if last else ((1, 1, 2), (1, 1, 4))
    grad = np.array([5.0, 3.0], dtype).reshape(shape)
    far = {2**32 + 1, 2**63 + 1, 2**64 - 2**32 + 1, 2**31 - 1, -(2**32) + 1, -(2**31), -1, 4, 2}
    for value in [n for n in far if limits.min <= n <= limits.max]:
        indices = np.array([value, 3], index).reshape(shape)
        found = faltung.max_pool_grad(grad, indices, size, (2,), channels_last=last)
        assert found.ravel().tolist() == [0, 0, 0, 3], value


def test_planes_that_indices_cannot_number_are_refused() -> None:
    x = np.broadcast_to(np.float32(1), (1, 1, 70_000, 40_000))
    with pytest.raises(FaltungError, match=r"at most 2147483647 positions .* use float64"):
        faltung.max_pool(x, 40_000, stride=40_000, indices=True)


@pytest.mark.parametrize("value", [2**63, 2**63 + 1, 2**64 - 1])
def test_labels_and_tokens_of_64_bits_without_sign(value: int) -> None:
    """Modulo 2**64 the last is -1, which says that a position does not count."""
    x, y = np.ones((3, 1, 4, 4)), np.array([0, value, 1], np.uint64)
    with pytest.raises(FaltungError, match=rf"y\[1\]={value}: must be from "):
        ArraySource(x, y)
    maps = np.zeros((3, 4, 4), np.uint64)
    maps[2, 1, 0] = value
    with pytest.raises(FaltungError, match=rf"y\[2, 1, 0\]={value}: must be from "):
        ArraySource(x, maps)
    words = np.array([[0, 1], [2, value]], np.uint64)
    with pytest.raises(FaltungError, match=rf"x\[1, 1\]={value}: must be from "):
        ArraySource(words, [0, 1], kind="text")


# No other way -------------------------------------------------------------------------------------

# Conversions to whole numbers that cannot wrap, by file: how many, and why.
ALLOWED = {
    "compress/calibrate.py": (2, "bins, below their count; zero points between two bounds"),
    "compress/quantise.py": (1, "numbers of samples, below their count"),
    "compress/labels.py": (2, "labels of channels, which are ours"),
    "data/arrays.py": (1, "numbers of classes, which are ours"),
    "data/digits.py": (1, "our own file"),
    "data/layers.py": (6, "pixels, limited by white and computed in 32 bits"),
    "data/loader.py": (3, "numbers of samples, below their count"),
    "explore/shown.py": (2, "levels of 8 bits, computed between their bounds"),
    "program/kept.py": (1, "numbers of arrays, which are counts"),
    "data/randaugment.py": (1, "levels of histograms, which have as many places"),
    "data/netpbm.py": (2, "words of digits, which NumPy checks; pixels, limited by white"),
    "data/pillow.py": (4, "pixels that have 16 bits, and Python's integers"),
    "data/tiff.py": (1, "pixels of 8 or 16 bits"),
    "data/names.py": (1, "Python's integers, which NumPy checks"),
    "data/resize.py": (1, "points, clipped to the axis"),
    "data/seeds.py": (1, "a permutation"),
    "formats/code_forms.py": (3, "levels within 255, and places in a palette of 256"),
    "formats/coded.py": (1, "bytes, and the least of them"),
    "formats/packed.py": (1, "levels that were compared with 8 bits"),
    "formats/symbols.py": (
        5,
        "counts of tables, which are checked; symbols and words of the coder",
    ),
    "formats/onnx_reduce.py": (1, "the number of an axis"),
    "formats/onnx_resample.py": (1, "entries of a table, which are ours"),
    "graph/foreign_entries.py": (1, "entries, after they were compared with the size"),
    "ndimage/structure.py": (1, "places of entries, below the size of an axis"),
    "onnx/unroll.py": (3, "numbers of turns and axes, which are few"),
    "data/source.py": (3, "numbers of samples: NumPy refuses the ones that are not there"),
    "data/folder.py": (1, "numbers of samples"),
    "data/standard.py": (1, "numbers of samples"),
    "data/tables.py": (1, "numbers of columns"),
    "data/targets.py": (1, "whole floats, checked to be below 2**53"),
    "formats/onnx_writer.py": (1, "Python's integers, which NumPy checks"),
    "onnx/control.py": (1, "the number of a turn"),
    "onnx/hostops.py": (3, "indices, checked before; places within an axis; Python's integers"),
    "onnx/importer.py": (2, "shapes, in Python's integers"),
    "onnx/quantised.py": (4, "sums that wrap around in 32 bits, as ONNX defines them; levels"),
    "onnx/tensors.py": (3, "the bits of 16-bit floats"),
    "ops/lines.py": (1, "a number of threads"),
    "ops/stencil.py": (1, "a number of threads"),
    "ops/windows.py": (1, "a number of threads"),
    "runtime/halves.py": (1, "the bits of 16-bit floats"),
    "methods/rows/embedding.py": (1, "checked against the table before"),
    "sklearn/classifier.py": (1, "whether a probability is above a half: 0 or 1"),
    "sklearn/samples.py": (1, "whole weights, checked to be few times the samples"),
    "signal/sums.py": (2, "sums of whole numbers, estimated to fit before"),
    "torch/emit_moves.py": (1, "entries of a table, which are ours"),
    "train/array_images.py": (4, "colours, clipped to 0..255, and pixels within a picture"),
    "train/scores.py": (1, "labels, which are below the number of classes"),
    "train/confusion.py": (1, "shades of a table"),
    "train/curves.py": (2, "places within a series; tenths of shares"),
    "train/grad_cam.py": (1, "places within an axis"),
    "train/map_sheets.py": (2, "shades from 0 to 255, and colours, which are ours"),
    "xarray/extremes.py": (1, "0 or 1 for what is there"),
    "xarray/smooth.py": (1, "0 or 1 for what is there"),
}
# Where arrays are made from geometry alone, in Python's integers and int64 from the beginning.
OURS = ("codegen", "reference", "plan", "machine", "jit", "runtime/narrowing.py")
FAMILIES = "methods"

NAMES = {"int", "bool", "intp"} | set(WHOLE)
CONVERTERS = {"asarray", "ascontiguousarray", "array", "require", "fromiter", "asanyarray"}


def whole(node: ast.expr | None) -> bool:
    """Whether an expression names a dtype of whole numbers."""
    if isinstance(node, ast.Attribute):
        return node.attr in NAMES
    if isinstance(node, ast.Name):
        return node.id in NAMES - {"bool"}
    return isinstance(node, ast.Constant) and str(node.value).lstrip("<>|=") in (
        NAMES | {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
    )


def conversions(text: str) -> list[int]:
    """Lines where an array becomes one of whole numbers: ``x.astype(np.int64)``,
    ``np.asarray(x, np.int64)`` and their like.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        given = {word.arg: word.value for word in node.keywords}
        if node.func.attr == "astype":
            kind = node.args[0] if node.args else given.get("dtype")
        elif node.func.attr in CONVERTERS:
            kind = node.args[1] if len(node.args) > 1 else given.get("dtype")
        else:
            continue
        if whole(kind):
            found.append(node.lineno)
    return sorted(found)


def test_conversions_are_found() -> None:
    text = "a.astype(np.int32)\nnp.asarray(b, dtype='<i8')\nnp.require(c, np.uint8, ['C'])\n"
    assert conversions(text + "d.astype(np.float32)\nnp.array(e)\nf.astype(int)\n") == [1, 2, 3, 6]


def test_nothing_else_converts_to_whole_numbers() -> None:
    """A new conversion of what users give goes through ``narrowed`` or ``clipped``."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(OURS) or (name.startswith(FAMILIES) and name not in ALLOWED):
            continue
        lines = conversions(path.read_text("utf-8"))
        allowed, why = ALLOWED.get(name, (0, ""))
        assert len(lines) <= allowed, (
            f"{name}: lines {lines} convert to whole numbers, {allowed} allowed"
            f"{f' ({why})' if why else ''}: use runtime/narrowing.py"
        )
