"""Weights as the sums read them: block by block of output channels, a group of terms in each lane.

They come as whole numbers in float32, which networks have, or in 8 bits. The bias is packed with
them, as an int32, and with what the sums of levels have too much: levels are not x - zero but x - s
for a constant s of the inner product, so sum((x - zero) w) = sum((x - s) w) + (s - zero) sum(w),
where padding is a level like any other.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING
from faltung.methods.integer.inner import SMALL

# Columns of the table of blocks: where the weights of one begin, its first output channel, how many
# there are and for how many there is room; where it begins in the packed weights, and in the bias.
PACKED_COLUMNS = 6


@dataclass(frozen=True, slots=True)
class _Block:
    """A block that is packed: its weights, where they go, lanes, channels, where its bias goes."""

    w: str
    packed: str
    width: str
    channels: str
    channel: str
    bias: str


@dataclass(frozen=True)
class PackIntegers(Kernel):
    """Items are blocks. given: the type of weights, "float32" or "int8". bits: of a packed weight,
    or 32 for float32, of which the bias is then one too. group: terms in a lane; has_bias: whether
    there is one.
    """

    name = "pack_integers"
    pointers: ClassVar[tuple[str, ...]] = (
        *("w", "given_bias", "blocks", "reduction", "packed", "bias"),
    )
    numbers = ("length", "channel", "correction")

    dtype: str
    given: str
    bits: int
    group: int
    has_bias: bool

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            entry = f.at(given["blocks"], f.mul(item.index, PACKED_COLUMNS), "i64")
            block = _Block(
                f.at(given["w"], f.word(entry, 0), self._element),
                f.at(given["packed"], f.word(entry, 4), "i8"),
                f.word(entry, 3),
                f.word(entry, 2),
                f.word(entry, 1),
                f.at(given["bias"], f.word(entry, 5), "i32"),
            )
            with f.loop(0, block.width) as lane:
                total = self._lane(f, given, block, lane.index)
                total = f.value(f"mul i32 {total}, {self._narrow(f, given['correction'])}")
                if self.has_bias:
                    total = f.value(f"add i32 {total}, {self._bias(f, given, block, lane.index)}")
                if self.bits == 32:
                    number = f.value(f"sitofp i32 {total} to float")
                    total = f.value(f"bitcast float {number} to i32")
                f.emit(f"store i32 {total}, ptr {f.at(block.bias, lane.index, 'i32')}, align 4")
            self._beside(f, given, block, item.index)

    def _lane(self, f: Function, given: Arguments, block: _Block, lane: str) -> str:
        """Pack the terms of one output channel; their sum."""
        kind = "float" if self.bits == 32 else f"i{self.bits}"
        convert = "sitofp" if self.bits == 32 else "trunc"
        with f.loop(0, given["length"], [("i32", "0")]) as term:
            offset = f.word(given["reduction"], term.index)
            one = self._weight(f, given, block, lane, offset)
            place = self._place(f, term.index, block, lane)
            short = f.value(f"{convert} i32 {one} to {kind}")
            f.emit(f"store {kind} {short}, ptr {f.at(block.packed, place, kind)}, align 1")
            term.carry([f.value(f"add i32 {term.values[0]}, {one}")])
        return term.results[0]

    def _beside(self, f: Function, given: Arguments, block: _Block, number: str) -> None:
        """What else is packed of a block."""

    @property
    def _element(self) -> str:
        return "float" if self.given == "float32" else "i8"

    def _weight(self, f: Function, given: Arguments, block: _Block, lane: str, offset: str) -> str:
        """The weight of an output channel at an offset, as an i32; zero where there is none."""
        there = f.value(f"icmp ne i64 {offset}, {MISSING}")
        there = f.value(f"and i1 {there}, {self._inside(f, block, lane)}")
        at = f.add(offset, f.mul(lane, given["channel"]))
        at = f.value(f"select i1 {there}, i64 {at}, i64 0")
        one = f.value(f"load {self._element}, ptr {f.at(block.w, at, self._element)}, align 1")
        convert = "fptosi float" if self.given == "float32" else "sext i8"
        one = f.value(f"{convert} {one} to i32")
        return f.value(f"select i1 {there}, i32 {one}, i32 0")

    def _inside(self, f: Function, block: _Block, lane: str) -> str:
        """Whether a lane is an output channel."""
        return f.value(f"icmp slt i64 {lane}, {block.channels}")

    def _place(self, f: Function, term: str, block: _Block, lane: str) -> str:
        """Where a term of an output channel is packed."""
        group, rest = f.divmod(term, self.group)
        return f.add(f.mul(f.add(f.mul(group, block.width), lane), self.group), rest)

    def _bias(self, f: Function, given: Arguments, block: _Block, lane: str) -> str:
        inside = self._inside(f, block, lane)
        at = f.value(f"select i1 {inside}, i64 {f.add(block.channel, lane)}, i64 0")
        number = f.value(f"load float, ptr {f.at(given['given_bias'], at, 'float')}, align 4")
        callee = f.module.declare("llvm.fptosi.sat.i32.f32", "i32", "float")
        whole = f.value(f"call i32 {callee}(float {number})")
        return f.value(f"select i1 {inside}, i32 {whole}, i32 0")

    def _narrow(self, f: Function, word: str) -> str:
        return f.value(f"trunc i64 {word} to i32")


@dataclass(frozen=True)
class PackBytes(PackIntegers):
    """The same for products of bytes: groups of four terms whose neighbouring weights are small, in
    8 bits, and from the end of the block on the others, in 16 bits, even terms and then odd ones.
    ``steps``: for each where its levels are in a patch (``places``); ``counts``: of small ones.
    """

    name = "pack_bytes"
    pointers = (*PackIntegers.pointers, "places", "steps", "counts")

    def _lane(self, f: Function, given: Arguments, block: _Block, lane: str) -> str:
        with f.loop(0, given["length"], [("i32", "0")]) as term:
            offset = f.word(given["reduction"], term.index)
            one = self._weight(f, given, block, lane, offset)
            term.carry([f.value(f"add i32 {term.values[0]}, {one}")])
        return term.results[0]

    def _beside(self, f: Function, given: Arguments, block: _Block, number: str) -> None:
        quads = f.divmod(given["length"], 4)[0]
        steps = f.at(given["steps"], f.mul(number, quads), "i32")
        with f.loop(0, quads, [("i64", "0"), ("i64", quads)]) as quad:
            small, stop = quad.values
            large = self._large(f, given, block, quad.index)
            last = f.sub(stop, 1)
            to = f.value(f"select i1 {large}, i64 {last}, i64 {small}")
            place = f.value(f"trunc i64 {f.word(given['places'], quad.index)} to i32")
            f.emit(f"store i32 {place}, ptr {f.at(steps, to, 'i32')}, align 4")
            f.choose(
                large,
                partial(self._quad, f, given, block, quad.index, last, True),
                partial(self._quad, f, given, block, quad.index, small, False),
            )
            more = f.value(f"select i1 {large}, i64 {small}, i64 {f.add(small, 1)}")
            quad.carry([more, f.value(f"select i1 {large}, i64 {last}, i64 {stop}")])
        at = f.at(given["counts"], number, "i64")
        f.emit(f"store i64 {quad.results[0]}, ptr {at}, align 8")

    def _read(
        self, f: Function, given: Arguments, block: _Block, quad: str, lane: str
    ) -> list[str]:
        """Four weights of an output channel."""
        terms = f.at(given["reduction"], f.mul(quad, 4), "i64")
        return [self._weight(f, given, block, lane, f.word(terms, i)) for i in range(4)]

    def _large(self, f: Function, given: Arguments, block: _Block, quad: str) -> str:
        """Whether neighbouring weights of any output channel are too large."""
        with f.loop(0, block.width, [("i32", "0")]) as lane:
            read = self._read(f, given, block, quad, lane.index)
            most = lane.values[0]
            for a, b in (read[:2], read[2:]):
                both = f.value(f"add i32 {self._size(f, a)}, {self._size(f, b)}")
                more = f.value(f"icmp sgt i32 {both}, {most}")
                most = f.value(f"select i1 {more}, i32 {both}, i32 {most}")
            lane.carry([most])
        return f.value(f"icmp sgt i32 {lane.results[0]}, {SMALL}")

    def _size(self, f: Function, number: str) -> str:
        negative = f.value(f"icmp slt i32 {number}, 0")
        minus = f.value(f"sub i32 0, {number}")
        return f.value(f"select i1 {negative}, i32 {minus}, i32 {number}")

    def _quad(
        self, f: Function, given: Arguments, block: _Block, quad: str, to: str, large: bool
    ) -> None:
        """Pack a group as number ``to`` of its kind."""
        size, order = (2, (0, 2, 1, 3)) if large else (1, (0, 1, 2, 3))
        kind = f"i{8 * size}"
        begin = f.at(block.packed, f.mul(f.mul(to, 4 * size), block.width), "i8")
        with f.loop(0, block.width) as lane:
            read = self._read(f, given, block, quad, lane.index)
            first = f.at(begin, f.mul(lane.index, 4), "i8")
            # Of a large group the odd terms of all lanes come after the even ones.
            second = f.at(first, f.mul(block.width, 4), "i8") if large else first
            for i, term in enumerate(order):
                short = f.value(f"trunc i32 {read[term]} to {kind}")
                here = f.at(second if i > 1 else first, i % 2 if large else i, kind)
                f.emit(f"store {kind} {short}, ptr {here}, align 1")


# The transform of three weights: combinations of them, times two so that all are whole.
WEIGHTS = ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2))
TAPS, COMPONENTS = 3, 4


@dataclass(frozen=True)
class PackMinimal(PackIntegers):
    """The same for minimal filtering: ``reduction`` has the nine taps of each term, and there is a
    panel for each component, one after the other.
    """

    name = "pack_minimal"

    def _lane(self, f: Function, given: Arguments, block: _Block, lane: str) -> str:
        size = f.mul(given["length"], block.width)
        with f.loop(0, given["length"]) as term:
            taps = f.at(given["reduction"], f.mul(term.index, TAPS * TAPS), "i64")
            read = [
                self._weight(f, given, block, lane, f.word(taps, i)) for i in range(TAPS * TAPS)
            ]
            rows = [self._combined(f, read[TAPS * i : TAPS * (i + 1)]) for i in range(TAPS)]
            columns = [self._combined(f, column) for column in zip(*rows, strict=True)]
            place = self._place(f, term.index, block, lane)
            for i in range(COMPONENTS * COMPONENTS):
                one = columns[i % COMPONENTS][i // COMPONENTS]
                short = f.value(f"trunc i32 {one} to i{self.bits}")
                at = f.at(block.packed, place, f"i{self.bits}")
                f.emit(f"store i{self.bits} {short}, ptr {at}, align 1")
                place = f.add(place, size)
        return "0"

    def _combined(self, f: Function, weights: Sequence[str]) -> list[str]:
        made = []
        for factors in WEIGHTS:
            total = "0"
            for factor, weight in zip(factors, weights, strict=True):
                if factor:
                    total = f.value(f"add i32 {total}, {f.value(f'mul i32 {weight}, {factor}')}")
            made.append(total)
        return made
