"""Which nodes run as a chain, a band of rows at a time, and in bands of how many rows.

A chain is a row of convolutions, each of which alone reads what the one before it makes: expand,
depthwise, project. The maps between them are rings of a few rows (``methods/chain``), so they take
no memory of the program, and do not leave the second-level cache; there is no barrier inside. All
of them are plain sums, which have the same bits in a chain as alone.

A chain is priced as time of one core of all: what is saved is moving the maps between its layers,
and barriers; what it costs are calls, rows that two threads compute both, and what some threads
wait because there are few bands. The chains of the largest gain are taken.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.axis import Axis
from faltung.graph.ops import Convolve
from faltung.graph.summary_table import short
from faltung.graph.value import Node, Value
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Kernel, RowItems
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import Step, Table
from faltung.methods.chain.chain import Call, chain
from faltung.plan.choose import FORWARD
from faltung.plan.plan import duration
from faltung.program.lower_conv import in_rings
from faltung.program.lowering import Chain, Lowered, Lowering

# The most layers in a chain.
MOST = 4
# The part of a second-level cache that rings and weights of a chain may fill.
L2_PART = 7 / 8
# What a chain has to gain, of the price of its layers.
MIN_GAIN = 0.005
# A difference in gain, as a part of the same price, that low bands are worth: the lower they are,
# the nearer their rows stay.
NEAR = 0.01


@dataclass(frozen=True)
class Link:
    """A node that may be part of a chain. weights: bytes of those."""

    made: Lowered
    machine: Machine

    @property
    def node(self) -> Node:
        return self.made.node

    @property
    def axis(self) -> Axis:
        """The axis of rows."""
        return self.op.spec.axes[0]

    @property
    def op(self) -> Convolve:
        assert isinstance(self.node.op, Convolve)
        return self.node.op

    @property
    def samples(self) -> int:
        assert self.made.plan is not None
        return self.made.plan.spec.batch

    @property
    def weights(self) -> int:
        return prod(self.op.spec.weight_shape) * self.op.spec.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the output."""
        spec = self.op.spec
        return spec.channels_out * prod(spec.output[1:]) * spec.itemsize

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Between which rows its steps can be cut, about: a product alone may have none now."""
        found = row_items(self.made.steps, self.op.spec.axes)
        return tuple(range(self.axis.output + 1)) if found is None else common(found)


# Rows ---------------------------------------------------------------------------------------------


def row_items(steps: Sequence[Step], axes: Sequence[Axis]) -> list[RowItems] | None:
    """The items of steps by rows; None where one of them has none."""
    found = []
    for step in steps:
        items = step.recipe.row_items(step, axes) if isinstance(step.recipe, Kernel) else None
        if items is None:
            return None
        found.append(items)
    return found


def common(items: Sequence[RowItems]) -> tuple[int, ...]:
    """The rows before which all of them can be cut."""
    return tuple(sorted(set.intersection(*(set(each.outputs) for each in items))))


@dataclass(frozen=True, slots=True)
class Rows:
    """For each band the rows of a map that it needs, from ``low`` up to ``high``; ``done``: up to
    which the band before has them.
    """

    low: Table
    high: Table

    @property
    def done(self) -> Table:
        return np.concatenate([self.low[:1], self.high[:-1]])

    @property
    def ring(self) -> int:
        """For how many rows there has to be memory."""
        return int((self.high - self.low).max())


def rows_of(axes: Sequence[Axis], bounds: Sequence[Sequence[int]], height: int) -> list[Rows]:
    """The rows of the output of each of some layers, in bands of ``height`` rows of the last."""
    return list(_rows_of(tuple(axes), tuple(map(tuple, bounds)), height))


@remembered(1 << 12)
def _rows_of(
    axes: tuple[Axis, ...], bounds: tuple[tuple[int, ...], ...], height: int
) -> tuple[Rows, ...]:
    cuts = np.array(bounds[-1])
    firsts = np.arange(0, axes[-1].output, height)
    at = np.unique(np.searchsorted(cuts, firsts, "right") - 1)
    found = [Rows(cuts[at], np.append(cuts[at[1:]], cuts[-1]))]
    for reader, these in zip(axes[:0:-1], bounds[-2::-1], strict=True):
        band, cuts = found[0], np.array(these)
        low = np.clip(band.low * reader.stride - reader.lo, 0, reader.size)
        stop = (band.high - 1) * reader.stride - reader.lo + reader.extent
        stop = np.clip(stop, low, reader.size)
        first = np.searchsorted(cuts, low, "right") - 1
        high = np.maximum.accumulate(cuts[np.searchsorted(cuts, stop, "left")])
        low = np.minimum(cuts[np.minimum(first, len(cuts) - 1)], high)
        found.insert(0, Rows(np.minimum.accumulate(low[::-1])[::-1], high))
    return tuple(found)


# Prices -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A chain on paper. gain: cycles of one core of all."""

    links: tuple[Link, ...]
    height: int
    rows: tuple[Rows, ...]
    gain: float
    cycles: float

    @property
    def rings(self) -> tuple[tuple[int, int], ...]:
        """Of each map between two layers, rows and bytes."""
        return tuple(
            (rows.ring, _padded(rows.ring * link.row_bytes))
            for link, rows in zip(self.links[:-1], self.rows, strict=False)
        )


def _padded(size: int) -> int:
    return -(-size // costs.LINE_BYTES) * costs.LINE_BYTES


def offered(links: Sequence[Link]) -> Offer | None:
    """The chain of these layers in the lowest bands that gain nearly as much as any; None where none
    fits or gains.
    """
    machine, last = links[0].machine, links[-1]
    bounds = [link.bounds for link in links]
    step = max(b - a for a, b in pairwise(bounds[-1]))
    offers: list[Offer] = []
    room = min(costs.BAND_STACK_BYTES, int(machine.l2 * L2_PART) - sum(k.weights for k in links))
    height = step
    while height < last.axis.output:
        rows = rows_of([link.axis for link in links], bounds, height)
        offer = Offer(tuple(links), height, tuple(rows), *_priced(links, rows))
        if sum(size for _, size in offer.rings) > room:
            break
        offers.append(offer)
        height += step if height < 4 * step else height // 2
    if not offers:
        return None
    least = max(offer.gain for offer in offers) - NEAR * offers[0].cycles
    best = next(offer for offer in offers if offer.gain >= least)
    return best if best.gain >= MIN_GAIN * best.cycles else None


def _priced(links: Sequence[Link], rows: Sequence[Rows]) -> tuple[float, float]:
    """What a chain gains, and what its layers take alone, in cycles of one core of all."""
    machine, samples = links[0].machine, links[0].samples
    cores = max(1, machine.cores)
    cycles = sum(link.made.cycles for link in links) / cores
    moved = sum(_moving(link, machine) for link in links[:-1]) / cores
    barriers = costs.STEP_CYCLES * (len(links) - 1) if cores > 1 else 0
    items = samples * len(rows[-1].low)
    calls = costs.BAND_CALL_CYCLES * sum(len(link.made.steps) for link in links) * items / cores
    # The rows above a band that another thread has computed too, and threads with fewer bands.
    again = 0.0
    middle = len(rows[-1].low) // 2
    for link, of in zip(links[:-1], rows, strict=False):
        twice = max(0, int(of.done[middle] - of.low[middle]))
        again += link.made.cycles / (samples * link.axis.output) * twice * (cores > 1)
    waiting = cycles * (-(-items // cores) * cores / items - 1)
    return moved + barriers - calls - again - waiting, cycles + moved


def _moving(link: Link, machine: Machine) -> float:
    """Cycles of one core to write the output and read it again."""
    size = link.samples * link.row_bytes * link.axis.output
    if size <= machine.l2 // 2:
        return 0.0
    rate = costs.BAND_L3_BYTES_PER_CYCLE
    if 2 * size > machine.speed.l3:
        rate = costs.BAND_MEMORY_BYTES_PER_CYCLE
    return 2 * size / rate


def described(found: Chain) -> str:
    """A chain in words."""
    first, *others = found.nodes
    held = sum(size for _, size in found.rings)
    return (
        f"{first.layer} + {len(others)}: in bands of {found.height} row{'s' * (found.height > 1)}, "
        f"{short(found.bytes, 'B')} between layers in {short(held, 'B')} a thread, "
        f"{duration(found.before)} -> {duration(found.after)} of one core on paper"
    )


# The chains of a program --------------------------------------------------------------------------


def chained(
    low: Lowering,
    nodes: Sequence[Node],
    every: Sequence[Lowered | None],
    seen: Collection[str],
) -> list[Lowered | None]:
    """The nodes with chains in the place of their last ones, and nothing in the place of others.

    seen: names of values that are read from outside.
    """
    found = list(every)
    links = [_link(low, made) for made in every]
    follows = _followers(low, nodes, links, seen)
    begins = [i for i, link in enumerate(links) if link and i in follows]
    begins = [i for i in begins if i not in set(follows.values())]
    for begin in begins:
        run = [begin]
        while run[-1] in follows:
            run.append(follows[run[-1]])
        for offer, places in _divided([(i, links[i]) for i in run]):
            made = _made(low, offer)
            if made is not None:
                for place in places:
                    found[place] = None
                found[places[-1]] = made
    return found


def _link(low: Lowering, made: Lowered | None) -> Link | None:
    """A node as a part of a chain; None where it cannot be one."""
    if made is None or made.plan is None or not isinstance(made.node.op, Convolve):
        return None
    spec, plan = made.node.op.spec, made.plan
    rows = spec.axes[0]
    sums = len(plan.reasons) == 1 and not FORWARD[plan.reasons[0][1][0].name].transform
    plain = rows.mode == "zeros" and rows.output > 1 and min(rows.lo, rows.hi) >= 0
    # An axis of one position does not stay an axis.
    wide = len(spec.axes) == 2 and spec.axes[1].size > 1 and spec.axes[1].output > 1
    fits = spec.dtype in ELEMENTS and not made.scratch and not low.packs(made.node)
    if not (sums and plain and wide and fits) or plan.spec.batch < 1:
        return None
    return Link(made, low.machine)


def _followers(
    low: Lowering, nodes: Sequence[Node], links: Sequence[Link | None], seen: Collection[str]
) -> dict[int, int]:
    """For each node whose output only one other reads, as its input, the number of that."""
    readers = Counter(value.name for node in nodes for value in node.inputs)
    values = {v for node in nodes for v in (*node.inputs, *node.outputs)}
    inside = Counter(low.places.root(value).name for value in values)
    places = {link.node.inputs[0].name: i for i, link in enumerate(links) if link}

    def alone(value: Value) -> bool:
        own = low.places.root(value) == value and inside[value.name] == 1
        return own and readers[value.name] == 1 and value.name not in seen

    found = {}
    for i, link in enumerate(links):
        if link is not None and alone(link.node.output) and link.node.output.name in places:
            j = places[link.node.output.name]
            after = links[j]
            assert after is not None
            if after.op.spec.size == link.op.spec.output and after.samples == link.samples:
                found[i] = j
    return found


def _divided(run: Sequence[tuple[int, Link]]) -> list[tuple[Offer, list[int]]]:
    """The chains of a run of layers that together gain most."""
    best: list[tuple[float, list[tuple[Offer, list[int]]]]] = [(0.0, [])]
    for stop in range(1, len(run) + 1):
        found = best[-1]
        for start in range(max(0, stop - MOST), stop - 1):
            offer = offered([link for _, link in run[start:stop]])
            if offer is not None and best[start][0] + offer.gain > found[0]:
                part = offer, [i for i, _ in run[start:stop]]
                found = best[start][0] + offer.gain, [*best[start][1], part]
        best.append(found)
    return best[-1][1]


def _made(low: Lowering, offer: Offer) -> Lowered | None:
    """The chain as one step; None where its layers cannot be cut as was thought."""
    links, rings = offer.links, [rows for rows, _ in offer.rings]
    axes = [link.axis for link in links]
    sides = list(zip([0, *rings], [*rings, 0], strict=True))
    parts = [in_rings(low, link.node, side) for link, side in zip(links, sides, strict=True)]
    items = [row_items(p.steps, k.op.spec.axes) for p, k in zip(parts, links, strict=True)]
    if any(p.scratch for p in parts) or any(i is None for i in items):
        return None
    cut = [each for each in items if each is not None]
    rows = rows_of(axes, [common(each) for each in cut], offer.height)
    if any(of.ring > ring for of, ring in zip(rows, rings, strict=False)):
        return None
    calls = [
        Call(step, _columns(each, of), each.items[-1])
        for part, found, of in zip(parts, cut, rows, strict=True)
        for step, each in zip(part.steps, found, strict=True)
    ]
    places, size = {}, 0
    for link, (_, each) in zip(links, offer.rings, strict=False):
        places[link.node.output.name] = size
        size += each
    cycles = sum(part.cycles for part in parts)
    ghz = low.machine.speed.ghz * max(1, low.machine.cores)
    gain = offer.gain * max(1, low.machine.cores)
    whole = sum(k.samples * k.axis.output * k.row_bytes for k in links[:-1])
    before = offer.cycles * max(1, low.machine.cores)
    info = Chain(
        tuple(k.node for k in links),
        offer.height,
        offer.rings,
        whole,
        before / ghz,
        (before - gain) / ghz,
    )
    title = " | ".join(step.title for part in parts for step in part.steps)
    step = chain(calls, places, size, links[0].samples, title)
    made = Lowered(links[-1].node, [step], cycles=cycles, plan=None, chain=info)
    for part in parts:
        made.prepare += part.prepare
        made.kept |= part.kept
    return made


def _columns(items: RowItems, rows: Rows) -> Table:
    """Of one step: for each band the first item for a thread that begins there, that for one that
    goes on, and where both stop.
    """
    cuts, numbers = np.array(items.outputs), np.array(items.items)
    at = [numbers[np.searchsorted(cuts, rows_)] for rows_ in (rows.low, rows.done, rows.high)]
    return np.stack(at, axis=1)
