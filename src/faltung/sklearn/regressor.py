"""``ConvRegressor``: a network that predicts numbers."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin

from faltung.data.augment import Augment
from faltung.data.source import Subset
from faltung.data.standard import Standard
from faltung.geometry.calls import explained
from faltung.geometry.check import truth
from faltung.graph.losses import Loss, kind_of
from faltung.nn.layer import Layer
from faltung.program.optimizer import OptimizerName
from faltung.sklearn.estimator import ConvEstimator
from faltung.sklearn.networks import AUTO
from faltung.train import defaults
from faltung.train.recipes import Recipe
from faltung.train.schedule import ScheduleName
from faltung.train.target_scale import scaled, unscaled

Array = npt.NDArray[Any]
FLAT = 1e-12  # deviations below this part of the mean are rounding


@explained
class ConvRegressor(RegressorMixin, ConvEstimator):
    """A network as a regressor of scikit-learn.

    Parameters
    ----------
    net : "auto", str, Layer or callable
        The network: one for the shape of the samples; the name of one of ``faltung.nets``; a
        function ``(outputs, input_shape)`` that gives layers, such as those of ``faltung.nets``; or
        layers of ``faltung.nn``, with as many outputs as there are numbers to predict.
    input_shape : sequence of int, optional
        ``(channels, *space)`` of a sample, where X is a flat table of samples. Without it a row of
        a table is a row of a table, and X of 3, 4 or 5 axes is ``(n, channels, *space)``.
    epochs : int, optional
        Passes over the samples; by default as many as make 1,000 steps, but 40 to 100 for a table,
        8 to 100 for what has space.
    batch : int, optional
        Samples in one step; by default 32, from 4,096 samples on more, up to 256, or 128 for what
        has space.
    lr : float, optional
        The highest learning rate; by default 0.04 for a table, 0.02 for what has space, a quarter
        of that for another ``net``, 0.05 for "sgd". ``partial_fit`` uses a fifth of the default, or
        the one that is given.
    decay : float, optional
        Weight decay; by default 150 / samples for a table, 600 / samples for what has space, but
        0.05 to 0.5.
    optimizer : {"adamw", "sgd"}
        Adam with decoupled weight decay, or stochastic gradient descent with momentum.
    schedule : {"one_cycle", "cosine", "constant"}
        How the learning rate changes from step to step; in ``partial_fit`` it does not.
    loss : str
        What is made small: "mse", the mean squared error; "mae", the absolute one, for outliers;
        "huber", between the two; or a formula, such as "abs(output - target)".
    scale_targets : bool
        Whether the network learns targets with a mean of 0 and a standard deviation of 1, each
        output by itself; predictions are scaled back.
    augment : Augment, optional
        Random changes of the samples; by default noise of 0.3 standard deviations for what has
        space, none for a table. ``Augment()`` changes nothing.
    early_stopping : bool
        Whether a part of the samples is held out, and training ends when it gets no better; the
        best weights are kept.
    validation_fraction : float
        That part, between 0 and 1.
    n_iter_no_change : int
        Epochs without a better one after which training ends then.
    warm_start : bool
        Whether ``fit`` goes on from the weights that are there.
    random_state : int, RandomState or None
        Of the first weights, of order and noise. The same int gives the same bits.
    n_jobs : int, optional
        The most threads; None and -1: as many as ``faltung.get_threads()``. Results do not depend
        on it. It is never more than that, so that workers of joblib keep to their share.
    verbose : bool
        Whether progress is printed.

    Attributes
    ----------
    model_ : Model
        The network: ``model_.save(path)`` keeps it, for ``faltung.Model`` and the command line.
    input_shape_ : tuple of int
        The shape of one sample.
    n_features_in_, feature_names_in_
        As in all estimators.
    n_iter_ : int
        Epochs that were trained.
    loss_ : float
        The loss of the last epoch.
    history_ : History
        The metrics of each epoch, which print as a table.

    Raises
    ------
    ValueError, TypeError
        Not here but in ``fit``: parameters that do not fit the samples.

    Notes
    -----
    As for ``ConvClassifier``: the order of the samples and ``n_jobs`` do not matter, bit for bit.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from faltung.sklearn import ConvRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ConvRegressor(random_state=0).fit(X[:300], y[:300])
    >>> bool(model.score(X[300:], y[300:]) > 0.4)
    True
    """

    def __init__(
        self,
        net: str | Layer | Callable[..., Layer] = AUTO,
        *,
        input_shape: Sequence[int] | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        lr: float | None = None,
        decay: float | None = None,
        optimizer: OptimizerName = defaults.OPTIMIZER,
        schedule: ScheduleName = defaults.SCHEDULE,
        loss: Loss | str = "mse",
        scale_targets: bool = True,
        augment: Augment | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.net = net
        self.input_shape = input_shape
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.decay = decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.loss = loss
        self.scale_targets = scale_targets
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on samples and the numbers that belong to them.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.
        y : array_like of shape (n,) or (n, outputs)
            The numbers.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts. A sample of weight 2 is two samples.

        Returns
        -------
        self : ConvRegressor
            The same object, trained.
        """
        again = truth("warm_start", self.warm_start) and hasattr(self, "model_")
        x, numbers = self._checked(X, y, again, y_numeric=True)
        self._begin(x, numbers, sample_weight, again)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on some of the samples, once: for data that come in parts.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.
        y : array_like of shape (n,) or (n, outputs)
            The numbers.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts.

        Returns
        -------
        self : ConvRegressor
            The same object, trained.
        """
        again = hasattr(self, "model_")
        x, numbers = self._checked(X, y, again, y_numeric=True)
        self._begin(x, numbers, sample_weight, again, part=True)
        return self

    def predict(self, X: Any) -> Array:
        """The numbers of each sample.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.

        Returns
        -------
        ndarray of shape (n,) or (n, outputs)
            As ``y`` was in ``fit``, in float64.
        """
        made = self._outputs(X)
        made = unscaled(self._scale, made)
        return made[:, 0] if self._single else made

    # What differs between the two estimators ----------------------------------------------------

    def _targets(self, y: Array) -> tuple[Array, int, None]:
        self._single = y.ndim == 1
        made = y.reshape(len(y), -1).astype(np.float64)
        return made, made.shape[1], None

    def _scaled(self, y: Array, order: Array, weights: Array | None, again: bool) -> Array:
        """Targets with a mean of 0 and a deviation of 1, if they are to be scaled; by those of the
        samples that came first. In float64: a model's own targets are float32.
        """
        if not again:
            self._scale = None
            if truth("scale_targets", self.scale_targets) and kind_of(self.loss).scales:
                seen = y[order]
                mean = np.average(seen, 0, weights)
                std = np.sqrt(np.average((seen - mean) ** 2, 0, weights))
                std[std <= np.abs(mean) * FLAT] = 1
                self._scale = Standard(tuple(mean.tolist()), tuple(std.tolist()))
        return scaled(self._scale, y, y.shape[1:], "float32")

    def _train(self, train: Subset) -> None:
        self._in_units(super()._train, train)

    def _train_on(self, train: Subset) -> None:
        self._in_units(super()._train_on, train)

    def _in_units(self, train: Callable[[Subset], None], samples: Subset) -> None:
        """Train on targets that are scaled already; then the model knows by what."""
        self.model_.target_scale = None
        try:
            train(samples)
        finally:
            self.model_.target_scale = self._scale

    def _loss(self) -> Loss | str:
        return self.loss

    def _more(self, recipe: Recipe, y: Array) -> dict[str, Any]:
        return {"scale_targets": False}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
