"""What is called after each epoch of a training: functions of an ``Epoch``, which may end it.

They are told of a training and do not take part in it: the same weights come out, bit for bit, with
them and without.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from faltung.geometry.check import is_sequence, show
from faltung.geometry.errors import FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.train.metrics import EpochMetrics

STOP = "stop"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a training, as a callback sees it.

    Parameters
    ----------
    number : int
        From 1.
    epochs : int
        How many there are to be.
    loss : float
        The mean over the samples that it was trained on.
    accuracy : float, optional
        Of labels, from 0 to 1, in training; None for numbers.
    val_loss, val_accuracy : float, optional
        The same of the validation; None without one.
    metrics : mapping of str to float
        Further metrics of the validation by name: ``metric`` and ``metrics`` of ``fit``.
    lr : float
        The learning rate of its last step.
    seconds : float
        How long it took, with its validation.
    best : bool
        Whether it is the best so far, whose weights are kept; without a validation always.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import Model, nn
    >>> x = np.random.default_rng(0).standard_normal((64, 3))
    >>> model = Model(nn.Linear(1), (3,))
    >>> def enough(epoch):
    ...     return epoch.loss < 100
    >>> len(model.fit(x, x.sum(1), loss="mse", callbacks=[enough], show=False))
    1
    """

    number: int
    epochs: int
    loss: float
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    metrics: Mapping[str, float]
    lr: float
    seconds: float
    best: bool


Callback = Callable[[Epoch], Any]


def checked(given: object) -> tuple[Callback, ...]:
    """One function, or several. TypeError: anything else."""
    if given is None:
        return ()
    if callable(given):
        return (given,)
    if not is_sequence(given):
        raise FaltungTypeError(
            f"callbacks={show(given)}: must be a list of functions, each of an Epoch"
        )
    for number, each in enumerate(given):  # type: ignore[arg-type, var-annotated]
        if not callable(each):
            raise FaltungTypeError(
                f"callbacks[{number}]={show(each)}: must be a function of an Epoch, which may "
                'return "stop"'
            )
        if isinstance(each, type):
            raise FaltungTypeError(
                f"callbacks[{number}]={each.__name__}: is a class; give an object of it, which can "
                "be called with an Epoch"
            )
    return tuple(given)  # type: ignore[arg-type]


def epoch_of(row: EpochMetrics, epochs: int, best: bool) -> Epoch:
    """What callbacks are told of an epoch."""
    return Epoch(
        number=row.epoch,
        epochs=epochs,
        loss=row.loss,
        accuracy=row.accuracy,
        val_loss=row.val_loss,
        val_accuracy=row.val_accuracy,
        metrics={name: value for name, value in row.scores.items() if value is not None},
        lr=row.lr,
        seconds=row.seconds or 0.0,
        best=best,
    )


def told(callbacks: tuple[Callback, ...], epoch: Epoch) -> str | None:
    """Call each; the name of the first that says stop. TypeError: an answer that says nothing."""
    stopped = None
    for each in callbacks:
        answer = each(epoch)
        if isinstance(answer, np.bool_):
            answer = bool(answer)
        name = getattr(each, "__name__", type(each).__name__)
        if answer is True or (isinstance(answer, str) and answer == STOP):
            stopped = stopped or name
        elif answer is not None and answer is not False:
            raise FaltungTypeError(
                f"callbacks: {name} returned {show(answer)}: must be None or False to go on, True "
                'or "stop" to stop'
            )
    return stopped


def ended(callbacks: tuple[Callback, ...]) -> None:
    """Tell those that have a ``close`` that there will be no further epoch."""
    for each in callbacks:
        close = getattr(each, "close", None)
        if callable(close):
            close()
