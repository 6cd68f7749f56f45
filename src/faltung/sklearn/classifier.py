"""``ConvClassifier``: a network that tells classes apart, or finds labels, several at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from faltung.data.augment import Augment
from faltung.data.names import class_name
from faltung.geometry.calls import explained
from faltung.geometry.check import show, truth
from faltung.geometry.errors import FaltungError
from faltung.graph.losses import Loss
from faltung.nn.layer import Layer
from faltung.program.optimizer import OptimizerName
from faltung.sklearn.estimator import ConvEstimator
from faltung.sklearn.networks import AUTO
from faltung.train import defaults
from faltung.train.recipes import Recipe
from faltung.train.schedule import ScheduleName

Array = npt.NDArray[Any]
SEVERAL = "multilabel-indicator"


@explained
class ConvClassifier(ClassifierMixin, ConvEstimator):
    """A network as a classifier of scikit-learn.

    Parameters
    ----------
    net : "auto", str, Layer or callable
        The network: one for the shape of the samples; the name of one of ``faltung.nets``; a
        function ``(outputs, input_shape)`` that gives layers, such as those of ``faltung.nets``; or
        layers of ``faltung.nn``, with as many outputs as there are classes.
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
    smoothing : float, optional
        Of the labels, at least 0 and below 1; by default 0 for a table, 0.1 for what has space.
    augment : Augment, optional
        Random changes of the samples; by default noise of 0.3 standard deviations for what has
        space, none for a table. ``Augment()`` changes nothing.
    class_weight : "balanced", dict or None
        The weight of each class in the loss, by class; "balanced": samples / (classes * samples of
        the class).
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
    classes_ : ndarray
        The classes, in order.
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
    What ``fit`` makes follows from the samples, their weights, the parameters and ``random_state``
    alone, bit for bit: not from the order of the samples, nor from ``n_jobs``. A sample of weight 2
    is two samples, as long as weights are whole and add up to at most 16 times the number of
    samples.

    Several candidates of a search share what is compiled: the second fit of the same shapes
    compiles nothing, in other processes too.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from faltung.sklearn import ConvClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ConvClassifier(random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
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
        smoothing: float | None = None,
        augment: Augment | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
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
        self.smoothing = smoothing
        self.augment = augment
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    classes_: Array

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on samples and their classes.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.
        y : array_like of shape (n,) or (n, labels)
            The class of each sample, numbers or words; or zeros and ones, one for each label.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts. A sample of weight 2 is two samples.

        Returns
        -------
        self : ConvClassifier
            The same object, trained.
        """
        again = truth("warm_start", self.warm_start) and hasattr(self, "model_")
        x, given = self._checked(X, y, again)
        several, classes = _classes(given)
        if again and not np.array_equal(classes, self.classes_):
            raise FaltungError(
                f"warm_start=True: y has the classes {show(classes.tolist())}: must be "
                f"{show(self.classes_.tolist())}, as before"
            )
        if len(classes) < 2:
            raise FaltungError(f"y: has one class, {classes[0]}: training needs at least two")
        self.classes_, self._several = classes, several
        self._begin(x, given, sample_weight, again)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on some of the samples, once: for data that come in parts.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.
        y : array_like of shape (n,) or (n, labels)
            The class of each sample, or zeros and ones, one for each label.
        classes : array_like, optional
            All classes that will occur, in the first call.
        sample_weight : array_like of shape (n,), optional
            How much each sample counts.

        Returns
        -------
        self : ConvClassifier
            The same object, trained.
        """
        again = hasattr(self, "model_")
        x, given = self._checked(X, y, again)
        several, found = _classes(given)
        if not again:
            if classes is None:
                raise FaltungError("classes: must be given in the first call of partial_fit")
            self.classes_, self._several = unique_labels(classes), several
        elif classes is not None and not np.array_equal(unique_labels(classes), self.classes_):
            raise FaltungError(
                f"classes={show(classes)}: must be {show(self.classes_.tolist())}, as before"
            )
        unknown = np.setdiff1d(found, self.classes_)
        if unknown.size:
            raise FaltungError(
                f"y: has the class {unknown[0]}: must be one of {show(self.classes_.tolist())}"
            )
        self._begin(x, given, sample_weight, again, part=True)
        return self

    def decision_function(self, X: Any) -> Array:
        """What the network says of each class before that becomes a probability.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.

        Returns
        -------
        ndarray of shape (n, classes) or (n,)
            In the order of ``classes_``. Of two classes one number, above 0 for the second.
        """
        made = self._outputs(X)
        return made[:, 1] - made[:, 0] if self._binary else made

    def predict_proba(self, X: Any) -> Array:
        """How likely each class is, or each label.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.

        Returns
        -------
        ndarray of shape (n, classes)
            In the order of ``classes_``. Rows add up to 1, unless a sample may have several labels.
        """
        made = self._outputs(X)
        if self._several:
            return np.asarray(1 / (1 + np.exp(-made)))
        made = np.exp(made - made.max(1, keepdims=True))
        return np.asarray(made / made.sum(1, keepdims=True))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of ``predict_proba``.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.

        Returns
        -------
        ndarray of shape (n, classes)
            Natural logarithms.
        """
        return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> Array:
        """The class of each sample, or its labels.

        Parameters
        ----------
        X : array_like of shape (n, features) or (n, channels, *space)
            The samples.

        Returns
        -------
        ndarray of shape (n,) or (n, labels)
            Of ``classes_``; or zeros and ones.
        """
        made = self.predict_proba(X)
        if self._several:
            return np.asarray(made > 0.5, np.int64)
        return np.asarray(self.classes_[made.argmax(1)])

    @property
    def _binary(self) -> bool:
        return not self._several and len(self.classes_) == 2

    # What differs between the two estimators ----------------------------------------------------

    def _targets(self, y: Array) -> tuple[Array, int, tuple[str, ...] | None]:
        if self._several:
            return np.asarray(y, np.float32), len(self.classes_), None
        return np.searchsorted(self.classes_, y), len(self.classes_), _names(self.classes_)

    def _weighted(self, weights: Array | None, y: Array) -> Array | None:
        """Of samples with several labels: the product of the weights of their labels."""
        if not self._several or self.class_weight is None:
            return weights
        found = compute_sample_weight(self.class_weight, y)
        return np.asarray(found if weights is None else found * weights)

    def _loss(self) -> Loss:
        return "binary_cross_entropy" if self._several else "cross_entropy"

    def _more(self, recipe: Recipe, y: Array) -> dict[str, Any]:
        if self._several:
            if self.smoothing:
                raise FaltungError(f"smoothing={show(self.smoothing)}: is for one class a sample")
            return {}
        smoothing = recipe.smoothing if self.smoothing is None else self.smoothing
        return {"smoothing": smoothing, "class_weight": self._class_weight(y)}

    def _class_weight(self, y: Array) -> tuple[float, ...] | None:
        """One number for each class, by scikit-learn's rules."""
        if self.class_weight is None:
            return None
        seen = self.classes_[y]
        found = compute_class_weight(self.class_weight, classes=self.classes_, y=seen)
        return tuple(map(float, found))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _names(classes: Array) -> tuple[str, ...]:
    """What the model calls its outputs: the classes, or their numbers where two look the same."""
    names = tuple(map(class_name, classes.tolist()))
    return names if len(set(names)) == len(names) else tuple(map(str, range(len(names))))


def _classes(y: Array) -> tuple[bool, Array]:
    """Whether samples may have several labels, and the classes that occur. ValueError: neither."""
    check_classification_targets(y)
    if type_of_target(y, input_name="y") == SEVERAL:
        return True, np.arange(y.shape[1])
    return False, np.unique(y)
