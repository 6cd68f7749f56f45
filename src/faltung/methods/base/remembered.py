"""Answers to questions about problems, remembered for as long as the process.

One rule for all of them: the function is pure, its arguments are frozen and say everything that the
answer depends on (the machine too), nobody changes the answer, and the oldest answers go first. So
what is planned for one batch, or one size, need not be thought about again for another.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

Answer = TypeVar("Answer")

_all: list[Any] = []


def remembered(most: int) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """A decorator: the last ``most`` answers are remembered; arrays in them become read-only."""

    def decorate(ask: Callable[..., Answer]) -> Callable[..., Answer]:
        # Typed: 1 and True, 0.0 and -0.0 are equal, and ask different questions.
        @lru_cache(most, typed=True)
        def answer(*arguments: Any) -> Answer:
            return _frozen(ask(*arguments))

        _all.append(answer)
        answer.__doc__ = ask.__doc__
        return answer

    return decorate


def forget() -> None:
    """Forget all answers."""
    for answer in _all:
        answer.cache_clear()


def _frozen(answer: Answer) -> Answer:
    for part in answer if isinstance(answer, tuple) else (answer,):
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
    return answer
