"""The progress of tiles: on a terminal a bar with the time left, else a line now and then."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

# Seconds between two lines where there is no terminal.
LINE_SECONDS = 10.0


class Lines:
    """How many of some tiles are done, and how long the rest will take, on standard error. before:
    done by an earlier run, which says nothing of the pace of this one.
    """

    def __init__(self, count: int, before: int) -> None:
        self._count, self._done, self._before = count, before, before
        self._start = self._said = perf_counter()

    def done(self) -> None:
        """One more."""
        self._done += 1
        now = perf_counter()
        if now - self._said >= LINE_SECONDS and self._done < self._count:
            self._said = now
            pace = (now - self._start) / (self._done - self._before)
            self.say(pace * (self._count - self._done))

    def say(self, left: float) -> None:
        """A line. left: seconds."""
        from faltung.train.terminal import clock

        print(f"tile {self._done}/{self._count}  left {clock(left)}", file=sys.stderr, flush=True)


class Bar:
    """The same as a bar of ``rich``."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def done(self) -> None:
        """One more."""
        self._bar.advance(self._task)


@contextmanager
def tiles_progress(count: int, before: int) -> Iterator[Lines | Bar]:
    """The progress of ``count`` tiles, of which some were done before."""
    from faltung.train.progress import is_live

    if not is_live(sys.stderr):
        yield Lines(count, before)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    columns = "tiles", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=count, completed=before)
        yield Bar(bar, task)
