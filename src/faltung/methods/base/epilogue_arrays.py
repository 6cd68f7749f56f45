"""The arrays of a correlation as arguments of a kernel, and the kernels that have an epilogue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from faltung.geometry.record import dataclass
from faltung.methods.base.correlation import Correlation, Strides
from faltung.methods.base.epilogue import Epilogue, aux_names
from faltung.methods.base.kernel import Kernel
from faltung.methods.base.step import Argument, Arrays, Operand, Step, shifted


@dataclass(frozen=True, slots=True)
class Strided:
    """Where a correlation begins in one of its arrays, channels of a group, and the array's
    strides, in elements; ``along``: of the spatial axes.
    """

    array: Operand
    channels: int
    batch: int
    group: int
    channel: int
    along: Strides

    @property
    def position(self) -> int:
        return self.along[-1]

    @property
    def row(self) -> int:
        return self.along[-2] if len(self.along) > 1 else 0

    def arguments(self, name: str, strides: Sequence[str]) -> dict[str, Argument]:
        """The array as the argument ``name``, and those of its strides that are asked for."""
        return {name: self.array, **{f"{name}_{of}": getattr(self, of) for of in strides}}


def input_of(c: Correlation, arrays: Arrays) -> Strided:
    """The input."""
    along = tuple(w.x for w in c.windows)
    return Strided(shifted(arrays.x, c.x_base, c.dtype), c.channels_in, *c.x, along)


def stepped_input_of(c: Correlation, arrays: Arrays) -> Strided:
    """The same, ``along`` the outputs: from what one of them reads to what the next one reads."""
    found = input_of(c, arrays)
    steps = zip(found.along, c.windows, strict=True)
    return replace(found, along=tuple(stride * w.axis.stride for stride, w in steps))


def output_of(c: Correlation, arrays: Arrays) -> Strided:
    """The output, or for a gradient for the weight the output gradient."""
    return next(_outputs(c, arrays, 0))


def _outputs(c: Correlation, arrays: Arrays, channel: int) -> Iterator[Strided]:
    """The output, then the arrays of the epilogue, from output ``channel`` on."""
    given = zip((arrays.out, *arrays.aux), (c.out_base, *c.aux_base), (c.out, *c.aux), strict=True)
    along = zip(*((w.out, *w.aux) for w in c.windows), strict=True)
    for (array, base, strides), steps in zip(given, along, strict=True):
        begin = shifted(array, base + channel * strides[2], c.dtype)
        yield Strided(begin, c.channels_out, *strides, steps)


class EpilogueKernel(Kernel):
    """A kernel whose sums are stored through an epilogue.

    ``output_numbers``: the arguments for the output, and for each array of the epilogue, besides
    its address. ``epilogue``: None stores plain sums. ``aux_steps``: for each array, what it
    is along a stored vector (``step_kind``).
    """

    output_numbers: ClassVar[tuple[str, ...]] = ()

    epilogue: Epilogue | None
    aux_steps: tuple[int, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The arrays of the output's shape: the output, then those of the epilogue."""
        return ("out", *aux_names(len(self.aux_steps)))

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        numbers = (f"{name}_{number}" for name in self.outputs for number in self.output_numbers)
        return (*self.pointers, *self.outputs), (*self.numbers, *numbers)

    def step(self, items: int, title: str, /, *, barrier: bool = False, **given: Argument) -> Step:
        if self.epilogue is not None:
            title = f"{title}, {self.epilogue}"
        return super().step(items, title, barrier=barrier, **given)

    def output_arguments(
        self,
        c: Correlation,
        arrays: Arrays,
        channel: int = 0,
        /,
        **numbers: Callable[[Strided], Argument],
    ) -> dict[str, Argument]:
        """The arguments for ``outputs``, from output ``channel`` on.

        ``numbers``: computes those of ``output_numbers`` that are not strides of an array.
        """
        given: dict[str, Argument] = {}
        for name, array in zip(self.outputs, _outputs(c, arrays, channel), strict=True):
            given |= array.arguments(name, [of for of in self.output_numbers if of not in numbers])
            given |= {f"{name}_{of}": number(array) for of, number in numbers.items()}
        return given
