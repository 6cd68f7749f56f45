"""Softmax, and cross-entropy with its gradient: rows of channels.

What it is.  For each row x (a position of a sample) the largest entry is subtracted, then ``p_c =
  e**x_c / sum e**x``. Cross-entropy with label smoothing eps compares p with the target ``t_c = (1
  - eps) [c = label] + eps / C``: the loss is ``- sum t_c log p_c`` and its gradient for x is ``p -
  t`` (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7). One visit to the
  row gives the loss, the gradient, and whether the largest entry is that of the label. With
  weights w of the classes, ``t_c = w_c ((1 - eps) [c = label] + eps / C)``, as PyTorch has it, and
  the gradient is ``p_c sum t - t_c``. The targets may also be given, a number for each channel:
  another network's answers (Hinton et al., "Distilling the knowledge in a neural network", 2015),
  or mixtures of labels.
When it applies.  Always. Short rows are computed several at once, one in each lane; longer ones one
  by one, vectors along the channels.
What it costs.  An exponential for each entry, and for long rows a second pass in the cache.

A row with a NaN, or with nothing but -inf, gives NaN.
"""

from collections.abc import Mapping

from faltung.machine.table import Machine
from faltung.methods.base.kernel import Kernel
from faltung.methods.base.step import Argument, Matrix, Operand, Work
from faltung.methods.rows.soft_targets_kernel import SoftTargetsKernel
from faltung.methods.rows.softmax_kernel import SoftmaxKernel

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
    _add(work, "softmax", x, out, rows, channels, dtype, machine, {}, log=log)


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
    weights: Operand | None = None,
) -> None:
    """Add the step of the loss and its gradient for the logits.

    labels: (rows,) of int64; a label that is no channel, such as -1, gives a row of zeros.
    scale, smoothing: a number each, of the dtype. losses, correct: (rows,), the latter 1 where the
    first of the largest logits is that of the label. grad: the gradient of ``scale * sum(losses)``;
    it may be ``logits``. weights: (channels,), of the classes.
    """
    found = {"labels": labels, "scale": scale, "smoothing": smoothing}
    found |= {"losses": losses, "correct": correct}
    found |= {} if weights is None else {"weights": weights}
    _add(work, "cross-entropy", logits, grad, rows, channels, dtype, machine, found)


def soft_cross_entropy(
    work: Work,
    logits: Matrix,
    targets: Matrix,
    scale: Operand,
    losses: Operand,
    grad: Matrix,
    *,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
) -> None:
    """Add the step of the loss ``- sum t_c log p_c`` of targets t, and its gradient for the logits.

    targets: rows of the dtype, each number at least 0; a row of zeros counts for nothing. The rest
    as in ``cross_entropy``; grad may be ``logits``, not ``targets``.
    """
    kernel = SoftTargetsKernel(dtype, channels if channels <= NARROW_CHANNELS else 0)
    more = {"scale": scale, "losses": losses, **targets.arguments("targets")}
    _step(work, kernel, "cross-entropy", logits, grad, rows, channels, dtype, machine, more)


def _add(
    work: Work,
    title: str,
    x: Matrix,
    out: Matrix,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    more: Mapping[str, Operand],
    log: bool = False,
) -> None:
    short = channels if channels <= NARROW_CHANNELS else 0
    kernel = SoftmaxKernel(dtype, short, bool(more), "weights" in more, log)
    _step(work, kernel, title, x, out, rows, channels, dtype, machine, more)


def _step(
    work: Work,
    kernel: Kernel,
    title: str,
    x: Matrix,
    out: Matrix,
    rows: int,
    channels: int,
    dtype: str,
    machine: Machine,
    more: Mapping[str, Argument],
) -> None:
    narrow = channels <= NARROW_CHANNELS
    step = kernel.step(
        -(-rows // machine.lanes(dtype)) if narrow else rows,
        title,
        barrier=False,
        **x.arguments("x"),
        **out.arguments("out"),
        rows=rows,
        channels=channels,
        **more,
    )
    work.steps.append(step)
