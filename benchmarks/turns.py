"""The measurement: peers take turns on every row, so that drift affects all of them alike."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.answer import answer
from benchmarks.problem import Problem
from benchmarks.processes import WorkerProcess
from benchmarks.protocol import Message
from benchmarks.results import FAILED, UNABLE, WRONG, Outcome, Row, timed
from benchmarks.timing import CAP_SECONDS

ROUND_LIMIT_SECONDS = 60.0

# (text, direction, path): store the correct result in the file; False where it is unknown.
Answers = Callable[[str, str, str], bool]


class Entry(Protocol):
    """A row to measure."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def core(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure: ``seconds`` per round.

    There is no further round once a row took ``row_cap`` seconds, or after ``slow_rounds`` for a
    peer that makes only one call per round (``timing.CAP_SECONDS``). ``build_limit``: seconds for
    copies, compilation and the first call.
    """

    rounds: int = 3
    seconds: float = 0.15
    row_cap: float = 12.0
    check: bool = True
    build_limit: float = 90.0
    slow_rounds: int = 1


def by_definition(text: str, direction: str, path: str) -> bool:
    """The correct results of layers."""
    np.save(path, answer(Problem(text, direction)))
    return True


def measure(
    entries: Sequence[Entry],
    directions: Sequence[str],
    workers: dict[str, WorkerProcess],
    settings: Settings,
    report: Callable[[Row], None],
    answers: Answers = by_definition,
    more: Callable[[Row], Row] = lambda row: row,
) -> list[Row]:
    """Measure all rows in all directions.

    ``more`` adds to a row, after its rounds, what is measured separately; ``report`` is called
    after each row.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="faltung-bench-") as folder:
        path = str(Path(folder) / "answer.npy")
        for direction in directions:
            for entry in entries:
                known = settings.check and answers(entry.text, direction, path)
                request = {"op": "build", "text": entry.text, "direction": direction}
                request["reference"] = path if known else ""
                outcomes = one_row(request, workers, settings)
                rows.append(more(Row(entry.name, entry.text, direction, entry.core, outcomes)))
                report(rows[-1])
    return rows


def one_row(
    request: Message, workers: dict[str, WorkerProcess], settings: Settings
) -> dict[str, Outcome]:
    """Build in every worker, then run rounds in turns, every other round in reverse order."""
    began = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    built: dict[str, Message] = {}
    for name, worker in workers.items():
        reply = worker.ask(request, settings.build_limit)
        if "ready_ns" in reply:
            built[name] = reply
        else:
            outcomes[name] = _refusal(reply)
    times: dict[str, list[list[int]]] = {name: [] for name in built}
    for number in range(settings.rounds):
        if number and time.monotonic() - began > settings.row_cap:
            break
        order = list(times) if number % 2 == 0 else list(reversed(times))
        for name in order:
            if name in outcomes or _slow(times[name], settings.slow_rounds):
                continue
            reply = workers[name].ask(
                {"op": "round", "seconds": settings.seconds}, ROUND_LIMIT_SECONDS
            )
            if "ns" in reply:
                times[name].append(reply["ns"])
            else:
                outcomes[name] = _refusal(reply)
    for name, reply in built.items():
        workers[name].ask({"op": "drop"}, ROUND_LIMIT_SECONDS)
        if name not in outcomes:
            outcomes[name] = timed(times[name], reply["error"], reply["ready_ns"])
    return {name: outcomes[name] for name in workers}


def _slow(rounds: list[list[int]], most: int) -> bool:
    """Whether another call of this peer would cost more than it can tell us."""
    return len(rounds) >= most and min(rounds[-1]) > CAP_SECONDS * 1e9


def _refusal(reply: Message) -> Outcome:
    for kind in (UNABLE, WRONG, FAILED):
        if kind in reply:
            return Outcome(kind, error=reply.get("error"), reason=str(reply[kind]))
    return Outcome(FAILED, reason=f"answered {str(reply)[:100]}")
