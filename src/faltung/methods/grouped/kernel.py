"""The code of grouped and depthwise convolution: tiles of one or two rows, groups as lanes.

A tile holds a few neighbouring outputs of one row, or of two rows that read rows of the input in
common: each vector of the input then serves both. Whole rows of taps go through tables, so that a
row in the padding is not in them; a tile repeats for all blocks of channels before the next one
begins, which walks memory in its order.

In place an item is a row of outputs, or a pair of rows, by a run of tiles of one kind, for some
blocks of channels. With a patch it is some rows by a segment of the last axis for the blocks of the
patch: their inputs are first copied into memory of the item's own, block after block, in each
positions contiguous.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np

from faltung.codegen.tile import Accumulators, accumulate, unrolled
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.methods.base.epilogue import Epilogue, Finish, finished
from faltung.methods.base.epilogue_arrays import EpilogueKernel
from faltung.methods.base.kernel import Arguments, RowItems
from faltung.methods.base.step import Step
from faltung.methods.base.tiles import Kind
from faltung.methods.grouped.columns import COPY, ENTRY, PATCH, RANGE, ROW, RUN, SEGMENT, whole
from faltung.methods.grouped.lanes import load_column
from faltung.methods.grouped.patch_kernel import COPIED, write_copy
from faltung.methods.grouped.tables import items_of_rows

# The most input channels of a group in one iteration of the loop over them.
CHANNELS_PER_ITERATION = 8


@dataclass(frozen=True)
class GroupedKernel(EpilogueKernel):
    """``rows``: outputs of a tile across; ``lanes``: for each input channel of a group the place
    that each lane reads, counted from its block's first input; ``pitch``: input elements between
    neighbouring positions; ``taps``: how many of a row are in the code, of which ``together`` load
    each column once; ``steps``: stride and dilation of the last axis; ``every``: as in ``Window``;
    a tile begins ``phase`` places behind an element. ``across``: as ``across_of``, None where only
    loops over tables will do; ``lonely``: some row is its own pair; ``contiguous``: output channels
    are; ``aux_steps``: what each array of the epilogue is along them; ``channels_outer``: the loop
    over blocks of channels lies outside that over rows. ``patch_elements``: of the patch that an
    item copies first, 0 without one; ``patch_blocks``: blocks of channels in it.
    """

    name = "grouped"
    pointers = ("x", "w", "bias", "rows", "runs", "ranges", "entries")
    numbers = (
        # Items that share the rows, the last axis, and the blocks of channels of a sample.
        *("row_items", "last_items", "block_items"),
        # Blocks of channels in all, and in one item.
        *("blocks", "item_blocks"),
        *("x_batch", "x_block", "w_block", "tap"),
    )
    output_numbers = ("batch", "block", "position", "channel")

    dtype: str
    rows: int
    lanes: tuple[tuple[int, ...], ...]
    pitch: int
    taps: int
    together: int
    steps: tuple[int, int]
    every: int
    phase: int
    across: tuple[tuple[int, int], ...] | None
    lonely: bool
    kinds: tuple[Kind, ...]
    contiguous: bool
    channels_outer: bool
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()
    patch_elements: int = 0
    patch_blocks: int = 1

    @property
    def width(self) -> int:
        """Output channels of a block."""
        return len(self.lanes[0])

    @property
    def inputs(self) -> int:
        """Input channels of a block."""
        return 1 + max(map(max, self.lanes))

    @property
    def single(self) -> bool:
        """Whether a block is one group, so that all its lanes read the same input."""
        return all(len(set(lanes)) == 1 for lanes in self.lanes)

    @property
    def tile_arguments(self) -> list[tuple[str, str]]:
        """What the functions of tiles take."""
        return [
            *(("ptr", name) for name in ("x", "w", "bias", "ranges", "entries")),
            *(("ptr", f"{name}_{row}") for name, row in product(self.outputs, range(self.rows))),
            *(("i64", name) for name in ("tiles", "last", "blocks", "x_block", "w_block", "tap")),
            *(("i64", f"{n}_{step}") for n in self.outputs for step in self.output_numbers[1:]),
        ]

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = super().declared()
        if not self.patch_elements:
            return pointers, numbers
        # Elements between neighbouring positions of the input, and between blocks of a patch.
        further = ("x_position", "patch_block")
        return (*pointers, "patches", "copies", "segments"), (*numbers, *further)

    def row_items(self, step: Step, axes: Sequence[Axis]) -> RowItems | None:
        counts = self.counts(step, ("row_items", "last_items", "block_items"))
        outer = self.channels_outer and not self.patch_elements
        patches = self.named(step).get("patches")
        firsts = patches[:, 2].tolist() if isinstance(patches, np.ndarray) else None
        return items_of_rows(axes, self.rows, counts, firsts, outer)

    def functions(self, code: Functions) -> None:
        for number, kind in enumerate(self.kinds):
            _tiles(code, self, kind, f"tiles{number}")
        if self.patch_elements:
            for blocks in {1, self.patch_blocks}:
                write_copy(code, self.inputs, blocks)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, patch = v.function, ""
        order = ("row", "last", "block")
        if self.patch_elements:
            patch = f.value(f"alloca [{self.patch_elements} x {v.element}], align 64")
        elif self.channels_outer:
            order = ("block", "row", "last")
        with f.loop("%begin", "%end") as item:
            rest, where = item.index, {}
            for name in reversed(order):
                rest, where[name] = f.divmod(rest, given[f"{name}_items"])
            block = f.mul(where["block"], given["item_blocks"])
            here = f.minimum(given["item_blocks"], f.sub(given["blocks"], block))
            _Item(v, self, given, rest, block, here).write(where["row"], where["last"], patch)


# Items --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    """The code of one item: ``here`` blocks of the sample ``batch``, from ``block`` on."""

    v: Vectors
    kernel: GroupedKernel
    given: Arguments
    batch: str
    block: str
    here: str

    def write(self, row: str, last: str, patch: str) -> None:
        """``row``, ``last``: which rows, and which part of the last axis."""
        if patch:
            self._staged(row, last, patch)
            return
        first = self._entry("rows", row)
        run = self._entry("runs", last)
        f = self.v.function
        x = f.add(self._begin("x"), f.add(f.word(first, 0), f.word(run, 2)))
        self._tiles(self.v.at(self.given["x"], x), first, run, self.given["x_block"])

    def _entry(self, name: str, index: str) -> str:
        """Where entry ``index`` of a table lies."""
        outputs = len(self.kernel.outputs)
        columns = {
            "rows": ROW + 2 * outputs,
            "runs": RUN + outputs,
            "patches": PATCH,
            "copies": COPY,
            "segments": SEGMENT,
        }
        f = self.v.function
        return f.at(self.given[name], f.mul(index, columns[name]), "i64")

    def _begin(self, name: str) -> str:
        """Elements from the begin of an array to that of the item's sample and blocks."""
        f, given = self.v.function, self.given
        sample = f.mul(self.batch, given[f"{name}_batch"])
        return f.add(sample, f.mul(self.block, given[f"{name}_block"]))

    def _tiles(self, x: str, row: str, run: str, x_block: str) -> None:
        """The tiles of a run of one row; ``x``: where its first input lies."""
        v, kernel, given = self.v, self.kernel, self.given
        f = v.function
        call = {
            **given,
            "x": x,
            "x_block": x_block,
            "w": v.at(given["w"], f.mul(self.block, given["w_block"])),
            "bias": v.at(given["bias"], f.mul(self.block, kernel.width)),
            "ranges": f.at(given["ranges"], f.mul(f.word(row, 1), RANGE), "i64"),
            "last": f.word(row, 2),
            "tiles": f.word(run, 1),
            "blocks": self.here,
        }
        for i, name in enumerate(kernel.outputs):
            begin = f.add(self._begin(name), f.word(run, RUN + i))
            for r in range(kernel.rows):
                place = f.add(begin, f.word(row, ROW + 2 * i + r))
                call[f"{name}_{r}"] = v.at(given[name], place)
        taken = [(kind, call[name]) for kind, name in kernel.tile_arguments]
        f.call_one(f.word(run, 0), [f"tiles{n}" for n in range(len(kernel.kinds))], taken)

    def _staged(self, rows: str, segment: str, patch: str) -> None:
        v, f = self.v, self.v.function
        entry, segment = self._entry("patches", rows), self._entry("segments", segment)
        self._stage(entry, segment, patch)
        every, runs = (f.word(entry, 2), f.word(entry, 3)), (f.word(segment, 4), f.word(segment, 5))
        with f.loop(every[0], f.add(*every)) as across:
            row = self._entry("rows", across.index)
            with f.loop(runs[0], f.add(*runs)) as along:
                run = self._entry("runs", along.index)
                x = v.at(patch, f.add(f.word(row, 0), f.word(run, 2)))
                self._tiles(x, row, run, self.given["patch_block"])

    def _stage(self, entry: str, segment: str, patch: str) -> None:
        """Copy all rows of a patch."""
        v, given, f = self.v, self.given, self.v.function
        blocks = self.kernel.patch_blocks
        x = v.at(given["x"], f.add(self._begin("x"), f.word(segment, 0)))
        steps = given["x_block"], given["patch_block"]
        numbers = [f.word(segment, i) for i in (1, 2, 3)]
        numbers += [given["x_position"], *steps]
        first, count = f.word(entry, 0), f.word(entry, 1)
        with f.loop(first, f.add(first, count)) as row:
            copy = self._entry("copies", row.index)
            ends = [v.at(x, f.word(copy, 0)), v.at(patch, f.word(copy, 1))]

            def call(blocks: int, ends: Sequence[str]) -> None:
                taken = zip(COPIED, (*ends, *numbers), strict=True)
                f.call(f"copy{blocks}", [(kind, value) for (kind, _), value in taken])

            def one_by_one(ends: Sequence[str] = ends) -> None:
                with v.walk(0, self.here, list(zip(ends, steps, strict=True))) as block:
                    call(1, block.values)

            less = f.value(f"icmp slt i64 {self.here}, {blocks}")
            f.choose(less, one_by_one, partial(call, blocks, ends))


# Tiles --------------------------------------------------------------------------------------------


def _tiles(code: Functions, kernel: GroupedKernel, kind: Kind, name: str) -> None:
    """The function of a run of tiles, each for all blocks of the item."""
    v = code.open(name, kernel.tile_arguments)
    f = v.function
    places = [f"{name}_{r}" for name in kernel.outputs for r in range(kernel.rows)]
    onward = [str(kind.positions // kernel.every * kernel.pitch)]
    across = ["%x_block", "%w_block", str(kernel.width)]
    for name in kernel.outputs:
        onward += [f.mul(f"%{name}_position", kind.positions)] * kernel.rows
        across += [f"%{name}_block"] * kernel.rows
    begin = [f"%{at}" for at in ("x", *places)]

    def run(summed: Callable[[str, str], Accumulators]) -> None:
        with v.walk(0, "%tiles", list(zip(begin, onward, strict=True)), runs=True) as tile:
            x, *rest = tile.values
            moving = list(zip((x, "%w", "%bias", *rest), across, strict=True))
            with v.walk(0, "%blocks", moving, runs=True) as block:
                x_now, w, bias, *at = block.values
                _finish(v, kernel, summed(x_now, w), bias, at)

    looped = partial(run, partial(_sums, v, kernel, kind))
    if kernel.across is None or not _is_short(v, kernel, kind):
        looped()
        return
    rows = kernel.across

    def straight() -> None:
        entries = f.at("%entries", f.mul(f.word("%ranges", 0), ENTRY), "i64")
        starts = [f.word(entries, ENTRY * i) for i in range(len(rows))]
        # The second row's weights begin where the first row's do. If LLVM knew that, it would keep
        # those of one row for the other, in more registers than there are.
        number, tap = next((i, tap) for i, (_, tap) in enumerate(rows) if tap >= 0)
        second = f.sub(f.word(entries, ENTRY * number + 2), tap * _row_weights(v, kernel))
        run(partial(_straight, v, kernel, kind, starts, second))

    f.choose(whole(f, "%ranges", "%last", rows), straight, looped)


def _row_weights(v: Vectors, kernel: GroupedKernel) -> int:
    """Elements of the weights of a row of taps of a block."""
    return kernel.taps * len(kernel.lanes) * v.lanes


def _is_short(v: Vectors, kernel: GroupedKernel, kind: Kind) -> bool:
    """Whether the code has room for all taps of a tile: half as much for each tile of an edge."""
    assert kernel.across is not None
    across = sum(tap >= 0 for both in kernel.across for tap in both)
    products = kind.positions * across * kernel.taps // kernel.every
    return products * (2 if any(kind.outside) else 1) <= unrolled(v.machine)


def _straight(
    v: Vectors,
    kernel: GroupedKernel,
    kind: Kind,
    starts: Sequence[str],
    second: str,
    x: str,
    w: str,
) -> Accumulators:
    """The sums of a tile none of whose rows lies in the padding, without loops and tables.

    ``starts``: of each row of the input; ``second``: of the weights of the second row.
    """
    assert kernel.across is not None
    acc = [[v.zero] * kind.positions for _ in range(kernel.rows)]
    size, bases = _row_weights(v, kernel), (w, v.at(w, second))
    for start, both in zip(starts, kernel.across, strict=True):
        read = [(r, k) for r, k in enumerate(both) if k >= 0]
        weights = [v.at(bases[r], k * size) for r, k in read]
        _row(v, kernel, kind, v.at(x, start), weights, [acc[r] for r, _ in read])
    return acc


def _sums(v: Vectors, kernel: GroupedKernel, kind: Kind, x: str, w: str) -> Accumulators:
    """The sums of one tile: ranges of rows of taps in their order."""
    f = v.function
    size = kind.positions
    zeros = [(v.type, v.zero)] * (kernel.rows * size)

    def rows_of_taps(
        first: str, count: str, values: Sequence[str], rows: tuple[int, ...]
    ) -> tuple[str, list[str]]:
        stop = f.add(first, count)
        with f.loop(first, stop, v.carried(values)) as tap:
            entry = f.at("%entries", f.mul(tap.index, ENTRY), "i64")
            weights = [v.at(w, f.word(entry, 1 + r)) for r in rows]
            # The distance of two taps is not a constant: if it were, LLVM would keep all columns
            # of a row for the taps that follow, in more registers than there are.
            start = v.at(x, f.word(entry, 0))
            acc = [tap.values[i * size : (i + 1) * size] for i in range(kernel.rows)]
            _row(v, kernel, kind, start, weights, [acc[r] for r in rows])
            tap.carry([value for row in acc for value in row])
        return stop, tap.results

    with f.loop(0, "%last", zeros) as taps:
        here = f.at("%ranges", f.mul(taps.index, RANGE), "i64")
        at, values = f.word(here, 0), taps.values
        for i, rows in enumerate([(0,), (0, 1), (1,)] if kernel.rows > 1 else [(0,)]):
            at, values = rows_of_taps(at, f.word(here, 1 + i), values, rows)
        taps.carry(values)
    acc = [taps.results[i * size : (i + 1) * size] for i in range(kernel.rows)]
    if kernel.lonely:  # summed once, stored twice
        first, second = (f"%{kernel.outputs[0]}_{r}" for r in range(2))
        alone = f.value(f"icmp eq ptr {first}, {second}")
        acc[1] = [
            f.value(f"select i1 {alone}, {v.type} {a}, {v.type} {b}")
            for a, b in zip(*acc, strict=True)
        ]
    return acc


def _row(
    v: Vectors,
    kernel: GroupedKernel,
    kind: Kind,
    start: str,
    weights: Sequence[str],
    rows: Sequence[list[str]],
) -> None:
    """All taps of a row."""
    for first in range(0, kernel.taps, kernel.together):
        some = range(first, min(first + kernel.together, kernel.taps))
        _taps(v, kernel, kind, some, start, weights, rows)
        for _ in some if kernel.every == 1 else ():
            start = v.at(start, "%tap")


def _taps(
    v: Vectors,
    kernel: GroupedKernel,
    kind: Kind,
    taps: Sequence[int],
    x: str,
    weights: Sequence[str],
    rows: Sequence[list[str]],
) -> None:
    """Some taps of a row for all positions of a tile; ``x``: where the first of them begins;
    ``rows``: the sums, in place.

    Of several, each column of the input is loaded once: columns ascend, so each sum still takes its
    taps in order.
    """
    if len(taps) == 1 and kernel.every == 1:
        _tap(v, kernel, kind, taps[0], x, weights, rows)
        return
    stride, dilation = kernel.steps
    readers: dict[int, list[tuple[int, int]]] = {}
    for k in taps:
        begin = kernel.phase if kernel.every > 1 else -taps[0] * dilation
        for p in range(kind.positions):
            if p not in kind.outside[k]:
                column = (p * stride + k * dilation + begin) // kernel.every
                readers.setdefault(column, []).append((k, p))
    vectors = {k: [v.load(v.at(w, k * v.lanes)) for w in weights] for k in taps}
    for column in sorted(readers):
        read = load_column(v, kernel.lanes, v.at(x, column * (kernel.pitch // stride)), 0)
        for k, p in readers[column]:
            for row, vector in zip(rows, vectors[k], strict=True):
                row[p] = v.multiply_add(read, vector, row[p])


def _tap(
    v: Vectors,
    kernel: GroupedKernel,
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
    count = len(kernel.lanes)
    starts = [v.at(w, k * count * v.lanes) for w in weights]
    flat = [row[p] for row in rows for p in present]

    def multiplied(at: str, starts: Sequence[str], number: int, values: Sequence[str]) -> list[str]:
        made = list(values)
        vectors = [v.load(start) for start in starts]
        for i, p in enumerate(present):
            read = load_column(v, kernel.lanes, v.at(at, p * kernel.pitch), number)
            for r, vector in enumerate(vectors):
                here = r * len(present) + i
                made[here] = v.multiply_add(read, vector, made[here])
        return made

    if count > 1 and kernel.single:
        # Every lane reads the same input, so the channels can be a loop. Where most of the time is
        # spent, one of few iterations costs more than it saves.
        whole = len(rows) == kernel.rows and not any(kind.outside)
        most = min(count, CHANNELS_PER_ITERATION) if whole else 1
        unroll = next(n for n in range(most, 0, -1) if count % n == 0)
        moving = [(x, unroll), *((start, unroll * v.lanes) for start in starts)]

        def add(acc: Accumulators, _: str, now: str, *begin: str) -> Accumulators:
            (made,) = acc
            for n in range(unroll):
                made = multiplied(v.at(now, n), [v.at(s, n * v.lanes) for s in begin], 0, made)
            return [made]

        bounds = None if unroll == count else (0, count // unroll)
        _, (flat,) = accumulate(v, [flat], bounds, moving, add, runs=True)
    else:
        for number in range(count):
            flat = multiplied(x, [v.at(s, number * v.lanes) for s in starts], number, flat)
    for r, row in enumerate(rows):
        for i, p in enumerate(present):
            row[p] = flat[r * len(present) + i]


def _finish(
    v: Vectors, kernel: GroupedKernel, acc: Accumulators, bias: str, at: Sequence[str]
) -> None:
    """Add the bias, finish, store. Everything is read before anything is written: the second row
    may be the first once more.
    """
    count, aux = kernel.width, len(kernel.aux_steps)
    mask, added = v.first(count), v.load(bias, v.first(count))

    def sums() -> Iterator[tuple[Finish, str, str | None]]:
        for r, row in enumerate(acc):
            arrays = tuple(at[kernel.rows * (1 + i) + r] for i in range(aux))
            end = Finish(v, kernel.epilogue, kernel.aux_steps, arrays)
            for p, value in enumerate(row):
                yield end.moved("position", p), v.add(value, added), mask

    places = [(r, p) for r, row in enumerate(acc) for p in range(len(row))]
    for (r, p), value in zip(places, [*finished(sums(), "channel")], strict=True):
        out = v.at(at[r], v.function.mul("%out_position", p)) if p else at[r]
        if kernel.contiguous:
            v.store_first(value, out, count)
        else:
            v.scatter(value, out, "%out_channel", mask)
