"""A network that can be trained. All on NumPy arrays."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from faltung.data.augment import Augment
from faltung.data.loader import Sampler
from faltung.data.native import as_array
from faltung.data.source import Source, in_units, is_source, is_stored, layout_in, split
from faltung.data.standard import learned
from faltung.formats.extras import missing
from faltung.geometry import words
from faltung.geometry.calls import explained_methods
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungAttributeError, FaltungError, FaltungTypeError
from faltung.graph.differentiate import Loss
from faltung.plan.choose import Precision
from faltung.program.optimizer import OptimizerName
from faltung.train import defaults
from faltung.train.dense import dense
from faltung.train.evaluate import evaluate
from faltung.train.history import History
from faltung.train.loop import Loop
from faltung.train.network import Network
from faltung.train.samples import as_source
from faltung.train.schedule import ScheduleName
from faltung.train.settings import Settings
from faltung.train.teacher import Teacher, teacher_of
from faltung.train.transfer import take_matching


@explained_methods
class Model(Network):
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
    ) -> dict[str, float]:
        """The loss, and for labels the accuracy, over samples and their targets.

        Parameters
        ----------
        x : array_like or Source
            Samples ``(n, *input_shape)``, or a source, which has its own targets.
        y : array_like, optional
            Labels ``(n,)``, whole numbers, one-hot rows or names of classes; or ``(n, *space)``, of
            which -1 does not count. For a model that was trained on numbers, numbers ``(n, *output
            shape)``.
        metric : str or sequence of str
            Further metrics, by the definitions of scikit-learn: "f1", "auc", ... as in ``fit``.

        Returns
        -------
        dict
            "loss", the mean over samples, for labels "accuracy", from 0 to 1, and the metrics. A
            model that was never trained counts as a classifier if the targets are labels.

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
        return evaluate(self, as_source(x, y, self, loss), loss, metrics=metrics).metrics()

    @classmethod
    def from_onnx(
        cls,
        model: str | os.PathLike[str] | bytes,
        input_shape: Sequence[int] | None = None,
        *,
        classes: Sequence[str] | None = None,
    ) -> Self:
        """A model from an ONNX file, to be trained further, saved, looked at.

        Its layers are those of the file; ``with_outputs`` of them changes the last one. To run a
        file as it is, with several inputs and outputs, use ``faltung.onnx.load``.

        Parameters
        ----------
        model : path-like or bytes
            The file, or what is in it.
        input_shape : sequence of int, optional
            The shape of one sample, ``(channels, *space)``; where the file leaves sizes free it
            must be given.
        classes : sequence of str, optional
            Names of the outputs.

        Returns
        -------
        Model
            Of the first output of the file. Where that ends in a softmax, ``predict`` gives
            probabilities.

        Raises
        ------
        FaltungError, UnsupportedError
            No ONNX model, one with several inputs, or one that is not a network of ours: operators
            that run on the host.
        OSError
            The file cannot be read.
        ImportError
            ``onnx`` is not installed.

        Examples
        --------
        >>> import faltung
        >>> from faltung.formats.onnx_export import export_onnx
        >>> net = faltung.Model(faltung.nn.Conv(2, 3), (1, 5, 5))
        >>> faltung.Model.from_onnx(export_onnx(net.graph, net.parameters))
        <Model (1, 5, 5) -> (2, 3, 3), 20 parameters>
        """
        made: Self = import_module("faltung.onnx.layer").from_onnx(cls, model, input_shape, classes)
        return made

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

    def fit(
        self,
        x: npt.ArrayLike | Source,
        y: npt.ArrayLike | None = None,
        *,
        validation: float | tuple[npt.ArrayLike, npt.ArrayLike] | Source | None = None,
        show: bool = True,
        epochs: int = defaults.EPOCHS,
        batch: int = defaults.BATCH,
        optimizer: OptimizerName = defaults.OPTIMIZER,
        lr: float | None = None,
        momentum: float | None = None,
        nesterov: bool = False,
        decay: float = defaults.DECAY,
        clip: float | None = None,
        schedule: ScheduleName = defaults.SCHEDULE,
        warmup: float = defaults.WARMUP,
        loss: Loss = defaults.LOSS,
        smoothing: float = defaults.SMOOTHING,
        metric: str | None = None,
        patience: int | None = None,
        class_weights: str | Sequence[float] | None = None,
        sampler: Sampler = defaults.SAMPLER,
        freeze: str | int | Sequence[str] = (),
        seed: int = defaults.SEED,
        precision: Precision = defaults.PRECISION,
        augment: Augment | None = None,
        teacher: Network | None = None,
        distil: float | None = None,
        temperature: float | None = None,
    ) -> History:
        """Train the network, from the parameters that it has.

        Parameters
        ----------
        x : array_like or Source
            Samples ``(n, *input_shape)``, or a source, which has its own targets.
        y : array_like, optional
            Labels ``(n,)``, whole numbers, one-hot rows or names of classes; or ``(n, *space)``, of
            which -1 does not count. With ``loss="mse"`` numbers ``(n, *output shape)``.
        validation : float, (x, y) or Source, optional
            The part of the samples to hold out (0.2, say), or other samples. With a validation the
            best weights are kept, without one those of the last epoch.
        show : bool
            Whether progress is printed.
        epochs : int
            Passes over the samples.
        batch : int
            Samples in one step.
        optimizer : {"sgd", "adamw"}
            Stochastic gradient descent with momentum, or Adam with decoupled weight decay [1]_.
        lr : float, optional
            The highest learning rate; by default 0.003 for "adamw", 0.05 for "sgd".
        momentum : float, optional
            Of "sgd", at least 0 and below 1; by default 0.9.
        nesterov : bool
            Whether "sgd" looks ahead along its momentum.
        decay : float
            Weight decay.
        clip : float, optional
            The largest norm of all gradients together; larger ones are scaled down.
        schedule : {"constant", "cosine", "one_cycle"}
            How the learning rate changes from step to step [2]_ [3]_.
        warmup : float
            The part of the run, from 0 to 1, in which the rate first grows from near 0.
        loss : {"cross_entropy", "mse"}
            For labels, or for numbers.
        smoothing : float
            Of the labels, at least 0 and below 1.
        metric : str, optional
            By which the best epoch is chosen: "loss", for labels "accuracy" (the usual one),
            "balanced_accuracy", "f1", "precision", "recall", "jaccard", "kappa", "mcc", "auc" or
            "average_precision", means over classes, for numbers "mse", "rmse", "mae" or "r2"; all
            by the definitions of scikit-learn. The usual one for numbers is the loss.
        patience : int, optional
            Epochs without a better validation after which training ends.
        class_weights : "balanced" or sequence of float, optional
            One number for each class: the loss is the weighted mean, as in PyTorch. "balanced":
            samples / (classes * samples of the class). The validation is not weighted.
        sampler : {"shuffled", "balanced"}
            Each sample once in an epoch, or as many draws, each class as likely as any other.
        freeze : str, int or sequence of str
            Layers that stay as they are: "all-but-last", a number of layers with parameters from
            the first on, or names as in ``parameters``; a name stands for the layers inside it too,
            and may have ``*``. Their batch normalisation uses its running statistics.
        seed : int
            Of the order of the samples, augmentation, dropout and what is held out.
        precision : {"fast", "strict"}
            As in ``Model``; strict if either says so.
        augment : Augment, optional
            Random changes of the samples.
        teacher : Model, optional
            A network whose answers this one learns from too: knowledge distillation [4]_. It sees
            the same samples, and is not changed.
        distil : float, optional
            The part of the loss that is the divergence from these answers, above 0, at most 1; by
            default 0.5. For numbers it is the mean squared difference from them.
        temperature : float, optional
            What the outputs of both networks are divided by there, above 0; by default 2. Larger
            ones make more of the classes that are not likely.

        Returns
        -------
        History
            A list with the metrics of each epoch, which prints as a table.

        Raises
        ------
        ValueError, TypeError
            Samples, targets or settings that do not fit the network, or each other.
        FloatingPointError
            The loss is not finite.

        Notes
        -----
        A model without a ``standard`` gets that of the first samples that it is trained on. Ctrl-C
        ends training after the batch. The same seed gives the same weights, bit for bit, whatever
        the number of threads.

        References
        ----------
        .. [1] I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
        .. [2] I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
           ICLR 2017.
        .. [3] L. N. Smith and N. Topin, "Super-convergence", 2017.
        .. [4] G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network",
           2015.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> x = np.random.default_rng(0).standard_normal((64, 3))
        >>> model = Model(nn.Linear(1), (3,))
        >>> history = model.fit(x, x.sum(1), loss="mse", epochs=5, lr=0.1, show=False)
        >>> len(history), history[-1].loss < history[0].loss
        (5, True)
        """
        wanted = Settings(
            epochs=epochs,
            batch=batch,
            optimizer=optimizer,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            decay=decay,
            clip=clip,
            schedule=schedule,
            warmup=warmup,
            loss=loss,
            smoothing=smoothing,
            metric=metric,
            patience=patience,
            class_weights=class_weights,  # type: ignore[arg-type]
            sampler=sampler,
            freeze=freeze,  # type: ignore[arg-type]
            seed=seed,
            precision=precision,
            augment=Augment() if augment is None else augment,
        )
        learned_from = teacher_of(teacher, distil, temperature)
        train = as_source(x, y, self, wanted.loss)
        units = self.units or (train.units if is_stored(train) else None)
        held: Source | None = None
        if isinstance(validation, tuple) and len(validation) == 2:
            held = in_units(as_source(*validation, self, wanted.loss), units)
        elif is_source(validation):
            held = in_units(validation, units)
        elif validation is not None:
            part = _part(validation)
            train, held = split(train, part, wanted.seed)
        return self._trained(wanted, train, held, show, learned_from)

    def start_from(self, other: "Network") -> tuple[str, ...]:
        """Take over the parameters of another network where names and shapes are the same.

        For transfer learning: a network of the same layers for other classes, of which all but the
        last layer begin where another training ended. A model that was never trained also takes
        the ``standard`` and the ``units`` of the other, whose parameters expect such inputs.

        Parameters
        ----------
        other : Model
            What to start from. It is not changed.

        Returns
        -------
        tuple of str
            The layers that keep the parameters they have, because the other network lacks them or
            has them in another shape.

        Raises
        ------
        ValueError, TypeError
            No layer is the same, or samples have another shape.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nets
        >>> old = Model(nets.get("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28))
        >>> new = Model(nets.get("lenet5", classes=3, input_shape=(1, 28, 28)), (1, 28, 28))
        >>> new.start_from(old)
        ('linear3',)
        """
        if not isinstance(other, Network):
            raise FaltungTypeError(
                f"other={show(other)}: must be a Model; Model.load reads one from a file"
            )
        return take_matching(self, other)

    def to_torch(self) -> Any:
        """The network as a module of PyTorch, with the same numbers.

        Returns
        -------
        torch.fx.GraphModule
            In evaluation mode, on the CPU, in the dtype of the model. It consists of modules of
            ``torch.nn`` under the names of the layers, and functions of ``torch``: it needs no
            Faltung to run, to be trained or saved. It takes a batch ``(n, *input_shape)`` of
            samples as they are read, pictures from 0 to 1, since a ``standard`` is part of it, and
            gives what comes before a softmax. In training mode batch normalisation, dropout and
            stochastic depth do what they do in ``fit``; auxiliary classifiers are left out.

        Raises
        ------
        UnsupportedError
            An operation without a form in PyTorch; the message names it and its layer.
        ImportError
            PyTorch is not installed.

        Examples
        --------
        >>> from faltung import Model, nn
        >>> module = Model(nn.Conv(4, 3), (1, 8, 8)).to_torch()  # doctest: +SKIP
        >>> module.conv1  # doctest: +SKIP
        Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
        """
        try:
            return import_module("faltung.torch.to_torch").to_torch(self)
        except ImportError as error:
            if error.name is None or error.name.partition(".")[0] != "torch":
                raise
            raise missing("torch", "torch") from error

    def _trained(
        self,
        settings: Settings,
        train: Source,
        held: Source | None,
        show: bool,
        teacher: Teacher | None,
    ) -> History:
        """Train; what was taken from the samples is dropped again if training cannot begin."""
        with self._lock:
            before = self.standard, self.units, self.layout
            if self.units is None and self.standard is None:
                self.layout = layout_in(train)
            if not self.tokens and (self.standard is None or self.units is None):
                standard, units = learned(train)
                self.standard, self.units = self.standard or standard, self.units or units
            try:
                loop = Loop(self, settings, train, held, show=show, teacher=teacher)
            except BaseException:
                self.standard, self.units, self.layout = before
                raise
            self.loss = settings.loss
            history = loop.run()
            loop.restore_best()
        return History(history)


def _part(validation: object) -> float:
    """A part of the samples to hold out. ValueError, TypeError."""
    if isinstance(validation, bool) or not isinstance(validation, int | float):
        raise FaltungTypeError(
            f"validation={show(validation)}: must be a number, (x, y), a source or None"
        )
    if not 0 < validation < 1:
        raise FaltungError(
            f"validation={show(validation)}: must lie between 0 and 1; None holds nothing out"
        )
    return float(validation)
