"""A run on disk: what goes in comes out, nothing is mixed or overwritten, whoever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung.train.metrics import EpochMetrics
from faltung.train.run_folder import RunFolder

pytest.importorskip("safetensors")

SOURCE = Path(faltung.__file__).parents[1]
CONFIG = {"data": "digits", "net": "lenet5", "train": {"epochs": 20, "lr": 0.1}}
WEIGHTS = {"conv1.weight": np.ones((6, 1, 5, 5), np.float32), "fc.bias": np.zeros(10, np.float32)}
STATE = {"momentum/conv1.weight": np.full((6, 1, 5, 5), 2, np.float32)}
POSITION = {"step": 20, "epoch": 2, "batch": 0, "seed": 7, "best": None}


def row(epoch: int) -> EpochMetrics:
    return EpochMetrics(epoch, 10 * epoch, 0.1, 1 / epoch, 0.5, 2 / epoch, 0.5, 0.01, 1000.0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "a" / "run", CONFIG)


def same(found: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> bool:
    return set(found) == set(tensors) and all(np.array_equal(found[n], tensors[n]) for n in tensors)


def test_best_weights_in_few_bytes(run: RunFolder) -> None:
    pytest.importorskip("constriction")
    run.save_best(WEIGHTS, POSITION)
    size = (run.path / "best.safetensors").stat().st_size
    run.save_best(WEIGHTS, POSITION, coded=True)
    assert (run.path / "best.safetensors").stat().st_size < size / 2
    best = RunFolder.open(run.path).load_best()
    assert best is not None and same(best.weights, WEIGHTS) and best.position == POSITION


def test_what_goes_in_comes_out(run: RunFolder) -> None:
    run.append_metrics(row(1))
    run.append_metrics(row(2))
    run.save_best(WEIGHTS, POSITION | {"val_accuracy": 0.5})
    run.save_last(WEIGHTS, POSITION, STATE)
    found = RunFolder.open(run.path)
    assert found.config == run.config == CONFIG
    assert found.history == run.history == (row(1), row(2))
    last, best = found.load_last(), found.load_best()
    assert last is not None and best is not None
    assert same(last.weights, WEIGHTS) and same(last.state, STATE)
    assert last.position == POSITION
    assert same(best.weights, WEIGHTS) and not best.state
    assert best.position["val_accuracy"] == 0.5
    assert sorted(os.listdir(run.path)) == [
        "best.safetensors",
        "config.toml",
        "last.safetensors",
        "metrics.csv",
    ]


def test_the_same_run_leaves_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        with RunFolder.create(tmp_path / name, CONFIG) as run:
            run.append_metrics(row(1))
            run.save_last(WEIGHTS, POSITION, STATE)
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_run_is_not_overwritten(run: RunFolder) -> None:
    run.close()
    with pytest.raises(FileExistsError, match=r"run: must not hold a run, has config\.toml; res"):
        RunFolder.create(run.path, CONFIG | {"data": "other"})
    assert RunFolder.open(run.path).config == CONFIG


def test_a_folder_with_other_files_may_hold_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    RunFolder.create(tmp_path, CONFIG)
    (tmp_path / "other").touch()
    with pytest.raises(FileExistsError, match="other: not created, file exists"):
        RunFolder.create(tmp_path / "other", CONFIG)


def test_names_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [RunFolder.create(None, CONFIG, "digits-lenet5").path for _ in range(2)]
    assert [p.as_posix() for p in made] == ["runs/digits-lenet5-001", "runs/digits-lenet5-002"]
    (tmp_path / "runs" / "digits-lenet5-041").mkdir()
    assert RunFolder.create(None, CONFIG, "digits-lenet5").path.name == "digits-lenet5-042"
    for hostile in ("../../x", "/etc/x", "a\nb", "", "..", "ü" * 300):
        path = RunFolder.create(None, CONFIG, hostile).path
        assert path.parent == Path("runs") and path.name.isascii()


def test_nothing_is_left_of_a_run_that_could_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"run: not created, no space left"):
            RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(TypeError):
        RunFolder.create(tmp_path / "run", {"x": object()})
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_the_last_good_checkpoint(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    run.append_metrics(row(1))
    run.save_last(WEIGHTS, POSITION, STATE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"last\.safetensors: not written, no space left"):
            run.save_last(WEIGHTS, POSITION | {"step": 99})
        with pytest.raises(OSError, match="metrics"):
            run.append_metrics(row(2))
    last = run.load_last()
    assert last is not None and last.position == POSITION and same(last.state, STATE)
    assert list(run.history) == run.read_metrics() == [row(1)]


def test_one_writer_at_a_time(run: RunFolder) -> None:
    with pytest.raises(BlockingIOError, match="another process is writing this run"):
        RunFolder.resume(run.path)
    with pytest.raises(ValueError, match="must be open for writing"):
        RunFolder.open(run.path).save_last(WEIGHTS, POSITION)
    run.close()
    with RunFolder.resume(run.path) as again:
        again.append_metrics(row(1))
    with pytest.raises(ValueError, match="must be open for writing"):
        again.append_metrics(row(2))
    RunFolder.resume(run.path)  # not kept: the lock goes with it
    RunFolder.resume(run.path)


def test_resume_takes_back_what_is_younger_than_the_checkpoint(run: RunFolder) -> None:
    for epoch in (1, 2, 3):
        run.append_metrics(row(epoch))
    run.save_last(WEIGHTS, POSITION)  # step 20, the second epoch
    (run.path / ".faltung-0123456789abcdef.part").touch()
    run.close()
    with RunFolder.resume(run.path) as again:
        assert again.history == (row(1), row(2))
        assert again.read_metrics() == [row(1), row(2)]
        again.append_metrics(row(3))
    assert len(os.listdir(run.path)) == 3


def test_several_epochs_at_once_or_none(run: RunFolder) -> None:
    run.append_metrics(row(1), row(2))
    with pytest.raises(ValueError, match=r"row.step=10: must not be less"):
        run.append_metrics(row(3), row(1))
    assert list(run.history) == run.read_metrics() == [row(1), row(2)]


def test_resume_before_the_first_checkpoint_begins_anew(run: RunFolder) -> None:
    run.append_metrics(replace(row(1), step=0))
    run.close()
    with RunFolder.resume(run.path) as again:
        assert again.load_last() is None and again.load_best() is None
        assert again.history == ()


def test_what_is_no_run_is_refused(tmp_path: Path, run: RunFolder) -> None:
    for opener in (RunFolder.open, RunFolder.resume):
        with pytest.raises(FileNotFoundError, match=r"none/config\.toml: not read, no such file"):
            opener(tmp_path / "none")
    run.save_last(WEIGHTS, POSITION)
    run.close()
    last, config = run.path / "last.safetensors", run.path / "config.toml"
    whole = last.read_bytes()
    last.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"last\.safetensors: not a whole safetensors file"):
        RunFolder.resume(run.path)
    last.write_bytes(whole.replace(b'"format":"2"', b'"format":"3"'))
    with pytest.raises(ValueError, match=r"last\.safetensors: format='3', written by faltung"):
        RunFolder.resume(run.path)
    last.write_bytes(whole.replace(b'\\"step\\":20', b'\\"step\\":-2'))
    with pytest.raises(
        ValueError, match=r"last\.safetensors: not a position of a run, position\.st"
    ):
        RunFolder.resume(run.path)
    last.write_bytes(whole)
    (run.path / "metrics.csv").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"metrics\.csv: not text"):
        RunFolder.resume(run.path)
    (run.path / "metrics.csv").unlink()
    config.write_text(config.read_text().replace("format = 2", "format = 3"))
    for opener in (RunFolder.open, RunFolder.resume):
        with pytest.raises(ValueError, match=r"config\.toml: format=3, written by faltung"):
            opener(run.path)


def test_names_of_the_state_are_kept_apart(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="'optimizer/x': must not begin with optimizer/"):
        run.save_last({"optimizer/x": np.zeros(1)}, POSITION)
    with pytest.raises(ValueError, match=r"row\.step=10: must not be less than 20"):
        run.append_metrics(row(2))
        run.append_metrics(row(1))


KILLED = """
import sys
import numpy as np
from faltung.train.metrics import EpochMetrics
from faltung.train.run_folder import RunFolder

run = RunFolder.resume(sys.argv[1])
last = run.load_last()
step = last.position["step"] if last else 0
print("ready", flush=True)
while True:
    step += 1
    value = {"w": np.full(20_000, step, np.float32)}
    run.append_metrics(EpochMetrics(step, step, 0.1, float(step)))
    run.save_best(value, {"step": step, "epoch": step, "batch": 0})
    run.save_last(value, {"step": step, "epoch": step, "batch": 0}, value)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 of POSIX")
def test_killed_at_any_moment_a_run_goes_on(run: RunFolder) -> None:
    run.close()
    chance, step = random.Random(3), 0
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(run.path)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.06))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        with RunFolder.resume(run.path) as again:
            last, best = again.load_last(), again.load_best()
            now = last.position["step"] if last else 0
            assert now >= step
            step = now
            if last:
                assert (last.weights["w"] == step).all() and (last.state["w"] == step).all()
            if best:
                assert (best.weights["w"] == best.position["step"]).all()
                assert step <= best.position["step"] <= step + 1
            assert [row.step for row in again.history] == list(range(1, step + 1))
    assert step
    assert not [name for name in os.listdir(run.path) if name.endswith(".part")]
