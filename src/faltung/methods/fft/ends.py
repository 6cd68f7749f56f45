"""The first and the last pass of a transform where a block is rows of an array.

A block of ``rows`` rows of ``width`` entries, both powers of two: a pass of four (or two) over all
of it takes entry ``c`` of four rows, ``rows / 4`` apart. So the way forward can read the rows where
they are, and nothing is copied into the block first; and the way back has four rows done after each
turn, which are stored while they are in the first-level cache.
"""

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.fft.passes import butterfly, store

# Rows that are asked for before they are needed.
AHEAD = 2

_BLOCK = [("ptr", "x"), ("i64", "plane")]
_SOURCES = [("ptr", "real"), ("ptr", "imag"), ("i64", "real_row"), ("i64", "imag_row")]


def write_first(module: Module, machine: Machine, dtype: str, radix: int) -> None:
    """``first`` (x, plane, rows, width, twiddles, real, imag, real_row, imag_row): the first pass
    of the way forward. ``real``, ``imag``: where the rows of both planes are, ``real_row``,
    ``imag_row``: elements from one to the next.
    """
    sizes = [("i64", "rows"), ("i64", "width"), ("ptr", "twiddles")]
    f = module.function("first", [*_BLOCK, *sizes, *_SOURCES])
    v = Vectors(f, machine, dtype)
    count = f.divmod("%rows", radix)[0]
    part = f.mul(count, "%width")
    parts = [v.at("%x", f.mul(part, p)) for p in range(radix)]
    steps = ["%real_row", "%imag_row"]
    far = [f.mul(step, AHEAD) for step in steps]
    carried = [("ptr", at) for at in ("%twiddles", *parts, "%real", "%imag")]
    with f.loop(0, count, carried, runs=True) as row:
        w, *to, real, imag = row.values
        planes = [
            [v.at(base, f.mul(f.mul(count, step), p)) for p in range(radix)]
            for base, step in zip((real, imag), steps, strict=True)
        ]
        per_line = max(1, 64 // (v.lanes * v.bytes))
        with f.loop(0, "%width", [("ptr", w)], step=v.lanes * per_line, runs=True) as turn:
            (w,) = turn.values
            for i in range(per_line):
                at = f.add(turn.index, i * v.lanes)
                here = [[v.at(base, at) for base in bases] for bases in planes]
                if i == 0:
                    for bases, more in zip(here, far, strict=True):
                        for base in bases:
                            f.prefetch(v.at(base, more))
                a = [(v.load(re), v.load(im)) for re, im in zip(*here, strict=True)]
                for z, base in zip(butterfly(v, a, w, inverse=False), to, strict=True):
                    store(v, z, v.at(base, at), "%plane")
                w = v.at(w, 2 * (radix - 1))
            turn.carry([w])
        on = [v.at(base, "%width") for base in to]
        sources = [v.at(real, "%real_row"), v.at(imag, "%imag_row")]
        row.carry([turn.results[0], *on, *sources])


def write_last(module: Module, machine: Machine, dtype: str, radix: int) -> None:
    """``last`` (x, plane, part, width, twiddles): the last pass of the way back, of the rows at
    ``x`` and at every ``part`` elements from there.
    """
    sizes = [("i64", "part"), ("i64", "width"), ("ptr", "twiddles")]
    f = module.function("last", [*_BLOCK, *sizes])
    v = Vectors(f, machine, dtype)
    offsets = [f.mul("%part", p) for p in range(radix)]
    with f.loop(0, "%width", [("ptr", "%twiddles")], step=v.lanes, runs=True) as turn:
        (w,) = turn.values
        at = [v.at("%x", f.add(turn.index, offset)) for offset in offsets]
        a = [(v.load(place), v.load(v.at(place, "%plane"))) for place in at]
        for z, place in zip(butterfly(v, a, w, inverse=True), at, strict=True):
            store(v, z, place, "%plane")
        turn.carry([v.at(w, 2 * (radix - 1))])


def parts(f: Function, word: dict[str, str], element: str, name: str, x: str, radix: int) -> str:
    """``name`` ("forward", "inverse") of each part of a block; elements of one."""
    size = f.divmod(word["size"], radix)[0]
    length = f.divmod(f.mul(word["rows"], word["width"]), radix)[0]
    roots = f.at(word["passes"], f.mul(size, 2 * (radix - 1)), element)
    for p in range(radix):
        at = f.at(x, f.mul(length, p), element)
        given = [("ptr", at), ("i64", word["plane"]), ("i64", size), ("ptr", roots)]
        f.call(name, given)
    return length
