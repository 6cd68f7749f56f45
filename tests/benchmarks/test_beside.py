"""The table of networks by turns with PyTorch."""

import pytest

pytest.importorskip("torch")

from benchmarks import beside
from faltung.runtime import team


def test_beside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "ROWS", (("lenet5", (1, 28, 28), 2, 2),))
    before = team.joined()
    assert beside.main(["--rounds", "1"]) == 0
    assert team.joined() is before
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.count("|") == row.count("|") == len(beside.WAYS) + 4
    assert row.startswith("| lenet5 n2 |") and "inf" not in row
