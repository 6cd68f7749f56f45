"""Pooling of planes, first part: the rows of windows combined into columns, in a buffer."""

from collections.abc import Mapping, Sequence

from faltung.codegen.vectors import Vectors
from faltung.methods.pool.planes_rules import Rule, State

# Columns done side by side.
WIDE = 4


class Columns:
    """``buffers``: one for each vector of a state. ``spread``: columns stand so far apart in them,
    with zeros between them; 0 for any distance.
    """

    def __init__(
        self, v: Vectors, rule: Rule, spread: int, word: Mapping[str, str], buffers: Sequence[str]
    ) -> None:
        self.v, self.f, self.rule, self.spread = v, v.function, rule, spread
        self.word, self.buffers = word, buffers

    def border(self, start: str, stop: str) -> None:
        """Elements of the buffer that never count, in whole vectors: too many at the end."""
        with self.f.loop(start, stop, step=self.v.lanes) as at:
            for buffer, value in zip(self.buffers, self.rule.outside, strict=True):
                self.v.store(value, self.v.at(buffer, at.index))

    def columns(
        self, plane: str, source: str, entries: tuple[str, str], skipped: str, inside: str
    ) -> None:
        """The rows of the windows combined: vectors, then what is left with a mask."""
        f, v = self.f, self.v
        done = "0"
        for count in (WIDE, 1):
            with f.loop(done, f.sub(inside, count * v.lanes - 1), step=count * v.lanes) as at:
                self.column(plane, f.add(source, at.index), entries, at.index, skipped, count, None)
            done = at.index
        with f.when(f.value(f"icmp slt i64 {done}, {inside}")):
            mask = v.below(f.sub(inside, done))
            self.column(plane, f.add(source, done), entries, done, skipped, 1, mask)

    def column(
        self,
        plane: str,
        source: str,
        entries: tuple[str, str],
        at: str,
        skipped: str,
        count: int,
        mask: str | None,
    ) -> None:
        f, v = self.f, self.v

        def read(entry: str) -> list[State]:
            row = f.word(f.at(self.word["entries"], f.mul(entry, 2), "i64"), 0)
            where = f.add(source, row)
            made = []
            for q in range(count):
                values = v.load(v.at(v.at(plane, where), q * v.lanes), mask)
                made.append(self.rule.state(values, f.add(where, q * v.lanes)))
            return made

        # A row of means may see nothing but padding, a maximum never does.
        empty = self.rule.mean
        start = [[v.zero]] * count if empty else read(entries[0])
        begin = [(v.type, one) for state in start for one in state]
        with f.loop(f.add(entries[0], 0 if empty else 1), entries[1], begin) as turn:
            old, new = self.rule.grouped(turn.values), read(turn.index)
            made = [self.rule.both(a, b) for a, b in zip(old, new, strict=True)]
            turn.carry([one for state in made for one in state])
        to = f.add(skipped, f.mul(self.word["spread"], at) if self.spread != 1 else at)
        if self.spread != 1:
            for q, (value,) in enumerate(self.rule.grouped(turn.results)):
                where = f.add(to, f.mul(self.word["spread"], q * v.lanes))
                self.stuffed(value, v.at(self.buffers[0], where))
            return
        for q, state in enumerate(self.rule.grouped(turn.results)):
            for buffer, value in zip(self.buffers, state, strict=True):
                v.store(value, v.at(v.at(buffer, to), q * v.lanes))

    def stuffed(self, vector: str, address: str) -> None:
        """Columns apart from each other, over zeros."""
        v, f = self.v, self.f
        if self.spread == 2:
            for half in range(2):
                lanes = [(half * v.lanes + i) // 2 + i % 2 * v.lanes for i in range(v.lanes)]
                v.store(v.shuffle(vector, v.zero, lanes), v.at(address, half * v.lanes))
            return
        for lane in range(v.lanes):
            one = f.value(f"extractelement {v.type} {vector}, i64 {lane}")
            to = v.at(address, f.mul(self.word["spread"], lane))
            f.emit(f"store {v.element} {one}, ptr {to}, align {v.bytes}")
