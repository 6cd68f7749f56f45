"""LSTM, GRU and RNN, from ONNX.

The axes of a sequence, whichever comes first, are samples, positions and channels of a map; what
comes out lies in memory as (samples, positions, directions, units), and is looked at as the
operator has it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.recurrent import (
    ACTIVATIONS,
    NUMBERS,
    ONNX_GATES,
    ONNX_NAMES,
    USUAL,
    RecurrentSpec,
    Squash,
)
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_maps import known
from faltung.graph.ops import Recurrent
from faltung.graph.value import Value
from faltung.onnx.arguments import Arguments

Array = npt.NDArray[Any]

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
NAMES = {name.lower(): name.lower() for name in ONNX_NAMES.values()}
# The numbers of activations where the file has none.
ALPHA = {
    "affine": 1.0,
    "leakyrelu": 0.01,
    "thresholdedrelu": 1.0,
    "scaledtanh": 1.0,
    "hardsigmoid": 0.2,
    "elu": 1.0,
}
BETA = {"affine": 0.0, "scaledtanh": 1.0, "hardsigmoid": 0.5}
# Where the inputs are: weights, then the lengths, the first states and the peepholes.
W, R, B, LENGTHS, H, C, P = range(1, 8)


def recurrent(a: Arguments) -> list[Tensor]:
    """Y, Y_h and, of an LSTM, Y_c."""
    kind = a.op.lower()
    layout = a.whole("layout", 0)
    if layout not in (0, 1):
        raise FaltungError(f"layout={layout}: must be 0 or 1")
    x = _tensor(a, 0)
    if x.rank != 3:
        raise FaltungError(f"input of shape {x.shape}: must have three axes")
    time, batch = (1, 0) if layout else (0, 1)
    value = a.f.map(x, (batch,), (time,), (2,))
    spec = _spec(a, kind, x.shape[time])
    inputs = [value, *_weights(a, spec, x.shape[2])]
    samples = x.shape[batch]
    if spec.lengths:
        inputs.append(_lengths(a, samples))
    for number in (H, C)[: 1 + spec.is_lstm]:
        if a.has(number):
            inputs.append(_first(a, spec, number, samples, layout))
    channels, steps = spec.directions * spec.hidden, spec.steps
    states = [(channels,)] * (1 + spec.is_lstm)
    made = a.f.b.nodes(Recurrent(spec), inputs, (channels, steps), *states)
    for each in made:
        a.f.require(each.size)
    sizes = {"n": samples, "t": steps, "d": spec.directions, "h": spec.hidden}
    orders = ("ntdh", "ndh") if layout else ("tdnh", "dnh")
    return [
        _seen(a, made[0], orders[0], "ntdh", sizes, x.dtype),
        *(_seen(a, each, orders[1], "ndh", sizes, x.dtype) for each in made[1:]),
    ]


def _seen(
    a: Arguments, value: Value, order: str, memory: str, sizes: dict[str, int], dtype: str
) -> Tensor:
    """A value whose axes the operator has in another order than memory."""
    shape = tuple(sizes[axis] for axis in order)
    return a.f.result(value, shape, dtype, [order.index(axis) for axis in memory])


def _tensor(a: Arguments, number: int) -> Tensor:
    """An input, also one that is known."""
    found = a[number]
    if isinstance(found, Tensor):
        return a.floats(number)
    if found.dtype.kind != "f":
        raise FaltungError(f"input {number}: must be real numbers, not {found.dtype}")
    return known(a.f, found, str(found.dtype))


# What the node says -------------------------------------------------------------------------------


def _spec(a: Arguments, kind: str, steps: int) -> RecurrentSpec:
    direction = a.word("direction", "forward").lower()
    if direction not in DIRECTIONS:
        raise FaltungError(f"direction={direction!r}: must be one of {', '.join(DIRECTIONS)}")
    reverse = DIRECTIONS[direction]
    again = a.array(R)
    gates = ONNX_GATES[kind]
    if again.ndim != 3 or again.shape[:2] != (len(reverse), len(gates) * again.shape[2]):
        raise FaltungError(f"R of shape {again.shape}: must be (directions, gates * H, H)")
    hidden = a.whole("hidden_size", again.shape[2])
    if hidden != again.shape[2]:
        raise FaltungError(f"hidden_size={hidden}: must be that of R, {again.shape[2]}")
    clip = a.number("clip", 0.0)
    a.attribute("output_sequence")  # of the first opsets: which outputs somebody reads
    if clip < 0:
        raise FaltungError(f"clip={clip}: must not be negative")
    lstm = kind == "lstm"
    return RecurrentSpec(
        kind,
        steps,
        hidden,
        reverse,
        _activations(a, kind, len(reverse)),
        gates,
        clip or None,
        lstm and bool(a.whole("input_forget", 0)),
        kind == "gru" and bool(a.whole("linear_before_reset", 0)),
        bias=a.has(B),
        recurrent_bias=a.has(B),
        peepholes=lstm and a.has(P),
        lengths=a.has(LENGTHS),
        initial_h=a.has(H),
        initial_c=lstm and a.has(C),
    )


def _activations(a: Arguments, kind: str, directions: int) -> tuple[tuple[Squash, ...], ...]:
    """Of each direction. Their numbers follow each other, of those alone that read some."""
    count = ACTIVATIONS[kind]
    names = a.attribute("activations")
    if names is None:
        made = [each for _ in range(directions) for each in USUAL[kind]]
    else:
        if not isinstance(names, tuple) or len(names) != count * directions:
            raise FaltungError(f"activations={names!r}: must be {count * directions} names")
        made = [_named(name) for name in names]
    numbers = {}
    for name, defaults, least in (("alpha", ALPHA, 1), ("beta", BETA, 2)):
        found = a.numbers_of(f"activation_{name}")
        given = iter(() if found is None else found.tolist())
        numbers[name] = [
            next(given, defaults[each.name]) if NUMBERS.get(each.name, 0) >= least else 0.0
            for each in made
        ]
    whole = [
        Squash(each.name, alpha, beta)
        for each, alpha, beta in zip(made, numbers["alpha"], numbers["beta"], strict=True)
    ]
    return tuple(tuple(whole[d * count : (d + 1) * count]) for d in range(directions))


def _named(name: Any) -> Squash:
    known_as = NAMES.get(str(name).lower())
    if known_as is None:
        raise Unsaid(f"the activation {str(name)[:40]!r}")
    return Squash(known_as)


# What it reads ------------------------------------------------------------------------------------


def _weights(a: Arguments, spec: RecurrentSpec, channels: int) -> list[Value]:
    """The parameters of each direction."""
    rows, size = len(spec.gates) * spec.hidden, spec.hidden
    directions = spec.directions
    given = _array(a, W, (directions, rows, channels), "W")
    again = _array(a, R, (directions, rows, size), "R")
    bias = _array(a, B, (directions, 2 * rows), "B") if spec.bias else None
    seen = _array(a, P, (directions, 3 * size), "P") if spec.peepholes else None
    made: list[Value] = []
    for d in range(directions):
        end = "_reverse" * spec.reverse[d]
        made.append(_matrix(a, f"weight_ih{end}", given[d]))
        at = 0
        for number, count in enumerate(spec.weights):
            part = again[d][at * size : (at + count) * size]
            made.append(_matrix(a, f"weight_hh{'_new' * number}{end}", part))
            at += count
        if bias is not None:
            for name, part in (("ih", bias[d][:rows]), ("hh", bias[d][rows:])):
                made.append(a.f.parameter(f"bias_{name}{end}", part, decay=False))
        if seen is not None:
            made.append(a.f.parameter(f"peepholes{end}", seen[d], decay=False))
    return made


def _array(a: Arguments, number: int, shape: tuple[int, ...], name: str) -> Array:
    found = a.array(number)
    if found.shape != shape:
        raise FaltungError(f"{name} of shape {found.shape}: must be {shape}")
    if found.dtype.kind != "f" and found.dtype.name != "bfloat16":
        raise FaltungError(f"{name}: must be real numbers, not {found.dtype}")
    return found


def _matrix(a: Arguments, name: str, array: Array) -> Value:
    return a.f.parameter(name, array, inner=(*array.shape, 1), order=(2, 1, 0))


def _lengths(a: Arguments, samples: int) -> Value:
    """How long each sequence is."""
    found = a[LENGTHS]
    if found.shape != (samples,):
        raise FaltungError(f"sequence_lens of shape {found.shape}: must be ({samples},)")
    if isinstance(found, Tensor):
        made = a.f.straightened(found).value
        if made.size != samples:
            raise Unsaid("lengths that are a part of something")
        return made
    if found.dtype.kind not in "iu":
        raise FaltungError(f"sequence_lens: must be whole numbers, not {found.dtype}")
    return known(a.f, found.astype(np.float64), a.f.dtype).value


def _first(a: Arguments, spec: RecurrentSpec, number: int, samples: int, layout: int) -> Value:
    """A first state: for each sample those of all directions."""
    found = _tensor(a, number)
    shape = (spec.directions, samples, spec.hidden)
    direction, batch = (1, 0) if layout else (0, 1)
    wanted = (samples, spec.directions, spec.hidden) if layout else shape
    if found.shape != wanted:
        raise FaltungError(f"first state of shape {found.shape}: must be {wanted}")
    return a.f.map(found, (batch,), (), (direction, 2))


TABLE = {"LSTM": recurrent, "GRU": recurrent, "RNN": recurrent}
