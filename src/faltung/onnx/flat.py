"""Functions unfolded and branches put in their place: a model as one list of nodes.

What a function or a branch calls its own gets names that nothing else has. Attributes that refer to
those of the function are filled in. Bodies of loops stay bodies, with the names of what they read
around them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.files import shown
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.onnx.read import DEEPEST, MOST_NODES, Body, Call, File, constant_of

Array = npt.NDArray[Any]
Names = dict[str, str]
# Between a name of the file and the number of its copy: no name on a keyboard has it.
_MARK = "\0"


class Unfolder:
    """What unfolds the functions of a file. One for each model: it numbers the copies."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._copies = 0
        self._nodes = 0

    def model(self) -> Body:
        """The graph of the model without calls of functions."""
        return _apart(self._file.body, self._calls(self._file.body.calls, {}, "", {}, 0))

    def branch(self, body: Body, targets: Sequence[str]) -> tuple[list[Call], dict[str, Array]]:
        """The nodes of a branch, which make the ``targets``; and its constants by name."""
        if len(body.outputs) != len(targets):
            raise FaltungError(
                f"its branch has {len(body.outputs)} outputs, the node has {len(targets)}"
            )
        return self._inlined(body, {}, targets, {}, 0)

    def function(
        self, body: Body, inputs: Sequence[str], targets: Sequence[str], bound: Mapping[str, Any]
    ) -> tuple[list[Call], dict[str, Array]]:
        """The nodes of a function that is called with these inputs. bound: its attributes."""
        names = dict(zip(body.inputs, inputs, strict=False))
        for name in body.inputs[len(inputs) :]:
            names[name] = ""
        return self._inlined(body, names, targets, bound, 0)

    # -- --------------------------------------------------------------------------------------

    def _count(self, depth: int) -> None:
        if depth > DEEPEST:
            raise self._error(f"functions and branches are nested more than {DEEPEST} deep")
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._error(f"more than {MOST_NODES} nodes")

    def _error(self, message: str) -> FaltungError:
        return FaltungError(f"{self._file.where}: {message}")

    def _calls(
        self, calls: Iterable[Call], names: Names, mark: str, bound: Mapping[str, Any], depth: int
    ) -> list[Call]:
        made: list[Call] = []
        for call in calls:
            self._count(depth)
            attributes = dict(call.attributes)
            for name, other in call.references.items():
                if other in bound:
                    attributes[name] = bound[other]
            inputs = tuple(names.get(n, n) if n else "" for n in call.inputs)
            for name in call.outputs:
                if name:
                    names.setdefault(name, name + mark)
            outputs = tuple(names[n] if n else "" for n in call.outputs)
            function = self._file.functions.get((call.domain, call.op))
            if function is None:
                attributes = {
                    name: self._inner(value, names, bound, depth)
                    for name, value in attributes.items()
                }
                made.append(
                    replace(
                        call, attributes=attributes, references={}, inputs=inputs, outputs=outputs
                    )
                )
                continue
            body, _, defaults = function
            if len(inputs) > len(body.inputs):
                raise self._error(
                    f"node {shown(call.name or call.op)}: its function takes "
                    f"{len(body.inputs)} inputs"
                )
            inner = dict(zip(body.inputs, inputs, strict=False))
            inner |= dict.fromkeys(body.inputs[len(inputs) :], "")
            nodes, constants = self._inlined(
                body, inner, outputs, {**defaults, **attributes}, depth + 1
            )
            assert not constants
            made += nodes
        return made

    def _inner(self, value: Any, names: Names, bound: Mapping[str, Any], depth: int) -> Any:
        """An attribute, whose graphs read the names around them."""
        if isinstance(value, Body):
            own = {*value.inputs, *value.constants}
            own |= {name for call in value.calls for name in call.outputs if name}
            inner = names | {name: name for name in own}
            calls = self._calls(value.calls, inner, "", bound, depth + 1)
            outputs = tuple(inner.get(name, name) for name in value.outputs)
            return replace(_apart(value, calls), outputs=outputs)
        if isinstance(value, tuple) and any(isinstance(each, Body) for each in value):
            return tuple(self._inner(each, names, bound, depth) for each in value)
        return value

    def _inlined(
        self,
        body: Body,
        names: Names,
        targets: Sequence[str],
        bound: Mapping[str, Any],
        depth: int,
    ) -> tuple[list[Call], dict[str, Array]]:
        self._copies += 1
        mark = f"{_MARK}{self._copies}"
        made_here = {name for call in body.calls for name in call.outputs if name}
        names = dict(names) | {name: name + mark for name in body.constants}
        later: list[tuple[str, str]] = []
        taken: set[str] = set()
        for name, target in zip(body.outputs, targets, strict=False):
            if not target:
                continue
            if name in made_here and name not in taken:
                names[name] = target
                taken.add(name)
            else:
                later.append((name, target))
        names |= {name: name + mark for name in made_here - taken}
        calls = self._calls(body.calls, names, mark, bound, depth)
        opset = self._file.opset
        for name, target in later:
            source = names.get(name, name)
            calls.append(Call("Identity", "", "", (source,), (target,), {}, {}, opset))
        return calls, {name + mark: array for name, array in body.constants.items()}


def _apart(body: Body, calls: Iterable[Call]) -> Body:
    """A body with these nodes, of which those that hold a constant are none any more."""
    rest: list[Call] = []
    constants = dict(body.constants)
    for call in calls:
        plain = call.op == "Constant" and not (call.domain or call.inputs)
        try:
            found = constant_of(call.attributes) if plain and len(call.outputs) == 1 else None
        except (ValueError, TypeError, OverflowError):
            found = None  # no numbers: the node is looked at when its turn comes
        if found is None:
            rest.append(call)
        else:
            constants[call.outputs[0]] = found
    return replace(body, calls=tuple(rest), constants=constants)


def mapped(value: Any, of: Callable[[Body], Any]) -> list[Any]:
    """Something of each graph in an attribute."""
    if isinstance(value, Body):
        return [of(value)]
    if isinstance(value, tuple):
        return [of(each) for each in value if isinstance(each, Body)]
    return []


def bodies(call: Call) -> list[Body]:
    """The graphs among the attributes of a node."""
    return [body for value in call.attributes.values() for body in mapped(value, lambda b: b)]


def free(body: Body) -> tuple[str, ...]:
    """The names that a body reads of what is around it, in a fixed order."""
    known = {*body.inputs, *body.constants}
    found: dict[str, None] = {}
    for call in body.calls:
        for name in reads(call):
            if name not in known:
                found[name] = None
        known |= {name for name in call.outputs if name}
    for name in body.outputs:
        if name not in known:
            found[name] = None
    return tuple(found)


def reads(call: Call) -> tuple[str, ...]:
    """All names that a node reads, those of its graphs included."""
    names = [name for name in call.inputs if name]
    for body in bodies(call):
        names += free(body)
    return tuple(dict.fromkeys(names))


def numbers_of(body: Body) -> list[np.dtype[Any]]:
    """The dtypes of all constants in a body and in the graphs of its nodes."""
    found = [array.dtype for array in body.constants.values() if array.size > 1]
    for call in body.calls:
        for value in call.attributes.values():
            if isinstance(value, np.ndarray) and value.size > 1:
                found.append(value.dtype)
            for each in mapped(value, numbers_of):
                found += each
    return found


def float_of(file: File) -> Float:
    """What a graph computes in: float64 where the file has any."""
    doubles = any(port.dtype == "float64" for port in (*file.inputs, *file.outputs))
    return "float64" if doubles or np.float64 in numbers_of(file.body) else "float32"
