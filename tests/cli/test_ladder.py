"""`faltung ladder`: a table, a picture and JSON of the same numbers."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from runs import shapes

from faltung.cli.main import main

pytest.importorskip("constriction")
Captured = pytest.CaptureFixture[str]


def test_table_picture_and_json(tmp_path: Path, capsys: Captured) -> None:
    x, y = shapes(60, (16,))
    np.savez(tmp_path / "s.npz", x=x, y=y)
    words = ["ladder", str(tmp_path / "s.npz"), "--epochs=2", "--quick"]
    path = tmp_path / "l.svg"
    assert main([*words, f"--out={path}"]) == 0
    out = capsys.readouterr().out
    assert "dense matrix" in out and "C_out · C_in · k = " in out and f"{path}: the picture" in out
    ElementTree.parse(path)
    assert main([*words, f"--out={path}"]) == 2
    assert "already exists; --force overwrites it" in capsys.readouterr().err
    assert main([*words, f"--out={path}", "--force", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rungs"][0]["name"] == "dense matrix" and found["picture"] == str(path)
    for rung in found["rungs"]:
        assert f"{rung['bytes']:,}" in out


def test_what_is_refused(tmp_path: Path, capsys: Captured) -> None:
    for words, says in (
        (["digits", "--out=x.png"], "must end in .svg"),
        (["nowhere"], "no such file"),
        (["digits", "--epochs=0"], "epochs=0"),
    ):
        assert main(["ladder", *words]) == 2
        assert says in capsys.readouterr().err
