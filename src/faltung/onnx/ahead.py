"""A look at a whole model before anything runs: what is missing is named, with its node.

As a run, but with shapes alone. Behind a node whose result has a shape that only its numbers tell,
there is nothing to see but whether each operator exists.
"""

from collections.abc import Sequence

from faltung.onnx.fold import inferred
from faltung.onnx.gaps import Gap, attributes, node, title
from faltung.onnx.part import Held, Later
from faltung.onnx.parts import Routine
from faltung.onnx.read import Call, Port

Shape = tuple[int, ...]


def default_shape(port: Port) -> Shape | None:
    """The shape of an input, with 1 for a free batch; None: other sizes are free."""
    if port.shape is None:
        return None
    sizes = [1 if not i and not isinstance(n, int) else n for i, n in enumerate(port.shape)]
    known = tuple(n for n in sizes if isinstance(n, int))
    return known if len(known) == len(sizes) else None


def gaps_of(routine: Routine, ports: Sequence[Port]) -> list[Gap]:
    """What a model lacks for the sizes of the file, with 1 for a free batch. Where other sizes are
    free, operators that there are none of.
    """
    shapes = {port.name: default_shape(port) for port in ports}
    held: dict[str, Held | Later] = {}
    for port in ports:
        shape = shapes[port.name]
        if shape is None:
            return _without_shapes(routine)
        held[port.name] = Held(shape, port.dtype)
    known = dict(routine.body.constants)
    calls: Sequence[Call] = routine.body.calls
    while calls:
        part = routine.imported(calls, known, held)
        if part.gaps:
            return part.gaps
        if not part.later:
            routine.ahead = dict(held), part
            return []
        known |= part.known
        held |= {n: Held(x.shape, x.dtype) for n, x in part.outputs.items()}
        left = []
        for call in part.later:
            reads = [held.get(n, known.get(n)) for n in routine.knowledge.reads(call)]
            if any(isinstance(x, Later) for x in reads):
                made: list[tuple[Shape | None, str]] = [(None, "float32")] * len(call.outputs)
            elif id(call) in part.forced or id(call) in routine.knowledge.foreign:
                made = inferred(call, [held.get(n, known.get(n)) for n in call.inputs])
            else:
                left.append(call)
                continue
            for name, (shape, dtype) in zip(call.outputs, made, strict=True):
                held[name] = Later(None, dtype) if shape is None else Held(shape, dtype)
        if len(left) == len(calls):
            break
        calls = left
    return []


def _without_shapes(routine: Routine) -> list[Gap]:
    return [
        Gap(title(call), node(call), attributes(call), "no such operator here", call)
        for call in routine.knowledge.missing(routine.body)
        if not routine.knowledge.falls_back(call)
    ]
