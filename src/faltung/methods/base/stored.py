"""``Stored``: a kernel over arrays of which some hold 16 bits."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from faltung.codegen.addresses import Access
from faltung.codegen.storage import accesses, over
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.jit.compile import Recipe, identity
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Kernel, RowItems
from faltung.methods.base.step import Step

# Kernels whose accesses are remembered.
MOST = 4096


@dataclass(frozen=True)
class Stored(Kernel):
    """The code of ``kernel``, where the arrays of some of its words hold ``kinds`` of 16 bits.

    words: (number of the word, "float16" or "bfloat16"). of: which kernel it is; its repr does not
    name its module.
    """

    dtype: str
    kernel: Kernel
    words: tuple[tuple[int, str], ...]
    of: str

    @property
    def symbol(self) -> str:
        return self.kernel.symbol

    @property
    def one_call(self) -> bool:  # type: ignore[override]
        return self.kernel.one_call

    @property
    def names(self) -> tuple[str, ...]:
        return self.kernel.names

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.kernel.declared()

    def row_items(self, step: Step, axes: Sequence[Axis]) -> RowItems | None:
        return self.kernel.row_items(step, axes)

    def emit(self, machine: Machine) -> str:
        text = self.kernel.emit(machine)
        return over(text, self.kernel.symbol, dict(self.words), machine)


def stored(kernel: Kernel, words: Mapping[int, str]) -> Kernel:
    """The kernel over arrays of which those of these words hold 16 bits; all must fit."""
    if not words:
        return kernel
    return Stored(kernel.dtype, kernel, tuple(sorted(words.items())), type(kernel).__module__)


def accesses_of(recipe: Recipe, machine: Machine) -> dict[int, Access]:
    """What a kernel does with each of its arrays, by the number of the word."""
    return _remembered(identity(recipe), _Same(recipe), machine)


class _Same:
    """A recipe that counts as equal to any other: the text beside it says which one it is."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same)

    def __hash__(self) -> int:
        return 0


@lru_cache(MOST)
def _remembered(text: str, same: _Same, machine: Machine) -> dict[int, Access]:
    recipe = same.recipe
    return accesses(str(recipe.emit(machine)), recipe.symbol)
