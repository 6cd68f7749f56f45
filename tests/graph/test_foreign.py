"""Tensors of other programs: views are what NumPy makes of them, whatever the order of axes."""

import itertools

import numpy as np
import pytest

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Foreign, Tensor, Unsaid


def of(x: Tensor) -> np.ndarray:
    """What a tensor looks like, where its numbers count from 0 in memory."""
    return x.told(np.arange(x.size))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_reshapes_after_transposes(order: tuple[int, ...]) -> None:
    """Any reshape of any transpose that splits sizes where they divide needs no copy."""
    f = Foreign("float32")
    shape = (4, 2, 6)
    x = f.input(shape, "float32").transposed(order)
    plain = np.arange(48).reshape(shape).transpose(order)
    assert np.array_equal(of(x), plain)
    for wanted in [(48,), (8, 6), (4, 12), (2, 2, 2, 6), (1, 4, 1, 12), (2, 24), (24, 2)]:
        got = f.reshaped(x, wanted)
        assert got.shape == wanted
        if got.value == x.value:  # else a copy, which test_foreign_maps.py runs
            assert np.array_equal(of(got), plain.reshape(wanted))
            for back in itertools.permutations(range(len(wanted))):
                again = f.reshaped(got.transposed(back), (48,))
                if again.value == x.value:
                    want = plain.reshape(wanted).transpose(back).ravel()
                    assert np.array_equal(of(again), want)
    assert f.reshaped(x, (48,)).value == x.value


def test_moves() -> None:
    f = Foreign("float32")
    x = f.input((2, 3, 4, 5), "float32")
    plain = np.arange(120).reshape(2, 3, 4, 5)
    assert np.array_equal(of(x.moved(3, 1)), np.moveaxis(plain, 3, 1))
    assert x.moved(3, 1).moved(1, 3) == x
    assert not x.moved(3, 1).straight and x.straight
    assert x.moved(3, 1).memory == (0, 2, 3, 1)


def test_a_map_is_read_as_it_is() -> None:
    f = Foreign("float32")
    x = f.input((2, 3, 4, 5), "float32", (0, 2, 3, 1))
    assert (x.value.samples, x.value.shape) == (2, (3, 4, 5))
    assert f.map(x) == x.value
    assert f.of_map(x.value, "float32") == x
    y = f.input((2, 4, 5, 3), "float32")  # channels last: a view of the same memory
    seen = f.map(y.moved(3, 1))
    assert (seen.samples, seen.shape) == (2, (3, 4, 5))
    assert len(f.b._nodes) == 1
    array = np.arange(120.0).reshape(2, 3, 4, 5)
    assert np.array_equal(x.laid_out(array), array)
    assert np.array_equal(
        y.laid_out(array.transpose(0, 2, 3, 1)).ravel(), array.transpose(0, 2, 3, 1).ravel()
    )


def test_what_cannot_be() -> None:
    f = Foreign("float32")
    x = f.input((2, 3, 4), "float32")
    with pytest.raises(FaltungError, match="must have the 24 elements"):
        f.reshaped(x, (2, 5))
    with pytest.raises(Unsaid, match="without elements"):
        f.input((2, 0), "float32")


def test_names_of_layers_are_unique() -> None:
    f = Foreign("float32")
    assert [f.name("/a.b/Conv"), f.name("/a.b/Conv"), f.name("")] == [
        "a_b/Conv",
        "a_b/Conv-2",
        "node",
    ]
