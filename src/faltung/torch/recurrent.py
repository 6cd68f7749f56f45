"""LSTM, GRU and RNN, from ATen: all layers and directions of a module, and single steps.

Each layer is one operation that reads its weights where they lie; a single step is a layer that
walks one step.
"""

from collections.abc import Sequence
from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import RecurrentSpec, Squash
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_maps import concatenated, sliced
from faltung.graph.ops import Recurrent
from faltung.graph.value import Value
from faltung.torch.arguments import Arguments
from faltung.torch.part import Leaf
from faltung.torch.random import dropped

KINDS = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn"}
# Operators that make zeros: a first state that nobody has written.
ZEROS = ("zeros", "zeros_like", "new_zeros")


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer over a map of (steps, channels) for each sample."""

    a: Arguments
    op: str
    reverse: tuple[bool, ...]
    hidden: int
    bias: bool

    def spec(self, steps: int, first: bool) -> RecurrentSpec:
        kind = KINDS[self.op]
        squash = {"rnn_relu": ((Squash("relu"),),) * len(self.reverse)}.get(self.op, ())
        return RecurrentSpec(
            kind,
            steps,
            self.hidden,
            self.reverse,
            squash,
            linear_before_reset=kind == "gru",
            bias=self.bias,
            recurrent_bias=self.bias,
            initial_h=first,
            initial_c=first and kind == "lstm",
        )

    def run(self, x: Tensor, weights: Sequence[Any], states: Sequence[Tensor]) -> list[Tensor]:
        """(N, T, directions * H), and the last states (N, directions * H). x: (N, T, C). states:
        the first ones, of the form of the last; none: zeros.
        """
        f = self.a.f
        samples, steps, _ = x.shape
        spec = self.spec(steps, bool(states))
        inputs = [f.map(x, (0,), (1,), (2,))]
        each = len(weights) // spec.directions
        for d in range(spec.directions):
            inputs += self._weights(spec, weights[d * each : (d + 1) * each], x.shape[2], d)
        inputs += [f.map(state, (0,), (), (1,)) for state in states]
        channels = spec.directions * spec.hidden
        forms = [(channels,)] * (1 + spec.is_lstm)
        made = f.b.nodes(Recurrent(spec), inputs, (channels, steps), *forms)
        for value in made:
            f.require(value.size)
        shapes = [(samples, steps, channels), *[(samples, channels)] * (1 + spec.is_lstm)]
        return [f.result(v, s, x.dtype) for v, s in zip(made, shapes, strict=True)]

    def _weights(
        self, spec: RecurrentSpec, given: Sequence[Any], channels: int, direction: int
    ) -> list[Value]:
        rows = len(spec.gates) * spec.hidden
        shapes = [(rows, channels), (rows, spec.hidden), (rows,), (rows,)]
        names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
        made = []
        for name, shape, leaf in zip(names, shapes, given, strict=False):
            if not isinstance(leaf, Leaf):
                raise Unsaid("weights of a recurrent layer that are computed")
            if leaf.shape != shape:
                raise Unsaid(f"{name} of shape {leaf.shape}, not {shape}: a projection")
            end = "_reverse" * spec.reverse[direction]
            matrix = len(shape) == 2
            inner, order = ((*shape, 1), (2, 1, 0)) if matrix else (None, None)
            array = leaf.array
            made.append(self.a.f.parameter(f"{name}{end}", array, inner=inner, order=order))
        return made


def recurrent(a: Arguments) -> list[Tensor]:
    """The outputs of the last layer, and the last states of all layers."""
    if a.call.overload != "input":
        raise Unsaid("packed sequences")
    layers, reverse = a.whole("num_layers"), (False, True)[: 1 + a.flag("bidirectional")]
    rate = a.number("dropout") if a.flag("train") and layers > 1 else 0.0
    if not 0 <= rate < 1:
        raise Unsaid(f"dropout={rate:g} between recurrent layers")
    f, x = a.f, a.floats("input")
    if x.rank != 3 or not x.size:
        raise Unsaid("a sequence without a batch, or without elements")
    if not a.flag("batch_first"):
        x = x.transposed((1, 0, 2))
    params, bias = a["params"], a.flag("has_biases")
    each = (4 if bias else 2) * len(reverse)
    if len(params) != each * layers:
        raise Unsaid("projections of recurrent layers")
    states = _first(a)
    layer = _Layer(a, a.op, reverse, params[1].shape[1], bias)
    ends: list[list[Tensor]] = [[] for _ in range(1 + (a.op == "lstm"))]
    count = len(reverse)
    for number in range(layers):
        if number and rate:  # PyTorch draws for (steps, samples, units)
            x = dropped(a, x.transposed((1, 0, 2)), rate, f"key{number}").transposed((1, 0, 2))
        own = [_states(a, state, number * count, count) for state in states]
        x, *last = layer.run(x, params[number * each : (number + 1) * each], own)
        for end, state in zip(ends, last, strict=True):
            split = f.reshaped(state, (state.shape[0], count, layer.hidden))
            end.append(split.transposed((1, 0, 2)))
    finals = [concatenated(f, end, 0) for end in ends]
    if not a.flag("batch_first"):
        x = x.transposed((1, 0, 2))
    return [x, *finals]


def _first(a: Arguments) -> list[Tensor]:
    """The first states (layers * directions, N, H); none where they are new zeros."""
    found = a["hx"] if isinstance(a["hx"], list) else [a["hx"]]
    nodes = a.call.node.args[1]
    nodes = nodes if isinstance(nodes, list | tuple) else [nodes]
    if all(isinstance(x, Leaf) and _is_zeros(n) for x, n in zip(found, nodes, strict=True)):
        return []
    return [a.as_tensor(x, "hx") for x in found]


def _is_zeros(node: Any) -> bool:
    """Whether an operation makes zeros into which nothing is written later."""
    target = getattr(node, "target", None)
    name = getattr(getattr(target, "_schema", None), "name", "").removeprefix("aten::")
    users = getattr(node, "users", ())
    written = any(getattr(getattr(u.target, "_schema", None), "is_mutable", True) for u in users)
    return name in ZEROS and not written


def _states(a: Arguments, whole: Tensor, start: int, count: int) -> Tensor:
    """Those of one layer as (N, directions * H)."""
    part = sliced(a.f, whole, 0, start, count).transposed((1, 0, 2))
    return a.f.reshaped(part, (part.shape[0], count * part.shape[2]))


def cell(a: Arguments) -> Tensor | list[Tensor]:
    """One step of a layer."""
    f, x = a.f, a.floats("input")
    found = a["hx"] if isinstance(a["hx"], list) else [a["hx"]]
    states = [a.as_tensor(state, "hx") for state in found]
    if x.rank != 2 or not x.size:
        raise FaltungError(f"input of shape {x.shape}: must be (samples, channels)")
    biases = [a.has(name) for name in ("b_ih", "b_hh")]
    if biases[0] != biases[1]:
        raise Unsaid("one bias of two")
    names = ("w_ih", "w_hh", *(("b_ih", "b_hh") if biases[0] else ()))
    weights = [a[name] for name in names]
    op = a.op.removesuffix("_cell")
    layer = _Layer(a, op, (False,), weights[1].shape[1], biases[0])
    _, *last = layer.run(f.reshaped(x, (x.shape[0], 1, x.shape[1])), weights, states)
    return last if op == "lstm" else last[0]


TABLE: dict[str, Any] = {
    **dict.fromkeys(KINDS, recurrent),
    **{f"{op}_cell": cell for op in KINDS},
}
