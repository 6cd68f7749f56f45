"""Broadcasts, reductions, parts and joins of foreign tensors, as programs, against NumPy."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from faltung.graph import foreign_maps as maps
from faltung.graph.foreign import Foreign, Tensor
from faltung.program.inference import Inference
from faltung.program.state import State


def run(x: np.ndarray, build: Callable[[Foreign, Tensor], Tensor]) -> np.ndarray:
    """What a program computes for an input whose first axis is the batch."""
    f = Foreign(len(x), "float32")
    y = build(f, f.input(x.shape, "float32"))
    graph = f.graph([y.value])
    state = State(graph.parameters, "float32")
    state.update({p.name: f.weights[p.name] for p in graph.parameters})
    made = Inference(graph, state, f.batch)(x.reshape(len(x), *graph.input.shape))
    return y.told(np.asarray(made))


X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
def test_reductions(kind: str, axis: int) -> None:
    for axes in ([axis], sorted({axis, 2}), [1, 2, 3]):
        want = getattr(np, kind)(X, axis=tuple(axes), keepdims=True)
        got = run(X, lambda f, x, a=axes: maps.reduced(f, x, a, kind, True))  # type: ignore[misc]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        got = run(X, lambda f, x, a=axes: maps.reduced(f, x, a, kind, False))  # type: ignore[misc]
        np.testing.assert_allclose(got, want.squeeze(tuple(axes)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(2, 1, 4, 5), (2, 3, 1, 5), (2, 3, 4, 1), (2, 1, 1, 5), (2, 1, 1, 1)]
)
def test_broadcasts_are_exact(shape: tuple[int, ...]) -> None:
    x = X[tuple(slice(0, n) for n in shape)].copy()
    x.ravel()[0] = np.inf
    got = run(x, lambda f, t: maps.expanded(f, t, (2, 3, 4, 5)))
    assert np.array_equal(got, np.broadcast_to(x, (2, 3, 4, 5)))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize(("start", "count", "step"), [(0, 2, 1), (1, 2, 1), (0, 2, 2), (2, 1, 1)])
def test_parts_are_exact(axis: int, start: int, count: int, step: int) -> None:
    want = np.take(X, range(start, start + count * step, step), axis=axis)
    got = run(X, lambda f, x: maps.sliced(f, x, axis, start, count, step))
    assert np.array_equal(got, want)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_joins_and_pads_are_exact(axis: int) -> None:
    got = run(X, lambda f, x: maps.concatenated(f, [x, maps.sliced(f, x, axis, 1, 2, 1), x], axis))
    part = np.take(X, [1, 2], axis=axis)
    assert np.array_equal(got, np.concatenate([X, part, X], axis=axis))
    pairs = [(0, 0)] * 4
    pairs[axis] = (2, 1)
    assert np.array_equal(run(X, lambda f, x: maps.padded(f, x, pairs)), np.pad(X, pairs))


def test_entries_in_any_order() -> None:
    got = run(X, lambda f, x: maps.picked(f, x, 2, [3, 0, 1, 1]))
    assert np.array_equal(got, X[:, :, [3, 0, 1, 1]])


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_softmax(axis: int) -> None:
    e = np.exp(X - X.max(axis, keepdims=True))
    want = e / e.sum(axis, keepdims=True)
    got = run(X, lambda f, x: maps.softmax(f, x, axis))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_transposes_are_exact(order: tuple[int, ...]) -> None:
    """Also after a reshape that splits an axis, and before one that merges others."""

    def turned(f: Foreign, x: Tensor) -> Tensor:
        plain = maps.formula(f, lambda a: a + 0, maps.padded(f, x, [(0, 0)] * 3 + [(1, 0)]))
        return f.straightened(maps.sliced(f, plain, 3, 1, 5, 1).transposed((0, *order)))

    want = X.transpose(0, *order)
    assert np.array_equal(run(X, turned), want)
    merged = (2, want.shape[1] * want.shape[2], want.shape[3])
    assert np.array_equal(
        run(X, lambda f, x: f.straightened(f.reshaped(turned(f, x), merged))), want.reshape(merged)
    )

    def shuffled(f: Foreign, x: Tensor) -> Tensor:
        split = f.reshaped(x, (2, 3, 2, 2, 5)).transposed((0, 3, 1, 2, 4))
        return f.straightened(f.reshaped(split, (2, 6, 2, 5)))

    want = X.reshape(2, 3, 2, 2, 5).transpose(0, 3, 1, 2, 4).reshape(2, 6, 2, 5)
    assert np.array_equal(run(X, shuffled), want)


def test_our_export_of_a_transpose() -> None:
    pytest.importorskip("onnxruntime")
    from onnx_models import runtime

    from faltung.formats.onnx_export import export_onnx

    f = Foreign(2, "float32")
    y = f.straightened(f.input(X.shape, "float32").transposed((0, 2, 3, 1)))
    data = export_onnx(f.graph([y.value]), {})
    (made,) = runtime(data, {"input": X})
    assert np.array_equal(made, X.transpose(0, 2, 3, 1))
