"""The measurement: peers take turns on every row, so that drift of the machine hits all alike."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.answer import answer
from benchmarks.layers import Layer
from benchmarks.problem import Problem
from benchmarks.processes import WorkerProcess
from benchmarks.protocol import Message
from benchmarks.results import FAILED, UNABLE, WRONG, Outcome, Row, timed
from benchmarks.timing import CAP_SECONDS

BUILD_LIMIT = 90.0  # seconds for copies, compilation and the first call
ROUND_LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to look: ``seconds`` a round, and no further round once a row took ``row_cap``
    seconds, or for a peer that makes one call a round only (``timing.CAP_SECONDS``)."""

    rounds: int = 3
    seconds: float = 0.15
    row_cap: float = 12.0
    check: bool = True


def measure(
    layers: Sequence[Layer],
    directions: Sequence[str],
    workers: dict[str, WorkerProcess],
    settings: Settings,
    report: Callable[[Row], None],
) -> list[Row]:
    """All rows in all directions; ``report`` is called after each."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="faltung-bench-") as folder:
        for direction in directions:
            for layer in layers:
                problem = Problem(layer.text, direction)
                path = _save_answer(problem, Path(folder)) if settings.check else ""
                outcomes = one_row(problem, path, workers, settings)
                rows.append(Row(layer.name, layer.text, direction, layer.core, outcomes))
                report(rows[-1])
    return rows


def _save_answer(problem: Problem, folder: Path) -> str:
    path = folder / "answer.npy"
    np.save(path, answer(problem))
    return str(path)


def one_row(
    problem: Problem, path: str, workers: dict[str, WorkerProcess], settings: Settings
) -> dict[str, Outcome]:
    """Build in every worker, then rounds in turns, every second round in the other order."""
    began = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    errors: dict[str, float | None] = {}
    request = {"op": "build", "text": problem.text, "direction": problem.direction}
    for name, worker in workers.items():
        reply = worker.ask({**request, "reference": path}, BUILD_LIMIT)
        if "first_ns" in reply:
            errors[name] = reply["error"]
        else:
            outcomes[name] = _refusal(reply)
    times: dict[str, list[list[int]]] = {name: [] for name in errors}
    for number in range(settings.rounds):
        if number and time.monotonic() - began > settings.row_cap:
            break
        order = list(times) if number % 2 == 0 else list(reversed(times))
        for name in order:
            if name in outcomes or _slow(times[name]):
                continue
            reply = workers[name].ask({"op": "round", "seconds": settings.seconds}, ROUND_LIMIT)
            if "ns" in reply:
                times[name].append(reply["ns"])
            else:
                outcomes[name] = _refusal(reply)
    for name in errors:
        workers[name].ask({"op": "drop"}, ROUND_LIMIT)
        if name not in outcomes:
            outcomes[name] = timed(times[name], errors[name])
    return {name: outcomes[name] for name in workers}


def _slow(rounds: list[list[int]]) -> bool:
    """True once another call of this peer would cost more than it can tell us."""
    return bool(rounds) and min(rounds[-1]) > CAP_SECONDS * 1e9


def _refusal(reply: Message) -> Outcome:
    for kind in (UNABLE, WRONG, FAILED):
        if kind in reply:
            return Outcome(kind, error=reply.get("error"), reason=str(reply[kind]))
    return Outcome(FAILED, reason=f"answered {str(reply)[:100]}")
