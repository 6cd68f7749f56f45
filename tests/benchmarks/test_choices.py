"""The table of choices: every method by name, and how far behind the policy is."""

import pytest

from benchmarks import choices
from benchmarks.layers import Layer


@pytest.mark.parametrize("direction", choices.DIRECTIONS)
def test_a_row(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    took = {"auto": 2.1e-3, "direct": 2.0e-3}
    monkeypatch.setattr(
        choices, "measured", lambda plans, layouts: {n: took.get(n, 1) for n in plans}
    )
    layer = Layer("one", "n2 c8>16 9x9 k3 s2 p1")
    found = choices.choice(layer, direction, precision="strict")
    assert {"auto", "direct"} <= set(found.took_ns) == set(found.said_ns)
    assert found.chosen == "direct" and found.behind == 0
    other = choices.Choice(layer, direction, "spatial", {"direct": 1.0, "auto": 1}, took)
    assert str(other).startswith("     5% ") and "direct 0 ns (said 1 ns)" in str(other)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        choices.main(["--only", "small images", "--channels-first", "--precision", "strict"]) == 0
    )
    out = capsys.readouterr().out
    assert "small images 3x3, batch 64" in out and "1 rows, " in out
