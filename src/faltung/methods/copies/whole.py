"""Whole numbers as real ones.

What it is.  Rows of int64 become rows of the dtype of a network, each number rounded once.
When it applies.  Always; rows are contiguous.
What it costs.  A load and a store; the conversion is in hardware or a few instructions.
"""

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Matrix, Operand, Work

# Numbers of one item.
ITEM_NUMBERS = 1 << 13


@dataclass(frozen=True)
class WholeKernel(Kernel):
    """Items are parts of rows."""

    name = "whole_numbers"
    pointers = ("x", "out")
    numbers = ("length", "blocks", "out_pitch")

    dtype: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f, length = v.function, given["length"]
        with f.loop("%begin", "%end") as item:
            row, block = f.divmod(item.index, given["blocks"])
            first = f.mul(block, ITEM_NUMBERS)
            last = f.minimum(f.add(first, ITEM_NUMBERS), length)
            x = f.at(given["x"], f.mul(row, length), "i64")
            out = v.at(given["out"], f.mul(row, given["out_pitch"]))
            whole = f.opaque(f.add(first, v.whole(f.sub(last, first))))
            wide = f"<{v.lanes} x i64>"
            with f.loop(first, whole, step=v.lanes) as i:
                got = f.value(f"load {wide}, ptr {f.at(x, i.index, 'i64')}, align 8")
                v.store(f.value(f"sitofp {wide} {got} to {v.type}"), v.at(out, i.index))
            with f.loop(whole, last) as i:
                one = f.value(f"sitofp i64 {f.word(x, i.index)} to {v.element}")
                v.store_one(one, v.at(out, i.index))


def whole_numbers(
    work: Work, dtype: str, machine: Machine, *, x: Operand, out: Matrix, rows: int, length: int
) -> None:
    """Add the step for ``rows`` rows of ``length`` numbers, one after the other in ``x``."""
    blocks = -(-length // ITEM_NUMBERS)
    step = WholeKernel(dtype).step(
        rows * blocks,
        "whole numbers",
        barrier=False,
        x=x,
        **out.arguments("out"),
        length=length,
        blocks=blocks,
    )
    work.steps.append(step)
