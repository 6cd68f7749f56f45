"""Weights as the sums read them: block by block of output channels, a group of terms in each lane.

They come as whole numbers in float32, which networks have, or in 8 bits. The bias is packed with
them, as an int32, and with what the sums of levels have too much: levels are not x - zero but x - s
for a constant s of the inner product, so sum((x - zero) w) = sum((x - s) w) + (s - zero) sum(w),
where padding is a level like any other.
"""

from dataclasses import dataclass

from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING

# Columns of the table of blocks: where the weights of one begin, its first output channel, how many
# there are and for how many there is room; where it begins in the packed weights, and in the bias.
PACKED_COLUMNS = 6


@dataclass(frozen=True)
class PackIntegers(Kernel):
    """Items are blocks. given: the type of weights, "float32" or "int8". bits: of a packed weight,
    or 32 for float32, of which the bias is then one too. group: terms in a lane; has_bias: whether
    there is one.
    """

    name = "pack_integers"
    pointers = ("w", "given_bias", "blocks", "reduction", "packed", "bias")
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
            w = f.at(given["w"], f.word(entry, 0), self._element)
            packed = f.at(given["packed"], f.word(entry, 4), "i8")
            first, width = f.word(entry, 5), f.word(entry, 3)
            with f.loop(0, width) as lane:
                inside = f.value(f"icmp slt i64 {lane.index}, {f.word(entry, 2)}")
                start = f.mul(lane.index, given["channel"])
                total = self._lane(f, given, w, start, inside, packed, lane.index, width)
                total = f.value(f"mul i32 {total}, {self._narrow(f, given['correction'])}")
                if self.has_bias:
                    place = f.add(f.word(entry, 1), lane.index)
                    total = f.value(f"add i32 {total}, {self._bias(f, given, place, inside)}")
                if self.bits == 32:
                    number = f.value(f"sitofp i32 {total} to float")
                    total = f.value(f"bitcast float {number} to i32")
                at = f.at(given["bias"], f.add(first, lane.index), "i32")
                f.emit(f"store i32 {total}, ptr {at}, align 4")

    @property
    def _element(self) -> str:
        return "float" if self.given == "float32" else "i8"

    def _lane(
        self,
        f: Function,
        given: Arguments,
        w: str,
        start: str,
        inside: str,
        packed: str,
        lane: str,
        width: str,
    ) -> str:
        """Pack the terms of one output channel; their sum."""
        with f.loop(0, given["length"], [("i32", "0")]) as term:
            one = self._weight(f, w, f.word(given["reduction"], term.index), start, inside)
            place = self._place(f, term.index, width, lane)
            kind = "float" if self.bits == 32 else f"i{self.bits}"
            convert = "sitofp" if self.bits == 32 else "trunc"
            short = f.value(f"{convert} i32 {one} to {kind}")
            f.emit(f"store {kind} {short}, ptr {f.at(packed, place, kind)}, align 1")
            term.carry([f.value(f"add i32 {term.values[0]}, {one}")])
        return term.results[0]

    def _weight(self, f: Function, w: str, offset: str, start: str, inside: str) -> str:
        """A weight as an i32; zero where there is none."""
        there = f.value(f"icmp ne i64 {offset}, {MISSING}")
        there = f.value(f"and i1 {there}, {inside}")
        at = f.value(f"select i1 {there}, i64 {f.add(offset, start)}, i64 0")
        one = f.value(f"load {self._element}, ptr {f.at(w, at, self._element)}, align 1")
        convert = "fptosi float" if self.given == "float32" else "sext i8"
        one = f.value(f"{convert} {one} to i32")
        return f.value(f"select i1 {there}, i32 {one}, i32 0")

    def _place(self, f: Function, term: str, width: str, lane: str) -> str:
        """Where a term of an output channel is packed."""
        group, rest = f.divmod(term, self.group)
        return f.add(f.mul(f.add(f.mul(group, width), lane), self.group), rest)

    def _bias(self, f: Function, given: Arguments, place: str, inside: str) -> str:
        at = f.value(f"select i1 {inside}, i64 {place}, i64 0")
        number = f.value(f"load float, ptr {f.at(given['given_bias'], at, 'float')}, align 4")
        callee = f.module.declare("llvm.fptosi.sat.i32.f32", "i32", "float")
        whole = f.value(f"call i32 {callee}(float {number})")
        return f.value(f"select i1 {inside}, i32 {whole}, i32 0")

    def _narrow(self, f: Function, word: str) -> str:
        return f.value(f"trunc i64 {word} to i32")


# The transform of three weights: combinations of them, times two so that all are whole.
WEIGHTS = ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2))


@dataclass(frozen=True)
class PackMinimal(PackIntegers):
    """The same for minimal filtering: ``reduction`` has the nine taps of each term, and there is a
    panel for each component, one after the other.
    """

    name = "pack_minimal"

    def _lane(
        self,
        f: Function,
        given: Arguments,
        w: str,
        start: str,
        inside: str,
        packed: str,
        lane: str,
        width: str,
    ) -> str:
        size = f.mul(given["length"], width)
        with f.loop(0, given["length"]) as term:
            taps = f.at(given["reduction"], f.mul(term.index, 9), "i64")
            read = [self._weight(f, w, f.word(taps, i), start, inside) for i in range(9)]
            columns = [self._combined(f, read[3 * i : 3 * i + 3]) for i in range(3)]
            rows = [self._combined(f, list(column)) for column in zip(*columns, strict=True)]
            place = self._place(f, term.index, width, lane)
            for i in range(16):
                short = f.value(f"trunc i32 {rows[i % 4][i // 4]} to i{self.bits}")
                at = f.at(packed, place, f"i{self.bits}")
                f.emit(f"store i{self.bits} {short}, ptr {at}, align 1")
                place = f.add(place, size)
        return "0"

    def _combined(self, f: Function, weights: list[str]) -> list[str]:
        made = []
        for factors in WEIGHTS:
            total = "0"
            for factor, weight in zip(factors, weights, strict=True):
                if factor:
                    total = f.value(f"add i32 {total}, {f.value(f'mul i32 {weight}, {factor}')}")
            made.append(total)
        return made
