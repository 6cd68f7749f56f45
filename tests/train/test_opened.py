"""One door: runs, their best weights and saved models open alike; all else says what reads it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import shapes

from faltung import Model, nn
from faltung.cli.main import main
from faltung.formats.tensors import save_tensors
from faltung.train import session
from faltung.train.opened import open_model, opened

Captured = pytest.CaptureFixture[str]
X, Y = shapes(40)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "two.npz", x=X, y=Y)
    done = session.create(
        str(folder / "two.npz"), net="lenet5", settings={"epochs": 2}, out=folder / "run"
    )
    done.run()
    done.finish()
    done.folder.close()
    return folder / "run"


def test_three_ways_to_the_same_model(run: Path, tmp_path: Path) -> None:
    wanted = Model.load(run)
    wanted.save(tmp_path / "saved.safetensors")
    shutil.copy(run / "best.safetensors", tmp_path / "moved.safetensors")
    ways = run / "best.safetensors", tmp_path / "saved.safetensors", tmp_path / "moved.safetensors"
    for path in ways:
        model = open_model(path)
        assert model.about() == wanted.about() and model.standard is not None
        np.testing.assert_array_equal(model.predict(X), wanted.predict(X))
    assert opened(ways[0]).folder is not None and opened(ways[1]).folder is None
    assert opened(run).file == run / "best.safetensors"
    assert Model.load(str(run), dtype="float16").dtype == "float16"


def test_the_class_that_was_asked(run: Path) -> None:
    class Mine(Model):
        pass

    assert type(Mine.load(run)) is Mine and type(open_model(run)) is Model


def test_without_its_best_weights_a_run_has_its_last(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/best.safetensors").unlink()
    found = opened(tmp_path / "run")
    assert found.file.name == "last.safetensors" and found.model.input_shape == (1, 8, 8)


def test_a_link_to_the_weights_of_a_run(run: Path, tmp_path: Path) -> None:
    """In a folder whose names are ours a link is refused, whichever way one comes to it."""
    shutil.copytree(run, tmp_path / "run")
    best = tmp_path / "run/best.safetensors"
    best.unlink()
    best.symlink_to(run / "best.safetensors")
    for path in (tmp_path / "run", best):
        with pytest.raises(ValueError, match="must be a file, is a link"):
            Model.load(path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("run/last.safetensors", "is a part of a run, what it resumes from; give the run's folder"),
        ("run/config.toml", "is a part of a run; give the run's folder, or its best.safetensors"),
        ("run/metrics.csv", "is a part of a run"),
        ("model.onnx", "is an ONNX file; Model.from_onnx, `faltung run` and `faltung train --net"),
        ("resnet18.pth", "is weights without their network; `faltung convert FILE --net NAME"),
        ("weights.safetensors", "is weights without their network; `faltung convert FILE --net"),
        ("model.keras", "is a file of Keras; model.export(FILE, format='onnx') there makes"),
        ("model.pkl", "is a pickle, which can run any code: not read"),
        ("alone/last.safetensors", "is a checkpoint without its network; give the run's folder"),
        ("pictures", "is no run, it has no config.toml; a folder of samples is what `faltung tr"),
        (".", "is no run, it has no config.toml; it holds the runs run: give one of them"),
        ("saved", "is no run, it has no config.toml; it holds the file m.safetensors: give that"),
        ("none", "no such file or folder"),
        ("text.txt", "not a whole safetensors file"),
    ],
)
def test_all_else_says_what_it_is(name: str, says: str, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for folder in ("pictures/cat", "pictures/dog", "saved", "alone"):
        (tmp_path / folder).mkdir(parents=True)
    Model(nn.Linear(2), (3,)).save(tmp_path / "saved/m.safetensors")
    shutil.copy(run / "last.safetensors", tmp_path / "alone/last.safetensors")
    save_tensors(tmp_path / "weights.safetensors", {"fc.weight": np.ones((2, 3), np.float32)})
    for file in ("model.onnx", "resnet18.pth", "model.keras", "model.pkl", "text.txt"):
        (tmp_path / file).write_bytes(b"something")
    where = str(tmp_path / name)
    with pytest.raises((ValueError, OSError), match=f"^{re.escape(where)}: {re.escape(says)}"):
        Model.load(where)


COMMANDS = {
    "predict": ["{x}"],
    "evaluate": ["{data}"],
    "look": ["{x}", "--out={out}"],
    "summary": [],
    "profile": ["--repeats=1"],
    "bits": ["{data}", "--quick"],
    "export": ["{out}.onnx"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_all_three(
    command: str, run: Path, tmp_path: Path, capsys: Captured
) -> None:
    for module in ("PIL", "onnx"):
        pytest.importorskip(module)
    Model.load(run).save(tmp_path / "saved.safetensors")
    np.save(tmp_path / "x.npy", X[0])
    x, y = shapes(40, seed=5)  # others than the run was trained on
    np.savez(tmp_path / "data.npz", x=x, y=y)
    said = []
    for number, model in enumerate((run, run / "best.safetensors", tmp_path / "saved.safetensors")):
        names = {
            "x": tmp_path / "x.npy",
            "data": tmp_path / "data.npz",
            "out": tmp_path / f"o{number}",
        }
        words = [word.format(**names) for word in COMMANDS[command]]
        capsys.readouterr()
        assert main([command, str(model), *words]) == 0
        said.append(capsys.readouterr().out)
    if command in ("predict", "evaluate"):
        # Of a run it is also said which samples it was trained on.
        assert said[0] == said[1] and said[0].startswith(said[2].rstrip())


def test_a_model_alone_is_compressed_with_data(run: Path, tmp_path: Path) -> None:
    """The data have to give all three parts, and to fit."""
    from faltung.compress.parts import open_run

    Model.load(run).save(tmp_path / "m.safetensors")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    with pytest.raises(
        ValueError, match=r"m\.safetensors: is a model alone, without its run: give"
    ):
        open_run(tmp_path / "m.safetensors")
    origin = open_run(tmp_path / "m.safetensors", str(tmp_path / "data.npz"))
    assert [len(part) for part in (origin.parts.train, origin.parts.choose)] == [32, 4]
    assert origin.config["net"] == {"name": "m"} and origin.best is None
    np.savez(tmp_path / "other.npz", x=X, y=np.arange(40) % 3)
    with pytest.raises(ValueError, match=r"the classes \('0', '1', '2'\): must be \('0', '1'\)"):
        open_run(tmp_path / "m.safetensors", str(tmp_path / "other.npz"))
