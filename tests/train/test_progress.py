"""A run on a terminal, read off the screen of one; and plain lines everywhere else."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from limits import limit

import faltung
from faltung.train.metrics import EpochMetrics
from faltung.train.progress import Progress, progress

SOURCE = Path(faltung.__file__).parents[1]

CHILD = """
import sys
from faltung.train.metrics import EpochMetrics
from faltung.train.progress import progress

def wait(word):
    assert sys.stdin.readline().strip() == word

with progress(3, 4, "lenet5 on digits") as show:
    for epoch in (1, 2, 3):
        for batch in range(4):
            if batch == 2:
                show._next = 0  # ten times a second is too seldom for a test
            show.batch(2.0 / epoch, 0.25 * epoch, 8)
            if batch == 2:
                wait(f"{epoch}")
        row = EpochMetrics(epoch, 4 * epoch, 0.1, 2.0 / epoch, 0.25 * epoch, 1.5, 0.5, 0.5, 4321.0)
        show.epoch(row, best=epoch == 2)
        print("printed", epoch)
        show.note("a hostile\\x1b[2J\\nname")
    wait("end")
print("after")
"""


def environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    return {**kept, "PYTHONPATH": str(SOURCE), "TERM": "xterm-256color", **changes}


class Terminal:
    """A child under a pseudo-terminal, and what stands on its screen.

    Its input is a pipe, so that what it is told does not stand there too.
    """

    def __init__(self, columns: int, **changes: str) -> None:
        import pty

        pyte = pytest.importorskip("pyte")
        self.screen = pyte.Screen(columns, 30)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, self.slave = pty.openpty()
        self.resize(columns)
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=self.slave,
            stderr=self.slave,
            env=environment(**changes),
        )

    def resize(self, columns: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.screen.resize(30, columns)

    def tell(self, word: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(f"{word}\n".encode())
        self.child.stdin.flush()

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def until(self, text: str) -> list[str]:
        """The lines of the screen once `text` stands on it."""
        end = time.monotonic() + limit(30)
        while time.monotonic() < end:
            if any(text in line for line in self.lines()):
                return self.lines()
            if select.select([self.master], [], [], 0.05)[0]:
                data = os.read(self.master, 1 << 16)
                self.raw += data
                self.stream.feed(data)
        raise AssertionError(f"{text!r} never came: {self.lines()}")


@contextmanager
def terminal(columns: int = 80, **changes: str) -> Iterator[Terminal]:
    pytest.importorskip("rich")
    pytest.importorskip("pty", exc_type=ImportError)
    made = Terminal(columns, **changes)
    try:
        yield made
    finally:
        made.child.kill()
        made.child.communicate()
        os.close(made.slave)
        os.close(made.master)


def test_the_bar_is_one_line_under_a_table() -> None:
    with terminal() as shown:
        lines = shown.until("3/4")
        assert lines[0] == "lenet5 on digits"
        assert lines[1].startswith("1/3  ━") and "loss 2.0000  acc 25.00%" in lines[1]
        assert len(lines) == 2
        shown.tell("1")
        lines = shown.until("loss 1.0000")
        assert lines[1].split() == "epoch loss accuracy val loss val acc samples/s time".split()
        assert lines[2].split() == "1/3 2.0000 25.00% 1.5000 50.00% 4,321 0.500 s".split()
        assert lines[3:5] == ["printed 1", "a hostile\ufffd[2J\ufffdname"]
        assert lines[5].startswith("2/3  ━") and "left 0:0" in lines[5]
        assert max(map(len, lines)) <= 80 and not shown.screen.cursor.hidden
        shown.tell("2")
        assert "best" in shown.until("loss 0.6667")[5]
        shown.tell("3")
        shown.until("printed 3")
        shown.tell("end")
        lines = shown.until("after")
        assert lines[-1] == "after" and lines[-2].startswith("a hostile")  # the bar has gone
        assert shown.child.wait(limit(30)) == 0
        assert not shown.screen.cursor.hidden


def test_a_narrow_terminal() -> None:
    with terminal(40) as shown:
        for epoch in "123":
            shown.until(f"{epoch}/3  ━")
            shown.tell(epoch)
        lines = shown.until("printed 3")
        assert lines[1].split() == "epoch loss val acc".split()
        assert lines[2].split() == "1/3 2.0000 50.00%".split()
        assert max(map(len, lines)) <= 40


def test_the_terminal_is_resized() -> None:
    with terminal(80) as shown:
        shown.until("3/4")
        shown.resize(44)
        shown.tell("1")
        lines = shown.until("2/3  ━")
        assert lines[1].split() == "epoch loss accuracy val acc".split()
        assert len(lines[-1]) <= 44
        shown.resize(120)
        shown.tell("2")
        lines = shown.until("3/3  ━")
        wide = "epoch loss accuracy val loss val acc lr samples/s time"
        assert [line.split() for line in lines if "epoch" in line][1] == wide.split()
        assert sum(line.startswith(("1/3  ━", "2/3  ━", "3/3  ━")) for line in lines) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 of POSIX")
def test_killed_it_leaves_the_cursor() -> None:
    with terminal() as shown:
        shown.until("3/4")
        shown.child.kill()
        assert not shown.screen.cursor.hidden


def test_ctrl_c_takes_the_bar_away() -> None:
    with terminal() as shown:
        shown.until("3/4")
        shown.child.send_signal(signal.SIGINT)
        lines = shown.until("KeyboardInterrupt")
        assert not any("━" in line for line in lines)


@pytest.mark.parametrize("changes", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_that_wants_plain_lines(changes: dict[str, str]) -> None:
    with terminal(**changes) as shown:
        for word in ("1", "2", "3", "end"):
            shown.tell(word)
        lines = shown.until("after")
        assert b"\x1b" not in shown.raw and b"\r" not in shown.raw.replace(b"\r\n", b"")
        assert sum(line.startswith("epoch") for line in lines) == 3


def test_characters_that_the_terminal_lacks() -> None:
    with terminal(PYTHONIOENCODING="ascii:replace") as shown:
        assert "#" in shown.until("3/4")[1]


def test_into_a_pipe_one_line_an_epoch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input="1\n2\n3\nend\n",
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert all(line.isprintable() for line in lines) and not done.stderr
    assert [line[:9] for line in lines if line.startswith("epoch")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]


def test_without_rich_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setitem(sys.modules, "rich.live", None)
    assert type(progress(1, 1, stream=Tty())) is Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_that_of_the_whole_run() -> None:
    out, clock = io.StringIO(), Clock()
    with progress(10, 5, stream=out, clock=clock) as show:
        clock.now += 60  # compiling: before the first batch, not counted
        for _ in range(5):
            show.batch(1.0, None, 8)
            clock.now += 2
        show.epoch(EpochMetrics(1, 5, 0.1, 1.0))
    # Four batches and a validation in 10 s; 45 batches left.
    assert "left 1:52" in out.getvalue()


def test_a_resumed_run_counts_from_where_it_was() -> None:
    out, clock = io.StringIO(), Clock()
    with progress(10, 5, done=12, stream=out, clock=clock) as show:
        assert (show._now().epoch, show._now().batch) == (3, 2)
        for batch in (3, 4, 5):
            show.batch(3.0, 0.5, 8)
            clock.now += 2
            now = show._now()
            assert (now.epoch, now.batch, now.loss, now.accuracy) == (3, batch, 3.0, 0.5)
        show.epoch(EpochMetrics(3, 15, 0.1, 1.0))
        assert (show._now().epoch, show._now().batch) == (4, 0)
    assert "left 1:45" in out.getvalue()


def test_means_are_over_samples() -> None:
    with progress(1, 9, stream=io.StringIO()) as show:
        show.batch(1.0, 1.0, 30)
        show.batch(4.0, 0.0, 10)
        now = show._now()
        assert (now.loss, now.accuracy) == (1.75, 0.75)


def test_a_batch_costs_next_to_nothing() -> None:
    """The budget is 5 us a batch that is not drawn; the best of five, for a busy computer."""
    with progress(1, 10**9, stream=io.StringIO()) as show:
        costs = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(10_000):
                show.batch(0.5, 0.5, 64)
            costs.append((time.perf_counter() - start) / 10_000)
    assert min(costs) < limit(5e-6)


# In a notebook ------------------------------------------------------------------------------------

CELL = """
import numpy as np
from faltung import Model, nn
from faltung.train import progress
progress.NOTEBOOK_SECONDS = 0  # every epoch is drawn
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 4)).astype(np.float32)
model = Model(nn.Linear(2), (4,))
history = model.fit(x, (x.sum(1) > 0).astype(int), validation=0.25, epochs=80, lr=0.01)
print(len(history))
"""


# In a process of its own, which may talk to the kernel.
NOTEBOOK = """
import json, sys
import nbclient, nbformat
cells = [nbformat.v4.new_code_cell(cell) for cell in json.load(sys.stdin)]
book = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(book, timeout=int(sys.argv[1]), kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in book.cells]))
"""


def executed(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell."""
    for module in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(module)
    seconds = limit(60)
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, str(round(seconds))],
        input=json.dumps(cells),
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=limit(2 * seconds),
    )
    assert not done.returncode, done.stderr
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def test_a_cell_has_lines_that_move_instead_of_eighty(tmp_path: Path) -> None:
    outputs, shown = executed(tmp_path, CELL, "history")
    drawn, printed = outputs
    assert printed["text"] == "80\n"
    assert drawn["output_type"] == "display_data" and set(drawn["data"]) == {"text/plain"}
    lines = drawn["data"]["text/plain"].splitlines()
    assert len(lines) <= 3
    assert lines[0].startswith("epoch 80/80  loss 0.") and " val accuracy " in lines[0]
    assert lines[1].startswith("best  ") and "left" not in lines[0]
    table = shown[0]["data"]["text/plain"].splitlines()
    assert table[0].split()[:2] == ["epoch", "loss"] and len(table) < 20 and "..." in table
