"""A chain of steps, run a band of rows at a time: the maps between them never exist as a whole.

What it is.  The items of a chain are parts of its last map, sample after sample: neighbouring bands
  of a few rows. For each band, each step does its own items that this band needs and the band
  before has not done, with its own code and tables, called by its address. A map between two steps
  is a ring: memory on the stack of the thread for as many rows as are needed at a time, row ``r``
  at ``r % ring``, which is in the tables of the two steps. The first band of an item computes the
  rows above it again; so there are only as many items as cores need.
When it applies.  To steps whose items are rows one after the other (``Kernel.row_items``), and that
  read a few rows around their own. Which chains are worth it, ``program/bands.py`` says.
What it costs.  A call for each step and band, and the rows that two items both compute.
"""

from collections.abc import Sequence

import numpy as np

from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.kernel import part as part_of
from faltung.methods.base.step import Argument, Code, Operand, Step, Table, table

# Columns of the table of bands: the first item that a thread does that begins here, that of one
# that has done the band before, and where both stop. Of the table of calls: where the function and
# its arguments are in the block, and items of a sample. Of the table of rings: which word is the
# address of which byte.
BAND, CALL, RING = 3, 2, 2


@dataclass(frozen=True)
class ChainKernel(Kernel):
    """Calls the functions that follow its own arguments: each a word, then its arguments."""

    name = "chain"
    pointers = ("bands", "calls", "rings")
    numbers = ("band_count", "part_count", "call_count", "ring_count", "ring_bytes", "words")

    dtype: str = "int64"

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        block = f.value(f"alloca i64, i64 {given['words']}, align 64")
        memory = f.value(f"alloca i8, i64 {given['ring_bytes']}, align 64")
        self._copy(f, given, block, memory)
        with f.loop("%begin", "%end") as item:
            sample, part = f.divmod(item.index, given["part_count"])
            first, stop = part_of(f, given["band_count"], given["part_count"], part)
            # Of the first band, here or of a sample, nothing is there yet.
            begins = (item.index, "%begin"), (part, "0")
            one, two = (f.value(f"icmp eq i64 {a}, {b}") for a, b in begins)
            anew = f.value(f"or i1 {one}, {two}")
            with f.loop(first, stop) as band:
                top = f.value(f"icmp eq i64 {band.index}, {first}")
                fresh = f.value(f"and i1 {top}, {anew}")
                self._band(f, given, block, sample, band.index, fresh)

    def _band(
        self, f: Function, given: Arguments, block: str, sample: str, band: str, fresh: str
    ) -> None:
        """All calls for a band."""
        first = f.mul(band, given["call_count"])
        with f.loop(0, given["call_count"]) as call:
            row = f.at(given["bands"], f.mul(f.add(first, call.index), BAND), "i64")
            begin = f.value(f"select i1 {fresh}, i64 {f.word(row, 0)}, i64 {f.word(row, 1)}")
            end = f.word(row, 2)
            with f.when(f.value(f"icmp slt i64 {begin}, {end}")):
                of = f.at(given["calls"], f.mul(call.index, CALL), "i64")
                before = f.mul(sample, f.word(of, 1))
                start = f.at(block, f.word(of, 0), "i64")
                function = f.pointer(start, 0)
                begin, end = f.add(before, begin), f.add(before, end)
                arguments = f.at(start, 1, "i64")
                f.emit(f"call void {function}(ptr {arguments}, i64 {begin}, i64 {end})")

    def _copy(self, f: Function, given: Arguments, block: str, memory: str) -> None:
        """The functions and their arguments, with the addresses of this thread's rings."""
        source = f.at("%arguments", len(self.names), "i64")
        with f.loop(0, given["words"]) as word:
            # Volatile, so that LLVM does not call a function of C.
            at = f.at(source, word.index, "i64")
            value = f.value(f"load volatile i64, ptr {at}, align 8")
            f.emit(f"store i64 {value}, ptr {f.at(block, word.index, 'i64')}, align 8")
        with f.loop(0, given["ring_count"]) as ring:
            entry = f.at(given["rings"], f.mul(ring.index, RING), "i64")
            address = f.at(memory, f.word(entry, 1), "i8")
            to = f.at(block, f.word(entry, 0), "i64")
            f.emit(f"store ptr {address}, ptr {to}, align 8")


CHAIN = ChainKernel()


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A step of a chain. bands: for each band the columns of the table; items: of a sample."""

    step: Step
    bands: Table
    items: int


def chain(
    calls: Sequence[Call], rings: dict[str, int], size: int, samples: int, parts: int, title: str
) -> Step:
    """The step that runs ``calls``, in ``parts`` items for each sample. rings: the names of the
    arrays that are rings, each with the byte at which it begins in the memory of a thread, ``size``
    bytes.
    """
    words: list[Argument] = []
    starts: list[tuple[int, int]] = []
    places: list[tuple[int, int]] = []
    for call in calls:
        starts.append((len(words), call.items))
        words.append(Code(call.step.recipe))
        for argument in call.step.arguments:
            if isinstance(argument, Operand) and argument.name in rings:
                places.append((len(words), rings[argument.name] + argument.offset))
                argument = 0
            words.append(argument)
    bands = table(np.concatenate([call.bands for call in calls], axis=1), BAND)
    count = len(calls[0].bands)
    step = CHAIN.step(
        samples * parts,
        title,
        bands=bands,
        calls=table(starts, CALL),
        rings=table(places, RING),
        band_count=count,
        part_count=parts,
        call_count=len(calls),
        ring_count=len(places),
        ring_bytes=size,
        words=len(words),
    )
    return Step(CHAIN, step.items, (*step.arguments, *words), title)
