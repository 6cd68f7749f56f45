"""Grids: a test over all points of a product of cases, layouts, methods, machines.

    @grid(case=CASES, last=[False, True], machine=MACHINES)
    def test_table(case: Case, last: bool, machine: Machine) -> None: ...

is collected as one test, or as a few of ``PART`` points each, and walks a sample of the points:
which ones follows from the seed and the names of the points alone, so that ``--seed N`` brings the
same again. ``--exhaustive`` walks all. A point that fails does not stop the others, and says how it
runs alone: ``--point "edge-one-pixel last=True avx2"``, the words of its name.

An axis called ``machine`` has names of the table; the test gets the row, and runs on it. Named
tuples, or ``rows``, are several arguments in one axis.
"""

import hashlib
import inspect
import itertools
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apart import apart
from hypothesis import settings

from faltung.jit.target import host, use
from faltung.machine.detect import fits
from faltung.machine.table import GENERIC, ROWS, Machine


def machines(host: Machine) -> tuple[str, ...]:
    """The rows of the table that a processor can run, widest first: those of its architecture.

    The code for ``generic`` differs from that for the narrowest of several in its name alone, so
    it is only a second row where there would be one, and the only one where there would be none.
    """
    rows = [row.name for row in ROWS if row.triple and fits(row, host.arch, host.enabled)]
    return tuple(rows) if len(rows) > 1 else (*rows, GENERIC.name)


MACHINES = machines(host())

PART = 50  # points of one test
EVERY = 48


@dataclass(frozen=True)
class Tier:
    """How much is run: of a grid that walks one point of ``every`` by default, so many times fewer
    than that, but no fewer than ``least``; and of random problems, ``examples``.
    """

    name: str
    fewer: int
    least: int
    examples: int

    def count(self, points: int, every: int) -> int:
        fewer = every * self.fewer if self.fewer else 1
        return min(points, max(self.least, -(-points // fewer)))


QUICK = Tier("quick", 40, 1, 3)
SAMPLE = Tier("sample", 2, 4, 6)
EXHAUSTIVE = Tier("exhaustive", 0, 1, 100)


@dataclass
class Chosen:
    """What the command line says; set before any test is collected."""

    tier: Tier = EXHAUSTIVE
    seed: int = 0
    words: frozenset[str] | None = None  # of the points that run, if not a sample
    stop: bool = False  # at the first point that fails


CHOSEN = Chosen()


def examples(times: int, **more: Any) -> settings:
    """Of hypothesis, where they cost little: so many times as many as elsewhere."""
    return settings(max_examples=times * CHOSEN.tier.examples, **more)


@dataclass(frozen=True)
class Point:
    """A name, and the values of all axes."""

    name: str
    values: dict[str, Any]


def grid(
    where: Callable[..., bool] | None = None,
    *,
    in_child: bool = False,
    every: int = EVERY,
    **axes: Iterable[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test over the product of ``axes``; of those points, where given, for which ``where`` holds.

    Arguments that are no axis are fixtures, made once for all points of a test. ``every``: by
    default one point of so many is walked. ``in_child``: in a process of its own, since a point may
    end it.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        whole = list(_points(where, axes))
        points = _sampled(test, whole, every)
        parts = -(-len(points) // PART)

        def walk(part: int = 0, **fixtures: Any) -> None:
            __tracebackhide__ = True
            mine = points[part::parts]

            def run(number: int) -> None:
                __tracebackhide__ = True
                _run(test, mine[number], fixtures)

            failed = _apart(run, len(mine)) if in_child else _here(run, len(mine))
            _raise([(mine[number].name, error) for number, error in failed])

        # What pytest asks for: no axis, but all fixtures.
        signature = inspect.signature(test)
        kept = [p for name, p in signature.parameters.items() if name not in whole[0].values]
        if parts > 1:
            kept.append(inspect.Parameter("part", inspect.Parameter.KEYWORD_ONLY))
        walk.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        walk.__name__, walk.__qualname__ = test.__name__, test.__qualname__
        walk.__doc__, walk.__module__ = test.__doc__, test.__module__
        walk.pytestmark = [*getattr(test, "pytestmark", []), pytest.mark.grid.mark]  # type: ignore[attr-defined]
        walk.points = len(points)  # type: ignore[attr-defined]
        if parts > 1:
            return pytest.mark.parametrize("part", range(parts))(walk)
        return walk

    return decorate


def rows(names: str, values: Iterable[Iterable[Any]]) -> list[Any]:
    """Several arguments in one axis: named tuples of these names."""
    row: Any = namedtuple("row", names)  # type: ignore[misc]
    return [row(*value) for value in values]


def _points(where: Callable[..., bool] | None, axes: dict[str, Iterable[Any]]) -> Iterator[Point]:
    spread = [[_arguments(name, value) for value in values] for name, values in axes.items()]
    for row in itertools.product(*spread):
        values = {name: value for arguments in row for name, value in arguments.items()}
        if where is None or where(**values):
            yield Point(" ".join(map(_label, values, values.values())), values)


def _arguments(axis: str, value: Any) -> dict[str, Any]:
    return dict(value._asdict()) if hasattr(value, "_asdict") else {axis: value}


def _label(axis: str, value: object) -> str:
    """What stands for a value in the name of a point: itself where that says enough."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    plain = value is None or isinstance(value, bool | int | float)
    return f"{axis}={value}" if plain else str(value)


def _sampled(test: Callable[..., None], whole: list[Point], every: int) -> list[Point]:
    """Those that run, in the order of the grid."""
    if CHOSEN.words is not None:
        return [point for point in whole if CHOSEN.words <= set(point.name.split())]
    place = f"{CHOSEN.seed} {Path(inspect.getfile(inspect.unwrap(test))).stem} {test.__qualname__}"

    def rank(point: Point) -> bytes:
        return hashlib.blake2b(f"{place} {point.name}".encode(), digest_size=8).digest()

    count = CHOSEN.tier.count(len(whole), every)
    if count == len(whole):
        return whole
    ranks = list(map(rank, whole))
    last = sorted(ranks)[count - 1]
    return [point for point, here in zip(whole, ranks, strict=True) if here <= last]


def _run(test: Callable[..., None], point: Point, fixtures: dict[str, Any]) -> None:
    __tracebackhide__ = True
    values = dict(point.values)
    machine = values.get("machine")
    with use(machine) if isinstance(machine, str) else nullcontext() as row:
        if row is not None:
            values["machine"] = row
        test(**values, **fixtures)


def _here(run: Callable[[int], None], count: int) -> list[tuple[int, Exception]]:
    __tracebackhide__ = True
    failed: list[tuple[int, Exception]] = []
    skipped: list[BaseException] = []
    for number in range(count):
        try:
            run(number)
        except pytest.skip.Exception as reason:
            skipped.append(reason)
        except Exception as error:
            failed.append((number, error))
            if CHOSEN.stop:
                break
    if len(skipped) == count:
        raise skipped[0]
    return failed


def _apart(run: Callable[[int], None], count: int) -> list[tuple[int, Exception]]:
    return [(number, AssertionError(text)) for number, text in apart(run, count)]


def _raise(failed: list[tuple[str, Exception]]) -> None:
    """Raise the first of the errors, if any; it names all points."""
    if not failed:
        return
    name, first = failed[0]
    first.add_note(f'at --point "{name}" --seed {CHOSEN.seed}')
    if failed[1:]:
        first.add_note(f"failed at {len(failed) - 1} more points of this test:")
    for name, error in failed[1:]:
        first.add_note(f'  --point "{name}": {_line(error)}')
    raise first


def _line(error: Exception) -> str:
    """What can be said on one line; of a traceback, its end."""
    lines = str(error).strip().splitlines() or [""]
    text = lines[-1] if lines[0].startswith("Traceback") else " ".join(lines)
    return f"{type(error).__name__}: {text}"[:200]
