"""The table of peers, and workers as real processes: missing, unable, wrong, broken."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.answer import answer
from benchmarks.layers import Layer
from benchmarks.peers import PEERS, Missing, implementation, library
from benchmarks.problem import Problem
from benchmarks.processes import WorkerProcess, cores
from benchmarks.protocol import receive
from benchmarks.results import FAILED, TIMED, UNABLE
from benchmarks.run import chosen_peers, main
from benchmarks.turns import Settings, measure

QUICK = Settings(rounds=2, seconds=0.002)
SIGNAL = Layer("signal", "n1 c1>1 2000 k9 p4")


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess("numpy", 1)
    yield process
    process.close()


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_has_its_functions_without_its_library(name: str) -> None:
    module = implementation(name)
    environment = module.environment(3)
    assert all(isinstance(word, str) for pair in environment.items() for word in pair)
    assert callable(module.start) and callable(module.build)


def test_a_library_that_is_not_there_is_missing() -> None:
    with pytest.raises(Missing, match="no_such_library is not installed"):
        library("no_such_library")


def test_chosen_peers() -> None:
    assert chosen_peers("all") == list(PEERS)
    assert chosen_peers("torch*,numpy,torch") == ["torch", "torch-nhwc", "torch-fft", "numpy"]
    with pytest.raises(ValueError, match="peers='tensorflow'"):
        chosen_peers("tensorflow")


def test_a_missing_peer_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker whose library cannot be imported: the run goes on and says so."""
    (tmp_path / "onnx.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "page.md"
    asked = ["--only", "Inception 1x1 832", "--rounds", "1", "--seconds", "0.001", "--no-check"]
    assert main([*asked, "--peers", "numpy,onnxruntime", "--threads", "1", "--out", str(out)]) == 0
    assert "| `onnxruntime` | **missing** | onnx is not installed (not here) |" in out.read_text()
    assert "missing: onnxruntime" in capsys.readouterr().out


def test_one_row_in_turns(worker: WorkerProcess) -> None:
    (row,) = measure([SIGNAL], ["forward"], {"numpy": worker}, QUICK, lambda row: None)
    outcome = row.outcomes["numpy"]
    assert outcome.kind == TIMED and len(outcome.rounds_ns) == 2
    assert outcome.error is not None and outcome.error < 1e-6


def test_unable_says_why(worker: WorkerProcess) -> None:
    layer = Layer("wide", "n1 c4>4 20 k3 p1")
    (row,) = measure([layer], ["forward"], {"numpy": worker}, QUICK, lambda row: None)
    assert row.outcomes["numpy"].kind == UNABLE
    assert row.outcomes["numpy"].reason == "one sample of one channel alone"


def test_a_wrong_answer_is_not_timed(worker: WorkerProcess, tmp_path: Path) -> None:
    path = tmp_path / "answer.npy"
    wrong = answer(Problem(SIGNAL.text))
    wrong[0, 0, 7] += 1
    np.save(path, wrong)
    request = {"op": "build", "text": SIGNAL.text, "direction": "forward", "reference": str(path)}
    reply = worker.ask(request, 30)
    assert "is above" in reply["wrong"] and reply["error"] > 1e-3
    assert "failed" in worker.ask({"op": "round", "seconds": 0.001}, 30)


def test_a_process_that_ends_is_reported_and_started_again(worker: WorkerProcess) -> None:
    assert worker.start()["version"]
    assert worker.process is not None
    worker.process.kill()
    reply = worker.ask({"op": "drop"}, 30)
    assert reply["failed"].startswith("the process ended")
    (row,) = measure([SIGNAL], ["forward"], {"numpy": worker}, QUICK, lambda row: None)
    assert row.outcomes["numpy"].kind == TIMED


def test_silence_is_cut_short(worker: WorkerProcess) -> None:
    worker.start()
    slow = {"op": "round", "seconds": 60}
    worker.ask({"op": "build", "text": SIGNAL.text, "direction": "forward", "reference": ""}, 30)
    assert worker.ask(slow, 0.2) == {"failed": "no answer within 0 s"}
    assert worker.process is None


def test_an_unknown_request_is_answered(worker: WorkerProcess) -> None:
    assert FAILED in worker.ask({"op": "dance"}, 30)


def test_protocol_wants_objects() -> None:
    with pytest.raises(ValueError, match="one JSON object"):
        receive(b"[1]\n")


def test_cores_are_distinct() -> None:
    assert len(set(cores())) == len(cores()) > 0


def test_an_unknown_row_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "no such layer"])
    assert "no such layer" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "n1 c3>64 224x224 k7 s2 p3" in capsys.readouterr().out
