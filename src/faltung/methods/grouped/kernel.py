"""The code of ``grouped`` and ``depthwise``: tiles of one or two rows of outputs, groups as lanes.

A tile holds ``columns`` neighbouring outputs of one row, or of two rows that read rows of the input
in common: each vector of the input then serves both. Whole rows of taps go through tables, so that
a row in the padding is not in them; a tile repeats for all blocks of channels before the next one
begins, which goes through memory in its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue, Finish
from faltung.methods.base.tiles import Kind
from faltung.methods.grouped.items import ENTRY, SPAN, Items, driver

# Input channels in one turn of a loop over those of a group.
TURN = 8
Accumulators = list[list[str]]


@dataclass(frozen=True)
class Grouped:
    """``rows``: outputs of a tile across; ``lanes``: for each input channel of a group the place
    that each lane reads, counted from its block's first input; ``pitch``: input elements between
    neighbouring positions; ``taps``: how many of a row are in the code; ``beside``: output
    channels are neighbours; ``aux_contiguous``: likewise in each array of the epilogue;
    ``chunks_first``: the loop over chunks of channels lies outside that over rows. ``room``:
    elements of the patch that an item copies first, of ``blocks`` blocks.
    """

    dtype: str
    rows: int
    lanes: tuple[tuple[int, ...], ...]
    pitch: int
    taps: int
    kinds: tuple[Kind, ...]
    beside: bool
    chunks_first: bool
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()
    room: int = 0
    blocks: int = 1

    @property
    def symbol(self) -> str:
        return f"grouped_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, kind in enumerate(self.kinds):
            _segment(module, machine, self, kind, f"segment{number}")
        items = Items(
            symbol=self.symbol,
            dtype=self.dtype,
            rows=self.rows,
            aux=len(self.aux_contiguous),
            width=len(self.lanes[0]),
            inputs=1 + max(map(max, self.lanes)),
            kinds=len(self.kinds),
            arguments=_arguments(self),
            chunks_first=self.chunks_first,
            blocks=self.blocks,
            room=self.room,
        )
        driver(module, machine, items)
        return str(module)


def _arguments(recipe: Grouped) -> list[tuple[str, str]]:
    outputs = ("out", *(f"aux{i}" for i in range(len(recipe.aux_contiguous))))
    return [
        *(("ptr", name) for name in ("x", "w", "bias", "spans", "entries")),
        *(("ptr", f"{name}_{row}") for name in outputs for row in range(recipe.rows)),
        *(("i64", name) for name in ("tiles", "last", "blocks", "x_block", "w_block", "tap")),
        *(
            ("i64", f"{name}_{step}")
            for name in outputs
            for step in ("block", "position", "channel")
        ),
    ]


# Tiles --------------------------------------------------------------------------------------------


def _segment(module: Module, machine: Machine, recipe: Grouped, kind: Kind, name: str) -> None:
    """The tiles of a segment, each for all blocks of a chunk."""
    f = module.function(name, _arguments(recipe))
    v = Vectors(f, machine, recipe.dtype)
    outputs = ("out", *(f"aux{i}" for i in range(len(recipe.aux_contiguous))))
    places = [f"{name}_{r}" for name in outputs for r in range(recipe.rows)]
    moving = ["x", *places]
    onward = [
        str(kind.positions * recipe.pitch),
        *(
            step
            for name in outputs
            for step in [f.mul(f"%{name}_position", kind.positions)] * recipe.rows
        ),
    ]
    across = [
        "%x_block",
        "%w_block",
        str(len(recipe.lanes[0])),
        *(f"%{name}_block" for name in outputs for _ in range(recipe.rows)),
    ]
    with f.loop(0, "%tiles", [("ptr", f"%{name}") for name in moving], runs=True) as turn:
        x, *rest = turn.values
        carried = [("ptr", at) for at in (x, "%w", "%bias", *rest)]
        with f.loop(0, "%blocks", carried, runs=True) as block:
            x_now, w, bias, *at = block.values
            acc = _sums(v, recipe, kind, x_now, w)
            _store(v, recipe, kind, acc, bias, at)
            block.carry([v.at(a, s) for a, s in zip(block.values, across, strict=True)])
        turn.carry([v.at(a, s) for a, s in zip(turn.values, onward, strict=True)])


def _sums(v: Vectors, recipe: Grouped, kind: Kind, x: str, w: str) -> Accumulators:
    """The sums of one tile: spans of rows of taps in their order."""
    f = v.function
    size = kind.positions
    zeros = [(v.type, v.zero)] * (recipe.rows * size)

    def rows_of_taps(
        first: str, count: str, values: Sequence[str], rows: tuple[int, ...]
    ) -> tuple[str, list[str]]:
        stop = f.add(first, count)
        with f.loop(first, stop, [(v.type, value) for value in values]) as tap:
            entry = f.at("%entries", f.mul(tap.index, ENTRY), "i64")
            weights = [v.at(w, f.word(entry, 1 + r)) for r in rows]
            # The distance of two taps is no constant: LLVM would else keep all columns of a row
            # for the taps that follow, in registers that there are not.
            start = v.at(x, f.word(entry, 0))
            acc = [tap.values[i * size : (i + 1) * size] for i in range(recipe.rows)]
            for k in range(recipe.taps):
                _tap(v, recipe, kind, k, start, weights, [acc[r] for r in rows])
                start = v.at(start, "%tap")
            tap.carry([value for row in acc for value in row])
        return stop, tap.results

    with f.loop(0, "%last", zeros) as span:
        here = f.at("%spans", f.mul(span.index, SPAN), "i64")
        at, values = f.word(here, 0), span.values
        at, values = rows_of_taps(at, f.word(here, 1), values, (0,))
        if recipe.rows > 1:
            at, values = rows_of_taps(at, f.word(here, 2), values, (0, 1))
            at, values = rows_of_taps(at, f.word(here, 3), values, (1,))
        span.carry(values)
    return [span.results[i * size : (i + 1) * size] for i in range(recipe.rows)]


def _tap(
    v: Vectors,
    recipe: Grouped,
    kind: Kind,
    k: int,
    x: str,
    weights: Sequence[str],
    rows: Sequence[list[str]],
) -> None:
    """Tap ``k`` for all positions of a tile; ``rows``: the sums, in place."""
    present = [p for p in range(kind.positions) if p not in kind.outside[k]]
    if not present:
        return
    f = v.function
    tap = len(recipe.lanes) * v.lanes
    starts = [v.at(w, k * tap) for w in weights]
    flat = [row[p] for row in rows for p in present]

    def product(at: str, starts: Sequence[str], number: int, values: Sequence[str]) -> list[str]:
        made = list(values)
        vectors = [v.load(start) for start in starts]
        for i, p in enumerate(present):
            read = column(v, recipe.lanes, v.at(at, p * recipe.pitch), number)
            for r, vector in enumerate(vectors):
                here = r * len(present) + i
                made[here] = v.multiply_add(read, vector, made[here])
        return made

    count = len(recipe.lanes)
    if count > 1 and _single(recipe):
        # Every lane reads the same input, so that a loop over them is possible. One of few turns
        # costs more than it saves where most of the time goes.
        whole = len(rows) == recipe.rows and not any(kind.outside)
        turn = next(n for n in range(min(count, TURN), 0, -1) if count % n == 0) if whole else 1
        carried = [("ptr", x), *(("ptr", s) for s in starts), *((v.type, a) for a in flat)]
        loop = f.once(carried) if turn == count else f.loop(0, count // turn, carried, runs=True)
        with loop as ci:
            now, *values = ci.values
            begin, made = values[: len(starts)], values[len(starts) :]
            for n in range(turn):
                made = product(v.at(now, n), [v.at(s, n * v.lanes) for s in begin], 0, made)
            ci.carry([v.at(now, turn), *(v.at(s, turn * v.lanes) for s in begin), *made])
        flat = ci.results[1 + len(starts) :]
    else:
        for number in range(count):
            flat = product(x, [v.at(s, number * v.lanes) for s in starts], number, flat)
    for r, row in enumerate(rows):
        for i, p in enumerate(present):
            row[p] = flat[r * len(present) + i]


def places(groups: int, inputs: int, outputs: int) -> tuple[tuple[int, ...], ...]:
    """For each input channel of a group the place that each lane reads in a block of ``groups``."""
    return tuple(
        tuple(g * inputs + ci for g in range(groups) for _ in range(outputs))
        for ci in range(inputs)
    )


def _single(recipe: Grouped) -> bool:
    """Whether a block is one group, so that all its lanes read the same input."""
    return all(len(set(lanes)) == 1 for lanes in recipe.lanes)


def column(v: Vectors, every: Sequence[tuple[int, ...]], at: str, number: int) -> str:
    """The inputs of all lanes at one position: input channel ``number`` of each lane's group.

    ``every``: the places that lanes read, for each input channel.
    """
    lanes = every[number]
    if len(set(lanes)) == 1:
        return v.broadcast(v.at(at, lanes[0]))
    inputs = max(map(max, every)) + 1
    if inputs < v.lanes and inputs & (inputs - 1) == 0:
        few = f"<{inputs} x {v.element}>"
        value = v.function.value(f"load {few}, ptr {at}, align {v.bytes}")
        return _spread(v, few, value, "poison", lanes)
    low = v.load(at, v.first(inputs))
    if lanes == tuple(range(len(lanes))):
        return low
    if inputs <= v.lanes:
        return _spread(v, v.type, low, "poison", lanes)
    high = v.load(v.at(at, v.lanes), v.first(inputs - v.lanes))
    return _spread(v, v.type, low, high, lanes)


def _spread(v: Vectors, kind: str, low: str, high: str, lanes: tuple[int, ...]) -> str:
    # Lanes that are not there repeat the last.
    full = lanes + lanes[-1:] * (v.lanes - len(lanes))
    numbers = ", ".join(f"i32 {lane}" for lane in full)
    return v.function.value(
        f"shufflevector {kind} {low}, {kind} {high}, <{v.lanes} x i32> <{numbers}>"
    )


def _store(
    v: Vectors,
    recipe: Grouped,
    kind: Kind,
    acc: Accumulators,
    bias: str,
    at: Sequence[str],
) -> None:
    """Add the bias, finish, store. Everything is read before anything is written: the second row
    may be the first once more.
    """
    count, aux = len(recipe.lanes[0]), len(recipe.aux_contiguous)
    mask, added = v.first(count), v.load(bias, v.first(count))
    outs, done = at[: recipe.rows], []
    for r, row in enumerate(acc):
        arrays = tuple(at[recipe.rows * (1 + i) + r] for i in range(aux))
        end = Finish(v, recipe.epilogue, recipe.aux_contiguous, arrays)
        for p, value in enumerate(row):
            here = end.moved("position", p)
            done.append((r, p, here.value(v.add(value, added), "channel", mask)))
    for r, p, value in done:
        out = v.at(outs[r], v.function.mul("%out_position", p)) if p else outs[r]
        if recipe.beside:
            v.store_first(value, out, count)
        else:
            v.scatter(value, out, "%out_channel", mask)
