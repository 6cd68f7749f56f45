"""The progress of a run: one line per epoch, on a terminal a bar below them, and in a notebook one
line that moves.

Plain lines without control characters if the output is not a terminal, TERM is "dumb", NO_COLOR is
set, or ``rich`` is not installed. ``batch`` is called for every training step and must be cheap: it
adds up, and draws at most ten times a second.
"""

import os
import sys
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TextIO

from faltung.train.metrics import EpochMetrics
from faltung.train.terminal import Now, bar_line, clean, epoch_line, header, shown, table_line

Clock = Callable[[], float]

DRAW_SECONDS = 0.1  # seconds between drawings
NOTEBOOK_SECONDS = 0.25  # the same where each is a message to a browser
_NOTEBOOK_WIDTH = 100  # characters of a line there
_DRAW_TIME_RATIO = 20  # drawing takes at most one part in this many of the time


class Progress:
    """The plain form: adds up what ``batch`` reports and prints a line for each ``epoch``, unless
    ``lines`` is False.

    Used as ``with progress(...) as show:``.
    """

    def __init__(
        self,
        epochs: int,
        batches: int,
        title: str,
        done: int,
        stream: TextIO,
        clock: Clock,
        lines: bool = True,
    ) -> None:
        self._lines = lines
        self._epochs, self._batches, self._title = epochs, max(batches, 1), title
        self._done = self._began = done  # batches of the whole run; of those, before this session
        self._stream, self._clock = stream, clock
        self._next = float("inf")  # when to draw again
        self._start: float | None = None  # when the first batch of this session was done
        self._since: float | None = None  # when the first batch of this epoch was done
        self._loss = self._right = 0.0  # sums over the samples of this epoch
        self._samples = self._first = 0  # of this epoch; of those, in its first batch
        self._measured = False

    def __enter__(self) -> Self:
        if self._title:
            self.note(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.flush()

    def batch(self, loss: float, accuracy: float | None, samples: int) -> None:
        """Report a training step: means over its samples."""
        self._done += 1
        self._samples += samples
        self._loss += loss * samples
        if accuracy is not None:
            self._right += accuracy * samples
            self._measured = True
        if self._since is None:
            self._begin(samples)
        elif self._clock() >= self._next:
            self._draw()

    def epoch(self, row: EpochMetrics, best: bool = False) -> None:
        """Report an epoch with its validation; ``best``: it is the best so far."""
        if self._lines:
            self._put(epoch_line(row, self._epochs, self._left(), best))
        self._end_epoch()

    def note(self, text: str) -> None:
        """Print a line of its own, such as a warning."""
        self._put(clean(text))

    def _begin(self, samples: int) -> None:
        """Start the clock of an epoch after its first batch, which includes compiling and the first
        reading of data.
        """
        self._since, self._first = self._clock(), samples
        if self._start is None:
            self._start, self._began = self._since, self._done

    def _end_epoch(self) -> None:
        self._since = None
        self._loss = self._right = 0.0
        self._samples = self._first = 0

    def _left(self) -> float | None:
        """Seconds to the end of the run, from the pace of this session with its validation."""
        counted = self._done - self._began
        if self._start is None or counted <= 0:
            return None
        pace = (self._clock() - self._start) / counted
        return pace * max(self._epochs * self._batches - self._done, 0)

    def _now(self) -> Now:
        """Where the run is, for the bar."""
        seconds = 0.0 if self._since is None else self._clock() - self._since
        samples = max(self._samples, 1)
        # A full epoch stays visible until its line is printed.
        whole, part = divmod(self._done - bool(self._samples), self._batches)
        return Now(
            epoch=min(whole + 1, self._epochs),
            epochs=self._epochs,
            batch=part + bool(self._samples),
            batches=self._batches,
            loss=self._loss / samples if self._samples else None,
            accuracy=self._right / samples if self._measured and self._samples else None,
            rate=(self._samples - self._first) / seconds if seconds > 0 else None,
            left=self._left(),
        )

    def _put(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _draw(self) -> None:
        """Nothing, without a terminal."""
        self._next = float("inf")


class LiveProgress(Progress):
    """On a terminal: a scrolling table of epochs above one line that is redrawn."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            "", console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop"
        )
        self._columns: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._live.start()
        # A hidden cursor would stay hidden after ``kill -9``.
        self._console.show_cursor(True)
        super().__enter__()
        self._next = 0.0
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.update("", refresh=True)
        self._live.stop()

    def batch(self, loss: float, accuracy: float | None, samples: int) -> None:
        super().batch(loss, accuracy, samples)
        if not self._done % self._batches:  # the bar is full, and validation may take a while
            self._draw()

    def epoch(self, row: EpochMetrics, best: bool = False) -> None:
        if self._lines:
            columns = shown(row, self._epochs, self._console.width)
            if columns != self._columns:
                self._columns = columns
                self._put(header(columns, self._epochs), "bold")
            self._put(table_line(columns, row, self._epochs, best), "green" if best else "")
        self._end_epoch()
        self._draw()

    def _put(self, line: str, style: str = "") -> None:
        from rich.text import Text

        text = Text(line, style, no_wrap=False, overflow="fold")
        self._console.print(text, soft_wrap=True)

    def _draw(self) -> None:
        from rich.text import Text

        start = self._clock()
        plain = not _can_show(self._stream, "━")
        text = Text(no_wrap=True, overflow="crop", end="")
        for part, style in bar_line(self._now(), self._console.width - 1, plain):
            text.append(part, style)
        self._live.update(text, refresh=True)
        end = self._clock()
        self._next = end + max(DRAW_SECONDS, _DRAW_TIME_RATIO * (end - start))


class NotebookProgress(Progress):
    """In a notebook: the title, the notes, and lines for now and for the best epoch, which change
    in their place.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._said: list[str] = []
        self._last = self._best = ""
        self._handle: Any = None

    def __enter__(self) -> Self:
        super().__enter__()
        self._next = 0.0
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._since = None
        self._samples = 0
        self._draw()

    def epoch(self, row: EpochMetrics, best: bool = False) -> None:
        left = self._left() if row.epoch < self._epochs else None
        if self._lines:
            self._last = epoch_line(row, self._epochs, left, best=False)
        if self._lines and best:
            line = epoch_line(row, self._epochs, None, best=False)
            self._best = "best  " + line.removeprefix("epoch ")
        self._end_epoch()
        if self._clock() >= self._next:
            self._draw()

    def _put(self, line: str) -> None:
        self._said.append(line)
        if self._handle is not None:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        start, running = self._clock(), self._samples > 0
        bar = "".join(part for part, _ in bar_line(self._now(), _NOTEBOOK_WIDTH, plain=False))
        lines = [*self._said, bar if running else self._last, self._best]
        shown = {"text/plain": "\n".join(line for line in lines if line)}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
        end = self._clock()
        self._next = end + max(NOTEBOOK_SECONDS, _DRAW_TIME_RATIO * (end - start))


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_live(stream: TextIO) -> bool:
    """Whether the output is a terminal on which the cursor may be moved."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    try:
        import rich.live  # noqa: F401
    except ImportError:
        return False
    return True


def progress(
    epochs: int,
    batches_per_epoch: int,
    title: str = "",
    *,
    done: int = 0,
    stream: TextIO | None = None,
    clock: Clock = perf_counter,
    lines: bool = True,
) -> Progress:
    """The display of a run: ``with progress(20, 23, "lenet5 on digits") as show:``, then
    ``show.batch(loss, accuracy, samples)`` and ``show.epoch(row)``.

    ``done``: batches that earlier sessions have done; ``stream``: by default standard output;
    ``lines``: whether epochs are printed, not only drawn in the bar of a terminal.
    """
    stream = sys.stdout if stream is None else stream
    kind: type[Progress] = LiveProgress if is_live(stream) else Progress
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        kind = NotebookProgress
    return kind(epochs, batches_per_epoch, title, done, stream, clock, lines)
