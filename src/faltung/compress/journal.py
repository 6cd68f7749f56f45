"""The journal of a walk: what it is, and each step that is finished, in one file.

    RUN2/steps/journal.json         plan and finished steps
    RUN2/steps/03-prune/            a step: the folder of a run, with the model as it was measured
    RUN2/steps/03-prune/tuning/     its fine-tuning, while it lasts

A step counts once it is in the journal, which is replaced whole. So a walk that was killed goes on
from the last finished step, or within the fine-tuning of the next; and what was measured is not
measured again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, Self, TypeVar

from faltung.compress.quality import Z
from faltung.formats.files import make_folder, read_checked, shown, sweep, write_whole
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train.run_format import MAX_TEXT_BYTES, decoded, version

FORMAT = 1
STEPS, JOURNAL = "steps", "journal.json"
MOST_STEPS = 1000  # of a journal that is read

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What is done: a means with its strength on the model of another step, then ``epochs`` of
    fine-tuning. ``parent``: that step's number; -1 for the first, the model as it was trained.
    """

    means: str
    parent: int = -1
    strength: float = 0.0
    epochs: int = 0
    by: str = "bytes"


@dataclass(frozen=True)
class Score:
    """A quality on some samples with its interval, and how many points were lost since the first
    step, with its interval; ``by_loss``: how many at least, as the loss tells it; ``loss``: the
    mean.
    """

    value: float
    low: float
    high: float
    lost: float
    lost_low: float
    lost_high: float
    by_loss: float
    loss: float
    samples: int


@dataclass(frozen=True)
class Entry:
    """A finished step. ``digest``, ``bytes``: of its file; ``ms``: for a number of threads, as
    text, its milliseconds and those of the first step, measured in turns. ``left``: layers that
    stayed as they were, and why. ``changed``: False for a means that found nothing to do, whose
    entry has the numbers of its parent.
    """

    step: Step
    said: str
    left: tuple[str, ...]
    changed: bool
    digest: str
    bytes: int
    macs: int
    parameters: int
    ms: Mapping[str, tuple[float, float]]
    choose: Score
    report: Score

    @property
    def lost(self) -> float:
        """Points lost on the samples that choose, as accuracy or as loss tells it, whatever is
        more.
        """
        return max(self.choose.lost, self.choose.by_loss)

    @property
    def loss(self) -> float:
        """The mean loss on the samples that choose."""
        return self.choose.loss

    @property
    def error(self) -> float:
        """The standard error of the quality on the samples that choose, in points."""
        return 100 * (self.choose.high - self.choose.low) / (2 * Z)

    @property
    def speed(self) -> float:
        """How many times as fast as the first step, by one thread."""
        own, first = self.ms["1"]
        return first / own

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """ValueError, TypeError, KeyError: anything else than ``as_dict`` made."""
        times = {
            str(threads): (_number(own), _number(first))
            for threads, (own, first) in found["ms"].items()
        }
        if min(min(pair) for pair in times.values()) <= 0 or "1" not in times:
            raise FaltungError("ms: must be above 0, and of one thread at least")
        return cls(
            step=_filled(Step, found["step"]),
            said=_typed(str, found["said"]),
            left=tuple(_typed(str, each) for each in found["left"]),
            changed=_typed(bool, found["changed"]),
            digest=_typed(str, found["digest"]),
            **{name: _typed(int, found[name]) for name in ("bytes", "macs", "parameters")},
            ms=times,
            choose=_filled(Score, found["choose"]),
            report=_filled(Score, found["report"]),
        )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise FaltungError(f"{show(value)}: must be a number")
    return float(value)


def _typed(kind: type[T], value: object) -> T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise FaltungError(f"{show(value)}: must be {kind.__name__}")
    return value


def _filled(kind: type[T], found: Mapping[str, Any]) -> T:
    """A ``Step`` or a ``Score``, all of whose entries are text, whole numbers or numbers."""
    made = {}
    for each in fields(kind):  # type: ignore[arg-type]
        value = found[each.name]
        wanted = {"str": str, "int": int}.get(str(getattr(each.type, "__name__", each.type)))
        made[each.name] = _number(value) if wanted is None else _typed(wanted, value)
    return kind(**made)


@dataclass(frozen=True)
class Journal:
    """``place``: the folder of the walk; ``plan``: all that the walk depends on; ``entries``: of
    the finished steps; ``end``: how it ended, None while it goes on.
    """

    place: Path
    plan: Mapping[str, Any]
    entries: tuple[Entry, ...] = ()
    end: Mapping[str, Any] | None = None

    @classmethod
    def opened(cls, place: Path, plan: Mapping[str, Any]) -> "Journal":
        """That of a plan in a folder, a new one if there is none. FileExistsError: of another."""
        if not is_walk(place):
            return cls(place, plan).write()
        found = read_journal(place)
        if dict(found.plan) != dict(plan):
            repeat = found.plan.get("repeat", "with other arguments")
            raise FileExistsError(
                f"{shown(place)}: holds another compression ({repeat}): name another folder with "
                "--out"
            )
        return found

    def write(self, **changes: Any) -> "Journal":
        """The journal with changes, on disk."""
        made = replace(self, **changes)
        found = {
            "format": FORMAT,
            "faltung": version(),
            "plan": dict(made.plan),
            "entries": [entry.as_dict() for entry in made.entries],
            "end": made.end,
        }
        steps = made.place / STEPS
        if not steps.is_dir():
            make_folder(steps)
        text = json.dumps(found, indent=1, allow_nan=False)
        write_whole(steps / JOURNAL, text.encode(), own=True)
        return made

    def folder(self, number: int, means: str) -> Path:
        """Of a step."""
        return self.place / STEPS / f"{number:02d}-{means}"


def is_walk(place: Path) -> bool:
    """Whether a folder is that of a walk."""
    return (place / STEPS / JOURNAL).is_file()


def read_journal(place: Path) -> Journal:
    """The journal of a walk. ValueError, OSError: there is none, or it is not a journal."""
    path = place / STEPS / JOURNAL
    sweep(path.parent)
    text = decoded(path, read_checked(path, MAX_TEXT_BYTES, own=True))
    try:
        found = json.loads(text, parse_constant=_no_constant)
        if _typed(int, found["format"]) != FORMAT:
            raise FaltungError(f"format={show(found['format'])}: must be {FORMAT}")
        plan, end = _typed(dict, found["plan"]), found["end"]
        if len(found["entries"]) > MOST_STEPS:
            raise FaltungError(f"entries: must be at most {MOST_STEPS}")
        entries = tuple(map(Entry.from_dict, found["entries"]))
        for number, entry in enumerate(entries):
            if not -1 <= entry.step.parent < max(number, 1) or (entry.step.parent < 0) != (
                number < 1
            ):
                raise FaltungError(
                    f"entries[{number}]: parent {entry.step.parent}: is no such step"
                )
        if end is not None:
            _typed(dict, end)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FaltungError(f"{shown(path)}: not the journal of a walk, {show(error)}") from None
    return Journal(place, plan, entries, end)


def _no_constant(word: str) -> None:
    raise FaltungError(f"{word} is not a number")


def label(entries: tuple[Entry, ...], number: int) -> str:
    """A step in words: the means on its way, with how often each was used in a row, its strength
    where that is a count, and whether the last step was tuned where others of its kind are not.
    """
    last = entries[number].step
    path: list[list[Any]] = []
    while number > 0:
        step = entries[number].step
        if entries[number].changed:
            name = step.means + (f" {step.strength:g}" if step.strength > 1 else "")
            if path and path[0][0] == name:
                path[0][1] += 1
            else:
                path.insert(0, [name, 1])
        number = step.parent
    words = [name if times == 1 else f"{name} x{times}" for name, times in path]
    tuned = [", tuned"] if last.strength > 1 and last.epochs else []
    return "".join([", ".join(words) or "as trained", *tuned])
