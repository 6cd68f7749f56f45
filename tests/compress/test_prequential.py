"""Labels one after the other: what can be learned is short, chance is not; kills cost nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from runs import source

from faltung import Model, nn
from faltung.compress import prequential as module
from faltung.compress.prequential import BLOCKS, TRAINING, Prequential, ends, prequential
from faltung.data.source import ArraySource, Source
from faltung.train import loop
from faltung.train.interrupts import Stopped
from faltung.train.settings import Settings

pytest.importorskip("tomli_w")

SETTINGS = Settings(epochs=15, batch=16, smoothing=0.05)


def told(place: Path, samples: Source) -> Prequential:
    net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    return prequential(Model(net, (1, 8, 8), classes=["a", "b"]), SETTINGS, samples, place)


def chance(count: int) -> ArraySource:
    x, _ = source(count).read(range(count)), None
    return ArraySource(x, np.random.default_rng(3).integers(0, 2, count))


def test_blocks_double() -> None:
    assert ends(200, 2, 32) == [32, 64, 128, 200]
    assert ends(200, 10, 32) == [40, 80, 160, 200]
    assert ends(20, 2, 32) == [20] and ends(32, 2, 32) == [32]
    for batch in range(1, 40):
        for end in ends(5000, 3, batch)[:-1]:
            assert batch == 1 or end % min(batch, end) != 1


def test_what_can_be_learned_is_short_and_chance_is_not(tmp_path: Path) -> None:
    real = told(tmp_path / "real", source(128))
    assert real.code.labels == 128 and real.code.bits < 0.85 * 128
    random = told(tmp_path / "chance", chance(128))
    plain = 128 + 0.5 * np.log2(128) + 2
    assert 126 < random.code.bits < plain + len(random.blocks) + 2


def test_stopped_and_gone_on_with_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = told(tmp_path / "whole", source(150))
    place, stop = tmp_path / "parts", [5, 9]

    class Once(loop.Loop):
        def _batch(self, *arguments: object) -> None:
            super()._batch(*arguments)  # type: ignore[arg-type]
            if stop and self.position.step == stop[0]:
                stop.pop(0)
                raise Stopped

    monkeypatch.setattr(module, "Loop", Once)
    for _ in range(2):
        with pytest.raises(Stopped):
            told(place, source(150))
        assert (place / TRAINING).is_dir()
    assert told(place, source(150)) == whole
    assert not (place / TRAINING).exists()
    written = (place / BLOCKS).read_bytes()
    monkeypatch.setattr(module, "Loop", None)  # nothing is trained again
    assert told(place, source(150)) == whole and (place / BLOCKS).read_bytes() == written


def test_another_question_begins_anew(tmp_path: Path) -> None:
    first = told(tmp_path, source(70))
    assert told(tmp_path, chance(70)) != first
    assert json.loads((tmp_path / BLOCKS).read_text())["blocks"]


@pytest.mark.parametrize("text", ["{", "[]", '{"key": 1}', "null", '{"key": "K", "blocks": [{}]}'])
def test_a_journal_that_lies(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Teller, "_key", lambda self: "K")
    (tmp_path / BLOCKS).write_text(text)
    if text == '{"key": 1}':
        assert told(tmp_path, source(40)).code.labels == 40
        return
    with pytest.raises(ValueError, match=r"blocks\.json: cannot be read, .*; remove it"):
        told(tmp_path, source(40))


def test_one_class_is_told_by_frequencies(tmp_path: Path) -> None:
    x = source(80).read(range(80))
    found = told(tmp_path, ArraySource(x, np.zeros(80, int)))
    assert all(block.network is None for block in found.blocks)
    assert found.code.bits == pytest.approx(np.log2(81))
