"""What the table of operators reads of a node: inputs and settings, whatever the opset.

Many settings were attributes once and are inputs now, such as the axes of Squeeze: ``setting``
looks in both places. Numbers are checked here, so that nothing of a strange file goes further.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.foreign import Foreign, Tensor, Unsaid
from faltung.onnx.read import Call

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lazy:
    """An input that is there when the program runs, and becomes one of the graph when it is read.
    Settings that must be known are never read so.
    """

    shape: tuple[int, ...]
    dtype: str
    made: Callable[[], Tensor]


Given = Tensor | Array | Lazy | None


# Attributes that change no result at inference: of training, of memory, of other modes than those
# that are there, and what the tensors say themselves.
WITHOUT_EFFECT = frozenset(
    """
    consumed_inputs cubic_coeff_a exclude_outside extrapolation_value is_test kernel_shape momentum
    num_outputs ratio seed stash_type
    """.split()
)


class Unknown(Exception):
    """An input must be known when the program is made. number: which one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Notes:
    """What is known of values beside their numbers. inputs: by the name of a value, which input of
    the model it is. pads: what a padded value was made of. tokens: rows that a table has for an
    input of whole numbers.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}
        self.pads: dict[str, tuple[Tensor, tuple[tuple[int, int], ...], str]] = {}
        self.tokens: dict[str, int] = {}


class Arguments:
    """A node with the values of its inputs. f: the graph under construction."""

    def __init__(
        self, f: Foreign, notes: Notes, call: Call, inputs: Sequence[Given], opset: int
    ) -> None:
        self.f, self.notes, self.call = f, notes, call
        self.inputs, self.opset = list(inputs), opset
        self._read: set[str] = set()

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as the file has it; noted as read."""
        self._read.add(name)
        return self.call.attributes.get(name, default)

    def unread(self) -> list[str]:
        """Attributes of the node that nobody has asked for, and that are not without effect."""
        return [
            name
            for name in self.call.attributes
            if name not in self._read and name not in WITHOUT_EFFECT
        ]

    def is_input(self, number: int) -> bool:
        """Whether an input of the node is an input of the model."""
        x = self[number]
        return isinstance(x, Tensor) and x.value.name in self.notes.inputs

    def padding_of(self, number: int) -> tuple[Tensor, tuple[tuple[int, int], ...], str] | None:
        """What a Pad before the node reads, adds and repeats."""
        x = self[number]
        return self.notes.pads.get(x.value.name) if isinstance(x, Tensor) else None

    def tokens(self, number: int, rows: int) -> None:
        """Note that an input of the model has numbers of rows."""
        x = self.tensor(number)
        name = self.notes.inputs[x.value.name]
        self.notes.tokens[name] = min(rows, self.notes.tokens.get(name, rows))

    @property
    def op(self) -> str:
        return self.call.op

    def has(self, number: int) -> bool:
        return len(self.inputs) > number and self.inputs[number] is not None

    def __getitem__(self, number: int) -> Tensor | Array:
        """An input, whatever it is."""
        if not self.has(number):
            raise FaltungError(f"input {number} is missing")
        found = self.inputs[number]
        assert found is not None
        if isinstance(found, Lazy):
            self.inputs[number] = found = found.made()
        return found

    def tensor(self, number: int = 0) -> Tensor:
        """An input that is computed."""
        found = self[number]
        if not isinstance(found, Tensor):
            raise Unsaid(f"a constant as input {number}")
        return found

    def floats(self, number: int = 0) -> Tensor:
        """An input of real numbers."""
        found = self.tensor(number)
        numbers(found)
        return found

    def array(self, number: int) -> Array:
        """An input that must be known before the program runs."""
        if self.has(number) and isinstance(self.inputs[number], Tensor | Lazy):
            raise Unknown(number)
        found = self[number]
        assert not isinstance(found, Tensor)
        return found

    # Settings ------------------------------------------------------------------------------------

    def number(self, name: str, default: float) -> float:
        found = self.attribute(name, default)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise FaltungError(f"{name}={found!r}: must be a number")
        return float(found)

    def whole(self, name: str, default: int) -> int:
        found = self.attribute(name, default)
        if not isinstance(found, int):
            raise FaltungError(f"{name}={found!r}: must be a whole number")
        return found

    def word(self, name: str, default: str) -> str:
        found = self.attribute(name, default)
        if not isinstance(found, str):
            raise FaltungError(f"{name}={found!r}: must be a word")
        return found

    def wholes(self, name: str, number: int | None = None) -> tuple[int, ...] | None:
        """Whole numbers: an attribute, or the input of this number; None where neither is given."""
        found = self.attribute(name)
        if found is None and number is not None and self.has(number):
            array = self.array(number)
            if array.dtype.kind not in "iu" or array.ndim > 1:
                raise FaltungError(f"{name}: must be whole numbers, one after the other")
            return tuple(int(n) for n in array.ravel())
        if found is None:
            return None
        if isinstance(found, int):
            return (found,)
        if not isinstance(found, tuple) or not all(isinstance(n, int) for n in found):
            raise FaltungError(f"{name}={found!r}: must be whole numbers")
        return found

    def scalar(self, name: str, number: int, default: float | None = None) -> float | None:
        """A number: an attribute, or the input of this number."""
        found = self.attribute(name)
        if found is not None:
            return self.number(name, 0)
        if self.has(number):
            array = self.array(number)
            if array.size != 1:
                raise FaltungError(f"{name}: must be one number, has shape {array.shape}")
            return float(array.ravel()[0])
        return default

    def numbers_of(self, name: str) -> Array | None:
        """Real numbers of an attribute."""
        found = self.attribute(name)
        if found is None:
            return None
        if not isinstance(found, tuple) or not all(isinstance(n, float | int) for n in found):
            raise FaltungError(f"{name}={found!r}: must be numbers")
        return np.array(found, np.float64)

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """An axis, counted from the front."""
        return counted(self.whole(name, default), rank, name)

    def axes(self, rank: int, number: int | None) -> tuple[int, ...] | None:
        found = self.wholes("axes", number)
        if found is None:
            return None
        made = tuple(counted(axis, rank, "axes") for axis in found)
        if len(set(made)) < len(made):
            raise FaltungError(f"axes={found}: names an axis twice")
        return made

    def per_axis(self, name: str, rank: int, default: int) -> tuple[int, ...]:
        """One number at least 1 for each axis of space."""
        found = self.wholes(name)
        if found is None:
            return (default,) * rank
        if len(found) != rank or min(found) < 1:
            raise FaltungError(f"{name}={found}: must be {rank} numbers, all at least 1")
        return found


def counted(axis: int, rank: int, name: str = "axis") -> int:
    if not -rank <= axis < rank:
        raise FaltungError(f"{name}={axis}: must be an axis of {rank}")
    return axis % rank


def numbers(x: Tensor) -> None:
    """Unsaid: whole numbers or conditions, which formulas of real numbers would not keep."""
    if x.dtype not in ("float32", "float64", "float16", "bfloat16"):
        raise Unsaid(f"{x.dtype} tensors (needs whole numbers in formulas)")
