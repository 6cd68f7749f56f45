"""Answers that are remembered: frozen, bounded, and told apart by more than equality."""

import numpy as np
import pytest

from faltung.methods.base.remembered import forget, remembered


def test_answers_are_given_again_and_forgotten() -> None:
    asked: list[object] = []

    @remembered(2)
    def answer(x: object) -> tuple[object, np.ndarray]:
        asked.append(x)
        return x, np.arange(3)

    assert answer(1) is answer(1)
    assert asked == [1]
    with pytest.raises(ValueError):
        answer(1)[1][0] = 7
    answer(True)
    assert asked == [1, True]
    answer(3)  # there is room for two
    answer(1)
    assert asked == [1, True, 3, 1]
    forget()
    answer(1)
    assert asked == [1, True, 3, 1, 1]
