"""`faltung ladder`: a table, a picture and JSON of the same numbers."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from runs import shapes

from faltung.cli.main import main
from faltung.compress import ladder
from faltung.compress.ladder import Ladder, Rung
from faltung.data.source import Source

pytest.importorskip("constriction")
Captured = pytest.CaptureFixture[str]


LADDER = Ladder(
    48.0,
    2,
    48,
    (1, 16),
    (
        Rung(
            "dense matrix", "N_out · N_in", "8·9", "all", 72, 80, 999, 8000.0, 40.0, 0.9, 0.8, 1, 12
        ),
        Rung("too much", "C_out", "9·9", "too large to be trained here", 81, 81),
        Rung("coded", "bits", "8", "few", 8, 12, 77, 700.5, None, 0.75, 0.5, 0.9, 12),
    ),
)


def test_table_picture_and_json(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = shapes(60, (16,))
    np.savez(tmp_path / "s.npz", x=x, y=y)

    def climb(train: Source, held: Source, *, noted: Any, seed: int, **more: object) -> Ladder:
        assert (len(train), len(held), seed) == (48, 12, 3)
        assert more == {"epochs": 2, "quick": True}
        for rung in LADDER.rungs:
            noted(rung)
        return LADDER

    monkeypatch.setattr(ladder, "climb_down", climb)
    words = ["ladder", str(tmp_path / "s.npz"), "--epochs=2", "--quick", "--seed=3"]
    path = tmp_path / "l.svg"
    assert main([*words, f"--out={path}"]) == 0
    out = capsys.readouterr().out
    for said in ("dense matrix", "N_out · N_in = 8·9: all", "999", "8,000", "75.00%", str(path)):
        assert said in out
    ElementTree.parse(path)
    assert main([*words, f"--out={path}"]) == 2
    assert "already exists; --force overwrites it" in capsys.readouterr().err
    assert main([*words, f"--out={path}", "--force", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rungs"][0]["name"] == "dense matrix" and found["picture"] == str(path)
    assert found["rungs"][2]["bytes"] == 77 and found["plain"] == 48


def test_what_is_refused(tmp_path: Path, capsys: Captured) -> None:
    for words, says in (
        (["digits", "--out=x.png"], "must end in .svg"),
        (["nowhere"], "no such file"),
        (["digits", "--epochs=0"], "epochs=0"),
    ):
        assert main(["ladder", *words]) == 2
        assert says in capsys.readouterr().err
