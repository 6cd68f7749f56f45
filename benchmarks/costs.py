"""Measurements outside the rounds: compile times, memory, and the correct results of networks.

Each is made in a process of its own, while the peers are stopped.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.filters import FILTERS as FILTER_ROWS
from benchmarks.networks import facts
from benchmarks.peers import OURS, TABLES
from benchmarks.processes import WorkerProcess
from benchmarks.protocol import FILTERS, TRAINING, Message
from benchmarks.results import TIMED, Cost, Row

LIMIT_SECONDS = 180.0  # for one answer
# The peer that says what is right.
ORACLES = {FILTERS: "scipy"}
CACHE = "FALTUNG_CACHE"
Environment = Mapping[str, str]
NOTHING: Environment = {}


class Answers:
    """The correct results, by PyTorch in float64 or by SciPy, in a separate process.

    Without it there are none, and this is reported once.
    """

    def __init__(self, subject: str, threads: int, environment: Environment = NOTHING) -> None:
        self._oracle: WorkerProcess | None = WorkerProcess(
            ORACLES.get(subject, "torch"), threads, subject=subject, environment=environment
        )

    def __call__(self, text: str, direction: str, path: str) -> bool:
        if self._oracle is None:
            return False
        request = {"op": "answer", "text": text, "direction": direction, "path": path}
        reply = self._oracle.ask(request, LIMIT_SECONDS)
        if not reply:
            return True
        print(f"no right answer for {text}: {reply}", flush=True)
        if "missing" in reply:
            self.close()
        return False

    def close(self) -> None:
        if self._oracle is not None:
            self._oracle.close()
        self._oracle = None


class Memory:
    """Adds the memory of every peer to the rows of filters that ask for it."""

    def __init__(self, threads: int, *, ask: bool = True) -> None:
        self.threads, self.ask = threads, ask
        self.names = {row.name for row in FILTER_ROWS if row.memory}

    def __call__(self, row: Row) -> Row:
        if not self.ask or row.name not in self.names:
            return row
        request = {"op": "memory", "text": row.text, "direction": row.direction}
        found = {}
        for name, outcome in row.outcomes.items():
            if outcome.kind == TIMED:
                worker = WorkerProcess(name, self.threads, subject=FILTERS)
                try:
                    found[name] = Cost(peak_bytes=worker.ask(request, LIMIT_SECONDS).get("bytes"))
                finally:
                    worker.close()
        return replace(row, costs=found)


class Costs:
    """Adds facts to a row of a network and, if ``ask``, the costs of the peers timed on it."""

    def __init__(
        self,
        subject: str,
        threads: int,
        environment: Environment = NOTHING,
        *,
        ask: bool = True,
    ) -> None:
        self.subject, self.threads, self.ask = subject, threads, ask
        self.environment = environment

    def __call__(self, row: Row) -> Row:
        parameters, operations = facts(row.text, row.direction)
        costs = {}
        for name, outcome in row.outcomes.items():
            peer = TABLES[self.subject][name]
            if self.ask and outcome.kind == TIMED and not peer.slow:
                cost = self._cost(name, row)
                if cost != Cost():
                    costs[name] = cost
        return replace(row, parameters=parameters, operations=operations, costs=costs)

    def _cost(self, name: str, row: Row) -> Cost:
        problem = {"text": row.text, "direction": row.direction}
        build = {"op": "build", "reference": "", **problem}
        memory = {"op": "memory", **problem}
        with TemporaryDirectory(prefix="faltung-bench-") as folder:
            cache = {CACHE: str(Path(folder) / "kernels")}
            cold = warm = peak = None
            if name == OURS[0]:
                cold = _seconds(self._ask(name, build, cache))
                warm = _seconds(self._ask(name, build, cache))
            if self.subject == TRAINING:
                peak = self._ask(name, memory, cache).get("bytes")
        return Cost(cold, warm, peak)

    def _ask(self, name: str, request: Message, environment: Environment) -> Message:
        """The answer of a new process."""
        environment = {**self.environment, **environment}
        worker = WorkerProcess(name, self.threads, subject=self.subject, environment=environment)
        try:
            return worker.ask(request, LIMIT_SECONDS)
        finally:
            worker.close()


def _seconds(reply: Message) -> float | None:
    return reply["ready_ns"] / 1e9 if "ready_ns" in reply else None
