"""Limits in seconds, and accuracies, as a table; ``goals.py`` has the ratios."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.protocol import STEP
from benchmarks.results import Cost, Run, Session

SMALL = "googlenet 1x8x8 "  # Inception (small) for digits
DIGITS, INCEPTION = "faltung train digits", "faltung train digits --net inception"


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that should be at most (with ``least``, at least) ``wanted``.

    ``find`` returns it, or None if a run did not measure it.
    """

    text: str
    find: Callable[[Run], float | None]
    wanted: float
    unit: str = ""
    least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.wanted if self.least else value <= self.wanted


def _compiled(run: Run) -> Cost:
    """The costs of a training step of Inception (small)."""
    rows = [row for row in run.rows if row.direction == STEP and row.text.startswith(SMALL)]
    return rows[0].costs.get("faltung", Cost()) if rows else Cost()


def _session(run: Run, command: str) -> Session:
    found = (session for session in run.sessions if session.command == command)
    return next(found, Session(command))


def _accuracy(command: str, wanted: float) -> Limit:
    return Limit(
        f"accuracy of `{command}`",
        lambda run: _session(run, command).accuracy,
        wanted,
        least=True,
    )


LIMITS: tuple[Limit, ...] = (
    Limit("first step of Inception (small), cold", lambda run: _compiled(run).cold_s, 5, "s"),
    Limit("first step of Inception (small), warm", lambda run: _compiled(run).warm_s, 0.3, "s"),
    Limit(f"`{DIGITS}`, cold", lambda run: _session(run, DIGITS).cold_s, 20, "s"),
    Limit(f"`{DIGITS}`, warm", lambda run: _session(run, DIGITS).warm_s, 10, "s"),
    _accuracy(DIGITS, 0.985),
    _accuracy(INCEPTION, 0.99),
)


def judged(run: Run, limits: Sequence[Limit] = LIMITS) -> list[tuple[Limit, float]]:
    """The limits that this run measured, with the numbers."""
    found = ((limit, limit.find(run)) for limit in limits)
    return [(limit, value) for limit, value in found if value is not None]
