"""A thread that makes things ahead, and always ends."""

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from limits import limit

from faltung.data.prefetch import prefetch


def threads() -> int:
    return sum(thread.name == "faltung-read" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    assert threads() == 0
    yield
    assert threads() == 0


def eventually(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + limit(10)
    while time.monotonic() < end and not true():
        time.sleep(0.005)
    return true()


class Maker:
    """Numbers, and how many of them were made."""

    def __init__(self, count: int = 1000, fails_at: int | None = None) -> None:
        self.count, self.fails_at, self.made = count, fails_at, 0

    def __call__(self) -> Iterator[int]:
        for i in range(self.count):
            if i == self.fails_at:
                raise KeyError("cat/7.png")
            self.made += 1
            yield i


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_all_items_in_order(count: int, depth: int) -> None:
    assert list(prefetch(Maker(count), depth)) == list(range(count))


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_asked_for_are_made(depth: int) -> None:
    maker = Maker()
    items = prefetch(maker, depth)
    assert maker.made == 0  # nothing before it is asked for
    next(items)
    assert eventually(lambda: maker.made == depth + 2)  # one taken, some ready, one in hand
    time.sleep(0.05)
    assert maker.made == depth + 2
    items.close()  # type: ignore[attr-defined]


def test_they_are_made_while_the_taker_is_busy() -> None:
    maker = Maker()
    items = prefetch(maker, 2)
    next(items)
    assert eventually(lambda: maker.made >= 3)
    items.close()  # type: ignore[attr-defined]


def test_stopping_early() -> None:
    for item in prefetch(Maker(), 2):
        if item == 5:
            break
    gc.collect()
    assert eventually(lambda: threads() == 0)


def test_an_error_comes_after_the_items_before_it() -> None:
    taken = []
    with pytest.raises(KeyError, match=r"cat/7\.png") as error:
        for item in prefetch(Maker(fails_at=4), 2):
            taken.append(item)
    assert taken == [0, 1, 2, 3]
    assert error.traceback[-1].name == "__call__"  # where it was raised, in the other thread


def test_an_error_of_the_taker() -> None:
    with pytest.raises(ZeroDivisionError):
        for item in prefetch(Maker(), 2):
            1 / (item - 3)
    gc.collect()
    assert eventually(lambda: threads() == 0)


def test_waiting_takes_no_time_of_the_processor() -> None:
    items = prefetch(Maker(), 1)
    next(items)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < limit(0.1)
    items.close()  # type: ignore[attr-defined]


def test_closing_does_not_wait_for_more_than_the_item_in_hand() -> None:
    made = []

    def slow() -> Iterator[int]:
        for i in range(100):
            time.sleep(0.05)
            made.append(i)
            yield i

    items = prefetch(slow, 50)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert len(made) <= 4 and threads() == 0


def test_the_makers_own_end_is_reached() -> None:
    """A reader that has files open closes them: in its own thread, as soon as it is dropped."""
    ended = []

    def holding() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            ended.append(True)

    items = prefetch(holding, 2)
    next(items)
    items.close()  # type: ignore[attr-defined]
    gc.collect()
    assert eventually(lambda: ended == [True])


def python(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=limit(60), check=False
    )


INTERRUPTED = """
import _thread, threading, time
from faltung.data.prefetch import prefetch
def make():
    for i in range(10**9):
        if i == 20:
            _thread.interrupt_main()  # as Ctrl-C does
            time.sleep(0.2)
        yield i
try:
    for item in prefetch(make, 2):
        time.sleep(0.001)
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
"""


def test_ctrl_c() -> None:
    done = python(INTERRUPTED)
    assert done.stdout.strip() == "interrupted 1", done.stderr


def test_a_program_that_ends_does_not_wait() -> None:
    text = "from faltung.data.prefetch import prefetch\nimport itertools\n"
    done = python(text + "items = prefetch(itertools.count, 2)\nprint(next(items))")
    assert (done.stdout.strip(), done.returncode) == ("0", 0), done.stderr
