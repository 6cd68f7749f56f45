"""The arrays that an epilogue reads, as arguments of a kernel: names and values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue import Epilogue, aux_names
from faltung.methods.base.kernel import Kernel
from faltung.methods.base.step import Argument, Arrays, Operand, shifted


class EpilogueKernel(Kernel):
    """A kernel whose sums are stored through an epilogue.

    ``aux_numbers``: the arguments for each array besides its address. ``epilogue``: None stores
    plain sums. ``aux_contiguous``: for each array, whether it is contiguous along a stored vector.
    """

    aux_numbers: ClassVar[tuple[str, ...]] = ()

    epilogue: Epilogue | None
    aux_contiguous: tuple[bool, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The arrays of the output's shape: the output, then those of the epilogue."""
        return ("out", *aux_names(len(self.aux_contiguous))[0])

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        arrays, numbers = aux_names(len(self.aux_contiguous), self.aux_numbers)
        return (*self.pointers, *arrays), (*self.numbers, *numbers)


@dataclass(frozen=True, slots=True)
class Aux:
    """One array of an epilogue: its strides, in elements; ``along``: of the spatial axes."""

    array: Operand
    batch: int
    group: int
    channel: int
    along: tuple[int, ...]


def aux_arguments(
    c: Correlation,
    arrays: Arrays,
    numbers: Callable[[Aux], Mapping[str, Argument]],
    channel: int = 0,
) -> dict[str, Argument]:
    """The arguments for the arrays of the epilogue of ``c``, from output ``channel`` on.

    ``numbers``: computes the ``aux_numbers`` of one array, by name.
    """
    given: dict[str, Argument] = {}
    for i, (array, base, strides) in enumerate(zip(arrays.aux, c.aux_base, c.aux, strict=True)):
        batch, group, step = strides
        begin = shifted(array, base + channel * step, c.dtype)
        aux = Aux(begin, batch, group, step, tuple(window.aux[i] for window in c.windows))
        given[f"aux{i}"] = aux.array
        given |= {f"aux{i}_{name}": number for name, number in numbers(aux).items()}
    return given
