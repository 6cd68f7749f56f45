"""Which method computes a correlation, and in which order its input must lie.

The policy, in order:

1. A method that does not apply is out, and says why.
2. ``method``: the one that is named, or an error with the reason.
3. ``precision="strict"``: transforms are out.
4. A transform, for every batch and layout, where one sample with channels last would take it less
   than ``TRANSFORM`` of the best sum's price, copies left out.
5. The cheapest sum, with the copy that it needs (the first of equals).

A *sum* adds the products of an output in one order, taps and for each tap its channels, whatever
the method: so it may depend on batch and layout which of them is taken. A *transform* adds other
numbers, and rounds otherwise. Point 4 looks at the spec and the machine alone, so that a sample
keeps its bits in any batch. Prices are in the methods' own files, in cycles of one core.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from faltung.machine.table import Machine
from faltung.methods import depthwise, depthwise_grad, direct, spatial, weight_grad
from faltung.methods.correlation import Correlation
from faltung.methods.simplify import essential, over_samples, simplified
from faltung.methods.step import Arrays, Work

# Cycles to copy one element into another order, padded.
COPY = 0.75
# Cycles that a copy takes beside that: it is a step of its own, and the team meets after it.
STEP = 1000
# A transform rounds more than a sum: it has to win by something.
TRANSFORM = 0.95
# Samples become the last axis where that takes less than this part of the cycles: their neighbours
# lie far apart in memory, which is not in the price.
GAIN = 0.85
# The same for the gradient for the weight: where the last axis has fewer outputs, and samples are
# not fewer.
SHORT = 4

PRECISIONS = ("fast", "strict")


# The methods --------------------------------------------------------------------------------------


class Method(Protocol):
    """What a file in ``methods`` offers to be chosen from.

    It may also have ``why_not(c, machine)``: in a few words why it does not apply, None where it
    does; and ``describe(c, machine)``: how it would go about it.
    """

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core, weights packed; infinite where it does not apply."""

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied, its last axis padded."""

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool
    ) -> None:
        """Add the steps that compute ``c``."""


class ForwardMethod(Method, Protocol):
    """A method for the convolution itself and for the gradient for its input."""

    def needs_channels_first(self, c: Correlation) -> bool:
        """Whether the input must be copied so that positions are neighbours."""


class WeightGradMethod(Method, Protocol):
    """A method for the gradient for the weight; ``arrays.out`` is the output gradient."""

    def needs_channels_last(self, c: Correlation, machine: Machine) -> bool:
        """Whether the output gradient must be copied so that channels are neighbours."""


M = TypeVar("M", bound=Method)


@dataclass(frozen=True, slots=True)
class Row(Generic[M]):
    """A method in a table. ``transform``: it does not keep the order of the sums. ``copies``: how
    its padded copy of the input lies; None: as the input does.
    """

    method: M
    transform: bool = False
    copies: str | None = "channels_last"


FORWARD: dict[str, Row[ForwardMethod]] = {
    "direct": Row(direct),
    "spatial": Row(spatial, copies="channels_first"),
    "depthwise": Row(depthwise),
}

WEIGHT_GRAD: dict[str, Row[WeightGradMethod]] = {
    "depthwise": Row(depthwise_grad),
    "direct": Row(weight_grad, copies=None),
}


# What may be asked, and what is answered ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What the caller says: ``precision`` "fast" or "strict", ``method`` "auto" or a name.

    ValueError: another precision, or a method that no table has, or a transform where sums alone
    are asked for.
    """

    precision: str = "fast"
    method: str = "auto"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision={self.precision!r}: must be one of {', '.join(PRECISIONS)}"
            )
        names = ("auto", *dict.fromkeys((*FORWARD, *WEIGHT_GRAD)))
        if self.method not in names:
            raise ValueError(f"method={self.method!r}: must be one of {', '.join(names)}")
        rows = [table[self.method] for table in (FORWARD, WEIGHT_GRAD) if self.method in table]
        if self.precision == "strict" and rows and all(row.transform for row in rows):
            raise ValueError(
                f"method={self.method!r}: must be a plain sum where precision='strict'"
            )


AUTO = Policy()


def policy_of(precision: str, method: str = "auto") -> Policy:
    """The policy of these arguments, most of the time the usual one. ValueError as `Policy`."""
    if precision == "fast" and method == "auto":
        return AUTO
    return Policy(precision, method)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method's offer, in cycles. ``stage``: how its copy of the input lies, None without one.

    ``why_not``: why it is out, whatever its price; ``detail``: how it would go about it.
    """

    name: str
    stage: str | None
    compute: float
    copy: float
    why_not: str | None = None
    detail: str = ""

    @property
    def cycles(self) -> float:
        return self.compute + self.copy


@dataclass(frozen=True, slots=True)
class Decision:
    """``c`` as the chosen method takes it; the candidates, the chosen one first, those that are out
    last. ``beside``: samples are its last axis.
    """

    c: Correlation
    candidates: list[Candidate]
    beside: bool = False

    @property
    def best(self) -> Candidate:
        return self.candidates[0]


# The policy ---------------------------------------------------------------------------------------


def choose(
    c: Correlation, machine: Machine, policy: Policy = AUTO, *, bias: bool = False
) -> Decision:
    """The method for ``c``, as it was asked, and all others with the reason why not.

    ValueError: ``policy.method`` does not apply.
    """
    plain, simple = essential(c), simplified(c, bias=bias)
    sums, beside = offers(FORWARD, simple, machine, transforms=False), False
    turned = over_samples(simple)
    if turned is not None:
        others = offers(FORWARD, turned, machine, transforms=False)
        if _least(others, policy) < GAIN * _least(sums, policy):
            sums, simple, beside = others, turned, True
    decisions = {o.name: Decision(simple, [o], beside) for o in sums}
    asked = canonical(plain, 1)
    return _decide(FORWARD, plain, machine, policy, decisions, (asked, simplified(asked)))


def _least(offered: Iterable[Candidate], policy: Policy) -> float:
    return min((o.cycles for o in offered if policy.method in ("auto", o.name)), default=inf)


def choose_weight_grad(c: Correlation, machine: Machine, policy: Policy = AUTO) -> Decision:
    """The same for the gradient for the weight. It is one result for a whole batch, which point 4
    therefore looks at as it is.
    """
    plain, simple = essential(c, every_tap=True), simplified(c, every_tap=True)
    if simple.windows[-1].axis.output < SHORT <= simple.batch:
        simple = over_samples(simple) or simple
    sums = offers(WEIGHT_GRAD, simple, machine, transforms=False)
    decisions = {o.name: Decision(simple, [o]) for o in sums}
    asked = canonical(plain, c.batch)
    simple = simplified(asked, every_tap=True)
    return _decide(WEIGHT_GRAD, plain, machine, policy, decisions, (asked, simple))


def _decide(
    table: Mapping[str, Row[Any]],
    plain: Correlation,
    machine: Machine,
    policy: Policy,
    decisions: dict[str, Decision],
    asked: tuple[Correlation, Correlation],
) -> Decision:
    """Points 1 to 5. ``decisions``: what each sum would do; ``asked``: the question of point 4, as
    transforms and as sums take it.
    """
    transforms = offers(table, plain, machine, transforms=True)
    decisions |= {o.name: Decision(plain, [o]) for o in transforms}
    every = [decision.best for decision in decisions.values()]
    if policy.method != "auto":
        chosen = _named(table, every, policy)
        others = [replace(o, why_not=o.why_not or f"method={policy.method!r}") for o in every]
        return _first(decisions, chosen, others)
    if policy.precision == "strict":
        transforms = [replace(o, why_not=o.why_not or "precision='strict'") for o in transforms]
    sums = [o for o in every if not table[o.name].transform]
    possible = [o for o in transforms if o.why_not is None]
    if possible:
        prices = {
            name: row.method.cost(asked[0 if row.transform else 1], machine)
            for name, row in table.items()
        }
        best = min(possible, key=lambda o: prices[o.name])
        limit = min(prices[o.name] for o in sums)
        if prices[best.name] < TRANSFORM * limit:
            return _first(decisions, best, [*sums, *transforms])
        transforms = [
            replace(o, why_not=o.why_not or _times(prices[o.name], limit)) for o in transforms
        ]
    chosen = min((o for o in sums if o.why_not is None), key=lambda o: o.cycles)
    return _first(decisions, chosen, [*sums, *transforms])


def _first(
    decisions: Mapping[str, Decision], chosen: Candidate, every: Iterable[Candidate]
) -> Decision:
    """The decision for ``chosen``, with all others behind it."""
    others = sorted(
        (o for o in every if o.name != chosen.name),
        key=lambda o: (o.why_not is not None, o.cycles),
    )
    return replace(decisions[chosen.name], candidates=[chosen, *others])


def _times(price: float, limit: float) -> str:
    return f"{price / limit:.2f} times the best sum's price for one sample"


def _named(table: Mapping[str, Row[Any]], every: Iterable[Candidate], policy: Policy) -> Candidate:
    """Point 2."""
    for offered in every:
        if offered.name == policy.method and offered.why_not is None:
            return offered
    strict = policy.precision == "strict"
    can = [o.name for o in every if o.why_not is None and not (strict and table[o.name].transform)]
    reasons = {o.name: o.why_not for o in every}
    why = reasons.get(policy.method, "not a method of this direction")
    raise ValueError(
        f"method={policy.method!r}: must be one of {', '.join(can)} for this problem; "
        f"{policy.method}: {why}"
    )


# Offers -------------------------------------------------------------------------------------------


def offers(
    table: Mapping[str, Row[Any]], c: Correlation, machine: Machine, *, transforms: bool
) -> list[Candidate]:
    """What the sums, or the transforms, of a table would do with ``c`` and what that costs."""
    return [
        _offer(name, row, c, machine) for name, row in table.items() if row.transform == transforms
    ]


def _offer(name: str, row: Row[Any], c: Correlation, machine: Machine) -> Candidate:
    method, stage = row.method, None
    compute = method.cost(c, machine)
    if compute == inf:
        return Candidate(name, None, inf, 0.0, _why_not(method, c, machine))
    first = getattr(method, "needs_channels_first", None)
    if first is not None and first(c):
        stage = "channels_first"
    elif method.needs_padded(c, machine):
        stage = row.copies or ("channels_last" if c.x[2] == 1 else "channels_first")
    inputs = c.batch * c.groups * c.channels_in
    for window in c.windows:
        inputs *= window.axis.padded
    copy = inputs * COPY + STEP if stage else 0.0
    describe = getattr(method, "describe", None)
    detail = describe(c, machine) if describe is not None else ""
    return Candidate(name, stage, compute, copy, detail=detail)


def _why_not(method: Any, c: Correlation, machine: Machine) -> str:
    asked = getattr(method, "why_not", None)
    return (asked(c, machine) if asked is not None else None) or "does not apply"


def canonical(c: Correlation, batch: int) -> Correlation:
    """The same question about contiguous arrays with channels last, for ``batch`` samples: one that
    layouts, epilogues and, with a batch of 1, samples have no part in.
    """
    x, out = c.groups * c.channels_in, c.groups * c.channels_out
    windows, taps = [], x * c.channels_out
    for window in reversed(c.windows):
        axis = window.axis
        offsets = tuple(k * taps for k in range(axis.kernel))
        windows.append(replace(window, x=x, out=out, taps=offsets, aux=()))
        x, out, taps = x * axis.size, out * axis.output, taps * axis.kernel
    return replace(
        c,
        batch=batch,
        windows=tuple(reversed(windows)),
        x=(x, c.channels_in, 1),
        out=(out, c.channels_out, 1),
        w=(c.channels_in * c.channels_out, 1, c.channels_out),
        x_base=0,
        out_base=0,
        epilogue=None,
        aux=(),
        aux_base=(),
    )
