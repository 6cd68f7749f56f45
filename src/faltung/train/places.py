"""Where the files lie that a run needs: kept as absolute paths, and relative to the run's folder.

A run that is moved finds its data by the first, one that is moved together with its data by the
second. Which of the two are the right ones is told by their contents, as ever.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from faltung.data.open import NAMED
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

Found = TypeVar("Found")

# Entries of a table that are paths, and what each is called that is relative to the run.
RELATIVE = {"path": "relative", "val": "val_relative"}


def with_relative(table: Mapping[str, Any], run: str | os.PathLike[str]) -> dict[str, Any]:
    """A table of a config with its paths relative to the folder of the run, too."""
    made = dict(table)
    for name, other in RELATIVE.items():
        path = table.get(name)
        if path is None or path in NAMED:
            continue
        base = os.path.realpath(run)
        place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        try:
            made[other] = Path(os.path.relpath(place, base)).as_posix()
        except ValueError:  # another drive
            continue
    return made


def candidates(table: Mapping[str, Any], run: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The table with its paths as they may be now: those relative to the run where these lead to
    something, then as they were written.
    """
    near = dict(table)
    for name, other in RELATIVE.items():
        if table.get(name) is not None and table.get(other) is not None:
            place = os.path.normpath(os.path.join(os.path.realpath(run), table[other]))
            if os.path.exists(place):
                near[name] = place
    if any(near.get(name) != table.get(name) for name in RELATIVE):
        yield near
    yield dict(table)


def first_of(
    table: Mapping[str, Any],
    run: str | os.PathLike[str],
    opened: Callable[[Mapping[str, Any]], Found],
) -> Found:
    """What ``opened`` makes of the first place where it is as it was. Its error: there is none."""
    *near, last = candidates(table, run)
    for place in near:
        try:
            return opened(place)
        except (FaltungError, OSError):
            continue
    return opened(last)


def check_relative(table: Mapping[str, Any], where: str, name: str) -> None:
    """ValueError naming ``where``: an entry for a relative path that is no text."""
    found = table.get(RELATIVE["path"], "")
    if not isinstance(found, str):
        raise FaltungError(f"{where}: {name}.{RELATIVE['path']}={show(found)}: must be str")
