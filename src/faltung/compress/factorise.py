"""Layers replaced by several smaller ones: ranks by one budget for all, where it is faster.

For each layer there are many ways to take its weight apart (``factors.py``), each with what it
costs and the part of the layer's energy that it loses. The budget is the sum of these parts over
all layers. It is spent where a part of it saves most: of each layer only the ways on the lower
convex hull of loss and cost count, and the steps along all hulls are taken in the order of what
they save for what they lose, which is the best there is for a sum (Everett, 1963).

What is smaller on paper may be slower: two programs of half the work read and write more. So what
was chosen is measured, layer by layer, on this computer, and what is not faster is struck off,
with all larger ranks of it, before the budget is spent anew.

H. Everett, *Generalized Lagrange multiplier method for solving problems of optimum allocation of
resources*, Operations Research 11, 1963.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from time import perf_counter

import numpy as np

from faltung.compress.factors import CP, Form, Ranks, Stage, forms
from faltung.compress.means import Left, Outcome, Saving, Task, remade
from faltung.compress.moments import Array, Seen, seen_by
from faltung.compress.sites import Site, sites
from faltung.geometry.check import real, show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.nn import Layer
from faltung.nn.edit import edit, paths
from faltung.runtime.blas import blas_on_one_thread
from faltung.train.model import Model

# Milliseconds of a layer and of what may replace it, both for one sample.
Times = tuple[float, float]
Measure = Callable[[Model, Model], Times]
FASTER = 0.97  # of the time before, at most
TURNS, TURN_SECONDS = 25, 0.002  # of each of the two
TRIES = 4  # measured ways of one layer before it is left as it is


@dataclass(frozen=True)
class Way:
    """One way to take a layer apart. lost: the part of its energy."""

    site: Site
    form: Form
    ranks: Ranks
    lost: float
    bytes: int
    macs: int

    @property
    def key(self) -> str:
        """Which measurement belongs to it."""
        rank = "x".join(map(str, self.ranks))
        return f"{self.site.name} {self.form.name} rank {rank}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.form.stages(self.ranks)


@dataclass(frozen=True)
class Factorised(Outcome):
    """``measured``: the times by which layers were replaced or not; given again, they decide in the
    same way. ``lost``: by layer, the part of its energy.
    """

    measured: Mapping[str, Times] = field(default_factory=dict)
    lost: Mapping[str, float] = field(default_factory=dict)


def factorise(
    model: Model,
    task: Task,
    strength: float,
    *,
    measure: Measure | None = None,
    measured: Mapping[str, Times] | None = None,
    seen: bool = True,
) -> Factorised:
    """A model in which layers are products of smaller ones.

    strength: the budget, the sum over all layers of the parts of energy that are lost, above 0.
    measure: milliseconds of two models; by default they take turns on this computer. measured:
    of an earlier call, which are not taken again. seen: whether energy is that of outputs for
    samples of the training (``moments.py``), or of weights. ValueError: another strength, weights
    or samples that are not finite.
    """
    budget = real("strength", strength)
    if not 0 < budget < float("inf"):
        raise FaltungError(f"strength={show(strength)}: must be above 0 and finite")
    with blas_on_one_thread():
        places, why = sites(model)
        read = seen_by(model, places, task.train, task.seed) if seen else {}
        ways = {
            site.name: _ways(site, model, read.get(site.name), task.by, budget) for site in places
        }
        times = dict(measured or {})
        judge = _Judge(model, measure or _by_turns, times)
        chosen = _spent(ways, budget, task.by, judge)
        made = _applied(model, chosen, read) if chosen else model
    for site in places:
        if site.name not in chosen:
            why[site.name] = judge.why.get(site.name, "nothing smaller is within the budget")
    left = tuple(Left(name, why[name]) for name in paths(model.net) if name in why)
    left += tuple(Left(name, said) for name, said in why.items() if name not in paths(model.net))
    lost = {name: way.lost for name, way in chosen.items()}
    said = "; ".join(
        f"{n}: {w.form.name}, rank {' and '.join(map(str, w.ranks))}" for n, w in chosen.items()
    )
    return Factorised(made, left, said, bool(chosen), judge.used, lost)


def apply(model: Model, task: Task, strength: float) -> Outcome:
    """``factorise`` as a means of a walk."""
    return factorise(model, task, strength)


# What there is to choose from ---------------------------------------------------------------------


def _ways(site: Site, model: Model, read: Seen | None, by: Saving, budget: float) -> list[Way]:
    """Those that are smaller and lose no more than the budget."""
    weight = site.weight(model)
    if not np.isfinite(weight).all():
        raise FaltungError(f"model: the weight of {site.name!r} is not finite: must be numbers")
    share = 1.0  # of the energy, by which what is lost is divided
    if read is not None:
        share = read.varying(weight)
        weight = _times(weight, read.root)
    whole = site.cost((site.whole(),))
    found: list[Way] = []
    envelope: list[Way] | None = None
    for form in forms(weight, first=not site.transposed):
        for ranks in form.ranks():
            price = site.cost(form.stages(ranks))
            if price[0] >= whole[0] or price[1] >= whole[1] or form.least(ranks) > share * budget:
                continue
            if isinstance(form, CP):  # a search for each rank, where it may be of use
                envelope = _hull(found, by, whole[by == "macs"]) if envelope is None else envelope
                if _reached(envelope, by, form.least(ranks) / share) <= price[by == "macs"]:
                    continue
            lost = form.error(ranks) / share
            if lost <= budget:
                found.append(Way(site, form, ranks, lost, *price))
    return found


def _reached(hull: Sequence[Way], by: Saving, lost: float) -> float:
    """The least cost of ways that lose no more."""
    return min((getattr(way, by) for way in hull if way.lost <= lost), default=float("inf"))


def _times(w: Array, root: Array) -> Array:
    """A weight (G, O, I, *kernel) whose inputs are multiplied with a matrix (G, I, I)."""
    made = np.matmul(w.reshape(*w.shape[:3], -1).transpose(0, 1, 3, 2), root[:, None])
    return np.asarray(made.transpose(0, 1, 3, 2).reshape(w.shape))


def _hull(ways: Sequence[Way], by: Saving, whole: float) -> list[Way]:
    """Of ways to take a layer apart those that are best for some price of loss, from the least
    loss on.
    """
    points = sorted(ways, key=lambda way: (way.lost, getattr(way, by)))
    hull: list[tuple[float, float, Way | None]] = [(0.0, whole, None)]
    for way in points:
        x, y = way.lost, float(getattr(way, by))
        if y >= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], (x, y)) <= _slope(hull[-2], hull[-1][:2]):
            hull.pop()
        hull.append((x, y, way))
    return [way for _, _, way in hull if way is not None]


def _slope(start: Sequence[object], end: Sequence[float]) -> float:
    """How steeply cost falls with loss: negative."""
    x, y = float(start[0]), float(start[1])  # type: ignore[arg-type]
    return (end[1] - y) / max(end[0] - x, 1e-12)


# How it is spent ----------------------------------------------------------------------------------


class _Judge:
    """Measures ways, each once."""

    def __init__(self, model: Model, measure: Measure, times: dict[str, Times]) -> None:
        self.model, self.measure, self.times = model, measure, times
        self.used: dict[str, Times] = {}
        self.why: dict[str, str] = {}
        self.tried: dict[str, int] = {}

    def faster(self, way: Way) -> bool:
        """Whether a way takes less time than the layer as it is; if not, ``why`` says so."""
        key, name = way.key, way.site.name
        if key not in self.times:
            self.times[key] = self.measure(*_pair(self.model, way))
        self.used[key] = before, after = self.times[key]
        if after <= FASTER * before:
            return True
        self.tried[name] = self.tried.get(name, 0) + 1
        self.why[name] = f"not faster: {after:.3g} ms as {way.form.name}, {before:.3g} ms as it is"
        return False


def _spent(
    ways: Mapping[str, list[Way]], budget: float, by: Saving, judge: _Judge
) -> dict[str, Way]:
    """The way of each layer that is replaced: the budget spent until nothing slower is in it."""
    ways = dict(ways)
    good: set[str] = set()
    while True:
        chosen = _greedy(ways, budget, by)
        slow = [w for w in chosen.values() if w.key not in good and not judge.faster(w)]
        good |= {way.key for way in chosen.values() if way not in slow}
        if not slow:
            return chosen
        for bad in slow:
            name = bad.site.name
            if judge.tried[name] >= TRIES:
                ways[name] = []
            ways[name] = [w for w in ways[name] if not _at_least(w, bad)]


def _at_least(way: Way, bad: Way) -> bool:
    """Whether a way is the same form with ranks that are all as large."""
    return way.form is bad.form and all(a >= b for a, b in zip(way.ranks, bad.ranks, strict=True))


def _greedy(ways: Mapping[str, list[Way]], budget: float, by: Saving) -> dict[str, Way]:
    """Steps along all hulls, those first that save most for what they lose."""
    steps: list[tuple[float, int, int, float, Way]] = []
    for place, found in enumerate(ways.values()):
        if not found:
            continue
        site = found[0].site
        whole = site.cost((site.whole(),))[by == "macs"]
        x, y = 0.0, float(whole)
        for number, way in enumerate(_hull(found, by, y)):
            cost = float(getattr(way, by))
            saved, lost = y - cost, max(way.lost - x, 0.0)
            steps.append((-saved / max(lost, 1e-12), place, number, lost, way))
            x, y = way.lost, cost
    chosen: dict[str, Way] = {}
    closed: set[str] = set()
    for _, _, _, lost, way in sorted(steps, key=lambda step: step[:3]):
        name = way.site.name
        if name in closed:
            continue
        if lost > budget:
            closed.add(name)
            continue
        budget -= lost
        chosen[name] = way
    return chosen


# Layers -------------------------------------------------------------------------------------------


def _pair(model: Model, way: Way) -> tuple[Model, Model]:
    """A layer alone, and what would replace it."""
    pair = []
    site = way.site
    for layers in ([site.layer], site.layers(way.stages, "part")):
        net, shape = site.alone(layers)
        pair.append(Model(net, shape, dtype=model.dtype, precision=model.precision))
    return pair[0], pair[1]


def _by_turns(before: Model, after: Model) -> Times:
    """The shortest of many turns each: whatever else the computer does only adds to them."""
    x = np.random.default_rng(0).standard_normal((1, *before.input_shape))
    calls = []
    for model in (before, after):
        program = model.program(1)
        program.feed(x.astype(model.graph.dtype))
        program.run()  # touches memory, wakes threads
        calls.append((program.run, max(1, round(TURN_SECONDS / _time(program.run, 1)))))
    shortest = [float("inf")] * len(calls)
    for _ in range(TURNS):
        for place, (run, count) in enumerate(calls):
            shortest[place] = min(shortest[place], _time(run, count))
    return 1000 * shortest[0], 1000 * shortest[1]


def _time(run: Callable[[], None], count: int) -> float:
    """Seconds of one of so many calls."""
    start = perf_counter()
    for _ in range(count):
        run()
    return max(perf_counter() - start, 1e-9) / count


def _applied(model: Model, chosen: Mapping[str, Way], read: Mapping[str, Seen]) -> Model:
    """The model with these layers replaced."""
    known, values = paths(model.net), model.parameters
    edits: dict[str, list[Layer]] = {}
    for name, way in chosen.items():
        edits[name] = way.site.layers(way.stages, _free(name, known))
    edited = edit(model.net, edits)
    made = dict(edited.parameters(values))
    names = paths(edited.net)
    for name, way in chosen.items():
        factors = _factors(way, read.get(name))
        for layer, factor in zip(edits[name], factors, strict=True):
            path = next(p for p in _places(name, str(layer.name)) if p in names)
            made[f"{path}.weight"] = way.site.stored(layer, factor)
        if way.site.biased:
            made[f"{path}.bias"] = values[f"{name}.bias"]
    return remade(model, edited.net, made)


def _factors(way: Way, read: Seen | None) -> Sequence[Array]:
    """The weights of the stages, for inputs as they are."""
    first, *rest = way.form.factors(way.ranks)
    if read is not None:
        first = _times(first, np.linalg.inv(read.root))
    return first, *rest


def _places(name: str, new: str) -> Iterator[str]:
    """Where a layer may be that came in the place of another."""
    scope = name.rpartition(".")[0]
    yield f"{scope}.{new}" if scope else new
    yield f"{name}.{new}"


def _free(name: str, known: Mapping[str, Layer]) -> str:
    """What new names begin with: nothing in the scope does yet."""
    scope, _, leaf = name.rpartition(".")
    while any(path.startswith(f"{scope}.{leaf}_" if scope else f"{leaf}_") for path in known):
        leaf += "_"
    return leaf
