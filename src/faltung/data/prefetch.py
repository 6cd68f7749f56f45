"""A generator in a thread of its own, which prefetches a few items."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Queue(Generic[T]):
    """A bounded queue between two threads; neither of them polls."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.items: deque[T] = deque()
        self.change = threading.Condition()
        self.closed = False  # the consumer has gone
        self.done = False  # the producer has finished
        self.error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room; False if the consumer has gone."""
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
        """All items, then the error of the producer, if there was one."""
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
    """The items of ``make()``, up to ``depth`` of them prefetched by a thread.

    The thread ends when there are no more items, when making one raises (the consumer gets the
    exception after the items before it), and when the consumer stops early, because its generator
    is closed, dropped or interrupted. Then this waits for the item that is being made, no longer.
    """
    queue: _Queue[T] = _Queue(depth)
    thread = threading.Thread(target=_fill, args=(queue, make), name="faltung-read", daemon=True)
    try:
        thread.start()
        yield from queue.take()
    finally:
        queue.close()
        # A dropped generator may be collected in any thread, even in this one.
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join()


def _fill(queue: _Queue[T], make: Callable[[], Iterator[T]]) -> None:
    error: BaseException | None = None
    try:
        for item in make():
            if not queue.put(item):
                break
    except BaseException as raised:  # passed on, whatever it is
        error = raised
    queue.finish(error)
