"""From steps to a region: kernels compiled, arguments laid out, addresses filled in."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.jit.compile import Linked, kernel
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Code, Operand, Step, Work, recipes, waiting
from faltung.runtime import team
from faltung.runtime.layout import BARRIER, WHOLE

Memory = npt.NDArray[np.int64]

# Words of a step in memory: function, its arguments, items, how (whether a barrier follows).
HEADER = 4

# What a call provides: the four operands, then the memory that is kept and that is borrowed.
SLOTS = ("x", "w", "out", "bias", "kept", "scratch")
ALIGNMENT = 64


def layout(arrays: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Offsets of arrays (name -> bytes) placed one after another, and their size in all.

    Each array begins on a cache line; offsets and the size are in bytes.
    """
    places, total = {}, 0
    for name, size in arrays.items():
        places[name] = total
        total += -(-size // ALIGNMENT) * ALIGNMENT
    return places, total


# Where each named array is: the number of a slot, and bytes from its address.
Places = Mapping[str, tuple[int, int]]


def places(work: Work, aux: int = 0) -> dict[str, tuple[int, int]]:
    """Where the arrays of a plan are among ``SLOTS``.

    Operands have a slot each; arrays that are kept or borrowed share one each. After these comes
    one slot for each of the ``aux`` arrays of an epilogue.
    """
    found = {name: (SLOTS.index(name), 0) for name in SLOTS[:4]}
    found |= {f"aux{i}": (len(SLOTS) + i, 0) for i in range(aux)}
    for slot, arrays in (("kept", work.kept), ("scratch", work.scratch)):
        found |= {name: (SLOTS.index(slot), at) for name, at in layout(arrays)[0].items()}
    return found


class Laid(NamedTuple):
    """Steps as numbers, without an address: what is left of them once their kernels are compiled.

    words: the headers of all steps, then their arguments; 0 where an address belongs. places: rows
    of a position among the words, a slot, and how many bytes from its address. functions, tables:
    rows of a position and the number of a kernel, or of a table, whose address it is.
    """

    steps: int
    words: Memory
    places: Memory
    functions: Memory
    tables: Memory
    kernels: tuple[Linked, ...]
    arrays: tuple[Memory, ...]


def laid_out(steps: Sequence[Step], places: Places, machine: Machine, slots: int) -> Laid:
    """Steps as numbers. ValueError: a step names an array without a place, or a place without a
    slot.
    """
    steps = _with_work(steps)
    found = _kernels(steps, machine)
    codes: dict[Linked, int] = {}
    numbers = {recipe: codes.setdefault(code, len(codes)) for recipe, code in found.items()}
    made = _Layer(HEADER * len(steps), numbers, places, slots)
    heads: list[int] = []
    for i, step in enumerate(steps):
        barrier = i + 1 < len(steps) and steps[i + 1].barrier
        whole = WHOLE if getattr(step.recipe, "one_call", False) else 0
        made.functions.append((len(heads), numbers[id(step.recipe)]))
        heads += [0, len(made.arguments), step.items, BARRIER * barrier + whole]
        for argument in step.arguments:
            # As nearly all of thousands are.
            made.arguments.append(argument if type(argument) is int else made.argument(argument))
    return Laid(
        len(steps),
        np.array([*heads, *made.arguments], dtype=np.int64),
        _rows(made.places, 3),
        _rows(made.functions, 2),
        _rows(made.tables, 2),
        tuple(codes),
        tuple(made.arrays),
    )


def _rows(rows: Sequence[tuple[int, ...]], width: int) -> Memory:
    return np.array(rows, np.int64).reshape(-1, width)


class _Layer:
    """Arguments that are laid out, one after the other, from word ``start``."""

    def __init__(self, start: int, numbers: Mapping[int, int], where: Places, slots: int) -> None:
        self._start, self._numbers, self._where, self._slots = start, numbers, where, slots
        self.arguments: list[int] = []
        self.places: list[tuple[int, int, int]] = []
        self.functions: list[tuple[int, int]] = []
        self.tables: list[tuple[int, int]] = []
        self.arrays: list[Memory] = []
        self._known: dict[int, int] = {}

    def argument(self, argument: Argument) -> int:
        position = self._start + len(self.arguments)
        if isinstance(argument, Operand):
            slot, start = self._where.get(argument.name, (-1, 0))
            if not 0 <= slot < self._slots:
                raise FaltungError(
                    f"places={sorted(self._where)}: must have {argument.name!r} in one of "
                    f"{self._slots} slots"
                )
            self.places.append((position, slot, start + argument.offset))
            return 0
        if isinstance(argument, np.ndarray):
            number = self._known.setdefault(id(argument), len(self.arrays))
            if number == len(self.arrays):
                self.arrays.append(argument)
            self.tables.append((position, number))
            return 0
        if isinstance(argument, Code):
            self.functions.append((position, self._numbers[id(argument.recipe)]))
            return 0
        return int(argument)


class Region:
    """Compiled steps: ``run(addresses, threads)`` does them all in one parallel region.

    ``places``: where the arrays that the steps name are among the ``slots`` addresses of a call.
    Several Python threads may run it at once: each call has its own copy of the arguments.
    ValueError: a step names an array without a place, or a place without a slot.
    """

    def __init__(
        self, steps: Sequence[Step], places: Places, machine: Machine, slots: int = len(SLOTS)
    ) -> None:
        self._take(laid_out(steps, places, machine, slots), slots)

    @classmethod
    def of(cls, laid: Laid, slots: int) -> "Region":
        """Steps that are laid out already."""
        made = cls.__new__(cls)
        made._take(laid, slots)
        return made

    def _take(self, laid: Laid, slots: int) -> None:
        self.laid = laid
        self.kernels = list(laid.kernels)
        self._slots, self._steps = slots, laid.steps
        self._tables = laid.arrays
        self._places: list[list[int]] = laid.places.tolist()
        self._free: list[tuple[memoryview, team.Region]] = []
        self._template = laid.words.copy()
        for rows, found in (
            (laid.functions, [code.address for code in laid.kernels]),
            (laid.tables, [int(table.ctypes.data) for table in laid.arrays]),
        ):
            if len(rows):
                self._template[rows[:, 0]] = np.array(found, np.int64)[rows[:, 1]]

    def _image(self) -> tuple[memoryview, team.Region]:
        memory = self._template.copy()
        head = memory[: HEADER * self._steps].reshape(-1, HEADER)
        # The position of each step's arguments, after all headers, becomes an address.
        head[:, 1] = int(memory.ctypes.data) + (HEADER * self._steps + head[:, 1]) * memory.itemsize
        # Its entries are written in a third of the time that NumPy takes.
        return memory.data, team.Region(head)

    def run(self, addresses: Sequence[int], threads: int) -> None:
        """Run the steps; ``addresses`` are in the order of the slots, 0 for unused ones."""
        if not self._steps:
            return
        try:
            image = self._free.pop()
        except IndexError:
            image = self._image()
        self._fill(image[0], addresses)
        image[1].run(threads)
        self._free.append(image)

    def bind(self, addresses: Sequence[int]) -> "Bound":
        """The same steps with fixed addresses, so that a call has nothing to fill in.

        The caller keeps the memory alive for as long as the result is run.
        ValueError: not one address for each slot.
        """
        if len(addresses) != self._slots:
            raise FaltungError(f"addresses={addresses}: must be {self._slots}, one for each slot")
        memory, region = self._image()
        self._fill(memory, addresses)
        return Bound(region, self._tables)

    def movable(self, addresses: Sequence[int]) -> "Movable":
        """The same steps with addresses that are changed one by one, between runs.

        ValueError: not one address for each slot.
        """
        if len(addresses) != self._slots:
            raise FaltungError(f"addresses={addresses}: must be {self._slots}, one for each slot")
        memory, region = self._image()
        places = np.array(self._places, np.int64).reshape(-1, 3)
        made = Movable(region, memory, self._tables, places, self._slots)
        for slot, address in enumerate(addresses):
            made.move(slot, address)
        return made

    def _fill(self, memory: memoryview, addresses: Sequence[int]) -> None:
        for position, slot, offset in self._places:
            memory[position] = addresses[slot] + offset


class Bound:
    """Steps with fixed addresses: ``run(threads)`` returns how many threads took part.

    A run costs no more than the hand-over to the thread team. It only reads the arguments, so
    whether several runs may overlap depends on the steps alone.
    """

    __slots__ = ("_tables", "run")

    def __init__(self, region: team.Region, tables: Sequence[Memory]) -> None:
        # The method of the team, not a wrapper: a Python call takes a tenth of a small convolution.
        self.run: Callable[[int], int] = region.run
        self._tables = tuple(tables)


class Movable:
    """Steps whose memories may move between runs: ``move(slot, address)``, then ``run(threads)``.

    One run at a time; the caller keeps the memory alive.
    """

    __slots__ = ("_at", "_memory", "_places", "_single", "_tables", "_words", "run")

    def __init__(
        self,
        region: team.Region,
        memory: memoryview,
        tables: Sequence[Memory],
        places: Memory,
        slots: int,
    ) -> None:
        self.run: Callable[[int], int] = region.run
        self._words = memory
        self._memory = np.asarray(memory)
        self._tables = tuple(tables)
        self._at: list[int | None] = [None] * slots
        # Of each slot where its addresses are among the arguments, and how far each is into it.
        of = [places[places[:, 1] == slot] for slot in range(slots)]
        self._places = [(np.ascontiguousarray(p[:, 0]), p[:, 2].copy()) for p in of]
        # Most inputs and results of small programs are named once.
        self._single = [(int(p[0, 0]), int(p[0, 2])) if len(p) == 1 else None for p in of]

    def move(self, slot: int, address: int) -> None:
        """From now on the memory of a slot begins at this address."""
        if self._at[slot] != address:
            self._at[slot] = address
            only = self._single[slot]
            if only is not None:
                self._words[only[0]] = only[1] + address
            else:
                positions, offsets = self._places[slot]
                self._memory[positions] = offsets + address


def _kernels(steps: Sequence[Step], machine: Machine) -> dict[int, Linked]:
    """The kernel of each recipe, by its ``id``; steps share recipes, whose long text is generated
    once.
    """
    found: dict[int, Linked] = {}
    for step in steps:
        for recipe in recipes(step):
            if id(recipe) not in found:
                found[id(recipe)] = kernel(recipe, machine)
    return found


def _with_work(steps: Sequence[Step]) -> list[Step]:
    """The steps that have items; a barrier before one that has none moves to the next step."""
    found: list[Step] = []
    barrier = False
    for step in steps:
        barrier = barrier or step.barrier
        if step.items > 0:
            found.append(waiting(step, barrier))
            barrier = False
    return found
