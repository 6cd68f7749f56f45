"""`faltung look`: a page for every kind of sample, pictures on request, hostile names, refusals."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from faltung import Model
from faltung.cli.main import main
from faltung.data.open import open_source

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]
HOSTILE = "<script>alert(1)</script>&amp;\"'"


@pytest.fixture
def sample(trained: Trained, tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """kind -> a run, and a file with one sample of its data."""

    def get(kind: str) -> tuple[Path, Path]:
        run, data = trained(kind)
        np.save(tmp_path / "one.npy", open_source(data).read([1])[0])
        return run, tmp_path / "one.npy"

    return get


Sample = Callable[[str], tuple[Path, Path]]


class Words(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.said = "", set[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.said += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", ["digits", "series", "volumes", "numbers", "maps", "text"])
def test_a_page_for_every_kind(kind: str, sample: Sample, capsys: Captured, tmp_path: Path) -> None:
    run, file = sample(kind)
    capsys.readouterr()
    target = tmp_path / "seen.html"
    assert main(["look", str(run), str(file), "--out", str(target)]) == 0
    first, *files = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ") and first.endswith("%") == (kind != "numbers")
    assert files == [str(target)]
    page = target.read_text()
    words = Words(page)
    assert "one.npy" in words.text and "The way through the network" in words.text
    assert "script" not in words.tags and len(page) < 2_000_000
    assert not [said for said in words.said if said.startswith("http")]
    for layer in Model.load(run).summary().rows:
        if not layer.follows and "Parallel" not in layer.kind:
            assert layer.name.rpartition(".")[2] in words.text or "." in layer.name
    assert ("Filters of the first layer" in words.text) == (kind != "text")


def test_single_pictures_on_request(sample: Sample, capsys: Captured, tmp_path: Path) -> None:
    from PIL import Image

    run, file = sample("digits")
    folder = tmp_path / "pictures"
    capsys.readouterr()
    assert main(["look", str(run), str(file), "--pictures", str(folder)]) == 0
    _, page, *files = capsys.readouterr().out.splitlines()
    assert page == str(run / "look-one.html")
    names = [Path(name).name for name in files]
    assert names[0] == "filters.png" and names[-1] == "grad-cam.png"
    assert len(names) > 4 and all(name.startswith("maps-") for name in names[1:-1])
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    for name in files:
        with Image.open(name) as image:
            image.load()
            assert min(image.size) > 1


def test_beside_the_run_and_for_a_model_of_its_own(
    sample: Sample, capsys: Captured, tmp_path: Path
) -> None:
    run, file = sample("digits")
    assert main(["look", str(run / "best.safetensors"), str(file)]) == 0
    page = (run / "look-one.html").read_text()
    assert main(["look", str(run), str(file)]) == 0  # again
    assert (run / "look-one.html").read_text().replace(str(run), "") == page.replace(
        str(run / "best.safetensors"), ""
    )
    Model.load(run).save(tmp_path / "mine.safetensors")
    assert main(["look", str(tmp_path / "mine.safetensors"), str(file)]) == 0
    assert (tmp_path / "look-one.html").exists()


def test_any_picture(sample: Sample, tmp_path: Path) -> None:
    from PIL import Image

    run, _ = sample("digits")
    Image.fromarray(np.arange(60 * 40, dtype=np.uint8).reshape(60, 40)).save(tmp_path / "a.png")
    assert main(["look", str(run), str(tmp_path / "a.png"), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "look-a.html").exists()


def test_another_class_and_another_layer(sample: Sample, capsys: Captured, tmp_path: Path) -> None:
    run, file = sample("digits")
    found = {}
    for name, more in (
        ("a", ["--class", "3"]),
        ("b", ["--class", "8"]),
        ("c", ["--class", "3", "--layer", "conv1"]),
    ):
        out = tmp_path / f"{name}.html"
        assert main(["look", str(run), str(file), "--out", str(out), *more]) == 0
        page = out.read_text()
        found[name] = re.findall(r'<img src="([^"]*)" alt="Grad-CAM', page)
        assert f"<bdi><b>{more[1]}</b></bdi>" in page
    assert found["a"][0] not in (found["b"][0], found["c"][0])
    assert f"{file}: 8 " in capsys.readouterr().out


def test_hostile_names_stay_text(sample: Sample, tmp_path: Path) -> None:
    run, file = sample("digits")
    model = Model.load(run)
    model.classes = tuple(f"{HOSTILE}{i}" for i in range(10))
    model.save(tmp_path / "evil.safetensors")
    bad = tmp_path / "<img src=x onerror=alert(1)>.npy"
    bad.write_bytes(file.read_bytes())
    out = tmp_path / "page.html"
    assert main(["look", str(tmp_path / "evil.safetensors"), str(bad), "--out", str(out)]) == 0
    words = Words(out.read_text())
    assert f"{HOSTILE}1" in words.text and bad.name in words.text
    assert "script" not in words.tags and "x" not in words.said


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--class", "ten"], "--class ten: must be one of 0, 1, 2"),
        (["--layer", "conv9"], "--layer conv9: must be a layer of the summary: conv"),
        (["--layer", "linear1"], "--layer linear1: has one position; others have more"),
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
    said = refused(capsys, text, file, "--pictures", tmp_path / "there")
    assert "text cannot be drawn; leave the option out" in said
    assert not (text / "look-one.html").exists()
    assert "config.toml" in refused(capsys, tmp_path, file)


def test_a_folder_that_cannot_be_made(sample: Sample, capsys: Captured, tmp_path: Path) -> None:
    run, file = sample("digits")
    (tmp_path / "there").write_text("")
    assert "there" in refused(capsys, run, file, "--pictures", tmp_path / "there")
