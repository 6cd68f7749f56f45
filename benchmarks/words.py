"""Titles, numbers and tables of the page as text."""

from collections.abc import Iterable, Sequence

from benchmarks.protocol import (
    FILE,
    FILTER,
    FORWARD,
    INFERENCE,
    INPUT_GRAD,
    STEP,
    WEIGHT_GRAD,
    WINDOW,
    WINDOW_GRAD,
)
from benchmarks.results import TIMED, UNABLE, Outcome
from benchmarks.stats import geometric_mean

TITLES = {
    FORWARD: "Forward",
    INPUT_GRAD: "Gradient for the input",
    WEIGHT_GRAD: "Gradient for the weight",
    INFERENCE: "Inference",
    STEP: "Step of training",
    FILE: "Inference",
    FILTER: "Forward",
    WINDOW: "Forward",
    WINDOW_GRAD: "Gradient for the input",
}
NOTHING = "-"


def table(head: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; the first ``words`` columns are left-aligned, the others right-aligned."""
    marks = [":--"] * words + ["--:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, marks, *lines))


def microseconds(ns: float) -> str:
    """Microseconds with three significant digits."""
    us = ns / 1000
    if us >= 100:
        return f"{us:,.0f}"
    return f"{us:.1f}" if us >= 10 else f"{us:.2f}"


def milliseconds(ns: float) -> str:
    """Milliseconds with three significant digits."""
    ms = ns / 1e6
    digits = sum(ms < bound for bound in (100, 10, 1, 0.1))
    return f"{ms:,.{digits}f}"


def unit(direction: str) -> str:
    """The unit of time for a direction: of layers, or of whole networks."""
    return "ms" if direction in (INFERENCE, STEP, FILE, FILTER) else "us"


def duration(ns: float, direction: str) -> str:
    """A time in the unit of its direction."""
    return milliseconds(ns) if unit(direction) == "ms" else microseconds(ns)


def number(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def mean(values: Iterable[float]) -> str:
    """The geometric mean as text."""
    return number(geometric_mean(values))


def tells(outcome: Outcome | None) -> bool:
    """Whether there is anything to report but that the peer cannot do it."""
    return outcome is not None and outcome.kind != UNABLE


def cell(outcome: Outcome | None, direction: str) -> str:
    """The least and the median time, or why there are none."""
    if outcome is None or outcome.kind == UNABLE:
        return NOTHING
    if outcome.kind != TIMED:
        return f"**{outcome.kind}**"
    least, median = (duration(ns, direction) for ns in (outcome.min_ns, outcome.median_ns))
    return f"{least} / {median}" + (" (once)" if outcome.calls == 1 else "")
