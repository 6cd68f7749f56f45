"""Gradients of several batches, added up, and one step of the optimizer for all of them.

The mean over all samples of the batches is as that of one large batch, up to the order in which it
is summed; a batch in memory is small. Each batch adds the gradient of its sum of losses, so that
samples count the same wherever they are, and the sum is divided at the end by all that count.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.graph.value import Value
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.program.assemble import Assembly
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.threads import threads_for
from faltung.program.training import Slots, TrainingStep, update_of

Array = npt.NDArray[Any]
# Cycles that an element of a parameter takes about: it and its numbers come from memory.
_CYCLES = 4.0


class Accumulated:
    """The sum of gradients of steps that were made with ``over``, and the optimizer on it.

    ``over``: as theirs.
    """

    def __init__(self, slots: Slots, over: float, machine: Machine | None = None) -> None:
        state, optimizer = slots.state, slots.optimizer
        self.slots, self._over = slots, over
        self._sum = state.zeros(trained=True)
        self._weight, self._steps = 0.0, 0
        names = (*optimizer.scalars, "none", "most", "part")
        scalars = {name: Value(f"optimizer.{name}", (), batched=False) for name in names}
        lowering = Lowering(Places((), ()), {}, 1, state.dtype.name, machine or current())
        arrays = ("parameters", "gradients", *slots.arrays)
        # Kept: the steps read and write its memory.
        self._assembly = assembly = Assembly(
            (),
            lowering,
            outside={"parameters": state.memory, "gradients": self._sum, **slots.arrays},
            fixed={name: (name, 0) for name in arrays},
            feeds=list(scalars.values()),
            kept=(),
            ends=update_of(lowering, slots, set(), summed=True),
        )
        self._numbers = {name: assembly.array(value) for name, value in scalars.items()}
        self._numbers["most"][...] = np.inf if optimizer.clip is None else optimizer.clip
        self._run = assembly.region.run
        self._cycles = _CYCLES * state.trained

    def add(self, step: TrainingStep) -> None:
        """Add the gradients of the batch that a step has just run."""
        if self._steps:
            self._sum += self.slots.gradients
        else:
            self._sum[...] = self.slots.gradients
        self._weight += step.weight
        self._steps += 1

    def run(self, *, lr: float, step: int) -> None:
        """Change the parameters as one step does, the number ``step`` from 0; begin a new sum."""
        part = self._over / self._weight if self._weight else 0.0
        values = self.slots.optimizer.values(step, lr) | {"part": part, "clip": part}
        for name, value in values.items():
            self._numbers[name][...] = value
        self._run(threads_for(self._cycles))
        self.forget()

    def forget(self) -> None:
        """Begin a new sum."""
        self._weight, self._steps = 0.0, 0
