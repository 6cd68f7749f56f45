"""What a run found, as data: written to JSON as it is, and read back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from faltung.geometry.conv import ConvSpec
from faltung.geometry.text import parse

SCHEMA = 1
TIMED, UNABLE, WRONG, FAILED = "timed", "unable", "wrong", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one peer on one row.

    ``min_ns`` and ``median_ns`` are over all calls of all rounds; ``rounds_ns`` is the least of
    each round, which shows the drift. ``error`` is the relative RMS error against float64.
    """

    kind: str
    min_ns: int = 0
    median_ns: int = 0
    calls: int = 0
    rounds_ns: tuple[int, ...] = ()
    error: float | None = None
    reason: str = ""


def timed(rounds: Sequence[Sequence[int]], error: float | None) -> Outcome:
    """The outcome of rounds of timed calls (nanoseconds each); ValueError without any call."""
    every = [ns for calls in rounds for ns in calls]
    if not every:
        raise ValueError("rounds=[]: at least one call must be timed")
    least = tuple(min(calls) for calls in rounds if calls)
    return Outcome(TIMED, min(every), int(median(every)), len(every), least, error)


@dataclass(frozen=True, slots=True)
class Row:
    """One layer in one direction, and every peer's outcome."""

    name: str
    text: str
    direction: str
    core: bool
    outcomes: dict[str, Outcome]

    @property
    def spec(self) -> ConvSpec:
        return parse(self.text)

    def ns(self, peer: str) -> int | None:
        """The least time of a peer, or None if it was not timed."""
        outcome = self.outcomes.get(peer)
        return outcome.min_ns if outcome is not None and outcome.kind == TIMED else None

    def gflops(self, peer: str) -> float | None:
        """10^9 operations a second, 2 for each multiply-add; all taps count, whatever is saved."""
        ns = self.ns(peer)
        return None if ns is None else self.spec.flops / ns


@dataclass(frozen=True, slots=True)
class Run:
    """One run: where, when, with what, and the rows.

    ``versions`` holds the peers that were there, ``missing`` the reason for those that were not.
    ``peak`` is the FMA peak in float32 GFLOP/s for that number of threads, None if unmeasured.
    """

    date: str
    machine: dict[str, str]
    threads: int
    rounds: int
    seconds: float
    versions: dict[str, str]
    missing: dict[str, str]
    peak: float | None = None
    minutes: float = 0.0
    rows: list[Row] = field(default_factory=list)


def write(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(run)}, indent=1) + "\n")


def read(path: Path) -> Run:
    """A run from its JSON; ValueError for another schema."""
    data: dict[str, Any] = json.loads(path.read_text())
    schema = data.pop("schema", None)
    if schema != SCHEMA:
        raise ValueError(f"schema={schema!r}: must be {SCHEMA}")
    rows = [
        Row(**{**row, "outcomes": {peer: _outcome(one) for peer, one in row["outcomes"].items()}})
        for row in data.pop("rows")
    ]
    return Run(**data, rows=rows)


def _outcome(data: dict[str, Any]) -> Outcome:
    return Outcome(**{**data, "rounds_ns": tuple(data["rounds_ns"])})
