"""Runs that start from another run, or from a model in a file."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import EAGER, command, environment, run, shapes, tensors
from train.test_session import POSIX, SUICIDE

from faltung.train import session
from faltung.train.run_model import export, load_model


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two classes, with three epochs, and ``three.npz`` of three classes beside it."""
    folder = tmp_path_factory.mktemp("old")
    x, y = shapes(40)
    np.savez(folder / "two.npz", x=x, y=y)
    x, _ = shapes(60, seed=3)
    np.savez(folder / "three.npz", x=x, y=np.arange(60) % 3)
    done = session.create(
        str(folder / "two.npz"), net="lenet5", settings={"epochs": 3}, out=folder / "run"
    )
    done.run()
    done.finish()
    done.folder.close()
    return folder


def started(old: Path, out: Path, **more: Any) -> session.Session:
    more = {"data": str(old / "three.npz"), "start": old / "run", **more}
    settings = {"epochs": 2, **more.pop("settings", {})}
    return session.create(more.pop("data"), out=out, settings=settings, **more)


def test_weights_standard_and_network_are_those_of_the_other(old: Path, tmp_path: Path) -> None:
    made = started(old, tmp_path / "run")
    before, _ = load_model(old / "run")
    assert made.model.standard == before.standard and made.model.units == before.units
    assert made.config["net"] == {"name": "lenet5"}
    assert made.loop.notes == (
        f"from {old / 'run'}: weights of 4 layers; initialised anew: linear3",
    )
    own, theirs = made.model.parameters, before.parameters
    same = {name for name in own if np.array_equal(own[name], theirs.get(name))}
    assert {name.partition(".")[0] for name in set(own) - same} == {"linear3"}
    assert made.config["from"]["anew"] == ["linear3"]
    made.folder.close()


def test_frozen_layers_stay_for_the_whole_run(old: Path, tmp_path: Path) -> None:
    made = started(old, tmp_path / "run", settings={"freeze": ["all-but-last"], "decay": 0.5})
    assert made.loop.notes[1] == (
        "frozen: conv1, conv2, linear1, linear2 (20,536 of 20,791 parameters)"
    )
    before = made.model.parameters
    made.run()
    made.finish()
    after = made.model.parameters
    changed = {n.partition(".")[0] for n in before if not np.array_equal(before[n], after[n])}
    assert changed == {"linear3"}
    config = tomllib.loads((tmp_path / "run/config.toml").read_text())
    assert config["train"]["freeze"] == ["all-but-last"]
    assert "optimizer/mean/conv1.weight" not in tensors(tmp_path / "run/last.safetensors")


def test_from_a_file(old: Path, tmp_path: Path) -> None:
    model, _ = load_model(old / "run")
    export(model, tmp_path / "old.safetensors")
    one = started(old, tmp_path / "one", start=tmp_path / "old.safetensors")
    two = started(old, tmp_path / "two")
    for name, value in one.model.parameters.items():
        np.testing.assert_array_equal(value, two.model.parameters[name])
    assert one.config["net"] == {"name": "old"}
    one.run()
    one.folder.close()
    again = session.resume(tmp_path / "one")
    again.finish()
    again.folder.close()
    two.folder.close()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"settings": {"freeze": ["linear3"]}},
            "--freeze=linear3: would freeze 'linear3', which is",
        ),
        ({"settings": {"freeze": ["conv9"]}}, "freeze='conv9': no layer with parameters has this"),
        ({"options": {"paper": True}}, "--set=paper: the layers are those of"),
        ({"net": "resnet18"}, "has no layer of the same name and shape"),
        ({"data": "digits", "settings": {"loss": "mse"}}, "has classes, not numbers"),
        ({"start": "nothing"}, "nothing: no"),
    ],
)
def test_nothing_is_made_of_what_cannot_be(
    more: dict[str, Any], message: str, old: Path, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        started(old, tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


def test_samples_of_another_shape(old: Path, tmp_path: Path) -> None:
    x, y = shapes(20, (19, 19))
    np.savez(tmp_path / "nineteen.npz", x=x, y=y)
    with pytest.raises(
        ValueError, match=r"was trained on samples of shape \(1, 8, 8\), nineteen.npz ha"
    ):
        started(old, tmp_path / "run", data=str(tmp_path / "nineteen.npz"))


def test_the_last_checkpoint_is_no_model(old: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a part of a run, what it resumes from; give the run"):
        started(old, tmp_path / "run", start=old / "run/last.safetensors")


def test_numbers_mean_what_they_meant(old: Path, tmp_path: Path) -> None:
    """The same pictures as bytes, for a run that was trained on fractions of white."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)
    y = np.arange(40) % 2
    np.savez(tmp_path / "bytes.npz", x=levels, y=y)
    np.savez(tmp_path / "numbers.npz", x=levels.astype(np.int64), y=y)
    first = session.create(
        str(tmp_path / "bytes.npz"), net="lenet5", settings={"epochs": 1}, out=tmp_path / "first"
    )
    first.run()
    first.folder.close()
    found = []
    for name in ("bytes", "numbers"):
        made = session.create(
            str(tmp_path / f"{name}.npz"),
            settings={"epochs": 1},
            start=tmp_path / "first",
            out=tmp_path / name,
        )
        made.run()
        made.folder.close()
        assert made.model.standard == first.model.standard
        found.append(tensors(tmp_path / name / "last.safetensors"))
        session.resume(tmp_path / name).folder.close()
    assert found[0] == found[1]


def test_another_unit_is_said(old: Path, tmp_path: Path) -> None:
    """The digits are 0 to 16; the network has seen numbers that nothing was divided by."""
    made = started(old, tmp_path / "run", data="digits")
    assert made.loop.notes[1] == "values are divided by 1, as there, not by 16"
    assert made.train.read([0]).max() > 1
    made.folder.close()


# Killed -------------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("left", [6, 9, 12, 16])
def test_killed_while_it_writes_it_ends_with_the_same_bits(
    left: int, old: Path, tmp_path: Path
) -> None:
    """From before the first checkpoint, when the weights to start from are read again, on."""
    words = ["train", old / "three.npz", "--from", old / "run", "--freeze", "2", "--epochs=2"]
    words += ["--batch=16", "--sampler=balanced", "--class-weight=1,2,3", "--metric=f1"]
    whole = old / "whole"
    if not whole.exists():
        assert run(*words, "--out", whole).returncode == 0
    out = tmp_path / "run"
    done = subprocess.run(
        command(*words, "--out", out, code=SUICIDE + EAGER),
        env=environment(LEFT=str(left)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    begun = (out / "config.toml").exists()
    again = run("train", "--resume", out) if begun else run(*words, "--out", out)
    assert again.returncode == 0, again.stderr
    for name in ("last", "best"):
        assert tensors(whole / f"{name}.safetensors") == tensors(out / f"{name}.safetensors")


def test_what_it_started_from_may_go_once_it_has_begun(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old / "run", tmp_path / "first")
    started(old, tmp_path / "run", start=tmp_path / "first").folder.close()
    shutil.rmtree(tmp_path / "first")
    session.resume(tmp_path / "run").folder.close()
    (tmp_path / "run/last.safetensors").unlink()  # as if killed before it was written
    with pytest.raises(FileNotFoundError, match="first"):
        session.resume(tmp_path / "run")
    other = session.create(
        str(old / "two.npz"),
        net="lenet5",
        settings={"seed": 1, "epochs": 1},
        out=tmp_path / "first",
    )
    other.run()
    other.folder.close()
    message = "first, which this run starts from, has changed since: start the run anew"
    with pytest.raises(ValueError, match=message):
        session.resume(tmp_path / "run")
