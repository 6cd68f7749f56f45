"""Runs that get another length on their way, and runs that hold nothing out."""

import shutil
import signal
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs import EAGER, command, environment, rows, run, shapes, tensors
from train.test_session import POSIX, SUICIDE, made, same_run

from faltung import Model
from faltung.data.open import open_source
from faltung.data.source import split
from faltung.train import session
from faltung.train.loop import Loop
from faltung.train.run_dataset import held_out
from faltung.train.run_model import load_model
from faltung.train.settings import Settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty pictures of two classes."""
    x, y = shapes(40)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"


# Of another length --------------------------------------------------------------------------------

LONG = ["--net=lenet5", "--batch=8", "--shift=1", "--metric=f1"]


def long(data: Path, out: Path, epochs: int, kill: int = 0) -> None:
    """A run of two epochs that goes on to another number, killed at a moment of that."""
    if not (data.parent / "two").exists():
        assert run("train", data, *LONG, "--epochs=2", "--out", data.parent / "two").returncode == 0
    shutil.copytree(data.parent / "two", out)
    words = ["train", "--resume", out, "--epochs", epochs]
    if kill:
        done = subprocess.run(
            command(*words, code=SUICIDE + EAGER), env=environment(LEFT=str(kill)), check=False
        )
        assert done.returncode == -signal.SIGKILL
        written = tomllib.loads((out / "config.toml").read_text())["train"]["epochs"] == epochs
        words = words[:3] if written else words
    done = run(*words)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("longer")
    x, y = shapes(40)
    np.savez(folder / "data.npz", x=x, y=y)
    long(folder / "data.npz", folder / "run", 5)
    return folder


def test_a_run_goes_on_along_the_schedule_that_it_then_has(longer: Path) -> None:
    config = tomllib.loads((longer / "run/config.toml").read_text())["train"]
    assert config["epochs"] == 5 and config["lengthened"] == [[2, 8]]
    two, five = (Settings(epochs=n).lr_schedule(4 * n) for n in (2, 5))
    rates = [float(row[2]) for row in rows(longer / "run")]  # type: ignore[arg-type]
    assert rates == [two(3), two(7), five(11), five(15), five(19)]


def test_the_config_repeats_a_run_of_another_length(longer: Path, tmp_path: Path) -> None:
    """From the first step on, as if it had been known from the start."""
    config = tomllib.loads((longer / "run/config.toml").read_text())
    settings = Settings.from_dict(config["train"])
    train, held = split(open_source(longer / "data.npz"), 0.2, seed=0)
    model = Model.from_about(config["model"])
    loop = Loop(model, settings, train, held, show=False)
    loop.run()
    assert tensors(longer / "run/last.safetensors") == {
        **{name: value.tobytes() for name, value in model.parameters.items()},
        **{f"optimizer/{name}": value.tobytes() for name, value in loop.slots.all().items()},
    }


@POSIX
@pytest.mark.parametrize("kill", [2, 5, 7, 30])
def test_killed_while_it_gets_another_length(kill: int, longer: Path, tmp_path: Path) -> None:
    long(longer / "data.npz", tmp_path / "run", 5, kill)
    same_run(longer / "run", tmp_path / "run")


def test_lengths_that_are_refused(longer: Path, tmp_path: Path) -> None:
    shutil.copytree(longer / "run", tmp_path / "run")
    before = (tmp_path / "run/config.toml").read_bytes()
    for epochs, message in (
        (4, "--epochs=4: .*run has finished epoch 5: must be at least 5"),
        (0, "--epochs=0: must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            session.resume(tmp_path / "run", epochs)
    session.resume(tmp_path / "run", 5).folder.close()  # as it is
    assert (tmp_path / "run/config.toml").read_bytes() == before


def test_a_run_that_has_not_begun_just_has_another_length(data: Path, tmp_path: Path) -> None:
    made(data, tmp_path / "run").folder.close()
    again = session.resume(tmp_path / "run", 3)
    assert again.settings == replace(again.settings, epochs=3, lengthened=())
    again.folder.close()


def test_a_run_that_lost_its_patience_stays_ended(tmp_path: Path, data: Path) -> None:
    first = made(data, tmp_path / "run", net="lenet5", settings={"epochs": 30, "patience": 1})
    first.run()
    first.folder.close()
    done = first.loop.position.epoch
    assert done < 30
    message = f"ended after epoch {done}, because --patience 1 had run out; to train further, start"
    with pytest.raises(ValueError, match=message):
        session.resume(tmp_path / "run", 40)


# Nothing held out ---------------------------------------------------------------------------------


def test_trained_on_everything(data: Path, tmp_path: Path) -> None:
    first = made(data, tmp_path / "run", net="lenet5", held_out=0)
    first.run()
    metrics = first.finish()
    assert metrics == {
        "loss": first.loop.history[-1].loss,
        "accuracy": first.loop.history[-1].accuracy,
    }
    assert first.held is None and len(first.train) == 40
    assert {row.val_loss for row in first.loop.history} == {None}
    best, last = (tensors(tmp_path / f"run/{name}.safetensors") for name in ("best", "last"))
    assert best == {name: value for name, value in last.items() if "optimizer/" not in name}
    page = (tmp_path / "run/report.html").read_text()
    assert "trained on all 40 samples, nothing held out" in page
    said, command = page.split("<pre", 1)  # the command that repeats it names the option
    assert "held-out" not in said and "a ring" not in page and "--held-out=0" in command
    first.folder.close()
    session.resume(tmp_path / "run").folder.close()
    with pytest.raises(
        ValueError, match=r"has held nothing out, by --held-out 0: give the data to"
    ):
        held_out(load_model(tmp_path / "run")[1])
