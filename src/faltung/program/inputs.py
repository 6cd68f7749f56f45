"""The inputs of a program: channels first where its convolutions can read them so; read where the
caller has them, or copied into the program's memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.ops import Convolve, ConvolveWeight, ToChannelsLast
from faltung.graph.value import Node, Value
from faltung.plan.binding import Movable
from faltung.runtime.narrowing import narrowed

Array = npt.NDArray[Any]


def copy_in(name: str, given: Array, shape: tuple[int, ...], into: Array, *, last: bool) -> None:
    """Copy an array of this shape, channels first, into a program's memory; ``last``: where
    channels are last. ValueError: another shape. TypeError: a dtype that cannot be converted.
    """
    if given.shape != shape:
        raise FaltungError(f"{name}.shape={given.shape}: must be {shape}")
    if into.dtype.kind == "i" and given.dtype.kind == "u":
        given = narrowed(name, given, into.dtype)
    if not np.can_cast(given.dtype, into.dtype, "same_kind"):
        raise FaltungTypeError(f"{name}.dtype={given.dtype}: must be {into.dtype}, or a kind of it")
    np.copyto(into, np.moveaxis(given, 1, -1) if last else given.reshape(into.shape), "same_kind")


class Fed:
    """An input of a program. shape: of what is given, channels first. own: the program's memory for
    it. slot: of that memory in ``moving``, where a run may read the caller's array instead, or -1.
    """

    __slots__ = ("_address", "_held", "_moving", "_slot", "name", "own", "shape")

    def __init__(
        self, name: str, shape: tuple[int, ...], own: Array, moving: Movable, slot: int
    ) -> None:
        self.name, self.shape, self.own = name, shape, own
        self._moving, self._slot = moving, slot
        self._address = _address(own)
        self._held: Array | None = None

    def copy(self, given: Array) -> None:
        """Copy an array into the program's memory."""
        self.give_back()
        copy_in(self.name, given, self.shape, self.own, last=False)

    def lend(self, given: Array) -> bool:
        """Let the next run read an array where it is, if it lies as the program's own memory."""
        if self._slot < 0 or given.dtype != self.own.dtype or given.shape != self.shape:
            return False
        flags = given.flags
        if not (flags.c_contiguous and flags.aligned):
            return False
        self._held = given
        self._moving.move(self._slot, _address(given))
        return True

    def give_back(self) -> None:
        """The next run reads the program's memory again."""
        if self._held is not None:
            self._moving.move(self._slot, self._address)
            self._held = None


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def input_layouts(
    values: Sequence[Value], nodes: Sequence[Node]
) -> tuple[tuple[Node, ...], frozenset[str]]:
    """The nodes, and the names of the inputs that are stored channels first."""
    first: set[str] = set()
    made = tuple(nodes)
    for value in values:
        made, name = _input_layout(value, made)
        first |= {name} - {""}
    return made, frozenset(first)


def _input_layout(value: Value, nodes: Sequence[Node]) -> tuple[tuple[Node, ...], str]:
    """The nodes, and the name of the input if it is stored channels first, otherwise "".

    Convolutions read any order; for other nodes a first node moves the channels to the end.
    """
    if value.kind != "float" or value.positions == 1 or value.channels == 1:
        return tuple(nodes), ""
    if all(_reads_any(node, value) for node in nodes if value in node.inputs):
        return tuple(nodes), value.name
    last = replace(value, name=f"{value.name}.last")
    moved = [
        replace(node, inputs=tuple(last if v == value else v for v in node.inputs))
        for node in nodes
    ]
    return (Node(ToChannelsLast(), (value,), (last,), "input"), *moved), value.name


def _reads_any(node: Node, value: Value) -> bool:
    """Whether the node is a convolution that reads the value as its input only."""
    if not isinstance(node.op, Convolve | ConvolveWeight):
        return False
    return node.inputs[0] == value and value not in node.inputs[1:]
