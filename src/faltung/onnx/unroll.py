"""Loops whose number of turns is known, as nodes: their body, once for each turn.

What a loop around the body would give to the next turn stays in the program, and formulas fuse
across turns. A loop of many turns, one that ends by a computed condition, and one whose body is for
the host stay loops.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.onnx import flat, host
from faltung.onnx.fold import foldable
from faltung.onnx.read import Body, Call, constant_of
from faltung.onnx.table import TABLE

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

# Turns, and nodes of all turns together: planning takes about a millisecond for each.
MOST_TURNS = 64
MOST_UNROLLED = 512
# What follows from shapes and constants, and what another node is put in the place of.
SETTLED = frozenset(("Constant", "Identity", "Shape", "Size", "If"))


def turns(
    call: Call,
    known: Callable[[str], Array | None],
    shape: Callable[[str], Shape | None],
) -> int | None:
    """How often the body of a loop runs; None where it is to stay a loop. known, shape: of the
    inputs of the node, None where that is not known when a program is made.
    """
    body = call.attributes.get("body")
    if not isinstance(body, Body) or not _plain(body, _fixed(call, body)):
        return None
    count = _loops(call, body, known) if call.op == "Loop" else _scans(call, body, shape)
    if count is None or not 1 <= count <= MOST_TURNS:
        return None
    return count if count * len(body.calls) <= MOST_UNROLLED else None


def _loops(call: Call, body: Body, known: Callable[[str], Array | None]) -> int | None:
    trips = known(call.inputs[0]) if call.inputs and call.inputs[0] else None
    if trips is None or trips.size != 1 or trips.dtype.kind not in "iu":
        return None
    if len(call.inputs) > 1 and call.inputs[1]:
        go = known(call.inputs[1])
        if go is None or go.size != 1 or not go.ravel()[0]:
            return None
    states = len(call.inputs) - 2
    if len(body.inputs) != 2 + states or len(body.outputs) < 1 + states:
        return None
    return int(trips.ravel()[0]) if _always(body) else None


def _always(body: Body) -> bool:
    """Whether the condition that a turn gives is true in any case."""
    makers = {name: call for call in body.calls for name in call.outputs if name}
    name = body.outputs[0]
    while name in makers and makers[name].op == "Identity" and not makers[name].domain:
        name = makers[name].inputs[0]
    if name == body.inputs[1]:
        return True
    array = body.constants.get(name)
    if array is None and name in makers and makers[name].op == "Constant":
        array = constant_of(makers[name].attributes)
    return array is not None and array.size == 1 and bool(array.ravel()[0])


def _scans(call: Call, body: Body, shape: Callable[[str], Shape | None]) -> int | None:
    count = call.attributes.get("num_scan_inputs")
    if call.opset < 9 or not isinstance(count, int) or not 1 <= count <= len(call.inputs):
        return None
    if len(body.inputs) != len(call.inputs) or len(body.outputs) < len(call.inputs) - count:
        return None
    names = call.inputs[-count:]
    sizes = set()
    for name, axis in zip(names, _numbers(call, "scan_input_axes", count), strict=False):
        found = shape(name) if name else None
        if found is None or not -len(found) <= axis < len(found):
            return None
        sizes.add(found[axis])
    return sizes.pop() if len(sizes) == 1 else None


def _numbers(call: Call, name: str, count: int) -> tuple[int, ...]:
    found = call.attributes.get(name)
    given = (0,) * count if found is None else found
    return given if isinstance(given, tuple) and len(given) == count else ()


def _fixed(call: Call, body: Body) -> set[str]:
    """What in a body does not change with the numbers that the model is given: the number of the
    turn, conditions, constants.
    """
    fixed = {*body.constants, *(body.inputs[:2] if call.op == "Loop" else ())}
    for each in body.calls:
        if all(name in fixed for name in each.inputs if name) and not flat.bodies(each):
            fixed.update(each.outputs)
    return fixed


def _plain(body: Body, fixed: set[str]) -> bool:
    """Whether all of a body can be said in a graph, whatever the numbers."""
    for call in body.calls:
        settled = call.op in SETTLED or (foldable(call) and fixed.issuperset(call.outputs))
        if call.domain or flat.bodies(call):
            return False
        if settled:
            continue
        selects = host.SELECTIONS.get(call.op, ())
        if any(n < len(call.inputs) and call.inputs[n] not in fixed for n in selects):
            return False
        counted = call.op in host.COUNTS | host.SIZES_DEPEND | host.QUANTISED
        if call.op not in TABLE or counted or call.op in host.SCATTERED:
            return False
    return True


# As nodes -----------------------------------------------------------------------------------------

Inlined = tuple[list[Call], Mapping[str, Array]]
Inline = Callable[[Body, Sequence[str], Sequence[str], Mapping[str, Any]], Inlined]


class _Turns:
    """Nodes and constants of all turns; names begin with one that nothing else has."""

    def __init__(self, call: Call, body: Body, inline: Inline) -> None:
        self.call, self.body, self.inline = call, body, inline
        self.stem = next((name for name in call.outputs if name), call.name) + "\0turn"
        self.calls: list[Call] = []
        self.constants: dict[str, Array] = {}

    def constant(self, name: str, value: Any) -> str:
        self.constants[f"{self.stem}{name}"] = np.asarray(value)
        return f"{self.stem}{name}"

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        opset = self.call.opset
        self.calls.append(Call(op, "", "", tuple(inputs), (output,), attributes, {}, opset))

    def turn(self, inputs: Sequence[str], targets: Sequence[str]) -> None:
        calls, constants = self.inline(self.body, inputs, targets, {})
        self.calls += calls
        self.constants.update(constants)

    def stack(self, parts: Sequence[str], target: str, axis: int) -> None:
        """What the turns have made, one beside the other."""
        wide = []
        for number, part in enumerate(parts):
            wide.append(f"{part}\0wide{number}")
            if self.call.opset < 13:
                self.add("Unsqueeze", [part], wide[-1], axes=(axis,))
            else:
                axes = self.constant(f"axis{axis}", np.array([axis], np.int64))
                self.add("Unsqueeze", [part, axes], wide[-1])
        self.add("Concat", wide, target, axis=axis)


def unrolled(call: Call, count: int, inline: Inline) -> Inlined:
    """The nodes that take the place of a loop of ``count`` turns, and the constants that they read.
    inline: the nodes of a body with names for its inputs and outputs.
    """
    body = call.attributes["body"]
    made = _Turns(call, body, inline)
    scans = call.attributes.get("num_scan_inputs", 0) if call.op == "Scan" else 0
    skip = 2 if call.op == "Loop" else 0
    states = list(call.inputs[skip : len(call.inputs) - scans])
    outputs = [*call.outputs, *[""] * (len(body.outputs) - len(call.outputs))]
    collected: list[list[str]] = [[] for _ in body.outputs[(skip > 0) + len(states) :]]
    for number in range(count):
        last = number == count - 1
        after = [
            outputs[i] if last and outputs[i] else f"{made.stem}{number}:{i}"
            for i in range(len(states))
        ]
        shown = [f"{made.stem}{number}:out{i}" for i in range(len(collected))]
        if call.op == "Loop":
            first = [made.constant(f"{number}", np.array(number, np.int64))]
            first.append(made.constant("go", np.array(True)))
            made.turn([*first, *states], ["", *after, *shown])
        else:
            parts = [_part(made, k, number, count) for k in range(scans)]
            made.turn([*states, *parts], [*after, *shown])
        states = after
        for into, name in zip(collected, shown, strict=True):
            into.append(name)
    axes = _numbers(call, "scan_output_axes", len(collected)) or (0,) * len(collected)
    back = _numbers(call, "scan_output_directions", len(collected)) or (0,) * len(collected)
    targets = outputs[len(states) : len(states) + len(collected)]
    for parts, target, axis, turned in zip(collected, targets, axes, back, strict=True):
        if target:
            made.stack(parts[::-1] if turned else parts, target, axis)
    return made.calls, made.constants


def _part(made: _Turns, scan: int, number: int, count: int) -> str:
    """What a turn reads of a tensor that is scanned."""
    call = made.call
    scans = call.attributes["num_scan_inputs"]
    axis = _numbers(call, "scan_input_axes", scans)[scan]
    turned = (_numbers(call, "scan_input_directions", scans) or (0,) * scans)[scan]
    at = count - 1 - number if turned else number
    name = f"{made.stem}{number}:in{scan}"
    index = made.constant(f"at{at}", np.array(at, np.int64))
    made.add("Gather", [call.inputs[len(call.inputs) - scans + scan], index], name, axis=axis)
    return name
