"""The results of a run as data, written to JSON and read back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.protocol import DIRECTIONS, LAYERS
from faltung.geometry.conv import ConvSpec
from faltung.geometry.text import parse

SCHEMA = 1
TIMED, UNABLE, WRONG, FAILED = "timed", "unable", "wrong", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one peer on one row.

    ``min_ns`` and ``median_ns``: over all calls of all rounds. ``rounds_ns``: the least of each
    round, which shows drift. ``error``: against float64 (``LIMITS``). ``ready_ns``: time to the
    first result, with whatever the peer keeps on disk.
    """

    kind: str
    min_ns: int = 0
    median_ns: int = 0
    calls: int = 0
    rounds_ns: tuple[int, ...] = ()
    error: float | None = None
    reason: str = ""
    ready_ns: int = 0


def timed(rounds: Sequence[Sequence[int]], error: float | None, ready_ns: int = 0) -> Outcome:
    """The outcome of rounds of timed calls (nanoseconds each); ValueError without any call."""
    every = [ns for calls in rounds for ns in calls]
    if not every:
        raise ValueError("rounds=[]: at least one call must be timed")
    least = tuple(min(calls) for calls in rounds if calls)
    summary = (min(every), int(median(every)), len(every), least)
    return Outcome(TIMED, *summary, error, ready_ns=ready_ns)


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of a peer besides its time, each from a separate process; None if not measured.

    ``cold_s``, ``warm_s``: seconds to the first result with nothing on disk, and with what the
    first process stored there. ``peak_bytes``: memory beyond that before the problem was built.
    """

    cold_s: float | None = None
    warm_s: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One layer in one direction, or one network, with the outcome of every peer.

    For networks also: ``parameters``; ``operations`` per call, 2 for each multiply-add, where the
    backward pass counts as two forward passes; ``costs`` by peer.
    """

    name: str
    text: str
    direction: str
    core: bool
    outcomes: dict[str, Outcome]
    parameters: int = 0
    operations: int = 0
    costs: dict[str, Cost] = field(default_factory=dict)

    @property
    def spec(self) -> ConvSpec:
        """The problem; only layers have one."""
        return parse(self.text)

    @property
    def flops(self) -> int:
        return self.spec.flops if self.direction in DIRECTIONS else self.operations

    def ns(self, peer: str) -> int | None:
        """The least time of a peer; None if it was not timed."""
        outcome = self.outcomes.get(peer)
        return outcome.min_ns if outcome is not None and outcome.kind == TIMED else None

    def gflops(self, peer: str) -> float | None:
        """10^9 operations per second: 2 per multiply-add of the definition, whatever the method."""
        ns = self.ns(peer)
        return None if ns is None else self.flops / ns


@dataclass(frozen=True, slots=True)
class Session:
    """A whole ``faltung`` command: with no kernels on disk, and then again.

    ``accuracy``: what it reports at the end, 0 to 1. ``reason``: why it failed.
    """

    command: str
    cold_s: float | None = None
    warm_s: float | None = None
    accuracy: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: where, when, with what, and the rows.

    ``versions``: of the peers that took part. ``missing``: why others did not. ``peak``: FMA peak
    in float32 GFLOP/s for this number of threads, None if not measured. ``copies``: "sizes" in
    bytes and "seconds" of copies, if they were measured.
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
    subject: str = LAYERS
    sessions: list[Session] = field(default_factory=list)
    copies: dict[str, list[float]] = field(default_factory=dict)


def write(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(run)}, indent=1) + "\n")


def read(path: Path) -> Run:
    """A run from its JSON file. ValueError: another schema."""
    return from_data(json.loads(path.read_text()))


def from_data(data: dict[str, Any]) -> Run:
    """A run from what JSON holds. ValueError: another schema."""
    schema = data.pop("schema", None)
    if schema != SCHEMA:
        raise ValueError(f"schema={schema!r}: must be {SCHEMA}")
    rows = [_row(row) for row in data.pop("rows")]
    sessions = [Session(**session) for session in data.pop("sessions", [])]
    return Run(**data, rows=rows, sessions=sessions)


def _row(data: dict[str, Any]) -> Row:
    outcomes = {peer: _outcome(one) for peer, one in data["outcomes"].items()}
    costs = {peer: Cost(**cost) for peer, cost in data.get("costs", {}).items()}
    return Row(**{**data, "outcomes": outcomes, "costs": costs})


def _outcome(data: dict[str, Any]) -> Outcome:
    return Outcome(**{**data, "rounds_ns": tuple(data["rounds_ns"])})
