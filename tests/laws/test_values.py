"""What every method makes of numbers that are not ordinary: infinities and NaN, the very large, the
very small. Sums keep them where they are read; a transform may spread them, within its block.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import real
from laws.methods import Array, made, pairs, row, table, wanted

from cases import integers
from faltung.geometry import ConvSpec
from faltung.geometry.adjoint import input_grad
from faltung.jit.target import current
from faltung.methods.base.correlation import Correlation, contiguous, forward, input_grad_phase
from faltung.methods.base.simplify import essential
from faltung.methods.fft.fft import FFT
from faltung.methods.strassen.choice import choose as strassen

EVERY = grid(pair=pairs(), machine=MACHINES)
# The operands of each direction, as places among x, weight, bias, output gradient.
X, W, BIAS, G = range(4)
OPERANDS = {"forward": (X, W), "input_grad": (G, W), "weight_grad": (X, G)}
# Tiles of Winograd's algorithm read so many positions at the most.
WIDEST = 8


def numbers(method: str) -> tuple[ConvSpec, bool, list[Array]]:
    """The problem of a method, without a bias."""
    spec, last = row(method)
    arrays = list(real(spec))
    arrays[BIAS] = np.zeros_like(arrays[BIAS])
    return spec, last, arrays


def result(direction: str, method: str, spec: ConvSpec, arrays: list[Array], last: bool) -> Array:
    got = made(direction, method, spec, arrays, last)
    assert got is not None, f"{method} does not apply to its own problem"
    return got


def reach(method: str, spec: ConvSpec, last: bool) -> int:
    """Positions between a value and the outputs that it may change."""
    if method == "winograd":
        return WIDEST - 1
    if method != "fft":
        return max(spec.kernel) - 1
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    cut = FFT.cut(forward(spec, *(contiguous(shape, last) for shape in shapes)), current())
    assert cut is not None
    return 2 * cut.length  # two blocks go through one transform


def shared(method: str, spec: ConvSpec, changed: Array) -> Array:
    """``changed``, and for Strassen's algorithm what shares sums with that: the same position and
    the same channel of a group in the other parts.
    """
    if method != "strassen":
        return changed
    chosen = strassen(correlation(spec, changed.shape), current())
    assert chosen is not None
    batch, channels, *space = changed.shape
    each = channels // spec.groups
    wide = np.zeros(
        (batch, spec.groups, chosen.parts * chosen.part_out, chosen.parts * chosen.rows)
    )
    wide[:, :, :each, : np.prod(space)] = changed.reshape(batch, spec.groups, each, -1)
    cut = wide.reshape(batch, spec.groups, chosen.parts, chosen.part_out, chosen.parts, chosen.rows)
    spread = np.broadcast_to(cut.any(axis=(2, 4), keepdims=True), cut.shape).reshape(wide.shape)
    return spread[:, :, :each, : np.prod(space)].reshape(changed.shape)


def correlation(spec: ConvSpec, shape: tuple[int, ...]) -> Correlation:
    """The convolution whose results have this ``shape``: forward, or the gradient for the input."""
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    x, w, out = (contiguous(each, True) for each in shapes)
    if shape == spec.output_shape:
        return essential(forward(spec, x, w, out))
    (phase,) = input_grad(spec)
    return essential(input_grad_phase(spec, phase, out, w, x))


def may_change(
    direction: str, method: str, spec: ConvSpec, operand: int, at: tuple[int, ...], last: bool
) -> Array:
    """The outputs that a value at ``at`` of an operand may change, beside those that read it."""
    shape = {"forward": spec.output_shape, "input_grad": spec.input_shape}
    changed = np.zeros(shape.get(direction, spec.weight_shape), bool)
    inputs, outputs = (c // spec.groups for c in (spec.channels_in, spec.channels_out))
    group = at[0] // outputs if operand == W else at[1] // (inputs if operand == X else outputs)
    ins, outs = (slice(group * n, (group + 1) * n) for n in (inputs, outputs))
    if direction == "weight_grad":  # all taps of its channel
        changed[(outs, at[1] % inputs) if operand == X else at[1]] = True
    elif operand == W:  # all positions of its channel
        changed[:, at[0] if direction == "forward" else group * inputs + at[1]] = True
    else:  # what lies near, of its sample
        far = reach(method, spec, last)
        near = (slice(max(0, i - far), i + far + 1) for i in at[2:])
        changed[(at[0], outs if direction == "forward" else ins, *near)] = True
    return shared(method, spec, changed)


def places(spec: ConvSpec, direction: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """An operand, and a place in it."""
    for operand in OPERANDS[direction]:
        shape = (spec.input_shape, spec.weight_shape, (), spec.output_shape)[operand]
        yield operand, tuple(size // 2 for size in shape)


def inside(spec: ConvSpec, shape: tuple[int, ...]) -> Array:
    """The places of a map that no zeros of the padding have a part in."""
    found = np.zeros(shape, bool)
    within = (slice(lo, n - hi) for (lo, hi), n in zip(spec.padding, shape[2:], strict=True))
    found[(..., *within)] = True
    return found


@EVERY
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_is_not_finite(direction: str, method: str, machine: object) -> None:
    """Sums: exactly where the sum says. Transforms: there, and near it; all else keeps its bits."""
    spec, last = row(method)
    transform = table(direction)[method].transform
    x, w, bias, g = integers(spec)
    arrays = [np.where(array == 0, np.float32(1), array) for array in (x, w, 0 * bias, g)]
    clean = result(direction, method, spec, arrays, last)
    for operand, at in places(spec, direction):
        for value in (np.nan, np.inf, -np.inf):
            bad = [array.copy() for array in arrays]
            bad[operand][at] = value
            got, want = result(direction, method, spec, bad, last), wanted(direction, spec, bad)
            near = may_change(direction, method, spec, operand, at, last)
            np.testing.assert_array_equal(got[~near], clean[~near])
            # A tap in zeros around the array may be left out, or be a product with zero.
            read = ~np.isfinite(want)
            if operand == W:
                read &= inside(spec, want.shape)
            assert not np.isfinite(got[read]).any()
            if not transform and operand != W:
                np.testing.assert_array_equal(got, want)


@grid(pair=pairs(), power=[100, -100], machine=MACHINES)
def test_scale(direction: str, method: str, power: int, machine: object) -> None:
    """Numbers around 1e30 or 1e-30: the bits of those around one, and another exponent."""
    spec, last, arrays = numbers(method)
    scale = np.float32(2.0**power)
    want = result(direction, method, spec, arrays, last) * scale
    for operand in OPERANDS[direction]:
        scaled = list(arrays)
        scaled[operand] = arrays[operand] * scale
        np.testing.assert_array_equal(result(direction, method, spec, scaled, last), want)


@EVERY
def test_one_large_value(direction: str, method: str, machine: object) -> None:
    """1e30 among ordinary numbers: sums keep all others; transforms lose those near it."""
    spec, last, arrays = numbers(method)
    clean = result(direction, method, spec, arrays, last)
    for operand, at in places(spec, direction):
        large = [array.copy() for array in arrays]
        large[operand][at] = 1e30
        got, want = result(direction, method, spec, large, last), wanted(direction, spec, large)
        near = may_change(direction, method, spec, operand, at, last)
        np.testing.assert_array_equal(got[~near], clean[~near])
        assert np.linalg.norm((got - want) / 1e30) <= 1e-5 * np.linalg.norm(want / 1e30)
        if not table(direction)[method].transform:
            same = np.abs(want) < 1e20
            np.testing.assert_array_equal(got[same], clean[same])


@EVERY
def test_denormals(direction: str, method: str, machine: object) -> None:
    """Nothing is flushed to zero: the error is some of the smallest steps that there are."""
    spec, last, arrays = numbers(method)
    operand = OPERANDS[direction][0]
    arrays[operand] = (arrays[operand] * 1e-40).astype(np.float32)
    got, want = result(direction, method, spec, arrays, last), wanted(direction, spec, arrays)
    assert np.abs(want).max() < np.finfo(np.float32).tiny * 4
    steps = np.abs(got - want).max() / np.finfo(np.float32).smallest_subnormal
    assert steps < (1000 if table(direction)[method].transform else 50)
