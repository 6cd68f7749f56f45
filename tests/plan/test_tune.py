"""Choices by measurement: made once, stored completely, and checked when read."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung.cli.main import main
from faltung.jit import cache
from faltung.ops.call_cache import Calls
from faltung.plan import tune
from faltung.plan.plan import Plan

X, W = np.ones((2, 8, 12, 12), np.float32), np.ones((16, 8, 3, 3), np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache, with nothing remembered and no plans kept."""
    place = tmp_path / "kept"
    monkeypatch.setenv("FALTUNG_CACHE", str(place))
    monkeypatch.setattr(cache, "fingerprint", lambda *_: "0" * 64)
    forget(monkeypatch)
    return place


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget everything, as in a new process."""
    monkeypatch.setattr(tune, "_known", {})
    monkeypatch.setattr("faltung.ops.run.plans._found", {})
    monkeypatch.setattr("faltung.ops.functional._calls", Calls())


def times(monkeypatch: pytest.MonkeyPatch, fastest: str) -> list[set[str]]:
    """Make measurements favour ``fastest``; returns what was measured, in order."""
    asked: list[set[str]] = []

    def measured(plans: dict[str, Plan], layouts: object) -> dict[str, float]:
        asked.append(set(plans))
        return {name: 1.0 if name == fastest else 2.0 for name in plans}

    monkeypatch.setattr(tune, "measured", measured)
    return asked


def used(call: Callable[[], object]) -> str:
    """The method of the convolution that a call runs."""
    from faltung.ops import run

    found: list[str] = []

    def wrapped(*arguments: object, **options: object) -> object:
        plan = original(*arguments, **options)
        found.append(plan.reasons[0][1][0].name)
        return plan

    original: Callable[..., Plan] = run.built
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "built", wrapped)
        call()
    return found[-1]


def test_what_is_measured_is_taken_and_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = times(monkeypatch, "spatial")
    want = faltung.conv(X, W, precision="strict")
    assert used(lambda: faltung.conv(X, W, tune=True, precision="strict")) == "spatial"
    assert len(asked) == 1 and asked[0] >= {"auto", "spatial"}
    # Another batch, another process: the same choice, without measuring.
    forget(monkeypatch)
    times(monkeypatch, "direct")
    assert used(lambda: faltung.conv(X[:1], W, tune=True, precision="strict")) == "spatial"
    np.testing.assert_array_equal(faltung.conv(X, W, tune=True, precision="strict"), want)
    assert used(lambda: faltung.conv(X, W, precision="strict")) == "direct"
    assert len(cache.names("choice")) == 1
    assert cache.status().endswith(" MiB") and "1 measured choice" in cache.status()


def test_a_better_method_must_be_better_by_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "_load", lambda asked: None)
    monkeypatch.setattr(tune, "_store", lambda *given: None)
    monkeypatch.setattr(tune, "_known", {})
    close = {"auto": 1.0, "spatial": 0.98}
    monkeypatch.setattr(
        tune, "measured", lambda plans, layouts: {n: close.get(n, 2.0) for n in plans}
    )
    assert (
        faltung.Conv(W, tune=True).plan(X).reasons[0][1][0].name
        == faltung.Conv(W).plan(X).reasons[0][1][0].name
    )


def test_every_direction_is_measured_on_arrays_of_its_own(folder: Path) -> None:
    """Without patches: real plans, also for views with odd strides, and correct results."""
    x = np.moveaxis(np.ones((2, 9, 8, 5), np.float32), -1, 1)[:, ::-1]
    w = np.ones((6, 5, 3, 3), np.float32)
    g = faltung.conv(x, w, tune=True)
    np.testing.assert_array_equal(g, np.full(g.shape, 45))
    for tuned in (True, False):
        made = faltung.conv_input_grad(g, w, x.shape, stride=1, tune=tuned, precision="strict")
        assert made[0, 0, 0, 0] == 6 * 45
        made = faltung.conv_weight_grad(x, g, w.shape, tune=tuned, precision="strict")
        assert made[0, 0, 0, 0] == 45 * 2 * 7 * 6
    assert faltung.conv_transpose(g, w, tune=True, stride=2).shape == (2, 5, 15, 13)
    layer = faltung.Conv(w, np.ones(6, np.float32), tune=True)
    np.testing.assert_array_equal(layer(x), g + 1)
    assert len(cache.names("choice")) == 4
    empty = faltung.conv(x[:0], w, tune=True)
    assert empty.shape == (0, 6, 7, 6)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]" * 3,
        b"[" * 20000,
        b"{}",
        json.dumps({"method": "no such", "direction": "forward", "spec": "", "us": {}}).encode(),
        json.dumps({"method": "auto", "direction": "forward", "spec": 1, "us": {}}).encode(),
        json.dumps({"method": "auto", "direction": "\x1b[2J", "spec": "", "us": {}}).encode(),
        json.dumps({"method": "auto", "direction": "forward", "spec": "", "us": []}).encode(),
        json.dumps({"method": "auto", "direction": "", "spec": "", "us": {"auto": "1"}}).encode(),
        json.dumps({"method": ["auto"], "direction": "", "spec": "", "us": {}}).encode(),
    ],
)
def test_a_broken_choice_is_no_choice(
    payload: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = times(monkeypatch, "spatial")
    faltung.conv(X, W, tune=True)
    (name,) = cache.names("choice")
    assert cache.store(name, payload, "choice")
    assert tune.remembered() == []
    forget(monkeypatch)
    assert used(lambda: faltung.conv(X, W, tune=True)) == "spatial"
    assert len(asked) == 2 and len(tune.remembered()) == 1


def test_a_choice_that_others_can_write_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = times(monkeypatch, "spatial")
    faltung.conv(X, W, tune=True)
    place = folder / f"{cache.names('choice')[0]}.choice"
    place.chmod(0o666)
    assert tune.remembered() == []
    forget(monkeypatch)
    faltung.conv(X, W, tune=True)
    assert len(asked) == 2
    # It was written again, completely, with the right permissions.
    assert os.stat(place).st_mode & 0o077 == 0 and len(tune.remembered()) == 1


def test_the_command_lists_and_clears(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times(monkeypatch, "spatial")
    faltung.conv(X, W, tune=True)
    assert main(["cache", "--choices"]) == 0
    out = capsys.readouterr().out
    assert "n1 c8>16 12x12 k3, forward: spatial (spatial 1 s, " in out
    assert main(["cache", "--clear"]) == 0
    assert cache.names("choice") == []


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, want in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("FALTUNG_TUNE", text)
        tune.wanted.cache_clear()
        assert tune.wanted() is want
    monkeypatch.setenv("FALTUNG_TUNE", "yes")
    tune.wanted.cache_clear()
    with pytest.raises(ValueError, match=r"^FALTUNG_TUNE='yes': must be 0 or 1$"):
        faltung.conv(X, W)
    monkeypatch.delenv("FALTUNG_TUNE")
    tune.wanted.cache_clear()
    with pytest.raises(TypeError, match=r"^tune=2: must be True, False or None$"):
        faltung.conv(X, W, tune=2)  # type: ignore[arg-type]
