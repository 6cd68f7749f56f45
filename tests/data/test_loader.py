"""Batches: the same whenever they are asked for, and what each holds."""

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data import folder, loader
from faltung.data.augment import Augment
from faltung.data.digits import digits
from faltung.data.loader import Batch, Loader
from faltung.data.open import open_source
from faltung.data.source import ArraySource, Subset, split
from faltung.data.standard import Standard, standardise

X = np.random.default_rng(0).random((23, 2, 6, 5)).astype(np.float32)
Y = np.arange(23) % 3
SOURCE = ArraySource(X, Y)
AUGMENT = Augment(shift=2, flip=True, cutout=2, jitter=0.1)


def same(one: Batch, two: Batch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch", [1, 4, 23, 100])
def test_every_sample_once(batch: int, shuffle: bool, drop_last: bool) -> None:
    if drop_last and batch > 23:
        return
    made = Loader(SOURCE, batch, seed=0, shuffle=shuffle, drop_last=drop_last)
    batches = list(made.epoch(2))
    assert len(batches) == len(made)
    indices = np.concatenate([b.indices for b in batches])
    count = 23 // batch * batch if drop_last else 23
    assert len(set(indices)) == len(indices) == count
    assert (list(indices) == list(range(count))) is (not shuffle)
    for x, y, i, _ in batches:
        np.testing.assert_array_equal(x, X[i])
        np.testing.assert_array_equal(y, Y[i])
    assert {len(b.x) for b in batches[:-1]} <= {batch}


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(next(iter(Loader(SOURCE, 23, seed=seed).epoch(epoch))).indices)
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


@pytest.mark.parametrize("prefetch", [0, 1, 2])
@pytest.mark.parametrize("lazy", [False, True])
def test_going_on_in_the_middle(lazy: bool, prefetch: int, two_classes: Path) -> None:
    """Batch k of epoch e is the same, whatever was read before, and in whatever thread."""
    source = open_source(two_classes) if lazy else SOURCE
    more = {"seed": 5, "augment": AUGMENT, "standard": standardise(source)}
    batches = list(Loader(source, 2, **more, prefetch=0).epoch(3))
    for start in range(len(batches) + 1):
        again = Loader(source, 2, **more, prefetch=prefetch)
        assert again.threaded is (lazy and prefetch > 0)
        rest = list(again.epoch(3, start))
        assert len(rest) == len(batches) - start
        assert all(same(a, b) for a, b in zip(rest, batches[start:], strict=True))


def test_augmentation_differs_from_batch_to_batch() -> None:
    source = ArraySource(np.ones((8, 1, 9, 9), np.float32))
    made = Loader(source, 4, seed=0, augment=Augment(jitter=1.0))
    noise = [b.x for epoch in (0, 1) for b in made.epoch(epoch)]
    assert len({x.tobytes() for x in noise}) == 4


def test_augmented_then_standardised() -> None:
    standard = Standard((0.5, 0.25), (2.0, 4.0))
    plain = next(iter(Loader(SOURCE, 23, seed=1, augment=Augment(shift=1)).epoch(0)))
    both = next(
        iter(Loader(SOURCE, 23, seed=1, augment=Augment(shift=1), standard=standard).epoch(0))
    )
    np.testing.assert_array_equal(both.x, standard(plain.x))


def test_jitter_counts_in_the_spread_of_the_training_part() -> None:
    standard = Standard((0.0, 0.0), (10.0, 0.1))
    made = Loader(SOURCE, 23, seed=1, augment=Augment(jitter=0.5), standard=standard)
    (batch,) = made.epoch(0)
    noise = batch.x - standard(X[batch.indices])
    np.testing.assert_allclose(noise.std((0, 2, 3)), 0.5, rtol=0.15)


def test_batches_are_ones_own() -> None:
    for prefetch in (0, 2):
        batch = next(iter(Loader(SOURCE, 23, seed=0, shuffle=False, prefetch=prefetch).epoch(0)))
        batch.x[:] = 0
        batch.y[:] = 9
    np.testing.assert_array_equal(SOURCE.read(range(23)), X)
    np.testing.assert_array_equal(SOURCE.targets, Y)


def test_text_stays_whole() -> None:
    source = ArraySource(np.arange(12).reshape(6, 2), Y[:6], kind="text")
    (batch,) = Loader(source, 6, seed=0).epoch(0)
    assert batch.x.dtype == np.int64


def test_parts_and_names() -> None:
    """The numbers in a batch are those of the part, and lead to names."""
    train, held = split(digits(), 0.2, 0)
    batch = next(iter(Loader(held, 16, seed=0).epoch(0)))
    names = [held.names[i] for i in batch.indices]
    np.testing.assert_array_equal(digits().read([int(n) for n in names]), batch.x)
    assert len(train) + len(held) == 1797


def test_large_batches_are_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Loader(SOURCE, 23, seed=0).threaded
    monkeypatch.setattr(loader, "MIN_PREFETCH_BYTES", X.nbytes)
    made = Loader(SOURCE, 23, seed=0)
    assert made.threaded and not Loader(SOURCE, 23, seed=0, prefetch=0).threaded
    monkeypatch.setattr(loader, "MIN_PREFETCH_BYTES", 0)
    batches = Loader(SOURCE, 1, seed=0).epoch(0)
    next(batches)
    assert "faltung-read" in {thread.name for thread in threading.enumerate()}
    assert len(list(batches)) == 22
    assert "faltung-read" not in {thread.name for thread in threading.enumerate()}


def test_a_file_that_breaks_in_the_middle(
    two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_KEPT_BYTES", 0)
    made = Loader(open_source(two_classes), 2, seed=0, shuffle=False)
    (two_classes / "dog" / "d.png").write_bytes(b"overwritten")
    taken = []
    with pytest.raises(ValueError, match=r"^dog/d\.png: is no picture"):
        for batch in made.epoch(0):
            taken.append(batch)
    assert len(taken) == 1
    assert not [t for t in threading.enumerate() if t.name == "faltung-read"]


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        (SOURCE, {"batch": 0}, "batch=0: must be at least 1"),
        (SOURCE, {"batch": 2.5}, "batch=2.5: must be an int"),
        (SOURCE, {"seed": -1}, "seed=-1: must be at least 0"),
        (SOURCE, {"prefetch": -1}, "prefetch=-1"),
        (SOURCE, {"batch": 24, "drop_last": True}, "batch=24: more than the 23 samples"),
        (SOURCE, {"augment": Augment(series_shift=1)}, "series_shift=1: is for series"),
        (SOURCE, {"standard": Standard((0.0,), (1.0,))}, "standard: has 1 channels, the source 2"),
        (Subset(SOURCE, []), {}, "source: contains no samples"),
    ],
)
def test_refusals(source: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Loader(source, **{"batch": 4, "seed": 0, **more})


def test_places_that_are_none() -> None:
    made = Loader(SOURCE, 4, seed=0)
    with pytest.raises(ValueError, match="start=7: an epoch has 6 batches"):
        made.epoch(0, 7)
    with pytest.raises(ValueError, match="number=-1"):
        made.epoch(-1)


# Drawn --------------------------------------------------------------------------------------------

UNEQUAL = ArraySource(np.arange(1000.0).reshape(1000, 1, 1), np.repeat([0, 1, 2], [900, 90, 10]))


def drawn(epoch: int = 0, batch: int = 1000, seed: int = 0, start: int = 0) -> np.ndarray:
    made = Loader(UNEQUAL, batch, seed=seed, sampler="balanced")
    return np.concatenate([b.indices for b in made.epoch(epoch, start)])


def test_every_class_is_drawn_as_often() -> None:
    """As by PyTorch's ``WeightedRandomSampler``: with replacement, 1 / 3 of each class."""
    counts = np.bincount(np.concatenate([UNEQUAL.targets[drawn(e)] for e in range(20)]))
    assert np.abs(counts / 20_000 - 1 / 3).max() < 0.015
    within = np.bincount(np.concatenate([drawn(e) for e in range(20)]), minlength=1000)[990:]
    assert within.min() > 500 and within.max() < 840  # 667 of each, with deviation 26
    assert len(drawn()) == 1000


def test_a_draw_is_a_function_of_seed_and_position() -> None:
    whole = drawn(3, batch=1000)
    for batch in (1, 7, 64):
        np.testing.assert_array_equal(drawn(3, batch=batch), whole)
        np.testing.assert_array_equal(drawn(3, batch, start=2), whole[2 * batch :])
    assert len({drawn(e, seed=s).tobytes() for e in range(3) for s in range(3)}) == 9


def test_samples_without_a_class_are_not_drawn() -> None:
    source = ArraySource(X, Y)
    source.targets = np.where(Y == 1, -1, Y)
    (only,) = Loader(source, 23, seed=0, sampler="balanced").epoch(0)
    assert set(source.targets[only.indices]) == {0, 2}


@pytest.mark.parametrize(
    ("source", "sampler", "message"),
    [
        (ArraySource(X, np.ones((23, 2))), "balanced", "targets are numbers; it needs a class of"),
        (ArraySource(X, np.ones((23, 6, 5), int) * 0), "balanced", "every position has a class"),
        (SOURCE, "fair", "sampler='fair': must be one of shuffled, balanced"),
    ],
)
def test_what_cannot_be_drawn(source: ArraySource, sampler: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loader(source, 4, seed=0, sampler=sampler)
