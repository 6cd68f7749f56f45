"""The code of a kernel over arrays of fewer bits: the same module with other loads and stores.

Kernels are written for arrays of float32. ``codegen/addresses.py`` finds out which array each of
their addresses points into; here the same module is written for arrays that hold 16 bits, or 8:
offsets in elements stay as they are, what is loaded is widened, and what is stored is rounded once.
Nothing of a kernel has to know about it.

``accesses`` says what a kernel does with each of its arrays. An array whose addresses are kept
where they cannot be followed, or that is read as something else than floats, cannot be stored
otherwise; two arrays that one instruction may read must be stored alike.
"""

import re
from collections.abc import Iterable, Mapping

from faltung.codegen.addresses import (
    PHI,
    RESULT,
    Access,
    Analysis,
    Code,
    Memory,
    accessed,
    functions,
)
from faltung.codegen.ir import Module, Piece
from faltung.codegen.narrow import Narrow
from faltung.codegen.whole import EXTEND, Whole
from faltung.machine.table import Machine

# Before a kind: numbers are rounded to it, and stored in float32.
ROUNDED = "rounded "

_INSERTED = re.compile(r"  (%\S+) = insertelement <(\d+) x float> poison, float (%\S+), i64 0$")
_SPREAD = re.compile(
    r"  (%\S+) = shufflevector <(\d+) x float> (%\S+), <\d+ x float> poison, "
    r"<\d+ x i32> zeroinitializer$"
)


def accesses(text: str, symbol: str) -> dict[int, Access]:
    """What the kernel ``symbol`` of this module does with the arrays that its arguments point to,
    by the number of the word.
    """
    return Analysis(functions(text), symbol).arrays()


def over(text: str, symbol: str, stored: Mapping[int, str], machine: Machine) -> str:
    """The same module, where the arrays of these words hold "float16" or "bfloat16"; or, with
    ``ROUNDED`` before it, float32 that is rounded to such numbers when it is stored.

    They must fit, by ``accesses``.
    """
    analysis = Analysis(functions(text), symbol)
    module = Module()
    made = []
    for function in analysis.code.values():
        made += _Writer(function, analysis, stored, module, machine).written()
    top = [line for line in text.split("\n") if line.startswith(("declare", "@"))]
    more = [line for line in module.declared if line not in top]
    return "\n".join([*top, *more, *made]) + "\n"


# Writing it again ---------------------------------------------------------------------------------


_ELEMENTS = {"float16": "i16", "bfloat16": "i16", "uint8": "i8", "int8": "i8"}


def _lanes(piece: Piece, machine: Machine, kind: str, count: int) -> Narrow:
    made = Whole if kind in EXTEND else Narrow
    return made(piece, machine, "float32", kind, count)


class _Writer:
    """Writes a function again. ``blocks``: what the blocks are called at their ends, where the code
    of an access has branches.
    """

    def __init__(
        self,
        code: Code,
        analysis: Analysis,
        stored: Mapping[int, str],
        module: Module,
        machine: Machine,
    ) -> None:
        self.code, self.stored, self.module, self.machine = code, stored, module, machine
        self.analysis = analysis
        self.count = 0
        self.block = ""
        self.blocks: dict[str, str] = {}

    def written(self) -> list[str]:
        made: list[str] = []
        lines = self.code.lines
        at = 0
        while at < len(lines):
            line = lines[at]
            if line.endswith(":") and not line.startswith(" "):
                self.block = line[:-1]
            spread = self._spread(lines[at : at + 3])
            if spread is not None:
                made += spread
                at += 3
                continue
            made += self._line(line)
            at += 1
        return [self._renamed(line) for line in made]

    def _line(self, line: str) -> Iterable[str]:
        if "ptr" not in line:
            return (line,)
        if " = getelementptr float, ptr " in line:
            value = RESULT.match(line)
            assert value is not None
            element = _ELEMENTS.get(self._kind(value[1]), "float")
            return (line.replace("getelementptr float", f"getelementptr {element}", 1),)
        memory = accessed(line)
        kind = "" if memory is None or not memory.floats else self._kind(memory.address)
        return (line,) if memory is None or not kind else self._access(line, memory, kind)

    def _kind(self, value: str) -> str:
        """How the array is stored that an address points into; "": as float32."""
        origins = self.analysis.of(self.code.name, value)
        places = [o for o in origins if o[0] in ("array", "local")]
        arrays = self.analysis.group(places) if places else ()
        return next((self.stored[n] for n in arrays if n in self.stored), "")

    def _access(self, line: str, memory: Memory, kind: str) -> list[str]:
        """The instructions instead of an access."""
        if kind.startswith(ROUNDED):
            return self._rounding(line, memory, kind.removeprefix(ROUNDED))
        piece = Piece(self.module, self.count)
        v = _lanes(piece, self.machine, kind, memory.lanes or 1)
        if memory.stores:
            vector = memory.vector
            if not memory.lanes:
                vector = piece.value(f"insertelement <1 x float> poison, float {vector}, i64 0")
            if memory.several:
                v.scatter_at(vector, memory.address, memory.mask)
            else:
                v.store(vector, memory.address, memory.mask)
        else:
            result = RESULT.match(line)
            assert result is not None
            if memory.several:
                loaded = v.gather_at(memory.address, memory.mask)
            else:
                loaded = v.load(memory.address, memory.mask)
            if memory.lanes:
                piece.named(result[1], f"bitcast {v.type} {loaded} to {v.type}")
            else:
                piece.named(result[1], f"extractelement <1 x float> {loaded}, i64 0")
        return self._taken(piece)

    def _rounding(self, line: str, memory: Memory, kind: str) -> list[str]:
        """The same access, of numbers that are rounded before they are stored."""
        if not memory.stores:
            return [line]
        piece = Piece(self.module, self.count)
        v = Narrow(piece, self.machine, "float32", kind, memory.lanes or 1)
        vector = memory.vector
        if not memory.lanes:
            one = piece.value(f"insertelement <1 x float> poison, float {vector}, i64 0")
            made = piece.value(f"extractelement <1 x float> {v.rounded(one)}, i64 0")
        else:
            made = v.rounded(vector)
        before = f"float> {vector}, " if memory.lanes else f"float {vector}, "
        after = before.replace(vector, made)
        piece.emit(line.strip().replace(before, after, 1))
        return self._taken(piece)

    def _spread(self, lines: list[str]) -> list[str] | None:
        """One element in every lane: a load and two instructions, which follow each other."""
        if len(lines) < 3 or " = load float, ptr " not in lines[0]:
            return None
        result, inserted, spread = (
            RESULT.match(lines[0]),
            _INSERTED.match(lines[1]),
            _SPREAD.match(lines[2]),
        )
        memory = accessed(lines[0])
        if result is None or inserted is None or spread is None or memory is None:
            return None
        if inserted[3] != result[1] or spread[3] != inserted[1]:
            return None
        kind = self._kind(memory.address)
        if not kind or kind.startswith(ROUNDED):
            return None
        piece = Piece(self.module, self.count)
        v = _lanes(piece, self.machine, kind, int(spread[2]))
        every = v.broadcast(memory.address)
        piece.named(spread[1], f"bitcast {v.type} {every} to {v.type}")
        piece.named(inserted[1], f"bitcast {v.type} {every} to {v.type}")
        piece.named(result[1], f"extractelement {v.type} {every}, i64 0")
        return self._taken(piece)

    def _taken(self, piece: Piece) -> list[str]:
        self.count = piece.count
        if piece.block:
            self.blocks[self.block] = piece.block
        return piece.lines

    def _renamed(self, line: str) -> str:
        """A phi knows the blocks before it by what they are called at their ends."""
        if " = phi " not in line or not self.blocks:
            return line
        return PHI.sub(lambda m: f"[{m[1]}, %{self.blocks.get(m[2], m[2])}]", line)
