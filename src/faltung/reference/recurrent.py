"""The definition of recurrent layers, step by step, in float64, and of their gradient.

One direction at a time, over maps (batch, channels, steps). With W x + b of the gates given, R the
recurrent weight and r its bias, clip left out, the equations are, as in ONNX 1.23
(https://onnx.ai/onnx/operators/, LSTM, GRU, RNN):

    LSTM  i = f(Wx_i + R_i h + P_i c)   f = f(Wx_f + R_f h + P_f c)   g = g(Wx_g + R_g h)
          c' = f c + i g   o = f(Wx_o + R_o h + P_o c')   h' = o h(c')
    GRU   r = f(Wx_r + R_r h)   z = f(Wx_z + R_z h)   h' = (1 - z) n + z h
          n = g(Wx_n + R_n (r h) + r_n), or with linear_before_reset g(Wx_n + r (R_n h + r_n))
    RNN   h' = f(Wx + R h)

A sample whose sequence is shorter keeps its state from there on, and its output is zero. The
reverse direction begins with the last step of each sequence.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faltung.geometry.expr import Expr, derivative
from faltung.geometry.recurrent import RecurrentSpec, Squash
from faltung.reference.expr import evaluate

Array = NDArray[np.float64]


class Walked(NamedTuple):
    """What a direction gives. y: (batch, H, steps). h, c: (batch, H), the last ones; c is None for
    all but LSTM. sums: what the activations read, (batch, gates * H, steps), then the product that
    stays apart. before, cells: the state that each step found, (batch, H, steps).
    """

    y: Array
    h: Array
    c: Array | None
    sums: Array
    before: Array
    cells: Array | None


class Gradient(NamedTuple):
    """x: for the gates' inputs. products: for the recurrent products, those of all gates. h, c: for
    the initial state.
    """

    x: Array
    products: Array
    h: Array
    c: Array | None


_SQUASH: dict[str, Callable[[Array, float, float], Array]] = {
    "relu": lambda x, a, b: np.maximum(x, 0),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: 0.5 * (1 + np.tanh(0.5 * x)),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "thresholdedrelu": lambda x, a, b: np.where(x >= a, x, 0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.logaddexp(0, x),
}


def recurrence(
    spec: RecurrentSpec,
    direction: int,
    x: ArrayLike,
    weights: Sequence[ArrayLike],
    *,
    bias: ArrayLike | None = None,
    peepholes: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    h: ArrayLike | None = None,
    c: ArrayLike | None = None,
) -> Walked:
    """Walk along the steps. x: (batch, gates * H, steps), the gates' inputs; weights: (gates * H,
    H), or of a GRU that resets before the product the two parts of ``spec.weights``; bias: (gates *
    H,), of the products; peepholes: (3 * H,); lengths: (batch,) or less; h, c: (batch, H) or less.
    """
    given = np.asarray(x, np.float64)
    batch, _, steps = given.shape
    size, gates = spec.hidden, len(spec.gates)
    state = _spread(h, batch, size)
    cell = _spread(c, batch, size) if spec.is_lstm else None
    ends = _lengths(lengths, batch, steps)
    rows = _rows(spec, weights)
    biases = np.zeros((gates, size)) if bias is None else np.reshape(bias, (gates, size))
    seen = np.zeros((3, size)) if peepholes is None else np.reshape(peepholes, (3, size))
    y = np.zeros((batch, size, steps))
    before, cells = np.zeros_like(y), np.zeros_like(y)
    apart = spec.cell(direction).apart
    sums = np.zeros((batch, gates + (apart is not None), size, steps))
    samples = np.arange(batch)
    for step in range(steps):
        active = step < ends
        at = np.where(active & spec.reverse[direction], ends - 1 - step, step)
        inputs = given[samples, :, at].reshape(batch, gates, size)
        before[samples, :, at] = state
        if cell is not None:
            cells[samples, :, at] = cell
        made = _STEPS[spec.kind](spec, direction, inputs, rows, biases, seen, state, cell)
        sums[samples, :, :, at] = made[0]
        on = active[:, None]
        y[samples, :, at] = np.where(on, made[1], 0)
        state = np.where(on, made[1], state)
        cell = None if cell is None else np.where(on, made[2], cell)
    flat = sums.reshape(batch, sums.shape[1] * size, steps)
    return Walked(y, state, cell, flat, before, None if cell is None else cells)


def _spread(given: ArrayLike | None, batch: int, size: int) -> Array:
    """An initial state for every sample, zero by default; of fewer samples they are repeated."""
    if given is None:
        return np.zeros((batch, size))
    rows = np.asarray(given, np.float64).reshape(-1, size)
    return np.tile(rows, (batch // len(rows), 1))


def _lengths(given: ArrayLike | None, batch: int, steps: int) -> NDArray[np.int64]:
    if given is None:
        return np.full(batch, steps)
    found = np.asarray(given).reshape(-1).astype(np.int64)
    return np.tile(np.clip(found, 0, steps), batch // len(found))


def _rows(spec: RecurrentSpec, weights: Sequence[ArrayLike]) -> Array:
    """The recurrent weights by gate: (gates, H, H)."""
    cell, size = spec.cell(0), spec.hidden
    made = np.zeros((len(spec.gates), size, size))
    for numbers, weight in zip((cell.first, cell.second), weights, strict=False):
        made[list(numbers)] = np.asarray(weight, np.float64).reshape(len(numbers), size, size)
    return made


def _act(spec: RecurrentSpec, squash: Squash, x: Array) -> Array:
    return _squashed(squash, x if spec.clip is None else np.clip(x, -spec.clip, spec.clip))


def _squashed(squash: Squash, x: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(_SQUASH[squash.name](x, squash.alpha, squash.beta))


def _lstm(
    spec: RecurrentSpec,
    direction: int,
    x: Array,
    rows: Array,
    bias: Array,
    seen: Array,
    h: Array,
    c: Array,
) -> tuple[Array, ...]:
    gate, new, shown = spec.activations[direction]
    sums = x + np.einsum("gok,nk->ngo", rows, h) + bias
    at = {letter: sums[:, spec.gates.index(letter)] for letter in "ifgo"}
    i = _act(spec, gate, at["i"] + seen[0] * c)
    f = 1 - i if spec.input_forget else _act(spec, gate, at["f"] + seen[2] * c)
    after = f * c + i * _act(spec, new, at["g"])
    o = _act(spec, gate, at["o"] + seen[1] * after)
    return sums, o * _squashed(shown, after), after


def _gru(
    spec: RecurrentSpec,
    direction: int,
    x: Array,
    rows: Array,
    bias: Array,
    seen: Array,
    h: Array,
    c: Array | None,
) -> tuple[Array, ...]:
    gate, new = spec.activations[direction]
    r, z, n = (spec.gates.index(letter) for letter in "rzn")
    products = np.einsum("gok,nk->ngo", rows, h) + bias
    sums = x + products
    reset, update = _act(spec, gate, sums[:, r]), _act(spec, gate, sums[:, z])
    if spec.linear_before_reset:
        sums[:, n] = x[:, n]
        sums = np.concatenate([sums, products[:, n : n + 1]], axis=1)
        fresh = _act(spec, new, x[:, n] + reset * products[:, n])
    else:
        sums[:, n] = x[:, n] + (reset * h) @ rows[n].T + bias[n]
        fresh = _act(spec, new, sums[:, n])
    return sums, (1 - update) * fresh + update * h


def _rnn(
    spec: RecurrentSpec,
    direction: int,
    x: Array,
    rows: Array,
    bias: Array,
    seen: Array,
    h: Array,
    c: Array | None,
) -> tuple[Array, ...]:
    sums = x + np.einsum("gok,nk->ngo", rows, h) + bias
    return sums, _act(spec, spec.activations[direction][0], sums[:, 0])


_STEPS: dict[str, Callable[..., tuple[Array, ...]]] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


# The gradient -------------------------------------------------------------------------------------


def recurrence_grad(
    spec: RecurrentSpec,
    direction: int,
    walked: Walked,
    weights: Sequence[ArrayLike],
    *,
    y: ArrayLike | None = None,
    h: ArrayLike | None = None,
    c: ArrayLike | None = None,
    peepholes: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
) -> Gradient:
    """Back through time (P. J. Werbos, "Backpropagation Through Time: What It Does and How to Do
    It", Proceedings of the IEEE 78, 1990). y, h, c: the gradients of what ``recurrence`` gave,
    where there are any; of ``walked`` only the sums and the states before are read.
    """
    size, gates = spec.hidden, len(spec.gates)
    batch, _, steps = walked.before.shape
    sums = walked.sums.reshape(batch, -1, size, steps)
    ends = _lengths(lengths, batch, steps)
    rows = _rows(spec, weights)
    cell = spec.cell(direction)
    seen = np.zeros((3, size)) if peepholes is None else np.reshape(peepholes, (3, size))
    shown = np.zeros((batch, size, steps)) if y is None else np.asarray(y, np.float64)
    dh, dc = _spread(h, batch, size), _spread(c, batch, size)
    dx = np.zeros((batch, gates, size, steps))
    products = np.zeros_like(dx)
    samples, state = np.arange(batch), gates + (cell.apart is not None)
    for step in reversed(range(steps)):
        active = step < ends
        on = active[:, None]
        at = np.where(active & spec.reverse[direction], ends - 1 - step, step)
        operands = [*np.moveaxis(sums[samples, :, :, at], 1, 0), walked.before[samples, :, at]]
        if walked.cells is not None:
            operands += [walked.cells[samples, :, at], *seen]
        reach = [dh + shown[samples, :, at], dc]

        def slope(number: int) -> Array:
            return _slope(cell.states, reach, operands, number)  # noqa: B023

        own = [slope(i) for i in range(gates)]
        direct = slope(state)
        if cell.inner is not None:
            (n,) = cell.second
            through = own[n] @ rows[n]
            for i in cell.first:
                own[i] = own[i] + through * evaluate(derivative(cell.inner, i), operands)
            direct = direct + through * evaluate(derivative(cell.inner, state), operands)
        read = list(own)
        if cell.apart is not None:
            read[cell.apart] = slope(gates)
        back = direct + sum(read[i] @ rows[i] for i in cell.first)
        dx[samples, :, :, at] = np.where(on[..., None], np.stack(own, 1), 0)
        products[samples, :, :, at] = np.where(on[..., None], np.stack(read, 1), 0)
        if spec.is_lstm:
            dc = np.where(on, slope(state + 1), dc)
        dh = np.where(on, back, dh)
    shape = (batch, gates * size, steps)
    return Gradient(dx.reshape(shape), products.reshape(shape), dh, dc if spec.is_lstm else None)


def _slope(
    states: Sequence[Expr], reach: Sequence[Array], operands: Sequence[Array], number: int
) -> Array:
    """The gradient of an operand, from those of the states."""
    parts = zip(reach, states, strict=False)
    return np.asarray(sum(g * evaluate(derivative(s, number), operands) for g, s in parts))
