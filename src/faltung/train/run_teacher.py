"""The teacher of a run: opened where it lies, and noted, so that a run goes on with the same."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faltung.data.names import printable
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.train.origin import Origin
from faltung.train.places import RELATIVE, check_relative, first_of
from faltung.train.teacher import Teacher

# Entries of the table [teacher] of a config, and their types.
ENTRIES: dict[str, type] = {"path": str, "digest": str, "distil": float, "temperature": float}


def open_teacher(
    path: str | os.PathLike[str], distil: float | None = None, temperature: float | None = None
) -> Teacher:
    """The best weights of a run, or a model in a file. ValueError, OSError: neither."""
    origin = Origin.open(path, option="--teacher")
    return Teacher(origin.model, distil, temperature, path=origin.path)


def teacher_again(found: Mapping[str, Any], where: str, run: str | os.PathLike[str]) -> Teacher:
    """That of a run which goes on; it must not have changed. run: the folder of that run.
    ValueError naming ``where``.
    """
    check_teacher(found, where)

    def opened_as_it_was(table: Mapping[str, Any]) -> Teacher:
        try:
            made = open_teacher(table["path"], found["distil"], found["temperature"])
        except (TypeError, ValueError) as error:
            raise FaltungError(f"{where}: teacher: {error}") from error
        if made.about["digest"] != found["digest"]:
            raise FaltungError(
                f"{where}: {printable(found['path'])}, which this run learns from, has changed "
                "since: start the run anew"
            )
        return made

    return first_of(found, run, opened_as_it_was)


def check_teacher(found: Mapping[str, Any], where: str) -> None:
    """ValueError naming ``where``: an entry of [teacher] that is missing, unknown or misshapen."""
    for name, kind in ENTRIES.items():
        if not isinstance(found.get(name), kind):
            raise FaltungError(
                f"{where}: teacher.{name}={show(found.get(name))}: must be {kind.__name__}"
            )
    check_relative(found, where, "teacher")
    for name in found:
        if name not in (*ENTRIES, RELATIVE["path"]):
            raise FaltungError(f"{where}: teacher.{show(name)}: is not known")


def note(about: Mapping[str, Any], loss: str) -> str:
    """What learning from a teacher means for a run, in a line."""
    path = Path(about["path"])
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    heat = f", at temperature {about['temperature']:g}" if loss == "cross_entropy" else ""
    return f"learns from {printable(path)}: {about['distil']:.0%} of the loss{heat}"
