"""A network that can be trained. All on NumPy arrays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from faltung.data.native import as_array
from faltung.data.source import Source, is_source
from faltung.geometry import words
from faltung.geometry.calls import explained_methods
from faltung.geometry.errors import FaltungAttributeError
from faltung.train import seen
from faltung.train.dense import dense
from faltung.train.evaluate import evaluate
from faltung.train.exchange import Exchange
from faltung.train.fitting import Fitting
from faltung.train.samples import as_source


@explained_methods
class Model(Exchange, Fitting):
    """A network for samples of one shape, with its parameters: train it, predict, save it.

    Parameters
    ----------
    net : Layer
        Layers of ``faltung.nn``, or a network of ``faltung.nets``.
    input_shape : sequence of int
        The shape of one sample, ``(channels, *space)``; with ``tokens`` ``(length,)``.
    dtype : {"float32", "float64", "float16", "bfloat16"}
        Of parameters and values. Those of 16 bits are for prediction: weights and what layers make
        are kept in 16 bits, sums and formulas are float32, and so are inputs and outputs.
    tokens : bool
        Whether samples are whole numbers, each the index of a row of an ``Embedding``.
    seed : int
        Of the first parameters.
    classes : sequence of str, optional
        Names of the outputs.
    standard : Standard, optional
        Mean and standard deviation of each channel, subtracted and divided by before the network
        sees a sample. Where it is not given, ``fit`` takes that of its samples.
    units : Units, optional
        What stored numbers mean: what they are divided by before that, and what is white. Where
        they are not given, ``fit`` finds them out: of a source those of the source; arrays are not
        divided.
    precision : {"fast", "strict"}
        With "strict", convolutions are plain sums of products, in training too.

    Raises
    ------
    ValueError, TypeError
        A layer that does not fit its input; classes or a standard that do not fit the network.
    MemoryError
        More parameters than this computer can hold.

    Notes
    -----
    Several threads may call a model; they take turns.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import Model, nn
    >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    >>> x = np.random.default_rng(0).standard_normal((64, 1, 8, 8), dtype=np.float32)
    >>> y = (x.mean((1, 2, 3)) > 0).astype(int)
    >>> model = Model(net, (1, 8, 8))
    >>> history = model.fit(x, y, epochs=3, show=False)
    >>> model.predict(x[:5]).shape
    (5, 2)
    """

    if not TYPE_CHECKING:  # type checkers know what there is

        def __getattr__(self, name: str) -> Any:
            raise FaltungAttributeError(words.no_such("Model", name, dir(Model), words.METHODS))

    def evaluate(
        self,
        x: npt.ArrayLike | Source,
        y: npt.ArrayLike | None = None,
        *,
        metric: str | Sequence[str] = (),
        sample_weight: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """The loss, and for labels the accuracy, over samples and their targets.

        Parameters
        ----------
        x : array_like or Source
            Samples ``(n, *input_shape)``, or a source, which has its own targets.
        y : array_like, optional
            Labels ``(n,)``, whole numbers, one-hot rows or names of classes; or ``(n, *space)``, of
            which -1 does not count. For a model that was trained on numbers, numbers ``(n, *output
            shape)``; for one of several labels at once 0 or 1 for each.
        metric : str or sequence of str
            Further metrics, by the definitions of scikit-learn: "f1", "auc", ... as in ``fit``.
        sample_weight : array_like, optional
            A number from 0 for each sample, ``(n,)``: loss and metrics are weighted by them.

        Returns
        -------
        dict
            "loss", the mean over samples (of numbers as they were learned, with deviation 1),
            for labels "accuracy", from 0 to 1, and the metrics. A
            model that was never trained counts as a classifier if the targets are labels.

        Warns
        -----
        UserWarning
            These are the samples of which ``fit`` held a part out: it says what that part reaches.

        Raises
        ------
        ValueError, TypeError
            Samples or targets that do not fit the network, or a metric that does not fit them.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> model = Model(nn.Linear(2), (3,))
        >>> sorted(model.evaluate(np.ones((4, 3)), [0, 1, 1, 0], metric="auc"))
        ['accuracy', 'auc', 'loss']
        """
        loss = self.loss
        if loss is None:
            targets = x.targets if is_source(x) else as_array("y", y)
            loss = "mse" if targets.dtype.kind == "f" else "cross_entropy"
        metrics = [metric] if isinstance(metric, str) else list(metric)
        source = as_source(x, y, self, loss, sample_weight)
        found = evaluate(self, source, loss, metrics=metrics).metrics()
        seen.warn(self, self._seen, source, loss, metrics)
        return found

    def dense(self) -> Self:
        """The same network for pictures of any size, with an answer for every position.

        Linear layers and means over all positions become convolutions and windows of the size that
        they read, so a classifier of pictures makes a map of classes: of each window of a larger
        picture that has the size of the training, at the stride of the network.

        Returns
        -------
        Model
            A copy; this one is not changed. Of a picture of ``input_shape`` its outputs are those
            of this one, with axes of 1 entry behind them, and after a mean up to rounding. Where
            layers pad, it differs inside a larger picture: they see what is there instead.

        Raises
        ------
        ValueError
            A network for tokens or vectors; a layer that cannot be made dense.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
        >>> model = Model(net, (1, 8, 8))
        >>> dense = model.dense()
        >>> picture = np.random.default_rng(0).standard_normal((1, 20, 30), dtype=np.float32)
        >>> dense.predict(picture).shape
        (2, 13, 23)
        >>> crop = picture[:, 4:12, 9:17]
        >>> bool(np.allclose(dense.predict(picture)[:, 4, 9], model.predict(crop), atol=1e-6))
        True
        """
        return dense(self)
