"""The weights of a program for inference: parameters, and what is computed of them ahead."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.graph.fold import Derived
from faltung.graph.ops import Convolve, ConvolveInput, ConvolveInteger, Recurrence
from faltung.graph.recurrent import inputs_of
from faltung.graph.value import Graph, Node, Parameter
from faltung.methods.base.correlation import Strides
from faltung.plan.binding import Region, layout
from faltung.program.pool import Pool
from faltung.runtime.buffers import aligned
from faltung.runtime.halves import rounded
from faltung.runtime.memory import require

Array = npt.NDArray[Any]

# The memory of derived values that are there only while weights are packed.
PASSING = "passing"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where parameters are. memories: name -> array. fixed: parameter -> (memory, byte offset).
    strides: of each parameter in its unfolded shape, in elements.
    """

    memories: Mapping[str, Array]
    fixed: Mapping[str, tuple[str, int]]
    strides: Mapping[str, Strides]


class Numbers(Protocol):
    """The numbers of the parameters of a network: ``State``, or ``Constants``. pool: where programs
    share what they pack; None: each has its own. sources: arrays that tokens stand for. changes:
    whether they are packed again when they have changed. stored: how weights are kept, "float16",
    "bfloat16" or "" for ``dtype``; halves: the names of those that are.
    """

    changes: bool
    stored: str

    dtype: np.dtype[Any]
    parameters: dict[str, Parameter]

    @property
    def pool(self) -> Pool | None: ...

    @property
    def sources(self) -> Collection[Array]: ...

    @property
    def halves(self) -> Collection[str]: ...

    def check(self, graph: Graph) -> None: ...

    def view(self, name: str) -> Array:
        """A parameter in its unfolded shape."""

    def token(self, name: str) -> Hashable:
        """Equal for parameters with equal numbers, in equal order."""

    def release(self, names: Collection[str]) -> None:
        """Let go of some parameters, which are never asked for again."""

    def placed(self, convolved: Collection[str]) -> Placed:
        """Where the parameters are. convolved: those that may have any strides."""


class Weights:
    """The parameters of a program for inference, and what is derived from them.

    nodes: what reads them. strides: of weights, by value. After ``place``: memories, name -> array;
    fixed, value -> (memory, byte offset).
    """

    def __init__(self, numbers: Numbers, derived: Sequence[Derived], nodes: Sequence[Node]) -> None:
        self.numbers = numbers
        self.derived = {d.value.name: d for d in derived}
        placed = numbers.placed(_convolved(nodes, self.derived))
        self.memories = dict(placed.memories)
        self.fixed = dict(placed.fixed)
        self.strides = dict(placed.strides)
        self.strides |= {name: self.strides[d.like] for name, d in self.derived.items() if d.like}

    def bytes(self, name: str) -> int:
        """Bytes of a derived value."""
        return self.derived[name].value.size * self.numbers.dtype.itemsize

    def place(self, lasting: Collection[str], groups: Iterable[Collection[str]] = ()) -> None:
        """Places for derived values: for those that stay, and for those of each group, which share
        a memory that is there only while weights are packed. Others are not computed.
        """
        self.lasting = tuple(lasting)
        self.fixed |= dict.fromkeys(self.derived, ("derived", 0))
        sizes = {"derived": 0, PASSING: 0}
        for memory, names in [("derived", lasting), *((PASSING, group) for group in groups)]:
            places, size = layout({name: self.bytes(name) for name in names})
            self.fixed |= {name: (memory, at) for name, at in places.items()}
            sizes[memory] = max(sizes[memory], size)
        require(sum(sizes.values()), "the folded weights of this network")
        self.memories["derived"] = aligned(sizes["derived"])
        self.passing = sizes[PASSING]

    def release(self, read: Collection[str]) -> list[str]:
        """Let go of parameters that have memories of their own, but for those ``read``."""
        gone = [name for name in self.numbers.parameters if name in self.memories]
        gone = [name for name in gone if name not in read]
        for name in gone:
            del self.memories[name]
        self.numbers.release(gone)
        return gone

    def token(self, name: str) -> Hashable:
        """Equal for values with equal numbers, in equal order."""
        d = self.derived.get(name)
        if d is None:
            # A constant of a lowering: its name says its numbers.
            return self.numbers.token(name) if name in self.numbers.parameters else name
        parts = (self.numbers.token(n) for n in (d.weight, d.bias, *d.sources) if n)
        return d.kind, d.eps, d.transposed, d.groups, bool(d.bias), d.expr, d.shapes, *parts

    def pack(
        self,
        groups: Iterable[tuple[Sequence[str], Region]],
        addresses: Sequence[int],
        threads: int,
    ) -> None:
        """Fold and pack the parameters as they are now. groups: what is derived for each, and the
        steps that pack it.
        """
        self.compute(self.lasting)
        passing = aligned(self.passing)
        words = [*addresses, int(passing.__array_interface__["data"][0])]
        for names, region in groups:
            self.compute(names, passing)
            region.bind(words).run(threads)

    def compute(self, names: Iterable[str], passing: Array | None = None) -> None:
        """Compute what is derived from the parameters as they are now. passing: memory for those
        that do not stay.
        """
        dtype = self.numbers.dtype
        for name in names:
            derived = self.derived[name]
            memory, at = self.fixed[name]
            raw = passing if memory == PASSING else self.memories[memory]
            assert raw is not None
            out = raw[at : at + self.bytes(name)].view(dtype)
            if derived.like:
                shape = self.numbers.parameters[derived.like].inner
                steps = [dtype.itemsize * step for step in self.strides[name]]
                out = np.ndarray(shape, dtype, out.data, strides=steps)
            derived.into(out, self.numbers.view)
            if derived.kind == "weight" and self.numbers.stored:
                out[...] = rounded(out, self.numbers.stored)


_FILTERS = (Convolve, ConvolveInput, ConvolveInteger)


def _convolved(nodes: Sequence[Node], derived: Mapping[str, Derived]) -> set[str]:
    """Parameters that only convolutions and recurrences read, as their weights: these take any
    strides.
    """
    found: set[str] = set()
    others: set[str] = set()
    for node in nodes:
        own = {node.inputs[1].name} if isinstance(node.op, _FILTERS) else set()
        if isinstance(node.op, Recurrence):
            own = {w.name for part in inputs_of(node.op, node.inputs)[0] for w in part.recurrent}
        for value in node.inputs:
            (found if value.name in own else others).add(value.name)
    weights = {derived[name].weight if name in derived else name for name in found}
    return weights - others
