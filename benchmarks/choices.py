"""``python -m benchmarks choices``: compares the choice of the policy with our fastest method.

For each row of the table of layers, every method that applies is planned by name and measured on
this machine, in alternation. ``behind``: how much longer the choice takes than the fastest method;
the goal is never more than 10%.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.layers import LAYERS, Layer
from faltung import get_threads, set_threads
from faltung.geometry.conv import ConvSpec
from faltung.methods.base.correlation import contiguous
from faltung.plan import Plan, plan_forward, plan_input_grad, plan_weight_grad
from faltung.plan.choose import FORWARD, WEIGHT_GRAD
from faltung.plan.plan import duration
from faltung.plan.tune import measured

GOAL = 0.10
# Plans with a price this many times that of the choice are measured only if they are short.
MAX_PRICE_RATIO, SHORT_NS = 10.0, 20e6

DIRECTIONS: dict[str, tuple[Callable[..., Plan], Sequence[str]]] = {
    "forward": (plan_forward, tuple(FORWARD)),
    "input_grad": (plan_input_grad, tuple(FORWARD)),
    "weight_grad": (plan_weight_grad, tuple(WEIGHT_GRAD)),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One row: the chosen method, and the predicted and measured time of each method."""

    layer: Layer
    direction: str
    chosen: str
    said_ns: dict[str, float]
    took_ns: dict[str, float]

    @property
    def behind(self) -> float:
        return self.took_ns["auto"] / min(self.took_ns.values()) - 1

    def __str__(self) -> str:
        words = [
            f"{name} {duration(took)} (said {duration(self.said_ns[name])})"
            for name, took in sorted(self.took_ns.items(), key=lambda entry: entry[1])
            if name != "auto"
        ]
        mark = "!" if self.behind > GOAL else " "
        late = f"{100 * self.behind:4.0f}%"
        name = f"{self.direction:11} {self.layer.name:28} {self.chosen:18}"
        return f"{mark} {late} {name} {duration(self.took_ns['auto']):>8}  {', '.join(words)}"


def price(plan: Plan) -> float:
    """Nanoseconds of one core that the policy predicts for all parts of a plan."""
    return sum(candidates[0].ns for _, candidates in plan.reasons)


def layouts(spec: ConvSpec, direction: str, last: bool) -> tuple[tuple[int, ...], ...]:
    """Strides of the arrays that a plan calls "x", "w" and "out"."""
    x, out = (contiguous(shape, last) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    return (out, w, x) if direction == "input_grad" else (x, w, out)


def choice(layer: Layer, direction: str, last: bool = True, precision: str = "fast") -> Choice:
    """Plan and measure one row."""
    planner, methods = DIRECTIONS[direction]
    options = {"channels_last": last, "precision": precision}
    auto = planner(layer.spec, **options)
    plans = {"auto": auto}
    for name in methods:
        try:
            plan = planner(layer.spec, method=name, **options)
        except ValueError:  # it does not apply
            continue
        if price(plan) < max(MAX_PRICE_RATIO * price(auto), SHORT_NS):
            plans[name] = plan
    said = {name: price(plan) for name, plan in plans.items()}
    seconds = measured(plans, layouts(layer.spec, direction, last))
    names = dict.fromkeys(candidates[0].name for _, candidates in auto.reasons)
    took = {name: 1e9 * taken for name, taken in seconds.items()}
    if len(names) == 1:  # it is the same plan twice
        one = next(iter(names))
        took["auto"] = took[one] = min(took["auto"], took.get(one, took["auto"]))
    return Choice(layer, direction, "+".join(names), said, took)


def rows(only: str | None) -> Iterator[Layer]:
    return (row for row in LAYERS if only is None or only in row.name or only in row.text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks choices", description=__doc__)
    add = parser.add_argument
    add("--only", metavar="SUBSTRING", help="rows whose name or text contains this")
    add("--direction", choices=("all", *DIRECTIONS), default="forward", help="(%(default)s)")
    add("--threads", type=int, default=1, help="(%(default)s; prices are those of one core)")
    add("--channels-first", action="store_true", help="arrays (N, C, *space)")
    add("--precision", default="fast", help="fast or strict (%(default)s)")
    options = parser.parse_args(arguments)
    before = get_threads()
    set_threads(options.threads)
    try:
        wanted = tuple(DIRECTIONS) if options.direction == "all" else (options.direction,)
        late = total = 0
        for layer in rows(options.only):
            for direction in wanted:
                found = choice(layer, direction, not options.channels_first, options.precision)
                print(found, flush=True)
                late, total = late + (found.behind > GOAL), total + 1
    finally:
        set_threads(before)
    print(f"{total} rows, {late} more than {100 * GOAL:.0f}% behind the best of our methods")
    return 0
