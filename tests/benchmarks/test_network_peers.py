"""Networks and steps in worker processes: every peer agrees, costs are told, failures are rows."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from grid import CHOSEN, EXHAUSTIVE

from benchmarks import sessions
from benchmarks.costs import Answers, Costs
from benchmarks.networks import Network
from benchmarks.peers import NETWORK_PEERS, STEP_PEERS, TABLES, implementation
from benchmarks.processes import WorkerProcess
from benchmarks.protocol import INFERENCE, NETWORKS, STEP, TRAINING
from benchmarks.results import TIMED, UNABLE, WRONG, Row, Session
from benchmarks.run import chosen_peers, main
from benchmarks.turns import Answers as Known
from benchmarks.turns import Settings, measure

QUICK = Settings(rounds=1, seconds=0.002)
ROW = Network("net", "lenet5 1x8x8 n2 lr0.01")
LIBRARIES = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
DIRECTION = {NETWORKS: INFERENCE, TRAINING: STEP}


def unknown(text: str, direction: str, path: str) -> bool:
    """Nobody knows the right answer."""
    return False


def one_row(subject: str, name: str, row: Network, answers: Known = unknown) -> Row:
    worker = WorkerProcess(name, 1, subject=subject)
    try:
        directions = [DIRECTION[subject]]
        (found,) = measure([row], directions, {name: worker}, QUICK, lambda _: None, answers)
    finally:
        worker.close()
    return found


@pytest.mark.parametrize("table", [NETWORK_PEERS, STEP_PEERS])
def test_every_peer_has_its_functions_without_its_library(table: dict[str, object]) -> None:
    subject = NETWORKS if table is NETWORK_PEERS else TRAINING
    for name in table:
        module = implementation(name, subject)
        assert callable(module.start) and callable(module.build) and module.environment(2)


@pytest.mark.parametrize("subject", [NETWORKS, TRAINING])
def test_peers_agree(subject: str) -> None:
    pytest.importorskip("torch")  # which says what is right
    answers, table = Answers(subject, 1), TABLES[subject]
    asked = list(table)
    if CHOSEN.tier is not EXHAUSTIVE:  # ours, and another one every day
        asked = [asked[0], asked[1 + CHOSEN.seed % (len(asked) - 1)]]
    try:
        for name in asked:
            peer = table[name]
            if peer.slow or not all(map(find_spec, LIBRARIES.get(name, ()))):
                continue
            outcome = one_row(subject, name, ROW, answers).outcomes[name]
            assert outcome.kind == TIMED, (name, outcome.reason)
            assert outcome.error is not None and outcome.error < 1e-5
            assert outcome.ready_ns > outcome.min_ns > 0
    finally:
        answers.close()


def test_a_layout_that_is_not_there() -> None:
    pytest.importorskip("torch")
    row = Network("series", "series 2x9 n2 lr0.01 classes=3")
    outcome = one_row(TRAINING, "torch-nhwc", row).outcomes["torch-nhwc"]
    assert (outcome.kind, outcome.reason) == (UNABLE, "no channels-last layout for rank 1")


def test_wrong_losses_are_not_timed(tmp_path: Path) -> None:
    path = str(tmp_path / "answer.npy")
    np.save(path, np.array([2.0, 2.0, 2.0]))
    worker = WorkerProcess("faltung", 1, subject=TRAINING)
    try:
        build = {"op": "build", "text": ROW.text, "direction": STEP, "reference": path}
        assert "is above 1e-03" in worker.ask(build, 90)[WRONG]
    finally:
        worker.close()


def test_costs_of_a_step() -> None:
    row = one_row(TRAINING, "faltung", ROW)
    cost = Costs(TRAINING, 1)(row).costs["faltung"]
    assert cost.cold_s is not None and cost.warm_s is not None and cost.peak_bytes is not None
    assert cost.cold_s > cost.warm_s > 0
    assert 0 < cost.peak_bytes < 64 << 20
    assert Costs(TRAINING, 1, ask=False)(row).costs == {}


def test_commands_are_timed_and_their_failures_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "COMMANDS", {"faltung cache": 2, "faltung no-such-command": 1})
    seen: list[Session] = []
    done, broken = sessions.measure(1, seen.append)
    assert seen == [done, broken]
    assert done.cold_s and done.warm_s and done.accuracy is None and not done.reason
    assert broken.cold_s is None and "ended with code 2" in broken.reason
    monkeypatch.setattr(sessions, "LIMIT_SECONDS", 0.01)
    late = sessions.measure(1, seen.append)[0]
    assert late.cold_s is None and late.reason == "no end within 0 s"


def test_accuracy_is_read() -> None:
    said = "epoch 1 accuracy 12.00%\nbest weights on 359 samples: accuracy 98.61%, loss 0.05\n"
    assert sessions.ACCURACY.findall(said)[-1] == "98.61"


def test_chosen_peers() -> None:
    assert chosen_peers("all", TRAINING) == ["faltung", "torch", "torch-nhwc", "torch-compile"]
    assert chosen_peers("faltung*", NETWORKS) == ["faltung", "faltung-bound"]
    with pytest.raises(ValueError, match="peers='onnxruntime'"):
        chosen_peers("onnxruntime", TRAINING)


@pytest.mark.parametrize("name", [NETWORKS, TRAINING])
def test_list(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--list"]) == 0
    said = capsys.readouterr().out
    assert "lenet5 1x28x28 n64" in said and "torch-compile" in said


def test_a_page_from_start_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slow peers are left out, and named; a peer that is not installed does no harm."""
    asked = ["--only", "lenet5 1x28x28 n1", "--rounds", "1", "--seconds", "0.001"]
    asked += ["--peers", "faltung,torch-compile", "--no-slow-peers", "--no-check", "--no-costs"]
    out = tmp_path / "page.md"
    assert main(["networks", *asked, "--threads", "1", "--out", str(out)]) == 0
    text = out.read_text()
    assert "| `torch-compile` | **missing** | left out: it compiles for minutes" in text
    assert "| LeNet-5<br>`lenet5 1x28x28 n1` | 61,706 | 0.8 |" in text
    assert "inference   LeNet-5" in capsys.readouterr().out
