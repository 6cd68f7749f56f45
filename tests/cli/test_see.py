"""`faltung see`: a page for a convolution, never over another, and refusals in one line."""

from pathlib import Path

import pytest

from faltung.cli.main import main

Captured = pytest.CaptureFixture[str]


def test_a_page_for_a_convolution(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["see", "c1>1", "8x16 k3 p1 m:circular"]) == 0
    name = capsys.readouterr().out.strip()
    assert name == "see-n1-c1-1-8x16-k3-p1-m-circular.html"
    made = Path(name).read_text("utf-8")
    assert '"spec": "n1 c1>1 8x16 k3 p1 m:circular"' in made and '"processor": [{' in made
    assert main(["see"]) == 0 and Path("see.html").exists()
    assert main(["see"]) == 2
    assert "see.html: already exists; --force overwrites it" in capsys.readouterr().err
    assert main(["see", "--force"]) == 0
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["see", "--out", str(tmp_path), "--force", "--open"]) == 0
    assert opened == [(tmp_path / "see.html").as_uri()]


def test_what_a_processor_does(tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "page.html"
    options = ["--out", str(page), "--force"]
    assert main(["see", "c4>4 9x9 k3", "--machine", "neon", "--channels-first", *options]) == 0
    made = page.read_text("utf-8")
    assert '"name": "neon"' in made and '"layout": "channels first"' in made
    assert main(["see", "c4>4 9x9 k3", "--measure", *options]) == 0
    assert '"calls": ' in page.read_text("utf-8")
    # Too large for anything but to be looked at.
    assert main(["see", "c1>1 10000000x10000000 k3", *options]) == 0
    assert '"processor"' not in page.read_text("utf-8").partition('id="data"')[2][:200]
    capsys.readouterr()
    for words, said in (
        (["c4>4 9 k3", "--machine", "foo"], "--machine foo: must be one of avx512,"),
        (["c4>4 9 k3", "--machine", "neon", "--measure"], "--machine neon: is not this computer"),
        (["--measure"], "--measure: is for a convolution; name one, or leave it out"),
        (["lenet5", "--machine", "avx2"], "--machine avx2: is for a convolution"),
    ):
        assert main(["see", *words, *options]) == 2
        assert said in capsys.readouterr().err


def test_what_is_no_convolution_is_refused(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "page.html"
    assert main(["see", "c1>1 8 k9", "--out", str(path)]) == 2
    said = capsys.readouterr().err
    assert "must not be larger than the padded input" in said and said.count("\n") == 1
    assert not path.exists()
