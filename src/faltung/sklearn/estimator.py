"""What both estimators share: parameters, training in one go or a part at a time, outputs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from faltung.data.augment import Augment
from faltung.data.source import Subset
from faltung.data.standard import learned
from faltung.geometry.check import integer, truth, whole
from faltung.geometry.errors import FaltungError
from faltung.graph.losses import Loss
from faltung.sklearn.jobs import jobs
from faltung.sklearn.networks import network, usual
from faltung.sklearn.samples import in_order, numbers, shape_of, source
from faltung.train.history import History
from faltung.train.loop import Loop
from faltung.train.model import Model
from faltung.train.recipes import Recipe
from faltung.train.settings import Settings

Array = npt.NDArray[Any]
# The learning rate of ``partial_fit``, which does not know how long it goes on, as a part of the
# highest of a whole run.
PARTIAL = 0.2
SEEDS = 2**31 - 1
_FIT = [name for name in Settings.__dataclass_fields__ if name != "lengthened"]


class ConvEstimator(BaseEstimator):
    """The part of both estimators that trains and computes outputs; see ``ConvClassifier``."""

    net: Any
    input_shape: Any
    epochs: Any
    batch: Any
    lr: Any
    decay: Any
    optimizer: Any
    schedule: Any
    augment: Any
    early_stopping: Any
    validation_fraction: Any
    n_iter_no_change: Any
    warm_start: Any
    random_state: Any
    n_jobs: Any
    verbose: Any

    model_: Model
    input_shape_: tuple[int, ...]
    history_: History
    loss_: float
    n_iter_: int
    n_features_in_: int
    _run_seed: int
    _slots: dict[str, Array]
    _steps: int

    # What differs -------------------------------------------------------------------------------

    def _targets(self, y: Array) -> tuple[Array, int, tuple[str, ...] | None]:
        """y as the network takes it, how many outputs that needs, and what they are called."""
        raise NotImplementedError

    def _weighted(self, weights: Array | None, y: Array) -> Array | None:
        """The weights of the samples, with what else gives them some."""
        return weights

    def _scaled(self, y: Array, order: Array, weights: Array | None, again: bool) -> Array:
        """The targets as the network learns them."""
        return y

    def _loss(self) -> Loss | str:
        raise NotImplementedError

    def _more(self, recipe: Recipe, y: Array) -> dict[str, Any]:
        """Further settings of a run, for the targets that it trains on."""
        raise NotImplementedError

    # Training -----------------------------------------------------------------------------------

    def _checked(self, x: Any, y: Any, again: bool, **options: Any) -> tuple[Array, Array]:
        """X and y as scikit-learn checks them. ``again``: like samples that were seen before."""
        made_x, made_y = validate_data(
            self, x, y, reset=not again, allow_nd=True, multi_output=True, **options
        )
        if made_y.ndim == 2 and made_y.shape[1] == 1:
            made_y = column_or_1d(made_y, warn=True)
        return made_x, made_y

    def _begin(
        self, x: Array, y: Array, sample_weight: Any, again: bool, part: bool = False
    ) -> None:
        """Train on samples that were checked: in one go, or as a ``part`` of more to come. The
        model is made, unless it is there ``again``.
        """
        weights = self._weighted(_weights(sample_weight, x), y)
        targets, outputs, classes = self._targets(y)
        shape = shape_of(x, self.input_shape)
        if again:
            self._check_shape(shape)
        else:
            seed = self._seed()
            made = Model(network(self.net, shape, outputs), shape, seed=seed, classes=classes)
            self.model_, self._run_seed, self.input_shape_ = made, seed, shape
            self.history_, self._slots, self._steps = History(), {}, 0
        given = numbers(x, shape)
        order, weight = in_order(given, targets, weights)
        targets = self._scaled(targets, order, weight, again)
        samples = source(given, targets, classes, order)
        samples.weights = weight
        if part:
            self._train_on(samples)
        else:
            self._train(samples)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if shape != self.input_shape_:
            raise FaltungError(
                f"X: has samples of shape {shape}, must be {self.input_shape_}, as those that "
                f"{type(self).__name__} was trained on"
            )

    def _seed(self) -> int:
        number = integer(self.random_state)
        if number is not None and number >= 0:
            return number
        return int(check_random_state(self.random_state).randint(SEEDS))

    def _settings(self, train: Subset, **options: Any) -> Settings:
        """How to train, where ``options`` do not say otherwise."""
        best, count = usual(self.net, self.input_shape_), len(train)
        batch = best.batch(count) if self.batch is None else whole("batch", self.batch, 1)
        length = best.length(-(-count // batch))
        lr = best.lr if self.lr is None and self.optimizer == "adamw" else self.lr
        given = {
            "epochs": length if self.epochs is None else self.epochs,
            "batch": batch,
            "lr": lr,
            "decay": best.shrink(count) if self.decay is None else self.decay,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "loss": self._loss(),
            "augment": Augment(jitter=best.jitter) if self.augment is None else self.augment,
            "seed": self._run_seed,
            **self._more(best, train.targets),
        }
        return Settings(**given | options)

    def _train(self, train: Subset) -> None:
        """Train in one go."""
        part, patience = None, None
        if truth("early_stopping", self.early_stopping):
            part = self.validation_fraction
            patience = whole("n_iter_no_change", self.n_iter_no_change, 1)
        settings = self._settings(train, patience=patience)
        given = {name: getattr(settings, name) for name in _FIT}
        with jobs(self.n_jobs):
            done = self.model_.fit(train, validation=part, show=bool(self.verbose), **given)
        self._note(done)

    def _train_on(self, train: Subset) -> None:
        """One pass over some samples, with the state of the optimizer as the last one left it."""
        model, done = self.model_, len(self.history_)
        settings = self._settings(train, schedule="constant", epochs=done + 1)
        if self.lr is None:
            settings = replace(settings, lr=PARTIAL * cast(float, settings.resolved().lr))
        if model.standard is None:
            model.standard, model.units = learned(train)
        with jobs(self.n_jobs):
            loop = Loop(model, settings, train, None, show=bool(self.verbose), part=True)
            loop.slots.update(self._slots)
            loop.position.epoch, loop.position.step = done, self._steps
            model.loss = settings.loss
            self._note(loop.run())
        self._slots, self._steps = loop.slots.all(), loop.position.step

    def _note(self, done: Sequence[Any]) -> None:
        """Keep what a run said of its epochs."""
        self.history_.extend(done)
        self.n_iter_ = len(self.history_)
        self.loss_ = self.history_[-1].loss

    # Outputs ------------------------------------------------------------------------------------

    def _outputs(self, x: Any) -> Array:
        """What the network says of X, (n, outputs), in float64."""
        check_is_fitted(self, "model_")
        given = validate_data(self, x, reset=False, allow_nd=True)
        shape = shape_of(given, self.input_shape)
        self._check_shape(shape)
        with jobs(self.n_jobs):
            made = self.model_.outputs(numbers(given, shape), finished=False)
        return made.astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _weights(sample_weight: Any, x: Array) -> Array | None:
    """One weight for each sample, of which not all are 0. ValueError, TypeError."""
    if sample_weight is None:
        return None
    made: Array = _check_sample_weight(sample_weight, x, dtype=np.float64)
    if made.min() < 0:
        raise FaltungError(f"sample_weight: {made.min():g}: must be at least 0")
    if not made.any():
        raise FaltungError("sample_weight: all weights are zero: at least one must be above 0")
    return made
