"""Loops of an ONNX model, in Python around compiled parts: ``Loop`` and ``Scan``.

The body is compiled once for each set of sizes, as any model is, and runs with the numbers of each
turn. What it reads around it is given to it with them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Unsaid
from faltung.onnx.arguments import counted
from faltung.onnx.read import Body, Call
from faltung.onnx.tensors import dtype_of
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array], Mapping[str, Array]], list[Array]]

# Turns of one Loop at most: a file of a few bytes may ask for any number of them, or never
# end. A Scan has as many as there are entries.
MOST_TURNS = 1 << 16


def run(
    call: Call,
    body_run: Run,
    body: Body,
    inputs: Sequence[Array | None],
    around: Mapping[str, Array],
    known: Mapping[str, Array],
) -> list[Array]:
    """The results of a node with a body. body_run: makes the body's outputs of its inputs. around,
    known: what the body reads of the graph around it.
    """

    def turn(given: Mapping[str, Array]) -> list[Array]:
        return body_run({**around, **given}, known)

    return (_loop if call.op == "Loop" else _scan)(call, turn, body, inputs)


Turn = Callable[[Mapping[str, Array]], list[Array]]


def _loop(call: Call, turn: Turn, body: Body, inputs: Sequence[Array | None]) -> list[Array]:
    carried: list[Array] = [_there(x) for x in inputs[2:]]
    if len(body.inputs) != 2 + len(carried) or len(body.outputs) < 1 + len(carried):
        raise FaltungError(f"its body must take {2 + len(carried)} inputs and give as many outputs")
    trips = None if inputs[0] is None else _number(inputs[0], "the number of turns")
    go = True if len(inputs) < 2 or inputs[1] is None else bool(_number(inputs[1], "the condition"))
    collected: list[list[Array]] = [[] for _ in body.outputs[1 + len(carried) :]]
    if go and trips is not None and trips > MOST_TURNS and _counts(body):
        _allowed(trips)
    number = 0
    while go and (trips is None or number < trips):
        _allowed(number)
        first = {
            body.inputs[0]: np.array(number, np.int64),
            body.inputs[1]: np.array(True),
        }
        made = turn(first | dict(zip(body.inputs[2:], carried, strict=True)))
        go = bool(_number(made[0], "the condition"))
        carried = made[1 : 1 + len(carried)]
        for into, each in zip(collected, made[1 + len(carried) :], strict=True):
            into.append(each)
        number += 1
    names = body.outputs[1 + len(carried) :]
    return [*carried, *(_stacked(body, n, c, 0) for n, c in zip(names, collected, strict=True))]


def _scan(call: Call, turn: Turn, body: Body, inputs: Sequence[Array | None]) -> list[Array]:
    count = call.attributes.get("num_scan_inputs")
    if not isinstance(count, int) or not 1 <= count <= len(inputs):
        raise FaltungError(f"num_scan_inputs={count}: must be 1 to {len(inputs)}")
    if call.opset < 9:
        return _scan_of_batches(call, turn, body, inputs, count)
    given = [_there(x) for x in inputs]
    return _scanned(call, turn, body, given[:-count], given[-count:])


def _scan_of_batches(
    call: Call, turn: Turn, body: Body, inputs: Sequence[Array | None], count: int
) -> list[Array]:
    """As opset 8 has it: for each sample of a batch, of a length of its own."""
    given = [_there(x) for x in inputs[1:]]
    directions = call.attributes.get("directions", (0,) * count)
    batch = given[-1].shape[0] if given[-1].ndim else 0
    if not batch or any(x.ndim < 1 or x.shape[0] != batch for x in given):
        raise FaltungError("its inputs must have one batch in front")
    lengths = inputs[0]
    samples = []
    for i in range(batch):
        states, scans = [x[i] for x in given[:-count]], [x[i] for x in given[-count:]]
        if lengths is not None:
            scans = [x[: int(lengths.ravel()[i])] for x in scans]
        samples.append(
            _scanned(call, turn, body, states, scans, {"scan_input_directions": directions})
        )
    longest = given[-1].shape[1]
    made = []
    for number, parts in enumerate(zip(*samples, strict=True)):
        if number < len(given) - count:
            made.append(np.stack(parts))
        else:
            whole = np.zeros((batch, longest, *parts[0].shape[1:]), parts[0].dtype)
            for i, part in enumerate(parts):
                whole[i, : len(part)] = part
            made.append(whole)
    return made


def _scanned(
    call: Call,
    turn: Turn,
    body: Body,
    states: list[Array],
    scans: list[Array],
    told: Mapping[str, Any] | None = None,
) -> list[Array]:
    attributes = call.attributes if told is None else told
    names = body.outputs[len(states) :]
    if len(body.inputs) != len(states) + len(scans) or len(body.outputs) < len(states):
        raise FaltungError(f"its body must take {len(states) + len(scans)} inputs")
    axes = _numbers(attributes, "scan_input_axes", len(scans))
    back = _numbers(attributes, "scan_input_directions", len(scans))
    moved = []
    for x, axis, turned in zip(scans, axes, back, strict=True):
        along = np.moveaxis(x, counted(axis, x.ndim, "scan_input_axes"), 0)
        moved.append(along[::-1] if turned else along)
    turns = moved[0].shape[0]
    if any(x.shape[0] != turns for x in moved):
        raise FaltungError("what it scans must be of one length")
    collected: list[list[Array]] = [[] for _ in names]
    for number in range(turns):
        each = [*states, *(x[number] for x in moved)]
        made = turn(dict(zip(body.inputs, each, strict=True)))
        states = made[: len(states)]
        for into, one in zip(collected, made[len(states) :], strict=True):
            into.append(one)
    out_axes = _numbers(attributes, "scan_output_axes", len(names))
    out_back = _numbers(attributes, "scan_output_directions", len(names))
    results = list(states)
    for name, parts, axis, turned in zip(names, collected, out_axes, out_back, strict=True):
        results.append(_stacked(body, name, parts[::-1] if turned else parts, axis))
    return results


def _numbers(attributes: Mapping[str, Any], name: str, count: int) -> tuple[int, ...]:
    found = attributes.get(name)
    if found is None:
        return (0,) * count
    if not isinstance(found, tuple) or len(found) != count:
        raise FaltungError(f"{name}={found!r}: must be {count} numbers")
    return found


def _stacked(body: Body, name: str, parts: Sequence[Array], axis: int) -> Array:
    """What the turns have made, one beside the other."""
    if not parts:
        told = body.told.get(name)
        if told is None or told[1] is None:
            raise Unsaid("the shape of what no turn has made")
        return np.zeros((0, *told[1]), dtype_of(told[0]))
    if any(part.shape != parts[0].shape for part in parts):
        raise FaltungError(f"{name!r}: its shape is not the same at each turn")
    require(sum(part.nbytes for part in parts), f"{name!r}, of all turns,")
    return np.stack(parts, counted(axis, parts[0].ndim + 1, "axis"))


def _allowed(number: int) -> None:
    if number >= MOST_TURNS:
        raise Unsaid(f"more than {MOST_TURNS} turns of a loop")


def _counts(body: Body) -> bool:
    """Whether the number of turns alone ends a loop: its condition stays as it is."""
    name = body.outputs[0]
    source = {out: call for call in body.calls for out in call.outputs}
    for _ in body.calls:
        call = source.get(name)
        if call is not None and call.op == "Identity":
            name = call.inputs[0]
    return name == body.inputs[1] or name in body.constants


def _there(x: Array | None) -> Array:
    if x is None:
        raise FaltungError("an input is missing")
    return x


def _number(x: Array, what: str) -> int:
    if x.size != 1:
        raise FaltungError(f"{what} must be one number, has shape {x.shape}")
    return int(x.ravel()[0])
