"""A network for texts: trained on files, and predicting sentences from its run alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import rows

from faltung import Model
from faltung.cli.given import is_sentence
from faltung.cli.main import main

pytest.importorskip("tokenizers")
Captured = pytest.CaptureFixture[str]
SMALL = ["--set=features=16", "--set=maps=8", "--batch=8", "--lr=0.02"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Sentences in a table, all of which say what they are."""
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(48):
        filler = " ".join(rng.choice(["film", "day", "we", "saw", "the", "a"], 6))
        lines.append(f'"{filler}, {("awful", "lovely")[i % 2]} {filler}",{("no", "yes")[i % 2]}')
    (tmp_path / "reviews.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "reviews.csv"


def test_sentences_from_the_run_alone(reviews: Path, tmp_path: Path, capsys: Captured) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(reviews), *SMALL, "--epochs=12", f"--out={run}"]) == 0
    assert "48 texts" in capsys.readouterr().out
    assert main(["evaluate", run, str(reviews)]) == 0
    shutil.copytree(run, tmp_path / "copy")
    assert main(["train", f"--resume={run}", "--epochs=13"]) == 0
    reviews.write_text(reviews.read_text() + "another lovely film,yes\n")
    assert main(["train", f"--resume={tmp_path / 'copy'}", "--epochs=13"]) == 2
    reviews.unlink()
    (tmp_path / "new.txt").write_text("We saw an AWFUL film")
    sentence = "=what a lovely, lovely day\nit was"
    capsys.readouterr()
    assert main(["predict", run, "we saw a lovely film", str(tmp_path / "new.txt"), sentence]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("we saw a lovely film") and "  yes " in first.split("%")[0]
    assert "  no " in second.split("%")[0] and "\\nit was" in third
    assert main(["predict", run, sentence, "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("\"'=what a lovely, lovely day\\nit")
    assert main(["look", run, str(tmp_path / "new.txt"), f"--out={tmp_path / 'seen.html'}"]) == 0
    shown = re.findall(r'<span class="h\d+">(.*?)</span>', (tmp_path / "seen.html").read_text())
    assert shown == ["we", "saw", "an", "awful", "film"] or shown[2] == "[UNK]"
    capsys.readouterr()
    assert main(["predict", run, "nothing.txt"]) == 1
    assert "nothing.txt: no such file" in capsys.readouterr().err
    model = Model.load(run)
    assert model.words is not None and "lovely" in model.words
    model.save(tmp_path / "model.safetensors")
    assert Model.load(tmp_path / "model.safetensors").words == model.words
    assert main(["predict", str(tmp_path / "model.safetensors"), "a lovely film"]) == 0
    assert "yes" in capsys.readouterr().out


def test_another_run_takes_its_words(reviews: Path, tmp_path: Path, capsys: Captured) -> None:
    first, second = str(tmp_path / "one"), str(tmp_path / "two")
    assert main(["train", str(reviews), *SMALL, "--epochs=1", f"--out={first}"]) == 0
    reviews.with_name("other.csv").write_text(
        reviews.read_text().replace("lovely", "brilliant") + "x y z,no\n" * 4
    )
    other = str(reviews.with_name("other.csv"))
    words = ["train", other, f"--from={first}", "--epochs=1", "--batch=8", f"--out={second}"]
    assert main(words) == 0
    assert Model.load(second).words == Model.load(first).words
    before = rows(Path(second))
    (Path(second) / "last.safetensors").unlink()
    assert main(["train", f"--resume={second}"]) == 0 and rows(Path(second)) == before


def test_what_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two words").touch()
    for word in ("great", "a sentence.", "see a/b and c.txt", "x" * 5000):
        assert is_sentence(word)
    for word in ("review.txt", "two words", "folder/review", "/etc/passwd"):
        assert not is_sentence(word)
