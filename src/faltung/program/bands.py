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
from itertools import pairwise
from math import gcd, prod

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass
from faltung.graph.ops import Convolve, Pool
from faltung.graph.summary_table import short
from faltung.graph.value import Node, Value
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Kernel, RowItems
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import Step, Table, Work
from faltung.methods.chain.chain import Call, chain
from faltung.plan.choose import FORWARD
from faltung.plan.plan import duration
from faltung.program.lower_conv import in_rings
from faltung.program.lower_map import pool_map
from faltung.program.lowering import Chain, Lowered, Lowering

# The most layers in a chain.
MOST = 4
# The part of a second-level cache that rings and weights of a chain may fill.
L2_PART = 7 / 8
# What a chain has to gain, of the price of its layers.
MIN_GAIN = 0.01
# Heights that are tried, in the smallest pieces of rows.
HEIGHTS = 1, 2, 4
# Positions for which a layer alone reads its weights once.
SEGMENT = 96
# A difference in gain, as a part of the same price, that low bands are worth: the lower they are,
# the nearer their rows stay.
NEAR = 0.01


@dataclass(frozen=True, slots=True)
class Part:
    """A layer of a chain in numbers. axis: of rows; bounds: between which rows its steps can be
    cut; samples: of its map; row: output positions, and bytes of those; weights: bytes of them;
    calls: of a band; cycles: of one core.
    """

    axis: Axis
    bounds: tuple[int, ...]
    samples: int
    row: tuple[int, int]
    weights: int
    calls: int
    cycles: float


@dataclass(frozen=True, slots=True)
class Link:
    """A node that may be part of a chain."""

    made: Lowered
    part: Part

    @property
    def node(self) -> Node:
        return self.made.node

    @property
    def axes(self) -> tuple[Axis, ...]:
        return _spec(self.node).axes


def _spec(node: Node) -> ConvSpec | PoolSpec:
    assert isinstance(node.op, Convolve | Pool)
    return node.op.spec


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
    return found


# Prices -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A chain on paper, in bands of ``height`` rows. rings: of each map between two layers, rows
    and bytes. gain, cycles: what it gains, and what its layers take alone, in cycles of one core of
    all.
    """

    height: int
    rings: tuple[tuple[int, int], ...]
    gain: float
    cycles: float


def _padded(size: int) -> int:
    return -(-size // costs.LINE_BYTES) * costs.LINE_BYTES


@remembered(4096)
def offered(parts: tuple[Part, ...], machine: Machine) -> Offer | None:
    """The chain of these layers in the lowest bands that gain nearly as much as any, if it fits."""
    step = max(b - a for a, b in pairwise(parts[-1].bounds))
    room = min(costs.BAND_STACK_BYTES, int(machine.l2 * L2_PART) - sum(p.weights for p in parts))
    alone, gain = fixed_price(parts, machine)
    offers: list[Offer] = []
    for height in (step * n for n in HEIGHTS):
        if gain < MIN_GAIN * alone or height >= parts[-1].axis.output:
            break
        rows = rows_of([p.axis for p in parts], [p.bounds for p in parts], height)
        between = list(zip(parts[:-1], rows, strict=False))
        rings = tuple((of.ring, _padded(of.ring * p.row[1])) for p, of in between)
        if sum(size for _, size in rings) > room:
            break
        offers.append(Offer(height, rings, gain - band_price(parts, rows, machine), alone))
    if not offers:
        return None
    least = max(offer.gain for offer in offers) - NEAR * alone
    best = next(offer for offer in offers if offer.gain >= least)
    return best if best.gain >= MIN_GAIN * alone else None


def fixed_price(parts: Sequence[Part], machine: Machine) -> tuple[float, float]:
    """What layers take alone, and what they gain as a chain whatever its height, in cycles of one
    core of all.
    """
    cores = max(1, machine.cores)
    moved = sum(_moving(part, machine) for part in parts[:-1]) / cores
    if not moved:  # maps that stay in the near cache anyway
        return sum(part.cycles for part in parts) / cores, 0.0
    barriers = costs.STEP_CYCLES * (len(parts) - 1) if cores > 1 else 0
    # Weights beyond the first-level cache are read again for each row, not for each long segment.
    again = 0.0
    for part in parts:
        if part.weights > machine.l1 // 2:
            rows = part.samples * part.axis.output * max(0.0, 1 - part.row[0] / SEGMENT)
            again += rows * part.weights / costs.BAND_WEIGHT_BYTES_PER_CYCLE
    return sum(part.cycles for part in parts) / cores + moved, moved + barriers - again / cores


def items_of(samples: int, bands: int, machine: Machine) -> int:
    """Into how many items the bands of a sample are divided: no more than all cores need to have
    equally many, as rows above each are computed again.
    """
    cores = max(1, machine.cores)
    return min(bands, cores // gcd(samples, cores))


def band_price(parts: Sequence[Part], rows: Sequence[Rows], machine: Machine) -> float:
    """What bands cost, in cycles of one core of all: calls, rows above an item that another thread
    has computed too, and threads with fewer bands than others.
    """
    cores, samples, bands = max(1, machine.cores), parts[0].samples, len(rows[-1].low)
    items, middle = items_of(samples, bands, machine), bands // 2
    calls = costs.BAND_CALL_CYCLES * sum(part.calls for part in parts) * samples * bands
    again = 0.0
    for part, of in zip(parts[:-1], rows, strict=False):
        twice = max(0, int(of.done[middle] - of.low[middle]))
        again += part.cycles / part.axis.output * twice * (items - 1)
    longest = -(-samples * items // cores) * -(-bands // items)
    waiting = sum(part.cycles for part in parts) * (longest / (samples * bands) - 1 / cores)
    return (calls + again) / cores + waiting


def _moving(part: Part, machine: Machine) -> float:
    """Cycles of one core to write the output and read it again."""
    size = part.samples * part.row[1] * part.axis.output
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
        some = [(i, link) for i in run if (link := links[i]) is not None]
        for offer, chosen in _divided(some, low.machine):
            made = _made(low, [link for _, link in chosen], offer)
            if made is not None:
                for place, _ in chosen:
                    found[place] = None
                found[chosen[-1][0]] = made
    return found


def _link(low: Lowering, made: Lowered | None) -> Link | None:
    """A node as a part of a chain; None where it cannot be one."""
    if made is None or why_not(low, made):
        return None
    spec, out = _spec(made.node), made.node.output
    found = row_items(made.steps, spec.axes)
    # A product alone may have no rows, as its positions are one axis.
    bounds = tuple(range(spec.output[0] + 1)) if found is None else common(found)
    row = prod(spec.output[1:])
    weights = prod(spec.weight_shape) * spec.itemsize if isinstance(spec, ConvSpec) else 0
    part = Part(
        spec.axes[0],
        bounds,
        low.samples(out),
        (row, row * out.channels * spec.itemsize),
        weights,
        len(made.steps),
        made.price(low.batch),
    )
    return Link(made, part)


def why_not(low: Lowering, made: Lowered) -> str:
    """Why a node is in no chain; "" where it can be."""
    op, plan = made.node.op, made.plan
    if not isinstance(op, Convolve | Pool):
        return "neither a convolution nor a pooling"
    rows, *others = op.spec.axes
    if plan is not None:
        name = plan.reasons[0][1][0].name if plan.reasons else ""
        if len(plan.reasons) != 1 or FORWARD[name].transform:
            return f"{name}: a transform, which takes rows together"
        if low.packs(made.node):
            return "its weights are computed"
    if op.spec.dtype not in ELEMENTS:
        return f"{op.spec.dtype} is computed in parts"
    if made.scratch:
        return "its input is copied first"
    if len(others) != 1 or min(rows.output, others[0].size, others[0].output) < 2:
        return "not a map of rows"
    if rows.mode != "zeros" or min(rows.lo, rows.hi) < 0:
        return "padding that repeats or crops rows"
    if len(made.node.outputs) > 1:
        return "it says where maxima came from"
    return "" if low.samples(made.node.output) else "no samples"


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
            sizes = _spec(after.node).size, _spec(link.node).output
            if sizes[0] == sizes[1] and after.part.samples == link.part.samples:
                found[i] = j
    return found


def _divided(
    run: Sequence[tuple[int, Link]], machine: Machine
) -> list[tuple[Offer, list[tuple[int, Link]]]]:
    """The chains of a run of layers that together gain most."""
    best: list[tuple[float, list[tuple[Offer, list[tuple[int, Link]]]]]] = [(0.0, [])]
    for stop in range(1, len(run) + 1):
        found = best[-1]
        for start in range(max(0, stop - MOST), stop - 1):
            some = list(run[start:stop])
            offer = offered(tuple(link.part for _, link in some), machine)
            if offer is not None and best[start][0] + offer.gain > found[0]:
                found = best[start][0] + offer.gain, [*best[start][1], (offer, some)]
        best.append(found)
    return best[-1][1]


def _made(low: Lowering, links: Sequence[Link], offer: Offer) -> Lowered | None:
    """The chain as one step; None where its layers cannot be cut as was thought."""
    rings = [rows for rows, _ in offer.rings]
    sides = list(zip([0, *rings], [*rings, 0], strict=True))
    made = [_in_rings(low, link.node, side) for link, side in zip(links, sides, strict=True)]
    items = [row_items(m.steps, link.axes) for m, link in zip(made, links, strict=True)]
    if any(m.scratch for m in made) or any(i is None for i in items):
        return None
    cut = [each for each in items if each is not None]
    axes = [link.axes[0] for link in links]
    rows = rows_of(axes, [common(each) for each in cut], offer.height)
    if any(of.ring > ring for of, ring in zip(rows, rings, strict=False)):
        return None
    cores = max(1, low.machine.cores)
    cycles = sum(m.price(low.batch) for m in made)
    if cycles - sum(link.part.cycles for link in links) > offer.gain * cores:
        return None  # rows alone make worse tiles
    calls = [
        Call(step, _columns(each, of) + start, each.sample)
        for m, found, of in zip(made, cut, rows, strict=True)
        for step, each in zip(m.steps, found, strict=True)
        for start in each.parts
    ]
    places, size = {}, 0
    for link, (_, each) in zip(links, offer.rings, strict=False):
        places[link.node.output.name] = size
        size += each
    title = "; ".join(step.title for m in made for step in m.steps)
    samples = links[0].part.samples
    each_sample = items_of(samples, len(rows[-1].low), low.machine)
    step = chain(calls, places, size, samples, each_sample, title)
    about = _about(links, offer, low.machine)
    whole = Lowered(links[-1].node, [step], cycles=cycles, chain=about)
    for m in made:
        whole.prepare += m.prepare
        whole.kept |= m.kept
    return whole


def _about(links: Sequence[Link], offer: Offer, machine: Machine) -> Chain:
    """What is said about a chain."""
    parts = [link.part for link in links[:-1]]
    size = sum(part.samples * part.axis.output * part.row[1] for part in parts)
    ns = max(1, machine.cores) / machine.speed.ghz
    before, after = ns * offer.cycles, ns * (offer.cycles - offer.gain)
    nodes = tuple(link.node for link in links)
    return Chain(nodes, offer.height, offer.rings, size, before, after)


def _in_rings(low: Lowering, node: Node, rings: tuple[int, int]) -> Lowered:
    if isinstance(node.op, Convolve):
        return in_rings(low, node, rings)
    work = Work()
    pool_map(low, node, work, rings)
    return low.named(Lowered(node, work.steps, [], {}, dict(work.scratch), work.cycles))


def _columns(items: RowItems, rows: Rows) -> Table:
    """Of one step: for each band the first item for a thread that begins there, that for one that
    goes on, and where both stop.
    """
    cuts, numbers = np.array(items.outputs), np.array(items.items)
    at = [numbers[np.searchsorted(cuts, rows_)] for rows_ in (rows.low, rows.done, rows.high)]
    return np.stack(at, axis=1)
