"""Runs as the command line makes them: from any data, killed at any moment, resumed, refused."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import EAGER, command, environment, rows, run, shapes, tensors

from faltung import Model
from faltung.data.augment import Augment
from faltung.data.open import open_source
from faltung.data.source import split
from faltung.data.standard import standardise
from faltung.nets.table import NETS
from faltung.nets.table import get as get_net
from faltung.train import session
from faltung.train.defaults import PRESETS, SHORT, USUAL
from faltung.train.recipes import settings_of
from faltung.train.run_model import load_model
from faltung.train.settings import Settings

POSIX = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 of POSIX")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty pictures of two classes."""
    x, y = shapes(40)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"


def made(data: Path | str, out: Path, **more: Any) -> session.Session:
    settings = {"epochs": 2, **more.pop("settings", {})}
    return session.create(str(data), out=out, settings=settings, **more)


# Killed -------------------------------------------------------------------------------------------

# As the system would kill it, in the middle of writing: at the n-th file that is forced to the disk
# or renamed, before it is or after.
SUICIDE = """
import os, signal, sys
left = int(os.environ["LEFT"])
def deadly(plain):
    def call(*words):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        made = plain(*words)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return made
    return call
os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
"""


def series(folder: Path) -> Path:
    x, y = shapes(40, (16,))
    np.savez(folder / "series.npz", x=x, y=y)
    return folder / "series.npz"


def same_run(one: Path, two: Path) -> None:
    for name in ("last", "best"):
        a, b = (tensors(run / f"{name}.safetensors") for run in (one, two))
        assert a == b, name
    assert rows(one) == rows(two)
    assert not list(two.glob(".faltung-*"))


@POSIX
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Pictures, AdamW, augmentation; two threads, and one for the run that is never stopped."""
    options = ["--epochs=3", "--batch=50", "--shift=1", "--cutout=2", "--seed=5"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert run("train", "digits", *options, "--out", whole, "--threads=1").returncode == 0
    words: list[Any] = ["train", "digits", *options, "--out", out, "--threads=2"]
    chance, kills = random.Random(0), 0
    while kills < 7:
        child = subprocess.Popen(
            command(*words), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        last = out / "last.safetensors"
        before = last.stat().st_mtime_ns if last.exists() else 0
        while child.poll() is None and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.15))
        child.kill()
        said = child.communicate()[0]
        if child.returncode == 0:  # it was quicker
            break
        assert child.returncode == -signal.SIGKILL, said
        kills += 1
        words = ["train", "--resume", out, "--threads=2"]
    assert kills >= 6
    assert run(*words).returncode == 0
    same_run(whole, out)
    assert (out / "report.html").exists()


@POSIX
def test_killed_while_it_writes_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Series, SGD with momentum, dropout, noise; at every kind of moment of a checkpoint."""
    options = ["--net=tcn", "--epochs=2", "--batch=8", "--optimizer=sgd", "--lr=0.01"]
    options += ["--set=dropout=0.3", "--set=channels=8", "--jitter=0.2", "--series-shift=2"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    data = series(tmp_path)
    assert run("train", data, *options, "--out", whole, "--threads=2").returncode == 0
    words: list[Any] = ["train", data, *options, "--out", out, "--threads=1"]
    kills = 0
    # A file is six moments: before and after its fsync, its rename, and the fsync of the folder.
    for left in (13, 6, 11, 8, 21, 28, 18, 40):
        done = subprocess.run(
            command(*words, code=SUICIDE + EAGER),
            env=environment(LEFT=str(left)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        kills += done.returncode != 0
        words = ["train", "--resume", out, "--threads=1"]
    assert kills >= 6
    assert run(*words).returncode == 0
    same_run(whole, out)


# At a batch of the run, counted from 0, before it is learned.
AT_BATCH = """
import os, signal
from faltung.train.loop import Loop
plain = Loop._batch
def deadly(self, *words):
    if self.position.step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, *words)
Loop._batch = deadly
"""


@POSIX
def test_killed_between_batches_that_share_a_step(tmp_path: Path) -> None:
    """A moving average, gradients of three batches, a learning rate that is found."""
    options = ["--net=tcn", "--epochs=3", "--batch=8", "--set=channels=8", "--lr=find"]
    options += ["--ema=0.9", "--accumulate=3", "--metrics=f1,auc"]
    whole, out, data = tmp_path / "whole", tmp_path / "run", series(tmp_path)
    assert run("train", data, *options, "--out", whole, "--threads=2").returncode == 0
    words = command("train", data, *options, "--out", out, "--threads=1", code=AT_BATCH + EAGER)
    assert subprocess.run(words, env=environment(), check=False).returncode == -signal.SIGKILL
    done = run("train", "--resume", out, "--threads=1")
    assert done.returncode == 0, done.stderr
    same_run(whole, out)
    assert (whole / "lr.csv").read_text() == (out / "lr.csv").read_text()
    assert (whole / "config.toml").read_text() == (out / "config.toml").read_text()
    assert "\nlr = 0." in (whole / "config.toml").read_text()
    assert "loss in the test of learning rates" in (out / "report.html").read_text()
    header = (out / "metrics.csv").read_text().splitlines()[0]
    assert header.endswith("samples_per_second,val_f1,val_auc")


@POSIX
def test_killed_before_its_first_checkpoint_it_begins_anew(tmp_path: Path) -> None:
    done = subprocess.run(
        command("train", series(tmp_path), "--out", tmp_path / "run", code=SUICIDE + EAGER),
        env=environment(LEFT="8"),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run/last.safetensors").exists()
    assert session.resume(tmp_path / "run").loop.position.step == 0


@POSIX
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(data: Path, tmp_path: Path) -> None:
    options = ["--epochs=2", "--net=lenet5"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert run("train", data, *options, "--out", whole).returncode == 0

    def small() -> None:  # last.safetensors has three times the bytes of best.safetensors
        size = (whole / "last.safetensors").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 4096, size - 4096))

    quick = EAGER + "loop.EPOCH_SAVE_SECONDS = loop.BATCH_SAVE_SECONDS = 1e9\n"
    done = run("train", data, *options, "--out", out, preexec_fn=small, code=quick)
    assert done.returncode == 2
    # There is no checkpoint yet, so nothing is said of resuming.
    assert done.stderr == (
        f"faltung train: {out / 'last.safetensors'}: not written, file too large\n"
    )
    assert sorted(os.listdir(out)) == ["best.safetensors", "config.toml", "metrics.csv"]
    assert run("train", "--resume", out).returncode == 0
    same_run(whole, out)


# Made ---------------------------------------------------------------------------------------------


def test_the_config_repeats_the_run(data: Path, tmp_path: Path) -> None:
    first = made(data, tmp_path / "run", net="lenet5", settings={"jitter": 0.1, "seed": 3})
    first.run()
    metrics = first.finish()
    config = tomllib.loads((tmp_path / "run/config.toml").read_text())
    assert config["data"]["path"] == str(data) and config["data"]["samples"] == 40
    assert config["net"] == {"name": "lenet5"}
    assert config["train"]["augment"]["jitter"] == 0.1 and config["train"]["seed"] == 3
    # By hand, from what stands there.
    settings = Settings.from_dict(config["train"])
    train, held = split(open_source(config["data"]["path"]), config["data"]["held_out"], 3)
    again = Model.from_about(config["model"], seed=settings.seed)
    again.fit(train, validation=held, show=False, **arguments_of(settings))
    assert tensors(tmp_path / "run/best.safetensors") == {
        name: value.tobytes() for name, value in again.parameters.items()
    }
    assert again.evaluate(held) == metrics


def arguments_of(settings: Settings) -> dict[str, Any]:
    found = {field.name: getattr(settings, field.name) for field in fields(settings)}
    assert found.pop("lengthened") == ()
    return found


def test_a_notebook_has_the_bits_of_the_command_line(data: Path, tmp_path: Path) -> None:
    first = made(data, tmp_path / "run", settings={"shift": 1})
    first.run()
    pictures = open_source(data)
    train, held = split(pictures, 0.2, seed=0)
    net = get_net("convnet", classes=2, input_shape=pictures.shape)
    model = Model(net, pictures.shape, classes=pictures.classes, standard=standardise(train))
    usual = settings_of("convnet", len(train), {"epochs": 2}, tuned=False)
    augment = Augment(shift=1, jitter=usual.pop("jitter"))
    model.fit(train, validation=held, augment=augment, show=False, **usual)
    first.loop.restore_best()
    found = first.model.parameters
    assert all(np.array_equal(found[k], v) for k, v in model.parameters.items())


@pytest.mark.parametrize(("steps", "net"), [(SHORT, "convnet"), (SHORT + 1, "tcn")])
def test_short_series_keep_the_place_of_a_step(steps: int, net: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", x=np.zeros((4, 2, steps), np.float32), y=[0, 1, 0, 1])
    source = open_source(tmp_path / "waves.npz", kind="series")
    assert source.kind == "series"
    assert session._net_name(source, None, "waves.npz") == net


def test_every_usual_network_is_one() -> None:
    assert set(USUAL.values()) <= set(NETS)
    assert all(net in NETS for _, net in PRESETS)


@pytest.mark.parametrize(("data", "net"), PRESETS)
def test_what_is_said_wins_over_what_is_known(data: str, net: str) -> None:
    def made(given: dict[str, Any], net: str = net) -> Settings:
        return session._settings(data, net, given, 1437, tuned=False)

    known = made({})
    for name, value in PRESETS[data, net].items():
        assert getattr(known, name, None) == value or getattr(known.augment, name) == value
    assert made({"epochs": 1, "jitter": 0}).epochs == 1
    assert not made({"jitter": 0}).augment
    other = made({"optimizer": "sgd"})
    assert (other.lr, other.decay) == (None, Settings().decay)
    assert made({}, "other") == Settings(epochs=20)


def test_the_seed_is_that_of_the_first_weights_too(data: Path, tmp_path: Path) -> None:
    one, two = (made(data, tmp_path / f"{s}", settings={"seed": s}) for s in (1, 2))
    name = "conv1.weight"
    assert not np.array_equal(one.model.parameters[name], two.model.parameters[name])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"net": "lenet6"}, "net='lenet6': there is no such network; did you mean lenet"),
        ({"net": "tcn"}, "has samples of shape (1, 8, 8): must be (C, *space) of rank 1"),
        ({"options": {"wide": 2}}, "wide=2: convnet takes width, dropout"),
        ({"settings": {"shift": 8}}, "shift=8: must be less than the shortest axis"),
        ({"settings": {"series_shift": 1}}, "series_shift=1: is for series"),
        ({"settings": {"lr": -1}}, "lr=-1: must be above 0"),
        ({"held_out": 1.0}, "--held-out=1: must be at least 0 and below 1; 0 trains on everything"),
        ({"reading": {"size": 9}}, "size=9"),
        ({"reading": {"kind": "film"}}, "kind='film'"),
        ({"reading": {"kind": "table"}}, "kind"),
    ],
)
def test_nothing_is_made_of_what_cannot_be(
    more: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        made(data, tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


def test_numbers_want_another_loss(tmp_path: Path) -> None:
    x, y = shapes(20)
    np.savez(tmp_path / "n.npz", x=x, y=y * 0.5)
    with pytest.raises(ValueError, match=r"y: 0\.5 is a number, not the label .*\(--loss mse\)"):
        made(tmp_path / "n.npz", tmp_path / "run")
    ready = made(tmp_path / "n.npz", tmp_path / "run", settings={"loss": "mse"})
    assert ready.model.graph.output.shape == (1,) and ready.model.classes is None


def test_a_network_that_does_not_fit_its_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "n.npz", x=np.ones((10, 1, 1, 1)), y=np.arange(10) % 2)
    with pytest.raises(ValueError, match="MaxPool 'pool1' needs at least 2x2, got 1x1 after"):
        made(tmp_path / "n.npz", tmp_path / "run", net="lenet5")
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_said_before_the_first_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "NEEDED", (*session.NEEDED, "no_such_module"))
    with pytest.raises(ImportError, match=r"no_such_module: not installed; pip install"):
        made(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Resumed ------------------------------------------------------------------------------------------


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 2", "format = 3", "format=3, written by faltung"),
        ("format = 2", "format = 2\nformat = 2", "not a run's settings"),
        ("[data]", "[date]", "config.toml: [data]: is missing"),
        ("samples = 40", "samples = '40'", "data.samples='40': must be int"),
        ("samples = 40", "samples = 41", "its data have changed: samples was 41, is 40"),
        ('kind = "picture"', 'kind = "series"', "must have 3 axes for kind='series'"),
        ("held_out = 0.2", "held_out = 2.0", "fraction=2.0"),
        ("held_out = 0.2", "held_out = true", "data.held_out=True: must be float"),
        ("strict = false", "strict = 0", "data.strict=0"),
        ("epochs = 2", "epochs = 0", "epochs=0: must be at least 1"),
        ("epochs = 2", "epochs = 2\nboom = 1", "boom: is not a setting"),
        ("batch = 16", "batch = 7", "does not fit 5 batches per epoch"),
        ('optimizer = "adamw"', 'optimizer = "sgd"', "does not fit; missing: 'momentum/"),
        ("Linear(2)", "Linear(3)", "classes: must be 3 names, one for each output, got 2"),
        ("Linear(120)", "Linear(121)", "last.safetensors: does not fit; other shape"),
        ("Linear(120)", "exec('1')", "is no layer, number or text"),
        ("Linear(120)", "Linear(10**11)", "is no layer, number or text"),
        (
            "Linear(120)",
            "Linear(100000000000)",
            "most in linear2.weight (84, 100000000000): the network alone needs ",
        ),
        ("[net]", "[nut]", "config.toml: 'nut': is not known; must be of data, net, model, train"),
        ('name = "lenet5"', "name = 5", "net.name: is missing"),
        ('name = "lenet5"', 'name = "lenet5"\nwidth = 2', "net.'width': is no option of lenet5"),
        ("format = 2", 'format = 2\nnote = "mine"', "'note': is not known"),
        ("samples = 40", "samples = 40\nsample = 4", "data.'sample': is not known"),
        ("epochs = 2\n", "", "[train]: epochs: is missing; a run that goes on needs every setting"),
        ('clip = "none"\n', "", "[train]: clip: is missing"),
        ("lr = 0.003\n", "", "[train]: lr: is missing"),
        ("[train.augment]", "[train.augments]", "[train]: augment=None: must be a table"),
        ('loss = "cross_entropy"\n', "", "model.loss: is missing"),
        ("[model.standard]", "[model.standart]", "model.standard: is missing"),
        ("[train]", "[train]\nboom = 1", "[train]: boom: is not a setting"),
    ],
)
def test_configs_that_were_edited(
    old: str, new: str, message: str, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    changed(tmp_path / "run/config.toml", old, new)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        session.resume(tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, and its data beside it."""
    folder = tmp_path_factory.mktemp("finished")
    x, y = shapes(40)
    np.savez(folder / "data.npz", x=x, y=y)
    done = made(folder / "data.npz", folder / "run", net="lenet5")
    done.run()
    done.finish()
    done.folder.close()
    return folder / "run"


def test_other_data_under_the_same_name(data: Path, tmp_path: Path) -> None:
    first = made(data, tmp_path / "run")
    first.run()
    first.folder.close()
    x, y = shapes(40)
    np.savez(data, x=x, y=1 - y)
    with pytest.raises(ValueError, match="its data have changed: digest was"):
        session.resume(tmp_path / "run")
    data.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(data))):
        session.resume(tmp_path / "run")


def test_a_run_that_is_written_by_another(finished: Path) -> None:
    first = session.resume(finished)
    with pytest.raises(BlockingIOError, match="another process is writing this run"):
        session.resume(finished)
    first.folder.close()
    session.resume(finished).folder.close()


def test_models_of_runs(finished: Path, tmp_path: Path) -> None:
    model, folder = load_model(finished)
    assert model.classes == ("0", "1") and folder.path == finished
    assert {name: value.tobytes() for name, value in model.parameters.items()} == tensors(
        finished / "best.safetensors"
    )
    with pytest.raises(FileNotFoundError, match=r"config\.toml"):
        load_model(tmp_path)
    made(finished.parent / "data.npz", tmp_path / "new").folder.close()
    with pytest.raises(ValueError, match="has no weights yet"):
        load_model(tmp_path / "new")
