"""An ONNX model timed beside other runtimes, each in a process of its own, in turns.

A worker is ``python -m faltung.onnx.peers PEER MODEL INPUTS OUTPUTS THREADS``: it loads the model,
runs it once on the inputs, keeps what came out, and then runs it so often as each line says.
"""

import ctypes
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]
Run = Callable[[], Sequence[Array]]

# Rounds of each peer, and how long one of them should take at least.
ROUNDS = 7
ROUND_SECONDS = 0.15
# Longest that a worker may take for an answer.
PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Result:
    """Of one runtime: seconds to load and run once, least and median seconds of a run, and the
    largest difference from our outputs, relative to the largest number; what went wrong.
    """

    peer: str
    first: float = 0.0
    least: float = 0.0
    median: float = 0.0
    difference: float = 0.0
    error: str = ""


def installed() -> list[str]:
    """The runtimes that are there, ours first."""
    return [name for name, (module, _) in PEERS.items() if find_spec(module) is not None]


def compare(
    model: Path, inputs: Mapping[str, Array], threads: int, peers: Sequence[str]
) -> list[Result]:
    """Time a model on these inputs by each of the runtimes, in turns."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        given = Path(folder) / "inputs.npz"
        np.savez(given, **dict(inputs))  # type: ignore[arg-type]
        workers = []
        for peer in peers:
            worker = _Worker(peer, model, given, Path(folder) / f"{peer}.npz", threads)
            stack.callback(worker.close)
            workers.append(worker)
        for worker in workers:
            worker.begin()
        able = [worker for worker in workers if not worker.error]
        for _ in range(ROUNDS):
            for worker in able:
                worker.round()
        return [worker.result(able[0] if able else worker) for worker in workers]


class _Worker:
    """A process that runs the model by one runtime."""

    def __init__(self, peer: str, model: Path, inputs: Path, outputs: Path, threads: int) -> None:
        self.peer, self.outputs = peer, outputs
        self.error, self.first, self.count = "", 0.0, 1
        self.seconds: list[float] = []
        words = [peer, str(model.resolve()), str(inputs), str(outputs), str(threads)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faltung.onnx.peers", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def begin(self) -> None:
        said = self._answer()
        self.error, self.first = said.get("error", ""), said.get("first", 0.0)
        if not self.error:
            once = min(self._run(1), self._run(1))
            self.count = max(1, round(ROUND_SECONDS / max(once, 1e-7)))

    def round(self) -> None:
        self.seconds.append(self._run(self.count))

    def _run(self, count: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self._signal("SIGCONT")
        self.process.stdin.flush()
        seconds = float(self._answer().get("seconds", "nan"))
        self._signal("SIGSTOP")
        return seconds

    def _signal(self, name: str) -> None:
        """Let the process go on, or stop it, where systems can: threads of some runtimes wait
        busily for a second, and would slow down the next one's round.
        """
        if hasattr(signal, name):
            self.process.send_signal(getattr(signal, name))

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return {"error": f"ended with status {self.process.wait(PATIENCE_SECONDS)}"}
        return dict(json.loads(line))

    def result(self, ours: "_Worker") -> Result:
        if self.error:
            return Result(self.peer, error=self.error)
        least, median = min(self.seconds), statistics.median(self.seconds)
        return Result(self.peer, self.first, least, median, _apart(ours.outputs, self.outputs))

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.kill()  # a stopped one too
        self.process.wait()


def _apart(first: Path, second: Path) -> float:
    """The largest difference of two files of outputs, relative to the largest number of each."""
    most = 0.0
    with np.load(first) as mine, np.load(second) as theirs:
        for name in mine.files:
            a, b = mine[name].astype(np.float64), theirs[name].astype(np.float64)
            if a.shape != b.shape:
                return float("inf")
            if a.size:
                largest = max(float(np.abs(b).max()), 1e-30)
                most = max(most, float(np.abs(a - b).max()) / largest)
    return most


# Runtimes -----------------------------------------------------------------------------------------


def _faltung(model: str, inputs: Mapping[str, Array], threads: int) -> Run:
    from faltung.onnx.model import load
    from faltung.runtime.threads import set_threads

    set_threads(threads)
    made = load(model)
    return lambda: made.run(inputs)


def _onnxruntime(model: str, inputs: Mapping[str, Array], threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(inputs))


def _openvino(model: str, inputs: Mapping[str, Array], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    read = core.read_model(model)
    read.reshape({name: list(array.shape) for name, array in inputs.items()})  # free sizes are slow
    compiled = core.compile_model(read, "CPU", settings)
    request = compiled.create_infer_request()

    def run() -> Sequence[Array]:
        found = request.infer(dict(inputs))
        return [found[port] for port in compiled.outputs]

    return run


PEERS: dict[str, tuple[str, Callable[[str, Mapping[str, Array], int], Run]]] = {
    "faltung": ("onnx", _faltung),
    "onnxruntime": ("onnxruntime", _onnxruntime),
    "openvino": ("openvino", _openvino),
}


def work(words: Sequence[str]) -> None:
    """What a worker does, until its input ends."""
    peer, model, inputs, outputs, threads = words
    _die_with_parent()
    with np.load(inputs) as file:
        given = {name: file[name] for name in file.files}
    try:
        start = perf_counter()
        run = PEERS[peer][1](model, given, int(threads))
        made = run()
        first = perf_counter() - start
    except Exception as error:  # whatever a runtime raises: it is told, not hidden
        print(json.dumps({"error": " ".join(str(error).split())[:300] or type(error).__name__}))
        return
    np.savez(outputs, **{f"out{i}": a for i, a in enumerate(made)})  # type: ignore[arg-type]
    print(json.dumps({"first": first}), flush=True)
    for line in sys.stdin:
        count = int(line)
        start = perf_counter()
        for _ in range(count):
            run()
        print(json.dumps({"seconds": (perf_counter() - start) / count}), flush=True)


def _die_with_parent() -> None:
    """On Linux, end when the process that asks ends, even while stopped."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def chosen(names: Sequence[str] | None) -> list[str]:
    """The runtimes of these names, ours first. FaltungError: one that is unknown or not there."""
    there = installed()
    if names is None:
        return there
    for name in names:
        if name not in there:
            known = "not installed" if name in PEERS else f"must be one of {', '.join(PEERS)}"
            raise FaltungError(f"peers={name!r}: {known}")
    return list(dict.fromkeys(["faltung", *names]))


if __name__ == "__main__":
    work(sys.argv[1:])
