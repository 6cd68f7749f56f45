"""The loop: the same bits whatever the threads, wherever it was stopped; Ctrl-C; what it notes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import maps, net, source, tensors

import faltung
from faltung import Model, nn
from faltung.data.augment import Augment
from faltung.data.source import ArraySource, split
from faltung.train import loop as loop_module
from faltung.train.interrupts import Stopped, interrupts
from faltung.train.loop import Loop
from faltung.train.metrics import EpochMetrics
from faltung.train.run_folder import RunFolder
from faltung.train.settings import Settings

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch": 10,
    "augment": Augment(shift=1, jitter=0.5, cutout=2, flip=True),
}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = faltung.get_threads()
    yield
    faltung.set_threads(before)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every batch."""
    for name in ("EPOCH_SAVE_SECONDS", "BATCH_SAVE_SECONDS", "SAVE_TIME_RATIO"):
        monkeypatch.setattr(loop_module, name, 0)


def made(folder: RunFolder | None = None, model: Model | None = None, **settings: Any) -> Loop:
    train, held = split(source(), 0.25, seed=1)
    wanted = Settings(**{**SETTINGS, **settings})
    return Loop(model or Model(net(), (1, 8, 8)), wanted, train, held, folder=folder, show=False)


def bits(model: Model) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.parameters.items()}


def timeless(rows: list[EpochMetrics]) -> list[tuple[Any, ...]]:
    return [(r.epoch, r.step, r.lr, r.loss, r.accuracy, r.val_loss, r.val_accuracy) for r in rows]


# The same bits ------------------------------------------------------------------------------------


UNEQUAL = {
    "class_weight": (1.0, 3.0),
    "sampler": "balanced",
    "freeze": ("conv1",),
    "metric": "auc",
    "smoothing": 0.1,
    "clip": 0.5,
}


@pytest.mark.parametrize("how", [{}, {"optimizer": "sgd", "nesterov": True, "clip": 0.5}, UNEQUAL])
def test_the_same_bits_for_any_number_of_threads(how: dict[str, Any]) -> None:
    found = []
    for count in (1, 2, 3):
        faltung.set_threads(count)
        run = made(**how)
        rows = run.run()
        found.append((bits(run.model), timeless(rows)))
    assert found[0] == found[1] == found[2]


def test_another_seed_is_another_run() -> None:
    one, two = made(seed=1), made(seed=2)
    assert timeless(one.run()) != timeless(two.run())


@pytest.mark.parametrize("how", [{}, {"optimizer": "sgd"}, UNEQUAL])
@pytest.mark.parametrize("step", [1, 4, 5, 11, 12])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(
    how: dict[str, Any], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches 1, 4 (the last of an epoch), 5 (the first of the next), 11, 12 (the last of all)."""
    whole = made(RunFolder.create(tmp_path / "whole", {}), **how)
    rows = whole.run()
    stop_after(step, monkeypatch)
    first = made(RunFolder.create(tmp_path / "run", {}), **how)
    with pytest.raises(Stopped):
        first.run()
    assert first.position.step == step
    first.folder.close()  # type: ignore[union-attr]
    monkeypatch.undo()
    second = made(RunFolder.resume(tmp_path / "run"), **how)
    second.resume()
    assert second.position.step == step
    assert timeless(second.run()) == timeless(rows)
    for name in ("last", "best"):
        one, two = (tensors(tmp_path / run / f"{name}.safetensors") for run in ("whole", "run"))
        assert one == two
    second.restore_best()
    whole.restore_best()
    assert bits(second.model) == bits(whole.model)


class Killed(BaseException):
    """As if the process ended here: nothing of what is in memory is written."""


SHARED = {"ema": 0.9, "accumulate": 3, "metrics": ("f1", "auc"), "clip": 0.5, "warmup": 0.2}


@pytest.mark.parametrize("how", [{}, {"lr": "find"}, {"optimizer": "sgd", "class_weight": (1, 3)}])
@pytest.mark.usefixtures("eager")
def test_killed_between_batches_that_share_a_step(
    how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four batches are two steps of the optimizer; and in the test of learning rates."""
    how = SHARED | how
    whole = made(RunFolder.create(tmp_path / "whole", {}), **how)
    rows = whole.run()
    plain = Loop._learn
    left = 0

    def deadly(self: Loop, *given: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise Killed
        return plain(self, *given)

    monkeypatch.setattr(Loop, "_learn", deadly)
    folder = RunFolder.create(tmp_path / "run", {})
    for count in (2, 17, 3, 4, 2, 6, 1000):
        left = count
        last = made(folder, **{**how, **folder.config.get("train", {})})
        last.resume()
        try:
            found = last.run()
        except Killed:
            folder.close()
            folder = RunFolder.resume(tmp_path / "run")
    assert timeless(found) == timeless(rows)
    for name in ("last", "best"):
        one, two = (tensors(tmp_path / run / f"{name}.safetensors") for run in ("whole", "run"))
        assert one == two
        assert any(key.startswith("optimizer/average/") for key in one) == (name == "last")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_it_stops_where_a_step_of_the_optimizer_ends(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(step, monkeypatch)
    run = made(RunFolder.create(tmp_path / "run", {}), accumulate=3)
    with pytest.raises(Stopped):
        run.run()
    assert run.position.step == 3


def test_gradients_of_several_batches_are_those_of_a_large_one() -> None:
    """Ten batches of 4 in steps of 3, where the last has one, are steps of 12 samples."""
    plain = {"augment": Augment(), "epochs": 2}
    net_of = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    runs = []
    for sizes in ({"batch": 12}, {"batch": 4, "accumulate": 3}):
        run = made(None, Model(net_of, (1, 8, 8)), **plain, **sizes)
        runs.append((run.run(), run.model.parameters))
    (large, one), (small, several) = runs
    assert [row.lr for row in large] == [row.lr for row in small]
    assert [row.loss for row in large] == pytest.approx([row.loss for row in small], rel=1e-3)
    assert small[-1].step == 18 and large[-1].step == 6
    for name, value in one.items():
        assert np.allclose(value, several[name], rtol=1e-3, atol=1e-5), name


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the step before ``step`` runs."""
    plain = Loop._batch

    def batch(self: Loop, *arguments: Any) -> None:
        plain(self, *arguments)
        if self.position.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Loop, "_batch", batch)


def test_a_rate_is_found_before_a_run_begins(tmp_path: Path) -> None:
    run = made(RunFolder.create(tmp_path / "run", {}), epochs=1)
    run.run()
    assert run.folder is not None
    again = made(run.folder, epochs=2, lr="find")
    with pytest.raises(ValueError, match=r"config.toml: train.lr='find': must be a number, for"):
        again.resume()


def test_a_run_that_was_never_saved_begins_anew(tmp_path: Path) -> None:
    run = made(RunFolder.create(tmp_path / "run", {}))
    run.resume()
    assert run.position.step == 0 and run.history == []


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run = made(RunFolder.create(tmp_path / "run", {}))
    run.run()
    before = tensors(tmp_path / "run/last.safetensors")
    run.folder.close()  # type: ignore[union-attr]
    again = made(RunFolder.resume(tmp_path / "run"))
    again.resume()
    assert len(again.run()) == 3
    assert tensors(tmp_path / "run/last.safetensors") == before


# Checkpoints --------------------------------------------------------------------------------------


def written(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to a folder from now on, in order."""
    found: list[str] = []
    for name in ("append_metrics", "save_best", "save_last"):
        plain = getattr(folder, name)

        def noted(*a: Any, plain: Callable[..., None] = plain, name: str = name) -> None:
            found.append(name)
            plain(*a)

        monkeypatch.setattr(folder, name, noted)
    return found


@pytest.mark.usefixtures("eager")
def test_checkpoints_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    calls = written(folder, monkeypatch)
    made(folder, epochs=1).run()
    epoch = ["append_metrics", "save_best", "save_last"]
    assert calls == 4 * ["save_last"] + epoch + ["save_last"]


def test_quick_epochs_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    monkeypatch.setattr(loop_module, "EPOCH_SAVE_SECONDS", 1e9)
    calls = written(folder, monkeypatch)
    run = made(folder)
    run.run()
    assert calls == ["append_metrics", "save_best", "save_last"]
    assert len(folder.read_metrics()) == 3
    best = folder.load_best()
    assert best is not None and best.position["best_epoch"] + 1 == best.position["epoch"]


def test_what_was_written_late_is_restored(tmp_path: Path) -> None:
    """The best weights are those of their epoch, though they are written at the end."""
    model = Model(net(), (1, 8, 8))
    run = made(RunFolder.create(tmp_path / "run", {}), model, epochs=6, lr=0.1)
    rows = run.run()
    best = max(rows, key=lambda row: (row.val_accuracy, -row.val_loss))  # type: ignore[operator]
    run.restore_best()
    held = split(source(), 0.25, seed=1)[1]
    found = model.evaluate(held)
    assert (found["accuracy"], found["loss"]) == (best.val_accuracy, best.val_loss)


@pytest.mark.parametrize(
    ("file", "good"), [("metrics.csv", 1), ("best.safetensors", 0), ("last.safetensors", 2)]
)
def test_a_file_that_is_not_written_leaves_a_run_to_go_on_with(
    file: str, good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, after so many good files."""
    whole = made(RunFolder.create(tmp_path / "whole", {}))
    whole.run()
    monkeypatch.setattr(loop_module, "EPOCH_SAVE_SECONDS", 0)
    monkeypatch.setattr(loop_module, "SAVE_TIME_RATIO", 0)
    folder = RunFolder.create(tmp_path / "run", {})
    plain, count = os.replace, 0

    def replace(part: Any, target: Any) -> None:
        nonlocal count
        count += Path(target).name == file
        if count > good and Path(target).name == file:
            raise OSError(28, "No space left on device")
        plain(part, target)

    monkeypatch.setattr(os, "replace", replace)
    run = made(folder)
    with pytest.raises(OSError, match=f"{file}: not written, no space left on device"):
        run.run()
    monkeypatch.undo()
    folder.close()
    assert not list(tmp_path.glob("run/.faltung-*"))
    again = made(RunFolder.resume(tmp_path / "run"))
    again.resume()
    assert again.position.epoch == good
    again.run()
    assert tensors(tmp_path / "run/last.safetensors") == tensors(
        tmp_path / "whole/last.safetensors"
    )


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    run = made(folder)
    run.run()
    last = folder.load_last()
    assert last is not None
    rows = (tmp_path / "run/metrics.csv").read_text().splitlines()

    def refused(match: str, weights: Any, state: Any, position: dict[str, Any]) -> None:
        folder.save_last(weights, {**last.position, **position}, state)
        with pytest.raises(ValueError, match=match):
            made(folder).resume()

    lacking = dict(list(last.weights.items())[1:])
    refused("last.safetensors: does not fit; missing: ", lacking, last.state, {})
    more = {**last.weights, "extra": np.ones(3, np.float32)}
    refused("not expected: 'extra'", more, last.state, {})
    other = {name: value[..., :1] for name, value in last.weights.items()}
    refused("other shape: ", other, last.state, {})
    refused("missing: 'mean/", last.weights, {}, {})
    refused("last.safetensors: position: step 13", last.weights, last.state, {"step": 13})
    refused("position.best='x'", last.weights, last.state, {"best": "x"})
    folder.save_last(last.weights, last.position, last.state)
    (tmp_path / "run/metrics.csv").write_text("\n".join(rows[:-1]) + "\n")
    folder.close()
    with pytest.raises(ValueError, match=r"metrics.csv: has 2 epochs: must be 3, as last"):
        made(RunFolder.resume(tmp_path / "run")).resume()


# Epochs -------------------------------------------------------------------------------------------


def test_the_history() -> None:
    run = made()
    rows = run.run()
    assert [row.epoch for row in rows] == [1, 2, 3] and [row.step for row in rows] == [4, 8, 12]
    assert [row.lr for row in rows] == [run.schedule(step) for step in (3, 7, 11)]
    for row in rows:
        assert row.loss > 0 and row.val_loss is not None and row.seconds and row.seconds > 0
        assert row.accuracy is not None and 0 <= row.accuracy <= 1
        assert row.val_accuracy in {i / 12 for i in range(13)}
        assert row.samples_per_second and row.samples_per_second > 0
    assert run.position.best_epoch >= 0 and run.compiled > 0


def test_losses_are_means_over_samples() -> None:
    """With a rate of nearly nothing and no batch norm, as the model is evaluated beforehand."""
    plain = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    model = Model(plain, (1, 8, 8))
    train = source(37)
    before = model.evaluate(train)
    run = Loop(model, Settings(epochs=1, batch=10, lr=1e-12, decay=0), train, None, show=False)
    (row,) = run.run()
    assert row.loss == pytest.approx(before["loss"], rel=1e-5)
    assert row.accuracy == before["accuracy"] and row.val_loss is None


def test_labels_that_do_not_count_weigh_nothing() -> None:
    x, y = maps(20)
    y[3:9, :5] = -1
    model = Model(nn.Conv(2, 3, padding="same"), (1, 8, 8))
    train = ArraySource(x, y)
    before = model.evaluate(train)
    run = Loop(model, Settings(epochs=1, batch=6, lr=1e-12, decay=0), train, None, show=False)
    (row,) = run.run()
    assert row.loss == pytest.approx(before["loss"], rel=1e-5)
    assert row.accuracy == pytest.approx(before["accuracy"], rel=1e-12)


def test_patience() -> None:
    run = made(epochs=50, patience=2, lr=1e-9)
    rows = run.run()
    best = run.position.best_epoch
    assert len(rows) == best + 1 + 2 < 50


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    run = made(RunFolder.create(tmp_path / "run", {}), lr=1e30, optimizer="sgd", decay=0)
    with pytest.raises(
        FloatingPointError, match=r"loss is \w+ in epoch \d.*lr=1e\+30: .*try lr=0.05"
    ):
        run.run()
    assert not (tmp_path / "run/last.safetensors").exists()


def test_what_is_compiled_is_used_again() -> None:
    run = made()
    assert run.step(10) is run.step(10) and run.step(6) is not run.step(10)


# Ctrl-C -------------------------------------------------------------------------------------------


def test_ctrl_c_without_a_folder_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(6, monkeypatch)
    run = made()
    assert len(run.run()) == 1
    assert run.position.step == 6


def test_the_second_ctrl_c_is_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts() as pressed:
        assert not pressed()
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    with pytest.raises(KeyboardInterrupt):  # afterwards it is what it was
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def run() -> None:
        with interrupts() as pressed:
            seen.append((pressed(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, True)]


def test_numbers_are_learned_too() -> None:
    x = np.random.default_rng(0).standard_normal((64, 1, 8, 8)).astype(np.float32)
    train = ArraySource(x, x.mean((1, 2, 3))[:, None])
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(1)), (1, 8, 8))
    settings = Settings(epochs=30, loss="mse", lr=0.05)
    rows = Loop(model, settings, train, train, show=False).run()
    assert rows[-1].val_loss is not None and rows[-1].val_loss < 0.01 * rows[0].loss
    assert rows[-1].accuracy is None and rows[-1].val_accuracy is None
