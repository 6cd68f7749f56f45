"""Channels laid into panels: the copies inside of the kernel of ``weight_panels``.

A panel of vectors has one block of channels, ``width`` a position, position after position. The
panel of broadcasts has a row of positions for each channel, rows ``pitch`` apart. Either array may
have channels or positions side by side; what does not lie as the panel is turned in registers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine

# The arguments of both. ``step``: elements from position to position where channels are neighbours,
# else from channel to channel.
VECTORS = [("ptr", "array"), ("ptr", "panel"), ("i64", "count"), ("i64", "step")]
BROADCASTS = [*VECTORS, ("i64", "channels")]


@dataclass(frozen=True)
class Source:
    """How an array lies: ``turned``, positions are ``apart`` elements from each other and channels
    anywhere; else channels are neighbours and positions anywhere.
    """

    turned: bool
    apart: int


def write_vectors(
    module: Module, machine: Machine, dtype: str, source: Source, channels: int, name: str
) -> None:
    """A function that lays ``channels`` of a run of positions into a panel as wide as their
    vectors.
    """
    f = module.function(name, VECTORS)
    v = Vectors(f, machine, dtype)
    width = -(-channels // v.lanes) * v.lanes
    for start in range(0, channels, v.lanes):
        here = min(v.lanes, channels - start)
        if not source.turned:
            continue
        corner, panel = v.at("%array", f.mul("%step", start)), v.at("%panel", start)
        with f.loop(0, "%count", step=v.lanes) as at:
            there = f.sub("%count", at.index)
            first = v.at(corner, f.mul(at.index, source.apart))
            target = v.at(panel, f.mul(at.index, width))
            for whole in _either(f, there, v.lanes):
                mask = None if whole else v.below(there)
                made = v.transpose(_lines(v, first, source.apart, here, mask))
                _store(v, made, target, width, None if whole else there)
    if not source.turned:
        _rows(v, channels, width)


def write_broadcasts(
    module: Module, machine: Machine, dtype: str, source: Source, pitch: int, name: str
) -> None:
    """A function that lays any number of channels of a run of positions into rows.

    What stands behind the last position of a run is overwritten by the next run, or room.
    """
    f = module.function(name, BROADCASTS)
    v = Vectors(f, machine, dtype)
    if source.turned:
        _copied(v, source.apart, pitch)
        return
    with f.loop(0, "%channels", step=v.lanes) as row:
        left = f.sub("%channels", row.index)
        column, panel = v.at("%array", row.index), v.at("%panel", f.mul(row.index, pitch))
        with f.loop(0, "%count", [("ptr", column)], step=v.lanes) as at:
            there, target = f.sub("%count", at.index), v.at(panel, at.index)
            for whole in _either(f, f.minimum(left, there), v.lanes):
                rows = _columns(v, at.values[0], None if whole else (left, there))
                _store(v, v.transpose(rows), target, pitch, None if whole else left)
            at.carry([v.at(at.values[0], f.mul("%step", v.lanes))])


def _either(f: Function, room: str, lanes: int) -> Iterator[bool]:
    """True inside of a branch for whole squares, False inside of one for all others."""
    full = f.value(f"icmp sge i64 {room}, {lanes}")
    with f.when(full):
        yield True
    with f.when(f.value(f"xor i1 {full}, true")):
        yield False


def _lines(v: Vectors, line: str, apart: int, channels: int, mask: str | None) -> list[str]:
    """Positions of ``channels`` channels, a vector each, and zeros up to a square."""
    rows = []
    for _ in range(channels):
        rows.append(v.load(line, mask) if apart == 1 else v.gather(line, apart, mask))
        line = v.at(line, "%step")
    return rows + [v.zero] * (v.lanes - channels)


def _columns(v: Vectors, line: str, left: tuple[str, str] | None) -> list[str]:
    """Channels of as many positions as a vector has lanes; ``left``: how many channels and
    positions there are, where one is less.
    """
    f, rows = v.function, []
    some = None if left is None else v.below(left[0])
    for i in range(v.lanes):
        mask = some
        if left is not None:
            # Past the last position the mask is empty: the load touches nothing.
            inside = f.value(f"icmp sgt i64 {left[1]}, {i}")
            mask = f.value(f"select i1 {inside}, {v.flags} {some}, {v.flags} zeroinitializer")
        rows.append(v.load(line, mask))
        line = v.at(line, "%step")
    return rows


def _store(v: Vectors, rows: list[str], target: str, pitch: int, count: str | None) -> None:
    """The first ``count`` of the rows of a square, all by default."""
    f = v.function
    for i, row in enumerate(rows):
        if count is None:
            v.store(row, v.at(target, i * pitch))
            continue
        with f.when(f.value(f"icmp sgt i64 {count}, {i}")):
            v.store(row, v.at(target, i * pitch))


def _rows(v: Vectors, channels: int, width: int) -> None:
    """Channels side by side on both sides: in whole pieces, as masks are slow where the machine has
    none.
    """
    f = v.function
    with f.loop(0, "%count", [("ptr", "%array"), ("ptr", "%panel")]) as turn:
        array, panel = turn.values
        if channels < width:
            v.store(v.zero, v.at(panel, width - v.lanes))
        start, size = 0, v.lanes
        while start < channels:
            while size > channels - start:
                size //= 2
            kind = f"<{size} x {v.element}>"
            got = f.value(f"load {kind}, ptr {v.at(array, start)}, align {v.bytes}")
            f.emit(f"store {kind} {got}, ptr {v.at(panel, start)}, align {v.bytes}")
            start += size
        turn.carry([v.at(array, "%step"), v.at(panel, width)])


def _copied(v: Vectors, apart: int, pitch: int) -> None:
    """Positions side by side on both sides."""
    f = v.function
    whole = f.mul(f.value(f"sdiv i64 %count, {v.lanes}"), v.lanes)
    with f.loop(0, "%channels", [("ptr", "%array"), ("ptr", "%panel")]) as row:
        array, panel = row.values

        def fetch(at: str, mask: str | None) -> str:
            line = v.at(array, f.mul(at, apart))
            return v.load(line, mask) if apart == 1 else v.gather(line, apart, mask)

        with f.loop(0, whole, step=v.lanes) as at:
            v.store(fetch(at.index, None), v.at(panel, at.index))
        with f.loop(whole, "%count", step=v.lanes) as at:
            v.store(fetch(at.index, v.below(f.sub("%count", whole))), v.at(panel, at.index))
        row.carry([v.at(array, "%step"), v.at(panel, pitch)])
