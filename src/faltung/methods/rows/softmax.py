"""Softmax, its logarithm, and cross-entropy with its gradient: rows of channels.

What it is.  For each row x (a position of a sample) the largest entry is taken off, then ``p_c =
  e**x_c / sum e**x``. Cross-entropy with label smoothing eps compares p with the target ``t_c = (1
  - eps) [c = label] + eps / C``: the loss is ``- sum t_c log p_c`` and its gradient for x is ``p -
  t`` (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7). Loss, gradient
  and whether the largest entry is that of the label come out of one visit to the row.
When it applies.  Always. Rows of a few channels go side by side, a row a lane, turned in registers
  on the way in and out (`softmax_narrow`); longer ones one by one (`softmax_wide`).
What it costs.  An exponential for each entry, and for long rows a second pass in the cache.

A row with a NaN, or with nothing but -inf, gives NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.check import show
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Step, Work
from faltung.methods.rows import softmax_narrow, softmax_wide

# The label of rows that count for nothing.
IGNORED = -1
# Channels of the longest rows that go side by side: beyond, a row fills the vectors by itself.
NARROW = 24


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """``kind``: "softmax", "log_softmax" or "cross_entropy". ``channels``: those of rows that go
    side by side; 0 for rows one by one, of any length.
    """

    dtype: str
    kind: str
    channels: int

    @property
    def symbol(self) -> str:
        return f"{self.kind}_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        v = Vectors(module.function(self.symbol, arguments, public=True), machine, self.dtype)
        if self.channels:
            softmax_narrow.write(v, self.kind, self.channels)
        else:
            softmax_wide.write(v, self.kind)
        return str(module)


# The plan -----------------------------------------------------------------------------------------


def softmax(
    work: Work,
    x: Operand,
    x_pitch: int,
    out: Operand,
    out_pitch: int,
    *,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    title: str = "softmax",
    barrier: bool = False,
) -> None:
    """Add the step that turns each row into probabilities. ``out`` may be ``x``."""
    maps = (x, out, x_pitch, out_pitch)
    work.steps.append(_step("softmax", maps, (), rows, channels, dtype, machine, title, barrier))


def log_softmax(
    work: Work,
    x: Operand,
    x_pitch: int,
    out: Operand,
    out_pitch: int,
    *,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    title: str = "log softmax",
    barrier: bool = False,
) -> None:
    """Add the step that turns each row into logarithms of probabilities. ``out`` may be ``x``."""
    maps = (x, out, x_pitch, out_pitch)
    work.steps.append(
        _step("log_softmax", maps, (), rows, channels, dtype, machine, title, barrier)
    )


def cross_entropy(
    work: Work,
    logits: Operand,
    pitch: int,
    labels: Operand,
    scale: Operand,
    smoothing: Operand,
    losses: Operand,
    correct: Operand,
    grad: Operand,
    grad_pitch: int,
    *,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    title: str = "cross-entropy",
    barrier: bool = False,
) -> None:
    """Add the step of the loss and its gradient for the logits.

    labels: (rows,) of int64; a label that is no channel, such as `IGNORED`, gives a row of zeros.
    scale, smoothing: a number each, of the dtype. losses, correct: (rows,), the latter 1 where the
    first of the largest logits is that of the label. grad: a map, the gradient of ``scale *
    sum(losses)``; it may be ``logits``.
    """
    maps = (logits, grad, pitch, grad_pitch)
    more = (labels, scale, smoothing, losses, correct)
    step = _step("cross_entropy", maps, more, rows, channels, dtype, machine, title, barrier)
    work.steps.append(step)


def _step(
    kind: str,
    maps: tuple[Argument, ...],
    more: tuple[Argument, ...],
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    title: str,
    barrier: bool,
) -> Step:
    narrow = channels <= NARROW
    items = -(-rows // machine.lanes(dtype)) if narrow else rows
    recipe = Rows(dtype, kind, channels if narrow else 0)
    return Step(recipe, items, (*maps, rows, channels, *more), title, barrier)


def check_labels(labels: npt.ArrayLike, classes: int) -> npt.NDArray[np.int64]:
    """The labels, contiguous and as int64. TypeError: no whole numbers. ValueError: one that is no
    class, 0 to ``classes - 1``, nor `IGNORED`, and where it stands.
    """
    given: npt.NDArray[Any] = np.asarray(labels)
    if given.dtype.kind not in "iu":
        raise TypeError(f"labels.dtype={given.dtype}: must be whole numbers")
    if given.size and (given.min() < IGNORED or given.max() >= classes):
        where = np.argwhere((given < IGNORED) | (given >= classes))[0].tolist()
        raise ValueError(
            f"labels{where}={show(given[tuple(where)].item())}: must be a class, 0 to "
            f"{classes - 1}, or {IGNORED} for none"
        )
    return np.ascontiguousarray(given, np.int64)
