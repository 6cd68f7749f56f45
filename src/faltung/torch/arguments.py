"""What the table of operators reads of a call: tensors and settings, by the names of the schema.

The names are those of PyTorch's own schemas (``torch.ops.aten.conv2d.default._schema``), with the
defaults filled in, so that a handler reads what the documentation of ATen says. ``out`` variants
and those in place come here as the functions that they are variants of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand
from faltung.geometry.record import dataclass
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid, numbers
from faltung.graph.foreign_maps import known
from faltung.graph.ops import Elementwise
from faltung.graph.value import Value
from faltung.torch.part import Bound, Draw, Leaf, Outside

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of ATen. op: its name, without the overload and the underscore of an in-place
    form. given: by the names of the schema. shapes, dtypes: of the results, as PyTorch has found.
    """

    op: str
    overload: str
    given: Mapping[str, Any]
    shapes: Sequence[Shape | None]
    dtypes: Sequence[str]
    node: fx.Node


class Graphed(Foreign):
    """A graph that is made of operations of PyTorch. bound: where its parameters come from."""

    def __init__(self, dtype: Float, training: bool) -> None:
        super().__init__(dtype)
        self.trains = self.training = training
        self.bound: dict[str, Bound] = {}
        self.near: list[Leaf] = []  # leaves that the operation under way reads
        # Leaves whose numbers are part of the graph, and not only read when it runs.
        self.baked: dict[int, Leaf] = {}
        self._leaves: dict[int, Tensor] = {}
        # The number of values that are one number everywhere, by name.
        self.filled: dict[str, float] = {}
        # Whether PyTorch draws random numbers, and what it draws.
        self.their_random = False
        self.draws: list[Draw] = []

    def parameter(
        self,
        name: str,
        array: Array,
        *,
        inner: Shape | None = None,
        order: Sequence[int] | None = None,
        trained: bool = True,
        decay: bool = True,
        of: Array | None = None,
        form: object = None,
    ) -> Value:
        """As ``Foreign.parameter``, with a note which leaf the numbers are those of.

        Unsaid: they are a copy of a leaf that is trained, which would not see its changes.
        """
        leaf = next((leaf for leaf in self.near if _inside(array, leaf.array)), None)
        origin = array if of is None else of
        if leaf is None:
            source = next((leaf for leaf in self.near if _inside(origin, leaf.array)), None)
            source = source or next((leaf for leaf in self.near if leaf.trained), None)
            if source is not None and source.trained and source.array.size > 1:
                raise Unsaid(f"the trained {source.name!r} in another order")
            leaf = source
        shared = leaf is not None and _inside(array, leaf.array) and array.dtype == self.dtype
        shared = shared and leaf is not None and not leaf.copied
        if leaf is not None and not shared:
            self.baked[id(leaf)] = leaf
        if leaf is not None and leaf.trained and array.size != leaf.array.size:
            raise Unsaid(f"a part of the trained {leaf.name!r}")
        if leaf is not None and leaf.trained and not shared:
            raise Unsaid(f"the trained {leaf.name!r} as {array.dtype}")
        # Equal arrays of different leaves stay apart: each has its own gradient.
        key = leaf.array if leaf is not None and shared else of
        where = None if not shared else (form, array.__array_interface__["data"][0], array.strides)
        made = super().parameter(
            name,
            array,
            inner=inner,
            order=order,
            trained=leaf is not None and leaf.trained,
            decay=False,
            of=key,
            form=where or form,
        )
        shape = array.shape if inner is None else inner
        numbers = array if shared else np.asarray(array, self.dtype)
        self.bound.setdefault(made.name, Bound(leaf, numbers.reshape(shape), shared))
        return made

    def copies(self, array: Array) -> bool:
        return not any(leaf.trained and _inside(array, leaf.array) for leaf in self.near)

    def of_leaf(self, leaf: Leaf) -> Tensor:
        """A leaf as a tensor like those that are computed."""
        found = self._leaves.get(id(leaf))
        if found is None:
            found = self._leaves[id(leaf)] = self._of_leaf(leaf)
        return found

    def _of_leaf(self, leaf: Leaf) -> Tensor:
        array = leaf.array
        if not leaf.trained:
            self.baked[id(leaf)] = leaf
            return known(self, np.asarray(array, self.dtype), leaf.dtype)
        if not array.size:
            raise Unsaid("a tensor without elements")
        memory = sorted(range(array.ndim), key=lambda i: (-array.strides[i], i))
        flat = array.transpose(memory)
        if not flat.flags.c_contiguous:
            raise Unsaid(f"the trained {leaf.name!r} with gaps in memory")
        near, self.near = self.near, [leaf]
        vector = self.parameter("leaf", flat.reshape(-1))
        self.near = near
        op = Elementwise(vector.shape, (operand(0),))
        value = self.node(op, (vector,), vector.shape)
        return self.result(value, array.shape, leaf.dtype, memory)


def _inside(array: Array, whole: Array) -> bool:
    """Whether an array lies within the memory of another."""
    low, high = np.lib.array_utils.byte_bounds(whole)
    start, end = np.lib.array_utils.byte_bounds(array)
    return bool(low <= start and end <= high) and array.size > 0


class Arguments:
    """A call with its graph ``f``. ``a["name"]``: an argument as it is."""

    def __init__(self, f: Graphed, call: Call, fed: Callable[[Any], Tensor]) -> None:
        self.f, self.call, self._fed = f, call, fed
        self.notes: dict[str, int] = {}

    @property
    def op(self) -> str:
        return self.call.op

    def __getitem__(self, name: str) -> Any:
        try:
            return self.call.given[self._named(name)]
        except KeyError:
            raise FaltungError(f"{self.call.op}: has no argument {name!r}") from None

    def _named(self, name: str) -> str:
        """Forms that write call "self" what some functions call "input"."""
        return "self" if name == "input" and name not in self.call.given else name

    def has(self, name: str) -> bool:
        """Whether there is such an argument, and it is not None."""
        return self.call.given.get(self._named(name)) is not None

    # Tensors -------------------------------------------------------------------------------------

    def tensor(self, name: str) -> Tensor:
        """A tensor of the graph; a leaf becomes one."""
        return self.as_tensor(self[name], name)

    def as_tensor(self, found: Any, name: str = "") -> Tensor:
        if isinstance(found, Tensor):
            return found
        if isinstance(found, Outside):
            return self._fed(found)
        if isinstance(found, Leaf):
            if found.dtype not in ("float32", "float64", "float16", "bfloat16", "bool"):
                raise Unsaid(f"{found.dtype} constants as data")
            return self.f.of_leaf(found)
        if isinstance(found, bool | int | float):
            return known(self.f, np.asarray(found, self.f.dtype).reshape(()), "float32")
        raise Unsaid(f"no tensor as {name}")

    def floats(self, name: str) -> Tensor:
        """A tensor of real numbers."""
        found = self.tensor(name)
        real(found)
        return found

    def tensors(self, name: str) -> list[Tensor]:
        return [self.as_tensor(x, name) for x in self[name]]

    def operand(self, name: str) -> Tensor | Array:
        """An operand of a formula: a tensor, or a constant as an array: a number, or a leaf that
        has at most one axis of more than one entry, so that its numbers are read where they lie.
        """
        found = self[name]
        if isinstance(found, bool | int | float):
            return np.asarray(found, self.f.dtype)
        if isinstance(found, Leaf) and found.dtype in ("float32", "float64", "float16", "bfloat16"):
            array = found.array
            if not found.trained:
                self.f.baked[id(found)] = found  # equal numbers may become one
                return array
            if array.size > 1 and max(array.shape) == array.size:
                return array
        return self.as_tensor(found, name)

    def leaf(self, name: str) -> Leaf | None:
        """A leaf of real numbers in the place of a weight; None: it is computed."""
        found = self[name]
        if isinstance(found, Leaf):
            if found.tensor.dtype not in (
                torch.float32,
                torch.float64,
                torch.bfloat16,
                torch.float16,
            ):
                raise Unsaid(f"{found.dtype} weights")
            return found
        return None

    def array(self, name: str) -> Array:
        """A tensor whose numbers must be known: indices, sizes."""
        found = self[name]
        if isinstance(found, Leaf) and not found.trained:
            self.f.baked[id(found)] = found
            return found.array
        if isinstance(found, bool | int | float):
            return np.asarray(found)
        raise Unsaid(f"{name} that is computed")

    # Settings ------------------------------------------------------------------------------------

    def whole(self, name: str) -> int:
        found = self[name]
        if isinstance(found, bool) or not isinstance(found, int):
            raise Unsaid(f"{name}={found!r}")
        return found

    def number(self, name: str) -> float:
        found = self[name]
        if not isinstance(found, int | float):
            raise Unsaid(f"{name} that is computed")
        return float(found)

    def flag(self, name: str) -> bool:
        return bool(self[name])

    def word(self, name: str) -> str:
        return str(self[name])

    def wholes(self, name: str, count: int | None = None) -> tuple[int, ...]:
        """Whole numbers; a single one stands for ``count`` of them, as in schemas (int[2])."""
        found = self[name]
        if isinstance(found, int):
            found = [found] * (1 if count is None else count)
        made = tuple(int(n) for n in found)
        return made * count if count is not None and len(made) == 1 else made

    def axis(self, rank: int, name: str = "dim") -> int:
        return counted(self.whole(name), rank, name)

    def axes(self, rank: int, name: str = "dim") -> tuple[int, ...]:
        """Axes from the front; all where none is named."""
        found = self[name]
        if found is None or (isinstance(found, list) and not found):
            return tuple(range(rank))
        if isinstance(found, int):
            found = [found]
        return tuple(counted(int(axis), rank, name) for axis in found)

    def dtype(self, number: int = 0) -> str:
        """The dtype of a result, as PyTorch has found it."""
        return self.call.dtypes[number]

    def shape(self, number: int = 0) -> Shape:
        """The shape of a result, as PyTorch has found it."""
        found = self.call.shapes[number]
        if found is None:
            raise Unsaid("a result whose shape is not known")
        return found

    def update(self, name: str, value: Value) -> None:
        """The new numbers of a leaf that the operation writes, a vector without a batch."""
        found = self[name]
        if not isinstance(found, Leaf):
            raise Unsaid(f"{name} that is computed")
        self.f.b.update(self.f.parameter(name, found.array), value)

    def tokens(self, name: str, rows: int) -> None:
        """Note that an input has numbers of rows, which are checked when they come."""
        self.notes[self.tensor(name).value.name] = rows


def counted(axis: int, rank: int, name: str = "dim") -> int:
    """An axis counted from the front; a number has one axis here, as in PyTorch."""
    rank = max(rank, 1)
    if not -rank <= axis < rank:
        raise FaltungError(f"{name}={axis}: must be an axis of {rank}")
    return axis % rank


def real(x: Tensor) -> None:
    """Unsaid: whole numbers or conditions, which formulas of real numbers would not keep."""
    numbers(x)
    if x.dtype not in ("float32", "float64", "float16", "bfloat16"):
        raise Unsaid(f"{x.dtype} tensors (needs whole numbers in formulas)")
