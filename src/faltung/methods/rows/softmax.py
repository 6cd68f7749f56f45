"""Softmax and cross-entropy with its gradient: rows of channels.

What it is.  For each row x (a position of a sample) the largest entry is subtracted, then ``p_c =
  e**x_c / sum e**x``. Cross-entropy with label smoothing eps compares p with the target ``t_c = (1
  - eps) [c = label] + eps / C``: the loss is ``- sum t_c log p_c`` and its gradient for x is ``p -
  t`` (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7). One visit to the
  row gives the loss, the gradient, and whether the largest entry is that of the label.
When it applies.  Always. Short rows are computed several at once, one in each lane; longer ones one
  by one, vectors along the channels.
What it costs.  An exponential for each entry, and for long rows a second pass in the cache.

A row with a NaN, or with nothing but -inf, gives NaN.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.machine.table import Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.rows.softmax_kernel import SoftmaxKernel

# The label of rows that count for nothing.
IGNORED = -1
# Rows of so many channels at most have a lane each; longer ones fill the vectors by themselves.
NARROW_CHANNELS = 24


def softmax(
    work: Work,
    x: Matrix,
    out: Matrix,
    *,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    log: bool = False,
) -> None:
    """Add the step that turns each row into probabilities, or with ``log`` into their logarithms.

    ``out`` may be ``x``.
    """
    kind = "log_softmax" if log else "softmax"
    _add(work, kind, x, out, {}, rows, channels, dtype, machine)


def cross_entropy(
    work: Work,
    logits: Matrix,
    labels: Operand,
    scale: Operand,
    smoothing: Operand,
    losses: Operand,
    correct: Operand,
    grad: Matrix,
    *,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
) -> None:
    """Add the step of the loss and its gradient for the logits.

    labels: (rows,) of int64; a label that is no channel, such as ``IGNORED``, gives a row of zeros.
    scale, smoothing: a number each, of the dtype. losses, correct: (rows,), the latter 1 where the
    first of the largest logits is that of the label. grad: the gradient of ``scale * sum(losses)``;
    it may be ``logits``.
    """
    more = {
        "labels": labels,
        "scale": scale,
        "smoothing": smoothing,
        "losses": losses,
        "correct": correct,
    }
    _add(work, "cross_entropy", logits, grad, more, rows, channels, dtype, machine)


def _add(
    work: Work,
    kind: str,
    x: Matrix,
    out: Matrix,
    more: dict[str, Operand],
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
) -> None:
    narrow = channels <= NARROW_CHANNELS
    step = SoftmaxKernel(dtype, kind, channels if narrow else 0).step(
        -(-rows // machine.lanes(dtype)) if narrow else rows,
        {"log_softmax": "log softmax", "cross_entropy": "cross-entropy"}.get(kind, kind),
        barrier=False,
        x=x.array,
        out=out.array,
        x_pitch=x.pitch,
        out_pitch=out.pitch,
        rows=rows,
        channels=channels,
        **more,
    )
    work.steps.append(step)


def check_labels(labels: npt.ArrayLike, classes: int) -> npt.NDArray[np.int64]:
    """The labels, contiguous and as int64. TypeError: not integers. ValueError: one that is no
    class, 0 to ``classes - 1``, nor ``IGNORED``, and where it stands.
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
