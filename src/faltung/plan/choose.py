"""Which method computes a correlation, and in which order its input must lie.

The policy, in order:

1. A method that does not apply is out, and says why.
2. ``method``: the one that is named, or an error with the reason.
3. ``precision="strict"``: transforms are out.
4. A transform, for every batch and layout, where one sample with channels last would take it less
   than ``MAX_TRANSFORM_PRICE`` of the best sum's price, copies left out.
5. The cheapest sum, with the copy that it needs (the first of equals).

A *sum* adds the products of an output in one order, taps and for each tap its channels, whatever
the method: so it may depend on batch and layout which of them is taken. A *transform* adds other
numbers, and rounds otherwise. Point 4 looks at the spec and the machine alone, so that a sample
keeps its bits in any batch. Prices are nanoseconds of one core (``offer``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from faltung.geometry.check import one_of
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.method import ForwardMethod, Method, WeightGradMethod
from faltung.methods.base.remembered import remembered
from faltung.methods.fft import fft
from faltung.methods.fft import weight_grad as fft_weight_grad
from faltung.methods.grouped import grouped
from faltung.methods.grouped import weight_grad as grouped_weight_grad
from faltung.methods.plain import direct, signal, spatial, weight_grad
from faltung.methods.strassen import strassen
from faltung.methods.winograd import weight_grad as winograd_weight_grad
from faltung.methods.winograd import winograd
from faltung.plan.offer import Candidate, offers, packing, price
from faltung.plan.question import Question
from faltung.plan.words import PRECISIONS

# A transform rounds more than a sum: it has to win by something.
MAX_TRANSFORM_PRICE = 0.95
# Samples become the last axis where that takes less than this part of the cycles: their neighbours
# lie far apart in memory, which is not in the price.
MAX_SAMPLES_PRICE = 0.85
# The same for the gradient for the weight: where the last axis has fewer outputs, and samples are
# not fewer.
MIN_LAST_OUTPUTS = 4


# The methods --------------------------------------------------------------------------------------

FORWARD: dict[str, ForwardMethod] = {
    "direct": direct.DIRECT,
    "spatial": spatial.SPATIAL,
    "signal": signal.SIGNAL,
    "depthwise": grouped.DEPTHWISE,
    "grouped": grouped.GROUPED,
    "winograd": winograd.WINOGRAD,
    "fft": fft.FFT,
    "strassen": strassen.STRASSEN,
}

WEIGHT_GRAD: dict[str, WeightGradMethod] = {
    "depthwise": grouped_weight_grad.DEPTHWISE_WEIGHT_GRAD,
    "grouped": grouped_weight_grad.GROUPED_WEIGHT_GRAD,
    "direct": weight_grad.DIRECT_WEIGHT_GRAD,
    "winograd": winograd_weight_grad.WINOGRAD_WEIGHT_GRAD,
    "fft": fft_weight_grad.FFT_WEIGHT_GRAD,
}


# What may be asked, and what is answered ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What the caller says: ``precision`` "fast" or "strict", ``method`` "auto" or a name;
    ``tune``: by measurement (``tune``), where no method is named. ``packs``: weights are packed at
    every call, so that a method may do it on its way; ``priced``: and what a transform makes of
    them is part of its price. ``placed``: the result may be a part of a larger one, and must have
    its bits (``plan/placed.py``). ``sums``: transforms are out, whatever the precision; ``tiles``:
    the outputs of a transform's tile along each axis (``plan/part.py``).

    ValueError: another precision, or a method that no table has, or a transform where sums alone
    are asked for.
    """

    precision: str = "fast"
    method: str = "auto"
    tune: bool = False
    packs: bool = False
    priced: bool = False
    placed: bool = False
    sums: bool = False
    tiles: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        one_of("method", self.method, ("auto", *dict.fromkeys((*FORWARD, *WEIGHT_GRAD))))
        tables: tuple[Mapping[str, Method], ...] = (FORWARD, WEIGHT_GRAD)
        named = [table[self.method] for table in tables if self.method in table]
        if self.precision == "strict" and named and all(method.transform for method in named):
            raise FaltungError(
                f"method={self.method!r}: must be a plain sum where precision='strict'"
            )


AUTO = Policy()


def policy_of(precision: str, method: str = "auto", tune: bool = False) -> Policy:
    """The policy of these arguments, most of the time the usual one. ValueError as `Policy`;
    TypeError: ``tune`` is neither True nor False.
    """
    words = isinstance(precision, str) and isinstance(method, str)
    if words and precision == "fast" and method == "auto" and tune is False:
        return AUTO
    if not isinstance(tune, bool):
        raise FaltungTypeError(f"tune={tune!r}: must be True, False or None")
    return Policy(precision, method, tune and method == "auto")


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
    question = Question(c, bias)
    simple, beside = question.simplified, False
    sums = offers(FORWARD, simple, machine, transforms=False)
    if question.over_samples is not None:
        others = offers(FORWARD, question.over_samples, machine, transforms=False)
        if _least(others, policy) < MAX_SAMPLES_PRICE * _least(sums, policy):
            sums, simple, beside = others, question.over_samples, True
    decisions = {o.name: Decision(simple, [o], beside) for o in sums}
    return _decide(FORWARD, question, machine, policy, decisions)


def _least(offered: Iterable[Candidate], policy: Policy) -> float:
    return min((o.ns for o in offered if policy.method in ("auto", o.name)), default=inf)


def choose_weight_grad(c: Correlation, machine: Machine, policy: Policy = AUTO) -> Decision:
    """The same for the gradient for the weight. It is one result for a whole batch, which point 4
    therefore looks at as it is.
    """
    question = Question(c, weight_grad=True)
    simple = question.simplified
    if simple.windows[-1].axis.output < MIN_LAST_OUTPUTS <= simple.batch:
        simple = question.over_samples or simple
    sums = offers(WEIGHT_GRAD, simple, machine, transforms=False)
    decisions = {o.name: Decision(simple, [o]) for o in sums}
    return _decide(WEIGHT_GRAD, question, machine, policy, decisions)


def _decide(
    table: Mapping[str, Method],
    question: Question,
    machine: Machine,
    policy: Policy,
    decisions: dict[str, Decision],
) -> Decision:
    """Points 1 to 5. ``decisions``: what each sum would do."""
    transforms = offers(table, question.essential, machine, transforms=True)
    decisions |= {o.name: Decision(question.essential, [o]) for o in transforms}
    every = [decision.best for decision in decisions.values()]
    if policy.method != "auto":
        chosen = _named(table, every, policy)
        others = [replace(o, why_not=o.why_not or f"method={policy.method!r}") for o in every]
        return _first(decisions, chosen, others)
    if policy.precision == "strict" or policy.sums:
        why = "precision='strict'" if policy.precision == "strict" else "a part of sums"
        transforms = [replace(o, why_not=o.why_not or why) for o in transforms]
    sums = [o for o in every if not table[o.name].transform]
    possible = [o for o in transforms if o.why_not is None]
    if possible:
        canonical = question.canonical
        prices = dict(
            _prices(canonical.c, canonical.weight_grad, machine, policy.priced, *table.items())
        )
        best = min(possible, key=lambda o: prices[o.name])
        limit = min(prices[o.name] for o in sums)
        if prices[best.name] < MAX_TRANSFORM_PRICE * limit:
            return _first(decisions, best, [*sums, *transforms])
        transforms = [
            replace(o, why_not=o.why_not or _times(prices[o.name], limit)) for o in transforms
        ]
    chosen = min((o for o in sums if o.why_not is None), key=lambda o: o.rank)
    return _first(decisions, chosen, [*sums, *transforms])


@remembered(1024)
def _prices(
    c: Correlation, weight_grad: bool, machine: Machine, packs: bool, *methods: tuple[str, Method]
) -> tuple[tuple[str, float], ...]:
    """What each of some methods takes for ``c``, with ``packs`` also for its weights."""
    question = Question(c, weight_grad=weight_grad)

    def priced(method: Method) -> float:
        plain = price(method, question.form(method.transform), machine)
        return plain + (packing(method, c, machine) if packs else 0.0)

    return tuple((name, priced(method)) for name, method in methods)


def _first(
    decisions: Mapping[str, Decision], chosen: Candidate, every: Iterable[Candidate]
) -> Decision:
    """The decision for ``chosen``, with all others behind it."""
    others = sorted(
        (o for o in every if o.name != chosen.name),
        key=lambda o: (o.why_not is not None, o.rank),
    )
    return replace(decisions[chosen.name], candidates=[chosen, *others])


def _times(price: float, limit: float) -> str:
    times = price / limit
    return f"{times:.{1 if times >= 1.05 else 2}f} times the best sum, for one sample"


def _named(table: Mapping[str, Method], every: Iterable[Candidate], policy: Policy) -> Candidate:
    """Point 2."""
    for offered in every:
        if offered.name == policy.method and offered.why_not is None:
            return offered
    strict = policy.precision == "strict"
    can = [o.name for o in every if o.why_not is None and not (strict and table[o.name].transform)]
    reasons = {o.name: o.why_not for o in every}
    why = reasons.get(policy.method, "not a method of this direction")
    raise FaltungError(
        f"method={policy.method!r}: must be one of {', '.join(can)} for this problem; "
        f"{policy.method}: {why}"
    )
