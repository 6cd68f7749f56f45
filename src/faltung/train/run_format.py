"""The text formats of a run: settings as TOML, the position as JSON.

Both hold plain values only: text, numbers, booleans, lists, tables.
"""

import json
import math
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faltung.formats.extras import missing
from faltung.formats.files import read_checked, shown
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError

FORMAT = 2  # of the run folder; other numbers are refused
# What older formats lack, so that nothing in them can be relied on.
OLDER = {"1": "does not say all that it was trained with, so it cannot be repeated: train again"}
POSITION = ("step", "epoch", "batch")  # whole numbers from 0 that every position has
MAX_TEXT_BYTES = 1 << 24  # bytes of a run's text file
_OWN = ("format", "faltung")  # keys of config.toml that are not settings
_DEEPEST = 20  # nesting of tables

Plain = dict[str, Any]


def version() -> str:
    """The version of this Faltung."""
    return str(sys.modules[__name__.partition(".")[0]].__version__)


def refuse_other_format(source: object, written: object, by: object) -> None:
    """ValueError unless a file of a run has this format."""
    if isinstance(written, bool) or str(written) != str(FORMAT):
        which = "lacks its format" if written is None else f"format={show(written)}"
        author = f", written by faltung {by}" if isinstance(by, str) and len(by) < 40 else ""
        why = OLDER.get(str(written))
        more = "" if why is None or isinstance(written, bool) else f"; format {written} {why}"
        raise FaltungError(
            f"{source}: {which}{author}: must be {FORMAT} for faltung {version()}{more}"
        )


def plain(name: str, value: object, depth: int = 0) -> Any:
    """``value`` with NumPy scalars, tuples and paths converted to plain values. TypeError names the
    entry that cannot be converted.
    """
    if depth > _DEEPEST:
        raise FaltungError(f"{name}: must not be deeper than {_DEEPEST} tables")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        value = str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FaltungError(f"{name}={show(value)}: must be UTF-8 text") from None
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise FaltungTypeError(f"{name}: {show(key)}: must be text, as all names")
        return {k: plain(f"{name}.{k}", v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(f"{name}[{i}]", v, depth + 1) for i, v in enumerate(value)]
    raise FaltungTypeError(f"{name}={show(value)}: must be text, a number, a list or a table")


# Settings -----------------------------------------------------------------------------------------


def settings(config: Mapping[str, Any]) -> Plain:
    """The settings as they will be read back. None is left out: TOML cannot express it."""
    made = plain("config", config)
    for key in _OWN:
        if key in made:
            raise FaltungError(f"config.{key}: is a name that config.toml reserves")
    return _without_none("config", made)


def _without_none(name: str, table: Plain) -> Plain:
    made = {}
    for key, value in table.items():
        if isinstance(value, dict):
            made[key] = _without_none(f"{name}.{key}", value)
        elif isinstance(value, list) and any(entry is None for entry in value):
            raise FaltungTypeError(f"{name}.{key}={show(value)}: must not hold None")
        elif value is not None:
            made[key] = value
    return made


def settings_text(config: Plain) -> str:
    """The text of config.toml."""
    try:
        import tomli_w
    except ImportError as error:
        raise missing("tomli_w", "train") from error
    head = "# All that is needed to repeat this run.\n"
    return head + tomli_w.dumps({"format": FORMAT, "faltung": version(), **config})


def read_settings(path: Path) -> Plain:
    """The settings in a config.toml. ValueError or OSError in one line with its name."""
    text = decoded(path, read_checked(path, MAX_TEXT_BYTES, own=True))
    try:
        found = plain("config", tomllib.loads(text))
    except (ValueError, TypeError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise FaltungError(
            f"{shown(path)}: not a run's settings, {' '.join(str(error).split())}"
        ) from error
    refuse_other_format(shown(path), found.get("format"), found.get("faltung"))
    return {key: value for key, value in found.items() if key not in _OWN}


def decoded(path: Path, data: bytes) -> str:
    """UTF-8 text. ValueError, naming the file: anything else."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FaltungError(f"{shown(path)}: not text, byte {error.start} is not UTF-8") from None


# Position -----------------------------------------------------------------------------------------


def position_text(position: Mapping[str, Any]) -> str:
    """A position as JSON; the same position gives the same text."""
    made = plain("position", position)
    _check_position("position", made)
    return json.dumps(made, allow_nan=False, sort_keys=True, separators=(",", ":"))


def read_position(source: object, text: str) -> Plain:
    """The position in the metadata of a checkpoint. ValueError names the file."""
    try:
        found = json.loads(text, parse_constant=_no_constant)
        _check_position("position", found)
    except (ValueError, RecursionError) as error:
        raise FaltungError(f"{source}: not a position of a run, {error}") from error
    return dict(found)


def _no_constant(word: str) -> None:
    raise FaltungError(f"{word} is not a number")


def _check_position(name: str, position: object) -> None:
    if not isinstance(position, dict):
        raise FaltungError(f"{name}={show(position)}: must be a table")
    for key in POSITION:
        value = position.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise FaltungError(f"{name}.{key}={show(value)}: must be a whole number from 0")
    _check_finite(name, position)


def _check_finite(name: str, value: object) -> None:
    """ValueError for nan and inf, which JSON cannot express."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _check_finite(f"{name}.{key}", entry)
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            _check_finite(f"{name}[{i}]", entry)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FaltungError(f"{name}={value}: must be finite")
