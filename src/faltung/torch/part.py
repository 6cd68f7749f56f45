"""What the importer takes and makes: leaves, feeds, gaps, and a part of a model as a graph."""

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor
from faltung.graph.value import Graph, Value

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

# What real numbers of PyTorch are here, while programs compute with them.
REAL = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
WHOLE = {
    torch.int64: "int64",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
}
DTYPES = {**REAL, **WHOLE, torch.bool: "bool"}


@dataclass(eq=False, slots=True)
class Leaf:
    """A tensor that is there before a part runs: a parameter, a buffer, a constant, or what follows
    from these alone. tensor: as it is now. trained: whether its gradient is asked for.
    """

    name: str
    tensor: torch.Tensor
    trained: bool = False
    _array: Array | None = None

    @property
    def copied(self) -> bool:
        """Whether ``array`` is a copy."""
        return self.tensor.dtype not in (torch.float32, torch.float64)

    @property
    def shape(self) -> Shape:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        return DTYPES.get(self.tensor.dtype, str(self.tensor.dtype).removeprefix("torch."))

    @property
    def array(self) -> Array:
        """The numbers as NumPy sees them, where they lie; 16-bit ones as float32, copied."""
        if self._array is None:
            given = self.tensor.detach()
            if given.dtype in (torch.bfloat16, torch.float16):
                given = given.float()
            self._array = given.resolve_conj().resolve_neg().numpy()
        return self._array


def trainable(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor whose numbers a program reads where they lie: of 32 or 64 bits, without gaps.
    Autograd sees how it follows from another.
    """
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor if is_dense(tensor) else tensor.contiguous()


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill a stretch of memory, in the order of some axes."""
    whole = 1
    for step, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and step != whole:
            return False
        whole *= size
    return True


@dataclass(frozen=True, slots=True)
class Feed:
    """A tensor that a part is given when it runs. last: whether its channels are last in memory."""

    shape: Shape
    dtype: str
    last: bool = False
    # Whether its gradient is asked for.
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """The result of a node that PyTorch itself computes."""

    name: str
    shape: Shape
    dtype: str


# What a node may read: a tensor of the graph, or what is known before it runs.
Entry = Tensor | Leaf | Outside | Array | int | float | bool | str | None | list[Any]


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers that PyTorch draws before each run: an input of the graph, and how."""

    tensor: Tensor
    draw: Callable[[], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Gap:
    """A node that the graph cannot say, and why."""

    node: fx.Node
    reason: str


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the numbers of a parameter of the graph come from. array: a view of the leaf's memory,
    in the unfolded shape; shared: whether it is one, and no copy.
    """

    leaf: Leaf | None
    array: Array
    shared: bool


@dataclass(slots=True)
class Part:
    """Nodes of a model as a graph.

    inputs: placeholders and their tensors. outputs: what the part returns, by the name of the node.
    values: the outputs of the graph. bound: for each of its parameters. prefix: nodes that depend
    on leaves alone, in order; PyTorch itself runs them. leaves: by the name of their node.
    """

    graph: Graph | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Entry] = field(default_factory=dict)
    values: Sequence[Value] = ()
    bound: dict[str, Bound] = field(default_factory=dict)
    prefix: list[fx.Node] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    # Inputs that lie channels first, and those whose gradients are asked for.
    first: set[str] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)
    # Leaves whose numbers the graph contains, so that it is made anew when they change.
    baked: list[Leaf] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    # Inputs that PyTorch fills with random numbers before each run, in this order.
    draws: list[Draw] = field(default_factory=list)
    # Rows of a table that whole numbers of an input select from, by the name of the input.
    tokens: dict[str, int] = field(default_factory=dict)


def shape_of(found: Any) -> Shape:
    return tuple(int(n) for n in found.shape)


def is_array(x: object) -> bool:
    return isinstance(x, np.ndarray)
