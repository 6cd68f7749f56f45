"""Whole walks with small means: what they leave, killed and resumed, and what they refuse."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import disk
from runs import command, environment, rows, shapes, tensors
from small_means import SMALL

from faltung.cli.main import main
from faltung.compress import job, measure, recipe
from faltung.compress.budget import Budget
from faltung.compress.end import End
from faltung.compress.journal import JOURNAL, STEPS, read_journal
from faltung.compress.means import MEANS, Means
from faltung.compress.recipe import Leaf
from faltung.geometry.errors import FaltungError
from faltung.train import session
from faltung.train.run_dataset import held_out
from faltung.train.run_folder import RunFolder
from faltung.train.run_model import load_model

POSIX = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 of POSIX")
LEAF = Leaf("palettes", 4, True, bits=1)
# A child has the small means too, and checkpoints after every batch.
CHILD = """
import os, signal, sys
sys.path.insert(0, os.environ["TESTS"])
import small_means
from faltung.compress import means, recipe
means.MEANS.clear()
means.MEANS.update(small_means.SMALL)
recipe.LEAVES = (recipe.Leaf("palettes", 4, True, bits=1),)
recipe.ROUNDS = 2
from faltung.compress import measure
measure.ROUNDS = 1
from faltung.train import loop
loop.EPOCH_SAVE_SECONDS = loop.BATCH_SAVE_SECONDS = loop.SAVE_TIME_RATIO = 0
left = int(os.environ["LEFT"])
plain = os.replace
def deadly(*words):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(*words)
os.replace = deadly
from faltung.cli.main import main
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds of pruning, then rounded weights."""
    for name in list(MEANS):
        monkeypatch.delitem(MEANS, name)
    for name, row in SMALL.items():
        monkeypatch.setitem(MEANS, name, row)
    monkeypatch.setattr(recipe, "LEAVES", (LEAF,))
    monkeypatch.setattr(recipe, "ROUNDS", 2)
    monkeypatch.setattr(measure, "ROUNDS", 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on 80 pictures of two classes, and 24 others."""
    folder = tmp_path_factory.mktemp("walk")
    x, y = shapes(80)
    np.savez(folder / "data.npz", x=x, y=y)
    x, y = shapes(24, seed=5)
    np.savez(folder / "other.npz", x=x, y=y)
    settings = {"epochs": 6, "batch": 16}
    made = session.create(
        str(folder / "data.npz"), net="lenet5", settings=settings, held_out=0.4, out=folder / "run"
    )
    made.run()
    made.finish()
    made.folder.close()
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the run, which nothing may change."""
    place = tmp_path / "run"
    shutil.copytree(trained / "run", place)
    before = fingerprint(place)
    yield place
    assert fingerprint(place) == before


def fingerprint(place: Path) -> dict[str, tuple[str, int]]:
    """Of all files of a folder: contents and time of the last change."""
    return {
        str(path.relative_to(place)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def compressed(run: Path, out: Path, data: Path | None = None, **more: object) -> job.Job:
    """A walk from beginning to end."""
    made = job.create(run, None if data is None else str(data), out=out, show=False, **more)  # type: ignore[arg-type]
    made.run()
    made.close()
    return made


def same_result(one: Path, two: Path) -> None:
    """The same bits in the run and in every step, and the same settings."""
    for name in ("best.safetensors", "config.toml"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert rows(one) == rows(two)
    first, second = read_journal(one), read_journal(two)
    assert len(first.entries) == len(second.entries)
    for a, b in zip(first.entries, second.entries, strict=True):
        assert (a.step, a.said, a.digest, a.choose, a.report) == (
            *(b.step, b.said, b.digest, b.choose, b.report),
        )
        assert (a.bytes, a.macs) == (b.bytes, b.macs)


# What is left -------------------------------------------------------------------------------------


def test_what_a_walk_leaves(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    made = compressed(run, out, budget=Budget(drop=20.0))
    end = End.from_dict(made.walk.journal.end or {}, len(made.walk.entries))
    assert end.chosen is not None and "is the smallest of the" in end.why
    names = {path.name for path in out.iterdir()}
    assert names >= {"config.toml", "best.safetensors", "report.html", "compress.html", STEPS}
    model, folder = load_model(out)
    entry = made.walk.entries[end.chosen]
    assert (out / "best.safetensors").stat().st_size == entry.bytes
    # What it says of itself is what anybody measures.
    report = made.walk.origin.parts.report
    assert model.evaluate(report)["accuracy"] == entry.report.value
    assert model.net.layers[0].channels < 6  # type: ignore[attr-defined]
    assert folder.config["compress"]["from"] == str(run)
    assert "channels" in folder.config["compress"]["done"][0]
    assert "faltung compress" in folder.config["compress"]["repeat"]
    # Every step is a run too, and its file is what was measured.
    for number, each in enumerate(made.walk.entries):
        if each.changed:
            step, _ = load_model(made.walk.folder(number))
            assert step.evaluate(report)["accuracy"] == each.report.value
    assert not list(out.rglob("tuning"))


def test_three_disjoint_parts(run: Path, trained: Path) -> None:
    parts = job.open_run(run).parts
    held = held_out(RunFolder.open(run))
    names = [set(part.names) for part in (parts.train, parts.choose, parts.report)]
    assert names[1] | names[2] == set(held.names)
    assert sum(map(len, names)) == len(names[0] | names[1] | names[2]) == 80
    given = job.open_run(run, str(trained / "other.npz")).parts
    assert set(given.choose.names) == set(held.names)
    assert len(given.report) == 24


def test_the_run_is_taken_by_the_other_commands(
    run: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "small", trained / "other.npz"
    compressed(run, out, other, budget=Budget(drop=50.0))
    np.save(tmp_path / "x.npy", np.load(other)["x"][0])
    for words in (
        ["evaluate", out, other],
        ["predict", out, tmp_path / "x.npy"],
        ["look", out, tmp_path / "x.npy", "--out", tmp_path / "look.html"],
        ["export", out, tmp_path / "model.safetensors"],
        ["train", other, "--from", out, "--epochs", 1, "--out", tmp_path / "more"],
    ):
        assert main([*map(str, words)]) == 0, words
    assert main(["train", "--resume", str(out)]) == 2
    assert "faltung compress" in capsys.readouterr().err
    narrower = load_model(tmp_path / "more")[0].net.layers[0]  # type: ignore[attr-defined]
    assert narrower.channels < 6


# Stopped ------------------------------------------------------------------------------------------


@POSIX
def test_killed_and_resumed_it_ends_with_the_same_bits(
    run: Path, trained: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    data = trained / "other.npz"
    compressed(run, whole, data, budget=Budget(drop=30.0))
    words = ["compress", run, data, "--drop", 30, "--out", out, "--threads", 1]
    done = subprocess.run(
        command(*words, code=CHILD),
        env=environment(LEFT="16", TESTS=str(Path(__file__).parents[1])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / "steps/01-prune/tuning/last.safetensors").is_file()  # within a fine-tuning
    again = job.resume(out, show=False)
    again.run()
    again.close()
    same_result(whole, out)


def test_stopped_it_goes_on_without_measuring_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "small"

    class Stop(Exception):
        pass

    def stop(number: int) -> None:
        if number == 2:
            raise Stop

    began = job.create(run, out=out, budget=Budget(drop=30.0), show=False)
    with pytest.raises(Stop):
        began.run(stop)
    began.close()
    times = [entry.ms for entry in read_journal(out).entries]
    assert len(times) == 3
    assert not (out / "config.toml").exists()
    again = job.resume(out, show=False)
    again.run()
    again.close()
    assert [entry.ms for entry in again.walk.entries[:3]] == times
    other = compressed(run, tmp_path / "other", budget=Budget(drop=30.0))
    same_result(out, other.folder.path)
    # Once more: nothing is done, and the same is said.
    before = fingerprint(out)
    assert compressed(run, out, budget=Budget(drop=30.0)).walk.journal == again.walk.journal
    assert fingerprint(out) == before


@pytest.mark.parametrize("at", [5, 40, 120])
def test_a_disk_that_fills_up(at: int, run: Path, tmp_path: Path) -> None:
    """One line, and the same command goes on when there is room."""
    out = tmp_path / "small"
    with disk(tmp_path, at=at, code=errno.ENOSPC, forever=True) as faulty:
        try:
            compressed(run, out, budget=Budget(drop=30.0))
        except OSError as error:
            assert error.errno == errno.ENOSPC and "\n" not in str(error)
        assert faulty.failed
    assert not (out / "config.toml").exists()
    compressed(run, out, budget=Budget(drop=30.0))
    compressed(run, tmp_path / "other", budget=Budget(drop=30.0))
    same_result(out, tmp_path / "other")


# Refused ------------------------------------------------------------------------------------------


def test_a_budget_that_cannot_be_met(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small"
    assert main(["compress", str(run), "--bytes", "50", "--out", str(out), "--threads=1"]) == 1
    said = capsys.readouterr().out
    assert "none of " in said and "nearest is step" in said
    assert (out / "compress.csv").is_file() and (out / "compress.html").is_file()
    assert not (out / "config.toml").exists()
    with pytest.raises((ValueError, OSError)):
        load_model(out)


def test_a_means_that_refuses_a_network_is_told_and_passed_over(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MEANS, "prune", Means("small_means:refuses", "", ""))
    out = tmp_path / "small"
    assert main(["compress", str(run), "--drop=100", "--out", str(out), "--threads=1"]) == 0
    said = capsys.readouterr().out
    assert "prune: cannot take this network: dtype='float32': is not what this takes" in said
    assert "as trained" in said and "palettes 4" in said


def test_other_arguments_need_another_folder(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    job.create(run, out=out, budget=Budget(drop=1.0), show=False).close()
    with pytest.raises(FileExistsError, match="holds another compression"):
        job.create(run, out=out, budget=Budget(drop=2.0), show=False)
    job.create(run, out=out, budget=Budget(drop=1.0), show=False).close()


def test_one_writer_at_a_time(run: Path, tmp_path: Path) -> None:
    first = job.create(run, out=tmp_path / "small", show=False)
    with pytest.raises(BlockingIOError, match="another process is writing"):
        job.create(run, out=tmp_path / "small", show=False)
    first.close()


@pytest.mark.parametrize("out", ["run", "run/../run", "link"])
def test_the_run_itself_is_no_place(out: str, run: Path) -> None:
    (run.parent / "link").symlink_to(run)
    with pytest.raises(FaltungError, match=r"is the run itself, which is never changed"):
        job.create(run, out=run.parent / out, show=False)


def test_another_run_is_no_place(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    with pytest.raises(FileExistsError, match=r"must not hold a run, has config.toml"):
        job.create(run, out=tmp_path / "other", show=False)


def test_data_that_trained_do_not_report(run: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FaltungError, match=r"is what the run was trained on"):
        job.create(run, str(trained / "data.npz"), out=tmp_path / "small", show=False)
    assert not (tmp_path / "small").exists()


def test_data_of_another_shape(run: Path, tmp_path: Path) -> None:
    x, y = shapes(24, (9, 9))
    np.savez(tmp_path / "wide.npz", x=x, y=y)
    with pytest.raises(FaltungError, match=r"\(24, 1, 9, 9\), must be \(1, 8, 8\)"):
        job.create(run, str(tmp_path / "wide.npz"), out=tmp_path / "small", show=False)


def test_a_class_that_the_run_does_not_know(run: Path, tmp_path: Path) -> None:
    x, y = shapes(24)
    np.savez(tmp_path / "more.npz", x=x, y=y + 1)
    with pytest.raises(FaltungError, match=r"class|label"):
        job.create(run, str(tmp_path / "more.npz"), out=tmp_path / "small", show=False)


def test_weights_that_are_not_finite(run: Path, trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained / "run", broken)
    found = tensors(broken / "best.safetensors")
    model, _ = load_model(broken)
    weights = {**model.parameters, "linear3.bias": np.full(2, np.nan, np.float32)}
    with RunFolder.resume(broken) as folder:
        best = folder.load_best()
        assert best is not None and found
        folder.save_best(weights, best.position)
    made = job.create(broken, out=tmp_path / "small", show=False)
    with pytest.raises(FloatingPointError, match="its answers are not finite"):
        made.run()
    made.close()


def test_nothing_held_out(trained: Path, tmp_path: Path) -> None:
    made = session.create(
        str(trained / "data.npz"),
        net="lenet5",
        settings={"epochs": 1},
        held_out=0,
        out=tmp_path / "all",
    )
    made.run()
    made.folder.close()
    with pytest.raises(FaltungError, match=r"has held nothing out.*give DATA"):
        job.create(tmp_path / "all", out=tmp_path / "small", show=False)
    parts = job.open_run(tmp_path / "all", str(trained / "other.npz")).parts
    assert (len(parts.train), len(parts.choose), len(parts.report)) == (80, 12, 12)


def test_the_samples_of_the_training_are_gone(run: Path, trained: Path, tmp_path: Path) -> None:
    there, away = trained / "data.npz", trained / "away.npz"
    os.rename(there, away)
    try:
        with pytest.raises((OSError, FaltungError), match=r"data.npz"):
            job.create(run, out=tmp_path / "small", show=False)
        x, y = shapes(80)
        np.savez(there, x=x, y=1 - y)
        with pytest.raises(FaltungError, match="its data have changed"):
            job.create(run, out=tmp_path / "small", show=False)
    finally:
        os.rename(away, there)


def test_a_step_that_was_changed_is_noticed(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    began = job.create(run, out=out, budget=Budget(drop=30.0), show=False)

    class Stop(Exception):
        pass

    def stop(number: int) -> None:
        if number == 1:
            raise Stop

    with pytest.raises(Stop):
        began.run(stop)
    began.close()
    best = out / STEPS / "01-prune" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-1] + b"\0")
    again = job.resume(out, show=False)
    with pytest.raises(FaltungError, match="has changed since it was measured"):
        again.run()
    again.close()


def test_a_source_that_was_trained_again_is_noticed(
    run: Path, trained: Path, tmp_path: Path
) -> None:
    other, out = tmp_path / "other", tmp_path / "small"
    shutil.copytree(trained / "run", other)
    job.create(other, out=out, show=False).close()
    model, _ = load_model(other)
    with RunFolder.resume(other) as folder:
        best = folder.load_best()
        assert best is not None
        folder.save_best(
            {**model.parameters, "linear3.bias": np.ones(2, np.float32)}, best.position
        )
    with pytest.raises(FileExistsError, match="holds another compression"):
        job.resume(out, show=False)


def test_no_compression_to_resume(run: Path, tmp_path: Path) -> None:
    for place in (run, tmp_path / "nothing"):
        with pytest.raises(FaltungError, match="holds no compression to resume"):
            job.resume(place)


def test_a_plan_that_lacks_something(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    job.create(run, out=out, show=False).close()
    path = out / STEPS / JOURNAL
    path.write_text(path.read_text().replace('"epochs"', '"epoch"', 1))
    with pytest.raises(FaltungError, match=r"plan.epochs"):
        job.resume(out)
