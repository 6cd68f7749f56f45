"""Recurrent layers in graphs: which of a node's values is what."""

from collections.abc import Iterator, Sequence
from dataclasses import field, replace

from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import RecurrentSpec
from faltung.graph.ops import Op, Recurrence, RecurrenceGrad, Recurrent
from faltung.graph.value import Value


@dataclass(slots=True)
class Part:
    """The values of one direction by what they are; ``recurrent``: one weight, or two parts."""

    named: dict[str, Value] = field(default_factory=dict)
    recurrent: list[Value] = field(default_factory=list)

    def __getitem__(self, name: str) -> Value:
        return self.named[name]

    def get(self, name: str) -> Value | None:
        return self.named.get(name)

    def some(self, *names: str) -> list[Value]:
        """Those of these values that there are."""
        return [self.named[name] for name in names if name in self.named]


def inputs_of(op: Op, inputs: Sequence[Value]) -> tuple[list[Part], dict[str, Value]]:
    """The inputs of a node by direction, and those that all directions share."""
    assert isinstance(op, Recurrent | Recurrence | RecurrenceGrad)
    spec, rest = op.layer, iter(inputs)
    peepholes = ["peepholes"] * spec.peepholes
    bias = ["bias"] * spec.bias
    more = ["recurrent bias"] * spec.recurrent_bias
    first = ["h"] * spec.initial_h + ["c"] * spec.initial_c
    lengths = ["lengths"] * spec.lengths
    if isinstance(op, Recurrent):
        shared = {"x": next(rest)}
        names = ["w", *_weights(spec), *bias, *more, *peepholes]
        lengths += first
    elif isinstance(op, Recurrence):
        shared = {}
        names = ["x", *_weights(spec), *more, *peepholes, *first]
    else:
        shared = {}
        names = [*(f"grad {name}" for name in op.given), *kept(spec), *_weights(spec), *peepholes]
    parts = [_part(names, rest) for _ in spec.reverse]
    shared.update((name, next(rest)) for name in lengths)
    assert next(rest, None) is None
    return parts, shared


def _weights(spec: RecurrentSpec) -> list[str]:
    return ["recurrent"] * len(spec.weights)


def kept(spec: RecurrentSpec) -> list[str]:
    """What a recurrence keeps for its gradient."""
    return ["sums", "before", *["cells"] * spec.is_lstm]


def outputs_of(op: Op, outputs: Sequence[Value]) -> list[Part]:
    """The outputs of a recurrence, or of its gradient, by direction."""
    if isinstance(op, Recurrence):
        names = ["y", "h", *["c"] * op.layer.is_lstm, *(kept(op.layer) if op.kept else [])]
    else:
        assert isinstance(op, RecurrenceGrad)
        apart = op.layer.cell(0).apart is not None
        names = ["x", *["products"] * apart, "h", *["c"] * op.layer.is_lstm]
    rest = iter(outputs)
    return [_part(names, rest) for _ in op.layer.reverse]


def _part(names: Sequence[str], values: Iterator[Value]) -> Part:
    made = Part()
    for name in names:
        if name == "recurrent":
            made.recurrent.append(next(values))
        else:
            made.named[name] = next(values)
    return made


def shapes(op: Recurrence | RecurrenceGrad) -> list[tuple[int, ...]]:
    """The shapes of the outputs of a direction."""
    spec = op.layer
    size, steps, gates = spec.hidden, spec.steps, len(spec.gates)
    apart = spec.cell(0).apart is not None
    states: list[tuple[int, ...]] = [(size,)] * (1 + spec.is_lstm)
    if isinstance(op, RecurrenceGrad):
        return [*[(gates * size, steps)] * (1 + apart), *states]
    made: list[tuple[int, ...]] = [(size, steps), *states]
    if op.kept:
        made.append(((gates + apart) * size, steps))
        made += [(size, steps)] * (1 + spec.is_lstm)
    return made


def only(spec: RecurrentSpec, directions: Sequence[int]) -> RecurrentSpec:
    """The layer with some of its directions."""
    return replace(
        spec,
        reverse=tuple(spec.reverse[d] for d in directions),
        activations=tuple(spec.activations[d] for d in directions),
    )


def alike(keys: Sequence[object]) -> list[list[int]]:
    """The numbers of equal keys together: one kernel walks directions with the same formulas."""
    found: dict[object, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    return list(found.values())
