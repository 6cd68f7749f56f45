"""Networks that learn from the answers of others: lessons, runs, and what is refused."""

import copy
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import EAGER, command, environment, maps, run, shapes, tensors
from train.test_session import POSIX, SUICIDE, arguments_of

import faltung
from faltung import Model, nn, reference
from faltung.data import Standard
from faltung.data.augment import Augment
from faltung.train import session
from faltung.train.run_model import load_model
from faltung.train.teacher import Teacher


def net(width: int, outputs: int = 2) -> nn.Layer:
    return nn.Sequential(
        *(nn.Conv(width, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(outputs)),
    )


def model(width: int = 3, seed: int = 0, **more: Any) -> Model:
    return Model(net(width), (1, 8, 8), seed=seed, **more)


@pytest.fixture(scope="module")
def wise() -> Model:
    made = model(16, seed=5)
    made.fit(*shapes(200), epochs=20, show=False)
    return made


# Lessons ------------------------------------------------------------------------------------------


def test_a_lesson_is_what_the_teacher_says(wise: Model) -> None:
    """Of the samples as the student sees them, softened."""
    x, y = shapes(7, seed=3)
    student = model(standard=Standard((0.5,), (3.0,)), units=wise.units)
    taught = Teacher(wise, temperature=3)
    taught.check(student, "cross_entropy")
    lesson = taught.lesson(student.standardised(x), y, student, "cross_entropy")
    wanted = reference.softmax(wise.outputs(x, softmax=False) / 3)
    np.testing.assert_allclose(lesson.answers, wanted, rtol=1e-4, atol=1e-6)
    assert lesson.target is y and lesson.more == 0


def test_the_first_loss_is_the_formula(wise: Model) -> None:
    """Of a step without dropout and batch statistics, on all samples at once."""
    x, y = shapes(20, seed=3)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(2))
    student = Model(plain, (1, 8, 8), standard=wise.standard, units=wise.units)
    z, t = (each.outputs(x, softmax=False).astype(np.float64) for each in (student, wise))
    hard = reference.cross_entropy(z, y).losses.mean()
    q, log = reference.softmax(t / 4), reference.log_softmax(z / 4)
    soft = (q * (np.log(q) - log)).sum(1).mean()
    history = student.fit(
        x, y, epochs=1, batch=20, teacher=wise, distil=0.3, temperature=4, show=False
    )
    assert history[0].loss == pytest.approx(0.7 * hard + 0.3 * 16 * soft, rel=1e-5)


def test_numbers_are_mixed() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    teacher = Model(nn.Linear(2), (3,), seed=1)
    student = Model(nn.Linear(2), (3,), seed=2)
    given = {"standard": Standard((0.0,) * 3, (1.0,) * 3)}
    for each in (teacher, student):
        each.standard, each.loss = given["standard"], "mse"
    z, t = student.outputs(x), teacher.outputs(x)
    wanted = 0.25 * np.square(z - y).mean() + 0.75 * np.square(z - t).mean()
    history = student.fit(
        x, y, loss="mse", epochs=1, batch=12, teacher=teacher, distil=0.75, show=False
    )
    assert history[0].loss == pytest.approx(wanted, rel=1e-5)
    # With all of the loss its own, the student becomes the teacher.
    student.fit(
        *(x, y), loss="mse", epochs=300, lr=0.1, decay=0, teacher=teacher, distil=1, show=False
    )
    np.testing.assert_allclose(student.outputs(x), teacher.outputs(x), atol=1e-3)


def test_maps_have_an_answer_for_each_position() -> None:
    x, y = maps(12)
    y[:, :, 4:] = -1
    layers = nn.Sequential(nn.Conv(2, 1), nn.Tanh(), nn.Conv(2, 1))
    teachers = [Model(layers, (1, 8, 8), seed=seed) for seed in (3, 4)]
    found = []
    for teacher in teachers:
        student = Model(layers, (1, 8, 8), seed=5)
        lesson = Teacher(teacher).lesson(x, y, student, "cross_entropy")
        assert lesson.answers is not None and lesson.answers.shape == (12, 2, 8, 8)
        student.fit(x, y, epochs=3, teacher=teacher, distil=1, show=False)
        found.append(student.parameters["conv2.weight"])
    assert not np.array_equal(found[0], found[1])


def test_it_learns_more_from_a_teacher_than_from_wrong_labels(wise: Model) -> None:
    """Four of ten; the teacher knows better."""
    x, y = shapes(200, seed=7)
    wrong = np.where(np.arange(200) % 10 < 4, 1 - y, y)
    test = shapes(400, seed=9)
    found = []
    for more in ({}, {"teacher": wise, "distil": 0.9}):
        student = model(8, seed=1)
        student.fit(x, wrong, epochs=10, show=False, **more)  # type: ignore[arg-type]
        found.append(student.evaluate(*test)["accuracy"])
    assert found[1] > found[0] + 0.1


def test_the_same_bits_and_the_teacher_stays(wise: Model) -> None:
    before = {name: value.tobytes() for name, value in wise.parameters.items()}
    found = []
    for threads in (1, 2):
        try:
            faltung.set_threads(threads)
            student = model()
            student.fit(
                *shapes(50, seed=2), epochs=2, augment=Augment(jitter=0.3), teacher=wise, show=False
            )
        finally:
            faltung.set_threads(1)
        found.append({name: value.tobytes() for name, value in student.parameters.items()})
    assert found[0] == found[1]
    assert before == {name: value.tobytes() for name, value in wise.parameters.items()}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"distil": 0.5}, "distil=0.5: needs a teacher; give teacher"),
        ({"temperature": 2}, "temperature=2: needs a teacher"),
        ({"teacher": "it"}, "teacher='it': must be a Model"),
        ({"teacher": True, "distil": 0}, "distil=0: must be above 0 and at most 1"),
        ({"teacher": True, "distil": "x"}, "distil='x': must be a number"),
        ({"teacher": True, "temperature": 0}, "temperature=0: must be above 0 and finite"),
        ({"teacher": True, "temperature": float("nan")}, "temperature=nan: must be above 0"),
        (
            {"teacher": Model(nn.Conv(2, 8), (1, 9, 9))},
            "samples of shape (1, 9, 9), this network is on (1, 8, 8): must be the same",
        ),
        ({"teacher": Model(net(3, 3), (1, 8, 8))}, "outputs of shape (3,), this network is on"),
        (
            {"teacher": Model(net(3), (1, 8, 8), classes=("a", "b"))},
            "it knows the classes a, b, this network x, y: must be the same, in the same order",
        ),
    ],
)
def test_what_is_no_teacher(more: dict[str, Any], message: str, wise: Model) -> None:
    student = model(classes=("x", "y"))
    if more.get("teacher") is True:
        more = {**more, "teacher": wise}
    elif isinstance(more.get("teacher"), Model):
        more["teacher"].units = None
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        student.fit(*shapes(20), show=False, **more)


def test_lessons_of_several_batches_are_those_of_a_large_one(wise: Model) -> None:
    x, y = shapes(24, seed=4)
    plain = nn.Sequential(nn.Conv(3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    given: dict[str, Any] = {"teacher": wise, "epochs": 2, "show": False}
    one, several = (Model(plain, (1, 8, 8), units=wise.units) for _ in range(2))
    one.fit(x, y, batch=12, **given)
    several.fit(x, y, batch=4, accumulate=3, **given)
    for name, value in one.parameters.items():
        np.testing.assert_allclose(several.parameters[name], value, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="accumulate=3: does not go with a teacher and class_w"):
        several.fit(x, y, accumulate=3, class_weight="balanced", **given)


def test_a_network_is_not_its_own_teacher(wise: Model) -> None:
    student = copy.deepcopy(wise)
    with pytest.raises(ValueError, match="must be another model than the one that learns"):
        student.fit(*shapes(20), teacher=student, show=False)
    student.fit(*shapes(20), teacher=wise, epochs=1, show=False)
    with pytest.raises(ValueError, match="was trained on a loss 'cross_entropy'"):
        x, y = shapes(20)
        student.fit(x, np.stack([y, 1.0 - y], 1), loss="mse", teacher=wise, show=False)


# Runs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and the data of it."""
    folder = tmp_path_factory.mktemp("old")
    x, y = shapes(40)
    np.savez(folder / "data.npz", x=x, y=y)
    done = session.create(
        str(folder / "data.npz"), net="lenet5", settings={"epochs": 3}, out=folder / "run"
    )
    done.run()
    done.finish()
    done.folder.close()
    return folder


def started(old: Path, out: Path, **more: Any) -> session.Session:
    given = {"net": "resnet18", "options": {"width": 0.1}, "teacher": old / "run", **more}
    return session.create(str(old / "data.npz"), out=out, settings={"epochs": 2}, **given)


def test_a_run_says_what_it_learns_from(old: Path, tmp_path: Path) -> None:
    made = started(old, tmp_path / "run", temperature=3.0)
    made.run()
    made.finish()
    made.folder.close()
    config = tomllib.loads((tmp_path / "run/config.toml").read_text())["teacher"]
    assert len(config.pop("digest")) == 16
    assert (tmp_path / "run" / config.pop("relative")).resolve() == (old / "run").resolve()
    assert config == {"path": str(old / "run"), "distil": 0.5, "temperature": 3.0}
    assert made.loop.notes == (f"learns from {old / 'run'}: 50% of the loss, at temperature 3",)
    student, _ = load_model(tmp_path / "run")
    teacher, _ = load_model(old / "run")
    assert student.classes == teacher.classes and student.standard == teacher.standard
    assert "learns from" in (tmp_path / "run/report.html").read_text()
    again = Model.from_about(made.model.about(), seed=0)
    settings = arguments_of(made.settings)
    again.fit(
        made.train, validation=made.held, teacher=teacher, temperature=3, show=False, **settings
    )
    for name, value in student.parameters.items():
        np.testing.assert_array_equal(value, again.parameters[name])


def test_a_changed_teacher_is_refused(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old / "run", tmp_path / "first")
    made = started(old, tmp_path / "run", teacher=tmp_path / "first")
    made.loop.save()
    made.folder.close()
    session.resume(tmp_path / "run").folder.close()
    other = session.create(
        str(old / "data.npz"), net="lenet5", settings={"seed": 1, "epochs": 1}, out=tmp_path / "2"
    )
    other.run()
    other.folder.close()
    shutil.rmtree(tmp_path / "first")
    with pytest.raises(FileNotFoundError, match="first"):
        session.resume(tmp_path / "run")
    shutil.copytree(tmp_path / "2", tmp_path / "first")
    with pytest.raises(ValueError, match="first, which this run learns from, has changed since"):
        session.resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("old_text", "new", "message"),
    [
        ("distil = 0.5", "distil = 2.0", "teacher: distil=2.0: must be above 0 and at most 1"),
        ("distil = 0.5", "distil = 'x'", "teacher.distil='x': must be float"),
        ("distil = 0.5\n", "", "teacher.distil=None: must be float"),
        ("distil = 0.5", "distil = 0.5\nmore = 1", "teacher.'more': is not known"),
        ('digest = "', 'digest = "0', "which this run learns from, has changed since"),
    ],
)
def test_hostile_configs(old_text: str, new: str, message: str, old: Path, tmp_path: Path) -> None:
    started(old, tmp_path / "run").folder.close()
    path = tmp_path / "run/config.toml"
    head, mark, table = path.read_text().partition("[teacher]")
    assert old_text in table
    path.write_text(head + mark + table.replace(old_text, new, 1))
    with pytest.raises(ValueError, match=re.escape(message)):
        session.resume(tmp_path / "run")


@POSIX
def test_killed_and_resumed(old: Path, tmp_path: Path) -> None:
    """The bits of a run that was never stopped, whenever it is killed."""
    words = ["train", old / "data.npz", "--net=lenet5", "--set", "paper=true", "--epochs=2"]
    words += ["--batch=16", "--teacher", old / "run", "--distil=0.8", "--jitter=0.1"]
    whole = tmp_path / "whole"
    assert run(*words, "--out", whole).returncode == 0
    for left in (9, 15):
        out = tmp_path / f"killed {left}"
        done = subprocess.run(
            command(*words, "--out", out, code=SUICIDE + EAGER),
            env=environment(LEFT=str(left)),
            capture_output=True,
            check=False,
        )
        assert done.returncode == -9, done.stderr
        again = run("train", "--resume", out)
        assert again.returncode == 0, again.stderr
        assert "learns from" in again.stdout
        for name in ("last", "best"):
            assert tensors(whole / f"{name}.safetensors") == tensors(out / f"{name}.safetensors")
