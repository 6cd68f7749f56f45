"""The folder of a run: writing it, and reading it with due suspicion.

    config.toml        all that is needed to repeat the run, and the format of the folder
    metrics.csv        one line per epoch
    best.safetensors   the weights that did best in validation
    last.safetensors   weights, optimizer state and position in the run
    lr.csv             the range test of the learning rate, where it was to be found
    report.html        written by ``report``

A checkpoint is one file, so weights, optimizer state and position always belong to the same step.
Files are written atomically (``formats.files``), so ``kill -9`` leaves each as it was before or
after. Between two files it can leave the one written later from an older step; so an epoch is
written in the order ``append_metrics``, ``save_best``, ``save_last``, and ``resume`` removes
metrics that are newer than the checkpoint. A newer best file will be written again, with the same
contents.

Nothing in the folder is trusted to be what its name says: a link is replaced where the run writes,
and refused where it reads, so that a run never reaches outside its folder.
"""

import errno
import json
import os
import re
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from faltung.formats.files import make_folder, problem, read_checked, shown, sweep, write_whole
from faltung.formats.tensors import Array, Tensors, Words, load_tensors, save_tensors
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train import lr_find
from faltung.train.lr_find import Points
from faltung.train.metrics import EpochMetrics, from_csv, to_csv
from faltung.train.run_format import (
    FORMAT,
    MAX_TEXT_BYTES,
    decoded,
    position_text,
    read_position,
    read_settings,
    refuse_other_format,
    settings,
    settings_text,
    version,
)

CONFIG, METRICS, RANGE_TEST, BEST, LAST, REPORT = (
    "config.toml",
    "metrics.csv",
    "lr.csv",
    "best.safetensors",
    "last.safetensors",
    "report.html",
)
_STATE = "optimizer/"  # prefix of the optimizer's tensors in last.safetensors


@dataclass(frozen=True)
class Checkpoint:
    """``weights`` and ``state`` (of the optimizer) by name; ``position``: step, epoch (how many
    have ended), batch, and what else the loop keeps (JSON).
    """

    weights: Tensors
    state: Tensors
    position: dict[str, Any]


class RunFolder:
    """One run on disk. ``create`` and ``resume`` open it for writing, by one process at a time,
    ``open`` for reading.

    ``path``: where it is. ``config``: as given to ``create``.
    """

    def __init__(self, path: Path, config: dict[str, Any], lock: int | None = None) -> None:
        self.path = path
        self.config = config
        self._rows: list[EpochMetrics] = []
        self._writes = lock is not None
        self._release = None if lock is None else weakref.finalize(self, os.close, lock)

    # Opening --------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, path: str | os.PathLike[str] | None, config: Mapping[str, Any], name: str = "run"
    ) -> Self:
        """A new run. Without ``path`` in the next of runs/<name>-001, -002, ...

        ``config``: text, numbers, booleans, lists and tables of them; None is left out.
        FileExistsError: the folder holds a run.
        """
        kept = settings(config)
        text = settings_text(kept)
        place = _next_folder(Path("runs"), name) if path is None else Path(path)
        made = path is None or not place.is_dir()
        if path is not None and made:
            make_folder(place)
        lock = _lock(place)
        try:
            _refuse_held(place)
            write_whole(place / CONFIG, text.encode(), own=True)
        except BaseException:
            os.close(lock)
            if made:
                with suppress(OSError):
                    place.rmdir()
            raise
        return cls(place, kept, lock)

    @staticmethod
    def place(path: str | os.PathLike[str] | None) -> Path:
        """Where ``create`` makes a run of this path, or beside where it does; for other paths that
        are relative to it.
        """
        return Path("runs/next") if path is None else Path(path)

    @classmethod
    def begin(cls, path: str | os.PathLike[str]) -> Self:
        """A folder that is locked like that of a run, and becomes one when ``rewrite`` gives it its
        settings, after all its other files. What a killed writer left is removed.
        """
        place = Path(path)
        if not place.is_dir():
            make_folder(place)
        run = cls(place, {}, _lock(place))
        sweep(place)
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A run to read. ValueError or OSError naming the file that is missing or invalid."""
        place = Path(path)
        return cls(place, read_settings(place / CONFIG))

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> Self:
        """A run to continue. Temporary files of a killed writer are removed, and metrics that are
        newer than the checkpoint.
        """
        place = Path(path)
        run = cls(place, read_settings(place / CONFIG), _lock(place))
        try:
            sweep(place)
            last = run.load_last()
            # Not by step: a checkpoint after the last batch of an epoch has that of its metrics.
            epochs = last.position["epoch"] if last else 0
            rows = run.read_metrics()
            run._rows = [row for row in rows if row.epoch <= epochs]
            if len(run._rows) < len(rows):
                run._write_metrics()
        except BaseException:
            run.close()
            raise
        return run

    def rewrite(self, config: Mapping[str, Any]) -> None:
        """Replace config.toml, whole or not at all."""
        self._check_writes()
        kept = settings(config)
        write_whole(self.path / CONFIG, settings_text(kept).encode(), own=True)
        self.config = kept

    def close(self) -> None:
        """Release the lock, which also happens when the process ends or is killed."""
        if self._release is not None:
            self._release()
        self._writes = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def report(self) -> Path:
        """Where ``write_report`` writes."""
        return self.path / REPORT

    def has_checkpoint(self) -> bool:
        """Whether there is something to resume from."""
        return (self.path / LAST).is_file()

    # Checkpoints ----------------------------------------------------------------------------------

    def save_last(
        self,
        weights: Mapping[str, Array],
        position: Mapping[str, Any],
        state: Mapping[str, Array] | None = None,
    ) -> None:
        """Write everything that ``load_last`` returns to one file, atomically.

        ``position``: JSON with the whole numbers step, epoch and batch; all numbers are finite.
        """
        clash = next((name for name in weights if name.startswith(_STATE)), None)
        if clash is not None:
            raise FaltungError(f"weights: {show(clash)}: must not begin with {_STATE}")
        tensors = {**weights, **{_STATE + name: tensor for name, tensor in (state or {}).items()}}
        self._save(LAST, tensors, position_text(position))

    def load_last(self) -> Checkpoint | None:
        """The latest checkpoint; None if the run was stopped before its first."""
        loaded = self._load(LAST)
        if loaded is None:
            return None
        tensors, position = loaded
        own = {name: t for name, t in tensors.items() if not name.startswith(_STATE)}
        state = {n.removeprefix(_STATE): t for n, t in tensors.items() if n not in own}
        return Checkpoint(own, state, position)

    def save_best(
        self,
        weights: Mapping[str, Array | Words],
        position: Mapping[str, Any],
        *,
        coded: bool = False,
    ) -> None:
        """Write the weights only; ``position``: their step, and perhaps how good they are.
        ``coded``: in as few bytes as may be.
        """
        self._save(BEST, weights, position_text(position), coded=coded)

    def load_best(self) -> Checkpoint | None:
        """The best weights, without optimizer state; None if there are none yet."""
        loaded = self._load(BEST)
        return None if loaded is None else Checkpoint(loaded[0], {}, loaded[1])

    def _save(
        self,
        name: str,
        tensors: Mapping[str, Array | Words],
        position: str,
        *,
        coded: bool = False,
    ) -> None:
        self._check_writes()
        metadata = {"faltung": version(), "format": str(FORMAT), "position": position}
        if name == BEST and not coded and isinstance(self.config.get("model"), dict):
            # So that the file alone is a model, wherever it is moved to.
            metadata["about"] = json.dumps(self.config["model"], sort_keys=True)
        save_tensors(self.path / name, tensors, metadata, own=True, coded=coded)

    def _load(self, name: str) -> tuple[Tensors, dict[str, Any]] | None:
        place = self.path / name
        try:
            tensors, metadata = load_tensors(place, own=True)
        except FileNotFoundError:
            return None
        refuse_other_format(shown(place), metadata.get("format"), metadata.get("faltung"))
        return tensors, read_position(shown(place), metadata.get("position", ""))

    def _check_writes(self) -> None:
        if not self._writes:
            raise FaltungError(f"{shown(self.path)}: must be open for writing (`create`, `resume`)")

    # Metrics --------------------------------------------------------------------------------------

    @property
    def history(self) -> tuple[EpochMetrics, ...]:
        """The metrics of this run so far, including those from before a resume."""
        return tuple(self._rows) if self._writes else tuple(self.read_metrics())

    def append_metrics(self, *rows: EpochMetrics) -> None:
        """Add epochs. The file is small and rewritten, so that no line is ever incomplete."""
        self._check_writes()
        before, made = self._rows, list(self._rows)
        for row in rows:
            if made and row.step < made[-1].step:
                raise FaltungError(f"row.step={row.step}: must not be less than {made[-1].step}")
            made.append(row)
        self._rows = made
        try:
            self._write_metrics()
        except BaseException:
            self._rows = before
            raise

    def read_metrics(self) -> list[EpochMetrics]:
        """The metrics in metrics.csv; none if it does not exist yet."""
        place = self.path / METRICS
        try:
            data = read_checked(place, MAX_TEXT_BYTES, own=True)
        except FileNotFoundError:
            return []
        return from_csv(decoded(place, data), shown(place))

    def save_range_test(self, points: Points) -> None:
        """Write what the range test of the learning rate found."""
        self._check_writes()
        write_whole(self.path / RANGE_TEST, lr_find.to_csv(points).encode(), own=True)

    def read_range_test(self) -> Points:
        """What ``save_range_test`` wrote; nothing where the rate was given."""
        place = self.path / RANGE_TEST
        try:
            data = read_checked(place, MAX_TEXT_BYTES, own=True)
        except FileNotFoundError:
            return ()
        return lr_find.from_csv(decoded(place, data), shown(place))

    def _write_metrics(self) -> None:
        write_whole(self.path / METRICS, to_csv(self._rows).encode(), own=True)


# The folder itself --------------------------------------------------------------------------------


def _refuse_held(place: Path) -> None:
    held = next((name for name in (CONFIG, METRICS, BEST, LAST) if (place / name).exists()), None)
    if held is not None:
        raise FileExistsError(
            f"{shown(place)}: must not hold a run, has {held}; resume that one, or name "
            "another folder"
        )


def _next_folder(above: Path, name: str) -> Path:
    """Create <above>/<name>-NNN, one more than the highest that exists."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "run"
    pattern = re.compile(re.escape(stem) + r"-([0-9]{3,9})")
    if above.is_symlink():  # nobody typed this name
        raise FaltungError(
            f"{shown(above)}: must be a folder, is a link; name the folder of the run with --out"
        )
    try:
        with suppress(FileExistsError):
            make_folder(above)
        names = os.listdir(above)
    except OSError as error:
        raise problem(above, error, "no folder made in it") from error
    found = (pattern.fullmatch(name) for name in names)
    number = max((int(match[1]) for match in found if match), default=0) + 1
    while True:
        place = above / f"{stem}-{number:03d}"
        try:
            make_folder(place)
        except FileExistsError:  # another run was faster
            number += 1
        else:
            return place


def _lock(place: Path) -> int:
    """A handle that locks the folder until it is closed or the process ends in any way.

    BlockingIOError: another process has the lock. Where folders cannot be locked (Windows, some
    network disks) nothing is locked.
    """
    try:
        handle = os.open(place if os.name != "nt" else os.devnull, os.O_RDONLY)
    except OSError as error:
        raise problem(place, error, "not opened") from error
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(handle)
            raise BlockingIOError(f"{shown(place)}: another process is writing this run") from None
    return handle
