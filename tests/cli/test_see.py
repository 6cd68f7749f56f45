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
    assert '{"spec": "n1 c1>1 8x16 k3 p1 m:circular"}' in Path(name).read_text("utf-8")
    assert main(["see"]) == 0 and Path("see.html").exists()
    assert main(["see"]) == 2
    assert "see.html: already exists; --force overwrites it" in capsys.readouterr().err
    assert main(["see", "--force"]) == 0
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["see", "--out", str(tmp_path), "--force", "--open"]) == 0
    assert opened == [(tmp_path / "see.html").as_uri()]


def test_what_is_no_convolution_is_refused(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "page.html"
    assert main(["see", "c1>1 8 k9", "--out", str(path)]) == 2
    said = capsys.readouterr().err
    assert "must not be larger than the padded input" in said and said.count("\n") == 1
    assert not path.exists()
