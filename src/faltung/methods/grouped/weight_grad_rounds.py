"""Rounds of ``depthwise_grad``: which rows are copied when, and which taps meet which rows.

The rows of a sample are walked in order. A round takes as many rows of the output as fit the
first-level cache together with the rows of the input that they read; a row of the input keeps its
place until another one needs it, so that most are copied once.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faltung.methods.base.addresses import offsets, sources
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Table, table

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """A block of taps as a round goes over it: taps of all axes but the last from ``first`` on,
    ``rows`` of them; ``whole``, ``single``: the functions for all rows, and for one that stands
    alone because others read zeros. The sums of row ``t`` begin at ``t * step + start``.
    """

    first: int
    rows: int
    whole: int
    single: int
    step: int
    start: int

    def place(self, row: int) -> int:
        return row * self.step + self.start


@dataclass(frozen=True, slots=True)
class Memory:
    """Elements between rows in the copies, or None where the arrays themselves are read; places for
    rows of the input, and rows of the output in one round.
    """

    x: int | None
    g: int | None
    places: int
    most: int


@dataclass(frozen=True, slots=True)
class Tables:
    """As ``depthwise_grad_kernel`` reads them."""

    parts: Table
    rounds: Table
    x_copies: Table
    g_copies: Table
    spans: Table
    entries: Table


def reads_of(c: Correlation) -> tuple[Rows, Rows, Rows]:
    """For each row of the output and tap of all axes but the last the row of the input, -1 for
    zeros; and the offsets of all rows of the input, and of the output.
    """
    outer = c.windows[:-1]
    axes = [sources(w.axis) for w in outer]
    columns = []
    for taps in itertools.product(*(range(w.axis.kernel) for w in outer)):
        row = np.zeros(1, np.int64)
        for w, axis, k in zip(outer, axes, taps, strict=True):
            read = axis[:, k]
            below = row[:, None] * w.axis.size + read
            row = np.where((row[:, None] < 0) | (read < 0), -1, below).ravel()
        columns.append(row)
    x = offsets([w.axis.size for w in outer], [w.x for w in outer])
    g = offsets([w.axis.output for w in outer], [w.out for w in outer])
    return np.stack(columns, axis=1), x, g


class _Writer:
    """Tables in the making, for one stretch of rows after the other."""

    def __init__(self, c: Correlation, parts: Sequence[Part], memory: Memory) -> None:
        self.reads, self.x, self.g = reads_of(c)
        self.parts, self.memory = parts, memory
        self.rounds: list[tuple[int, ...]] = []
        self.copies: tuple[list[tuple[int, int]], ...] = ([], [])
        self.spans: list[tuple[int, ...]] = []
        self.entries: list[int] = []

    def stretch(self, rows: range) -> tuple[int, int]:
        """Rounds for the output rows ``rows``: the first, and how many."""
        first = len(self.rounds)
        places: dict[int, int] = {}
        batch: list[int] = []
        used: set[int] = set()
        for row in rows:
            needed = {int(read) for read in self.reads[row] if read >= 0}
            full = len(batch) == self.memory.most
            if batch and (full or len(used | needed) > self.memory.places):
                self._round(batch, used, places)
                batch, used = [], set()
            batch.append(row)
            used |= needed
        if batch:
            self._round(batch, used, places)
        return first, len(self.rounds) - first

    def _round(self, rows: list[int], used: set[int], places: dict[int, int]) -> None:
        x_copies, g_copies = self.copies
        head = [len(x_copies), len(g_copies), len(self.spans)]
        memory = self.memory
        if memory.x is not None:
            free = sorted(set(range(memory.places)) - set(places.values()))
            # What was copied first is given up first.
            old = [read for read in places if read not in used]
            for read in sorted(used - places.keys()):
                places[read] = free.pop(0) if free else places.pop(old.pop(0))
                x_copies.append((int(self.x[read]), places[read] * memory.x))
        if memory.g is not None:
            g_copies += [(int(self.g[row]), i * memory.g) for i, row in enumerate(rows)]
        for part in self.parts:
            self._spans(part, rows, places)
        tails = [len(x_copies), len(g_copies), len(self.spans)]
        pairs = zip(head, tails, strict=True)
        self.rounds.append(tuple(n for a, b in pairs for n in (a, b - a)))

    def _spans(self, part: Part, rows: list[int], places: dict[int, int]) -> None:
        taps = range(part.first, part.first + part.rows)
        present = self.reads[rows][:, part.first : part.first + part.rows] >= 0
        whole = [i for i in range(len(rows)) if present[i].all()]
        self._span(part.whole, taps, rows, whole, part.place(part.first), places)
        for n, tap in enumerate(taps if part.rows > 1 else ()):
            some = [i for i in range(len(rows)) if present[i, n] and not present[i].all()]
            self._span(part.single, range(tap, tap + 1), rows, some, part.place(tap), places)

    def _span(
        self,
        function: int,
        taps: range,
        rows: list[int],
        chosen: list[int],
        place: int,
        places: dict[int, int],
    ) -> None:
        if not chosen:
            return
        self.spans.append((function, len(self.entries), len(chosen), place))
        x_pitch, g_pitch = self.memory.x, self.memory.g
        for i in chosen:
            for tap in taps:
                read = int(self.reads[rows[i], tap])
                self.entries.append(
                    int(self.x[read]) if x_pitch is None else places[read] * x_pitch
                )
            self.entries.append(int(self.g[rows[i]]) if g_pitch is None else i * g_pitch)


def tables_of(c: Correlation, parts: Sequence[Part], memory: Memory, rows: int) -> Tables:
    """The tables for one sample, in stretches of ``rows`` rows of the output."""
    writer = _Writer(c, parts, memory)
    count = len(writer.reads)
    stretches = [
        writer.stretch(range(first, min(count, first + rows))) for first in range(0, count, rows)
    ]
    return Tables(
        table(stretches, 2),
        table(writer.rounds, 6),
        table(writer.copies[0], 2),
        table(writer.copies[1], 2),
        table(writer.spans, 4),
        table([[entry] for entry in writer.entries], 1),
    )
