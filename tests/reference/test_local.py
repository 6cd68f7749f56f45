"""The local layer by its definition; one mapping as convolution, local layer and dense matrix."""

from itertools import product

import numpy as np
import pytest
from grid import examples
from hypothesis import given

from cases import integers, random_specs
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.reference.local import bias_shape, weight_shape

TEXTS = [
    "n2 c2>3 5 k3 p1",
    "n2 c3>2 6x5 k3x2 s2x1 p(1,0)x(0,2)",
    "n1 c2>3 7 k3 d2 p2 s3",
    "n2 c1>2 3x4x3 k2 p1x0x1",
    "n1 c2>2 5x4 k3 p1 m:reflect,circular",
    "n1 c2>2 6 k4 p2 flip",
    "n0 c2>2 6 k4",
]
SPECS = [parse(text) for text in TEXTS]


def data(spec: ConvSpec) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    shapes = (spec.input_shape, weight_shape(spec), bias_shape(spec), spec.output_shape)
    return tuple(rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_sum_as_it_is_written(spec: ConvSpec) -> None:
    x, w, bias, _ = data(spec)
    want = np.array(np.broadcast_to(np.moveaxis(bias, -1, 0), spec.output_shape))
    for o, k in product(np.ndindex(*spec.output), np.ndindex(*spec.kernel)):
        at = [
            axis.source(i * axis.stride - axis.lo + tap * axis.dilation)
            for i, tap, axis in zip(o, k, spec.axes, strict=True)
        ]
        if any(i is None for i in at):
            continue
        tap = tuple(n - 1 - i for i, n in zip(k, spec.kernel, strict=True)) if spec.flip else k
        want[(..., *o)] += x[(..., *at)] @ w[(*o, slice(None), slice(None), *tap)].T
    np.testing.assert_array_equal(reference.local(x, w, bias, spec), want)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_gradients_are_adjoint(spec: ConvSpec) -> None:
    x, w, _, g = data(spec)
    value = (reference.local(x, w, None, spec) * g).sum()
    assert (reference.local_input_grad(g, w, spec) * x).sum() == value
    assert (reference.local_weight_grad(x, g, spec) * w).sum() == value
    bias = reference.local_bias_grad(g, spec)
    np.testing.assert_array_equal(bias, np.moveaxis(g.sum(axis=0), 0, -1))


@examples(2)
@given(random_specs(max_rank=3, max_macs=3_000))
def test_convolution_is_local_is_dense(spec: ConvSpec) -> None:
    x, w, _, g = integers(spec)
    v = reference.local_from_conv(w, spec.output)
    want = reference.conv(x, w, None, spec)
    np.testing.assert_array_equal(reference.local(x, v, None, spec), want)
    matrix = reference.dense_from_conv(w, spec)
    np.testing.assert_array_equal(reference.dense_from_local(v, spec), matrix)
    flat = x.reshape(spec.batch, matrix.shape[1]).astype(np.float64)
    np.testing.assert_array_equal((flat @ matrix.T).reshape(want.shape), want)
    back = g.reshape(spec.batch, matrix.shape[0]).astype(np.float64) @ matrix
    by_x = reference.conv_input_grad(g, w, spec)
    np.testing.assert_array_equal(back.reshape(by_x.shape), by_x)
    np.testing.assert_array_equal(reference.local_input_grad(g, v, spec), by_x)
    # What all positions share has the sum of their gradients.
    shared = reference.local_weight_grad(x, g, spec).sum(axis=tuple(range(spec.rank)))
    np.testing.assert_array_equal(shared, reference.conv_weight_grad(x, g, spec))


def test_the_ladder_counts_these_parameters() -> None:
    spec = parse("c3>4 6x7 k3 p1 s2")
    ladder = spec.ladder()
    v = reference.local_from_conv(np.ones(spec.weight_shape), spec.output)
    assert (v.size, reference.dense_from_local(v, spec).size) == (ladder.local, ladder.dense)


def test_a_wrong_shape_is_named() -> None:
    spec = parse("c2>3 5 k3")
    with pytest.raises(ValueError, match="w: has shape"):
        reference.local(np.ones((1, 2, 5)), np.ones((3, 2, 3)), None, spec)
