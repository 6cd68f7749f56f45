"""One mapping in fewer and fewer numbers: formulas, what each can do, and the picture."""

from itertools import pairwise
from math import prod
from xml.etree import ElementTree

import numpy as np
import pytest
from runs import shapes

from faltung import Model
from faltung.compress import palettes
from faltung.compress.ladder import WAYS, Ladder, Rung, climb_down, network, sizes
from faltung.compress.ladder_picture import picture, short
from faltung.data.source import ArraySource, split

pytest.importorskip("constriction")
SHAPES = [(1, 8, 8), (3, 32, 30), (2, 64), (1, 500), (1, 8, 8, 8), (1, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_formulas_count_the_weights(shape: tuple[int, ...]) -> None:
    counts, ends = [], set()
    for way in WAYS:
        net, factors = network(way, shape, 4)
        model = Model(net, shape)
        weights = [p for p in model.graph.parameters if p.name.endswith(".weight")]
        assert [p.size for p in weights[:-1]] == list(map(prod, factors))
        ends.add(weights[-1].shape)
        counts.append(sum(map(prod, factors)))
    assert len(ends) == 1  # all have outputs of the same size
    assert counts[0] >= counts[1] >= counts[2]


@pytest.mark.parametrize("shape", SHAPES)
def test_mappings_follow_each_other(shape: tuple[int, ...]) -> None:
    found = sizes(shape)
    assert (found[0].channels, found[0].positions) == (shape[0], prod(shape[1:]))
    for before, after in pairwise(found):
        assert (before.outputs, before.ends) == (after.channels, after.positions)
    assert found[-1].ends <= 4 ** (len(shape) - 1)


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    made = ArraySource(*shapes(120), kind="picture", classes=["across", "down"])
    seen: list[Rung] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(palettes, "EPOCHS", 3)
        patched.setattr(palettes, "PROBES", 16)
        found = climb_down(*split(made, 0.25, seed=0), epochs=6, quick=True, noted=seen.append)
    assert tuple(seen) == found.rungs
    return found


def test_every_step_is_smaller_and_measured(ladder: Ladder) -> None:
    names = [rung.name for rung in ladder.rungs]
    assert names[:3] == [way.name for way in WAYS] and names[-1] == "coded"
    bytes_, bits = ([getattr(r, n) for r in ladder.rungs] for n in ("bytes", "two_parts"))
    assert bytes_ == sorted(bytes_, reverse=True) and bits == sorted(bits, reverse=True)
    for rung in ladder.rungs:
        assert rung.low is not None and rung.accuracy is not None and rung.high is not None
        assert rung.low <= rung.accuracy <= rung.high and rung.samples == 30
        assert rung.two_parts is not None and rung.two_parts > 8 * (rung.bytes or 0)
    assert ladder.plain == 90


def test_the_picture_is_whole_and_loads_nothing(ladder: Ladder) -> None:
    text = picture(ladder, "How <small>?")
    root = ElementTree.fromstring(text)
    words = " ".join("".join(each.itertext()) for each in root)
    for rung in ladder.rungs:
        assert rung.name in words and rung.formula in words
    assert "How <small>?" in words
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_matrix_that_is_too_large_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from faltung.compress import ladder as module

    monkeypatch.setattr(module, "MOST_WEIGHTS", 10_000)
    monkeypatch.setattr(module._Maker, "_below", lambda self, model: iter(()))
    made = ArraySource(*shapes(60), kind="picture", classes=["across", "down"])
    found = climb_down(*split(made, 0.25, seed=0), epochs=1, quick=True)
    assert found.rungs[0].bytes is None and found.rungs[0].numbers > 10_000
    assert "too large" in picture(found, "x")


def test_what_has_no_ladder() -> None:
    table = ArraySource(np.zeros((9, 4)), np.arange(9) % 2, kind="table")
    numbers = ArraySource(shapes(9)[0], np.linspace(0, 1, 9))
    for source in (table, numbers):
        with pytest.raises(ValueError, match="must be pictures, series or volumes with one label"):
            climb_down(source, source)


def test_short() -> None:
    assert [short(n) for n in (0, 7, 999, 12_345, 1.5e6)] == ["0", "7", "999", "12.3k", "1.5M"]
