"""What is called after each epoch of a training: functions of an ``Epoch``, which may end it.

They are told of a training and do not take part in it: the same weights come out, bit for bit, with
them and without.
"""

import os
from collections.abc import Callable, Mapping
from logging import WARNING, getLogger
from pathlib import Path
from time import time
from typing import Any

import numpy as np

from faltung.formats.extras import missing
from faltung.geometry.check import is_sequence, show
from faltung.geometry.check import path as check_path
from faltung.geometry.errors import FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.train.metrics import EpochMetrics

STOP = "stop"
_LONGEST_PARAMETER = 500  # characters of a value that MLflow takes in every version


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


# For other programs -------------------------------------------------------------------------------


def tensorboard(folder: str | os.PathLike[str]) -> Callback:
    """Write a training to a folder that TensorBoard shows: ``tensorboard --logdir folder``.

    The writer is TensorBoard's own: what shows the files is then also what wrote them, and nothing
    else has to be installed, PyTorch and TensorFlow least of all.

    Parameters
    ----------
    folder : path-like
        Where its event files go; created if there is none. Each training wants a folder of its own.
        A training that goes on may have that which it had: epochs that it repeats are replaced.

    Returns
    -------
    callable
        For ``callbacks`` of ``fit``. Curves are called "loss/training", "loss/validation",
        "accuracy/...", "f1/validation", "lr" and "seconds", by epochs.

    Raises
    ------
    ImportError
        ``tensorboard`` is not installed; it comes with ``pip install "faltung[tensorboard]"``.
    OSError
        The folder cannot be written, from the first epoch on.

    Examples
    --------
    >>> from faltung.train.callbacks import tensorboard
    >>> model.fit(x, y, callbacks=[tensorboard("logs/first")])  # doctest: +SKIP
    """
    return _TensorBoard(check_path("folder", folder))


class _TensorBoard:
    """Writes scalars; its file is complete after each epoch."""

    def __init__(self, folder: str) -> None:
        try:
            from tensorboard.summary.writer import event_file_writer
        except ImportError as error:
            raise missing("tensorboard", "tensorboard") from error
        self._folder, self._module = folder, event_file_writer
        self._writer: Any = None

    def __call__(self, epoch: Epoch) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._writer is None:
            self._writer = self._module.EventFileWriter(self._folder)
            # What an earlier session wrote of these epochs, before it was killed, is forgotten.
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time(), step=epoch.number, session_log=start))
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in _curves(epoch, "{0}/training", "{0}/validation").items()
        ]
        summary = Summary(value=values)
        self._writer.add_event(Event(wall_time=time(), step=epoch.number, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def mlflow(
    folder: str | os.PathLike[str],
    *,
    experiment: str = "faltung",
    run: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Callback:
    """Note a training in a database of MLflow in a folder; nothing is sent anywhere.

    It is shown by ``mlflow ui --backend-store-uri sqlite:///folder/mlflow.db``. A file of SQLite is
    what MLflow keeps runs in on one computer; it no longer writes folders of text files.

    Parameters
    ----------
    folder : path-like
        Where "mlflow.db" is, or is created. Many trainings may share one.
    experiment : str
        Of MLflow: a name for trainings that are compared.
    run : str, optional
        A name for this training. If the experiment has a run of this name, that is continued.
    parameters : mapping, optional
        What to note once: settings, say.

    Returns
    -------
    callable
        For ``callbacks`` of ``fit``. Metrics are called "loss", "val_loss", "accuracy",
        "val_accuracy", "val_f1", "lr" and "seconds", by epochs.

    Raises
    ------
    ImportError
        ``mlflow`` is not installed; what is needed comes with ``pip install "faltung[mlflow]"``.
    OSError
        The folder cannot be created.

    Examples
    --------
    >>> from faltung.train.callbacks import mlflow
    >>> model.fit(x, y, callbacks=[mlflow("logs", parameters={"lr": 0.01})])  # doctest: +SKIP
    """
    return _MLflow(check_path("folder", folder), experiment, run, dict(parameters or {}))


class _MLflow:
    """One run of a tracking database. It begins with the first epoch and ends with the training."""

    def __init__(
        self, folder: str, experiment: str, run: str | None, parameters: dict[str, Any]
    ) -> None:
        # MLflow tells its authors who uses it, over the network, unless this is set before.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise missing(error.name or "mlflow", "mlflow") from error
        self._client_type, self._folder = MlflowClient, Path(folder).absolute()
        self._experiment, self._name, self._parameters = experiment, run, parameters
        self._client: Any = None
        self._run = ""

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        getLogger("mlflow.store.db.utils").setLevel(WARNING)  # it says that it makes tables
        self._client = client = self._client_type(f"sqlite:///{self._folder / 'mlflow.db'}")
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            place = (self._folder / "artifacts").as_uri()
            number = client.create_experiment(self._experiment, artifact_location=place)
        else:
            number = found.experiment_id
        runs = [] if self._name is None else client.search_runs([number], "")
        same = [each for each in runs if each.info.run_name == self._name]
        if same:
            self._run = same[0].info.run_id
            client.update_run(self._run, status="RUNNING")
            return
        self._run = client.create_run(number, run_name=self._name).info.run_id
        for name, value in self._parameters.items():
            client.log_param(self._run, name, str(value)[:_LONGEST_PARAMETER])

    def __call__(self, epoch: Epoch) -> None:
        from mlflow.entities import Metric

        if self._client is None:
            self._begin()
        now = int(1000 * time())
        curves = _curves(epoch, "{0}", "val_{0}")
        metrics = [Metric(name, value, now, epoch.number) for name, value in curves.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        if self._client is not None:
            self._client.set_terminated(self._run)
            self._client = None


def _curves(epoch: Epoch, training: str, validation: str) -> dict[str, float]:
    """The numbers of an epoch under their names; ``{0}`` stands for that of a metric."""
    found = {
        training.format("loss"): epoch.loss,
        training.format("accuracy"): epoch.accuracy,
        validation.format("loss"): epoch.val_loss,
        validation.format("accuracy"): epoch.val_accuracy,
        **{validation.format(name): value for name, value in epoch.metrics.items()},
        "lr": epoch.lr,
        "seconds": epoch.seconds,
    }
    return {name: value for name, value in found.items() if value is not None}


# By the names of options: what writes where an option says.
WATCHERS: dict[str, Callable[..., Callback]] = {
    "tensorboard": lambda folder, **_: tensorboard(folder),
    "mlflow": mlflow,
}


def watchers(
    wanted: Mapping[str, str | os.PathLike[str]], run: str, parameters: Mapping[str, Any]
) -> tuple[Callback, ...]:
    """The callbacks of a run of the command line, by name and folder."""
    return tuple(
        WATCHERS[name](folder, run=run, parameters=parameters) for name, folder in wanted.items()
    )
