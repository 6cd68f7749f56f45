"""The kernel of pooling with channels first: columns of windows in a buffer, taps out of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.pool.planes_columns import Columns
from faltung.methods.pool.planes_rules import Rule
from faltung.methods.pool.planes_taps import Taps

# Bytes of one buffer: less than a page, so that no system asks for more than a stack pointer moved.
BUFFER = 3840

POINTERS = ("source", "target", "index", "rows", "entries", "divisors")
WORDS = (
    *POINTERS,
    *("row_count", "group", "groups", "source_plane", "target_plane", "index_plane"),
    *("size", "outputs", "taps", "stride", "dilation", "lo", "chunk", "spread"),
)


@dataclass(frozen=True)
class Planes:
    """``kind``: max, max_index or mean. ``stride``: 1, 2, or 0 for any. ``taps``: those of the last
    axis, 0 for any number. ``spread``: columns stand so far apart in the buffer, with zeros
    between them, in the gradient of a mean; 0 for any distance.
    """

    dtype: str
    kind: str
    stride: int
    taps: int
    spread: int = 1

    @property
    def symbol(self) -> str:
        return f"pool_planes_{self.kind}_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        buffers = [
            f.value(f"alloca [{BUFFER // v.bytes} x {v.element}], align 64")
            for _ in range(1 + (self.kind == "max_index"))
        ]
        word = {
            name: f.pointer("%words", i) if name in POINTERS else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }
        body = _Body(v, self, word, buffers)
        with f.loop("%begin", "%end") as item:
            plane, group = f.divmod(item.index, word["groups"])
            first = f.mul(group, word["group"])
            last = f.minimum(f.add(first, word["group"]), word["row_count"])
            at = {
                name: v.at(word[name], f.mul(plane, word[f"{name}_plane"]))
                for name in ("source", "target", "index")
            }
            with f.loop(first, last) as row:
                here = f.at(word["rows"], f.mul(row.index, 6), "i64")
                source, target, _, entry, stop, divisor = (f.word(here, i) for i in range(6))
                moved = {"target": v.at(at["target"], target), "index": v.at(at["index"], target)}
                with f.loop(0, word["outputs"], step=word["chunk"]) as chunk:
                    body.chunk(at["source"], source, moved, (entry, stop), divisor, chunk.index)
        return str(module)


class _Body:
    """One chunk of a row of outputs."""

    def __init__(
        self, v: Vectors, recipe: Planes, word: dict[str, str], buffers: Sequence[str]
    ) -> None:
        self.f, self.word = v.function, word
        rule = Rule(v, recipe.kind)
        self.columns = Columns(v, rule, recipe.spread, word, buffers)
        self.taps = Taps(v, rule, recipe.stride, recipe.taps, word, buffers)

    def chunk(
        self,
        plane: str,
        source: str,
        target: dict[str, str],
        entries: tuple[str, str],
        divisor: str,
        first: str,
    ) -> None:
        """Outputs from ``first`` on: columns into the buffer, taps out of it."""
        f, word = self.f, self.word
        count = f.minimum(word["chunk"], f.sub(word["outputs"], first))
        begin = f.sub(f.mul(first, word["stride"]), word["lo"])
        reach = f.mul(f.sub(word["taps"], 1), word["dilation"])
        length = f.add(f.add(f.mul(f.sub(count, 1), word["stride"]), reach), 1)
        smax = f.module.declare("llvm.smax.i64", "i64", "i64", "i64")
        low = f.value(f"call i64 {smax}(i64 {begin}, i64 0)")
        high = f.minimum(f.add(begin, length), word["size"])
        high = f.value(f"call i64 {smax}(i64 {high}, i64 {low})")
        # Where all of it is border, the array begins behind the buffer.
        skipped = f.minimum(f.sub(low, begin), length)
        if self.columns.spread != 1:
            self.columns.border("0", length)
            # From elements of the buffer to columns: those that begin in it.
            more = f.sub(word["spread"], 1)
            low, _ = f.divmod(f.add(low, more), word["spread"])
            high, _ = f.divmod(f.add(high, more), word["spread"])
            skipped = f.sub(f.mul(low, word["spread"]), begin)
            inside = f.sub(high, low)
            self.columns.columns(plane, f.add(source, low), entries, skipped, inside)
            self.taps.taps(target, divisor, first, count)
            return
        inside = f.sub(high, low)
        self.columns.border("0", skipped)
        self.columns.columns(plane, f.add(source, low), entries, skipped, inside)
        self.columns.border(f.add(skipped, inside), length)
        self.taps.taps(target, divisor, first, count)
