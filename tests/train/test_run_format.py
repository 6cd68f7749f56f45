"""Settings as TOML and positions as JSON: there and back, and refused."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from faltung.train.run_format import (
    position_text,
    read_position,
    read_settings,
    settings,
    settings_text,
    version,
)

CONFIG = {
    "data": 'digits "x"\n\x1b[2J',
    "seed": np.uint64(2**63 + 1),
    "lr": np.float32(0.1),
    "flags": (True, False),
    "train": {"epochs": 20, "size": [28, 28], "resume": None, "deep": {"path": Path("a/b")}},
    "nothing": None,
}
POSITION = {"step": 30, "epoch": 2, "batch": 5, "best": None, "pcg": 2**127 + 1, "sum": 0.1 + 0.2}


def test_settings_there_and_back(tmp_path: Path) -> None:
    kept = settings(CONFIG)
    assert kept == {
        "data": 'digits "x"\n\x1b[2J',
        "seed": 2**63 + 1,
        "lr": float(np.float32(0.1)),
        "flags": [True, False],
        "train": {"epochs": 20, "size": [28, 28], "deep": {"path": "a/b"}},
    }
    path = tmp_path / "config.toml"
    path.write_text(settings_text(kept), "utf-8", newline="")
    assert read_settings(path) == kept
    whole = tomllib.loads(path.read_text("utf-8"))
    assert (whole["format"], whole["faltung"]) == (2, version())


@pytest.mark.parametrize(
    ("config", "error", "says"),
    [
        ({"a": {"b": object}}, TypeError, r"config\.a\.b=.*: must be text, a number"),
        ({"a": [1, None]}, TypeError, r"config\.a=.*: must not hold None"),
        ({1: 2}, TypeError, "config: 1: must be text"),
        ({"a": "\udcff"}, ValueError, r"config\.a=.*UTF-8"),
        ({"format": 1}, ValueError, r"config\.format: is a name that"),
    ],
)
def test_settings_that_cannot_be_kept(config: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        settings(config)


def test_a_loop_of_tables_ends() -> None:
    loop: dict = {}
    loop["loop"] = loop
    with pytest.raises(ValueError, match="must not be deeper"):
        settings(loop)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "lacks its format: must be 2"),
        (b"format = 3\nfaltung = '9.0'", "format=3, written by faltung 9.0: must be 2 for faltung"),
        (
            b"format = 1\nfaltung = '0.1.0'",
            "; format 1 does not say all that it was trained with, so",
        ),
        (b"format = true", "format=True: must be 2"),
        (b"format = [", "not a run's settings"),
        (b"format = 2\nformat = 2", "not a run's settings"),
        (b"format = 2\nwhen = 2020-01-01", "not a run's settings, config.when="),
        (b"format = 2\na = " + b"[" * 50_000, "not a run's settings"),
        (b"format = 2\na = " + b"[" * 50 + b"]" * 50, "must not be deeper"),
        (b"format = 2 # \xff", "not text, byte 13"),
    ],
)
def test_settings_of_others(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(data)
    with pytest.raises(ValueError) as error:
        read_settings(path)
    assert str(error.value).startswith(f"{path}: ") and says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_position_there_and_back() -> None:
    text = position_text(POSITION)
    assert read_position("x", text) == POSITION
    assert position_text(dict(reversed(list(POSITION.items())))) == text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"step": -1}, "position.step=-1: must be a whole number from 0"),
        ({"epoch": None}, "position.epoch=None"),
        ({"batch": True}, "position.batch=True"),
        ({"best": float("nan")}, "position.best=nan: must be finite"),
        ({"more": [{"a": float("inf")}]}, "position.more[0].a=inf: must be finite"),
    ],
)
def test_positions_that_are_none(change: dict, says: str) -> None:
    with pytest.raises(ValueError) as error:
        position_text(POSITION | change)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "{" * 100_000,
        '{"step":NaN}',
        position_text(POSITION)[:-1],
        '{"step":1e999,"epoch":0,"batch":0}',
        '{"step":1,"epoch":1,"batch":1,"x":1e999}',
    ],
)
def test_positions_of_others(text: str) -> None:
    with pytest.raises(ValueError, match=r"^last: not a position of a run, "):
        read_position("last", text)
