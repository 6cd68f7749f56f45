"""The moving average of a run's weights, in the place of the weights while an epoch is judged.

The optimizer averages what it trains. Running statistics are not trained, so they are averaged
here, with the same parts: the mean of what a layer makes is linear in its weights, so that the
average of means belongs to the average of weights. What is validated, kept as the best, saved and
predicts is the average; a run that goes on goes on from the weights themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from faltung.program.optimizer import AVERAGE, Averaged
from faltung.program.training import Slots
from faltung.train.levels import follow
from faltung.train.network import Network


class Average:
    """That of one run; without ``ema`` all of this does nothing."""

    def __init__(self, model: Network, slots: Slots) -> None:
        self._model, self._slots = model, slots
        self._memory = slots.arrays.get(AVERAGE)

    def step(self, step: int) -> None:
        """After a step of the optimizer: the statistics."""
        rule, memory = self._slots.optimizer, self._memory
        if memory is None or not isinstance(rule, Averaged):
            return
        state = self._model.state
        now, kept = state.memory[state.trained :], memory[state.trained :]
        kept += state.dtype.type(rule.new(step)) * (now - kept)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The average is what the model has, until the end of this block."""
        if self._memory is None:
            yield
            return
        state = self._model.state
        trained = state.memory.copy()
        self.keep()
        try:
            yield
        finally:
            state.memory[...] = trained
            self._model.changed()

    def keep(self) -> None:
        """The average is what the model has, from now on."""
        if self._memory is not None:
            self._model.state.memory[...] = self._memory
            follow(self._model)
            self._model.changed()
