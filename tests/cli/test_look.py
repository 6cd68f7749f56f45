"""`faltung look`: pictures that can be opened, a Grad-CAM where the class is, refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.data.open import open_source

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def sample(trained: Trained, tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """kind -> a run, and a file with one sample of its data."""

    def get(kind: str) -> tuple[Path, Path]:
        run, data = trained(kind)
        np.save(tmp_path / "one.npy", open_source(data).read([1])[0])
        return run, tmp_path / "one.npy"

    return get


Sample = Callable[[str], tuple[Path, Path]]


@pytest.mark.parametrize("kind", ["digits", "series", "volumes", "numbers", "maps"])
def test_pictures_of_every_kind(
    kind: str, sample: Sample, capsys: Captured, tmp_path: Path
) -> None:
    from PIL import Image

    run, file = sample(kind)
    capsys.readouterr()
    assert main(["look", str(run), str(file), "--out", str(tmp_path / "seen")]) == 0
    first, *files = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ") and first.endswith("%") == (kind != "numbers")
    names = [Path(name).name for name in files]
    assert names[0] == "filters.png" and names[-1] == "grad-cam.png"
    assert len(names) > 4 and all(name.startswith("maps-") for name in names[1:-1])
    assert sorted(names) == sorted(path.name for path in (tmp_path / "seen").iterdir())
    for name in files:
        with Image.open(name) as image:
            image.load()
            assert min(image.size) > 1


def test_beside_the_run_by_default(sample: Sample, capsys: Captured) -> None:
    run, file = sample("digits")
    assert main(["look", str(run), str(file)]) == 0
    assert (run / "look-one/grad-cam.png").exists()
    assert main(["look", str(run), str(file)]) == 0  # again


def test_another_class_and_another_layer(sample: Sample, capsys: Captured, tmp_path: Path) -> None:
    run, file = sample("digits")
    found = {}
    for name, more in (
        ("a", ["--class", "3"]),
        ("b", ["--class", "8"]),
        ("c", ["--class", "3", "--layer", "conv1"]),
    ):
        out = tmp_path / name
        assert main(["look", str(run), str(file), "--out", str(out), *more]) == 0
        found[name] = (out / "grad-cam.png").read_bytes()
    assert len(set(found.values())) == 3
    assert f"{file}: 8 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--class", "ten"], "--class ten: must be one of 0, 1, 2"),
        (["--layer", "conv9"], "--layer conv9: must be a layer of the summary: conv"),
    ],
)
def test_refusals(more: list[str], part: str, sample: Sample, capsys: Captured) -> None:
    run, file = sample("digits")
    assert part in refused(capsys, run, file, *more)


def refused(capsys: Captured, *words: object) -> str:
    capsys.readouterr()
    assert main(["look", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def test_files_that_are_no_sample(
    sample: Sample, trained: Trained, capsys: Captured, tmp_path: Path
) -> None:
    run, _ = sample("digits")
    np.save(tmp_path / "two.npy", np.ones((2, 1, 8, 8)))
    assert "holds 2 samples; look draws one" in refused(capsys, run, tmp_path / "two.npy")
    np.save(tmp_path / "large.npy", np.ones((9, 9)))
    assert "(9, 9)" in refused(capsys, run, tmp_path / "large.npy")
    assert "no such file" in refused(capsys, run, tmp_path / "none.png")
    text, file = sample("text")
    assert "was trained on text" in refused(capsys, text, file)
    assert "config.toml" in refused(capsys, tmp_path, file)


def test_a_folder_that_cannot_be_made(sample: Sample, capsys: Captured, tmp_path: Path) -> None:
    run, file = sample("digits")
    (tmp_path / "there").write_text("")
    assert "there" in refused(capsys, run, file, "--out", tmp_path / "there")
