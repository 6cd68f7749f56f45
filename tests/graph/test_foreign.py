"""Tensors of other programs: views are what NumPy makes of them, whatever the order of axes."""

import itertools

import numpy as np
import pytest

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Foreign, Tensor, Unsaid


def of(x: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """What a tensor looks like, where its value counts from 0."""
    return x.told(np.arange(int(np.prod(shape))).reshape(shape))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_reshapes_after_transposes(order: tuple[int, ...]) -> None:
    """Any reshape of any transpose, where that needs no copy."""
    f = Foreign(1, "float32")
    shape = (4, 2, 6)
    x = f.input(shape, "float32").transposed(order)
    plain = np.arange(48).reshape(shape).transpose(order)
    assert np.array_equal(of(x, shape), plain)
    done = 0
    for wanted in [(48,), (8, 6), (4, 12), (2, 2, 2, 6), (6, 8), (1, 4, 1, 12), (2, 24), (24, 2)]:
        got = f.reshaped(x, wanted)
        assert got.shape == wanted
        if got.value != x.value:  # a copy, which test_foreign_maps.py runs
            continue
        assert np.array_equal(of(got, shape), plain.reshape(wanted))
        done += 1
    assert done >= (8 if order == (0, 1, 2) else 0)


def test_moves() -> None:
    f = Foreign(2, "float32")
    x = f.input((2, 3, 4, 5), "float32")
    plain = np.arange(120).reshape(2, 3, 4, 5)
    assert np.array_equal(of(x.moved(3, 1), (2, 3, 4, 5)), np.moveaxis(plain, 3, 1))
    assert x.moved(3, 1).moved(1, 3) == x
    assert not x.moved(3, 1).straight and x.straight


def test_the_batch_stays_where_it_is() -> None:
    f = Foreign(2, "float32")
    x = f.input((2, 3, 4), "float32")
    with pytest.raises(Unsaid, match="the batch merged with another axis"):
        f.reshaped(x, (6, 4))
    with pytest.raises(Unsaid, match="an axis before the batch"):
        f.form(x.transposed((1, 0, 2)), (2, 4))
    with pytest.raises(FaltungError, match="must have the 24 elements"):
        f.reshaped(x, (2, 5))


def test_names_of_layers_are_unique() -> None:
    f = Foreign(1, "float32")
    assert [f.name("/a.b/Conv"), f.name("/a.b/Conv"), f.name("")] == [
        "a_b/Conv",
        "a_b/Conv-2",
        "node",
    ]
