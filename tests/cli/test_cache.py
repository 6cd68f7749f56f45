"""`faltung cache`: size and clear."""

from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung.cli.main import main


def test_size_and_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    assert main(["cache"]) == 0
    assert str(tmp_path / "kept") in capsys.readouterr().out
    (tmp_path / "kept").mkdir(mode=0o700)
    (tmp_path / "kept" / ("0" * 64 + ".kernel")).write_bytes(b"something")
    (tmp_path / "kept" / "mine.txt").write_text("not a kernel")
    assert main(["cache", "--clear"]) == 0
    assert "removed 1 file\n" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine.txt"]
    x = np.ones((1, 1, 5), np.float32)
    assert faltung.conv(x, np.ones((1, 1, 2), np.float32)).tolist() == [[[2, 2, 2, 2]]]
