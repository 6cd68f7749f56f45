"""A generator run in a thread of its own, a few items ahead of whoever takes them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Shelf(Generic[T]):
    """Where one thread puts items and another takes them; neither waits in a loop."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.items: deque[T] = deque()
        self.change = threading.Condition()
        self.closed = False  # nobody takes any more
        self.done = False  # nothing more will come
        self.error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room; False if the taker has gone."""
        with self.change:
            self.change.wait_for(lambda: self.closed or len(self.items) < self.depth)
            if not self.closed:
                self.items.append(item)
                self.change.notify_all()
            return not self.closed

    def finish(self, error: BaseException | None) -> None:
        with self.change:
            self.done, self.error = True, error
            self.change.notify_all()

    def take(self) -> Iterator[T]:
        """Items until the last; then the error of the thread that made them, if it had one."""
        while True:
            with self.change:
                self.change.wait_for(lambda: self.items or self.done)
                if not self.items:
                    break
                item = self.items.popleft()
                self.change.notify_all()
            yield item
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        with self.change:
            self.closed = True
            self.items.clear()
            self.change.notify_all()


def prefetch(make: Callable[[], Iterator[T]], depth: int) -> Iterator[T]:
    """The items of ``make()``, up to ``depth`` of them made before they are asked for.

    The thread ends when the items do, when one raises (the taker gets the exception in its place,
    after the items before it), and when the taker stops early: its generator is closed or dropped,
    or it was interrupted. Then this waits for the item that is being made, no longer.
    """
    shelf: _Shelf[T] = _Shelf(depth)
    thread = threading.Thread(target=_fill, args=(shelf, make), name="faltung-read", daemon=True)
    try:
        thread.start()
        yield from shelf.take()
    finally:
        shelf.close()
        # A generator that was dropped can be collected in any thread, also in this one.
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join()


def _fill(shelf: _Shelf[T], make: Callable[[], Iterator[T]]) -> None:
    error: BaseException | None = None
    try:
        for item in make():
            if not shelf.put(item):
                break
    except BaseException as raised:  # passed on, whatever it is
        error = raised
    shelf.finish(error)
