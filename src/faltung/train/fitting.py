"""Training a network: ``fit``, every setting of which an editor shows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.data.augment import Augment
from faltung.data.loader import Sampler
from faltung.data.source import Source, in_units, is_source, is_stored, layout_in, split
from faltung.data.standard import learned
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import Expr
from faltung.graph.losses import Loss, kind_of
from faltung.plan.words import Precision
from faltung.program.optimizer import OptimizerName
from faltung.train import defaults
from faltung.train.callbacks import Callback, Epoch, checked
from faltung.train.evaluate import check_targets
from faltung.train.history import History
from faltung.train.network import Network
from faltung.train.samples import as_source
from faltung.train.schedule import ScheduleName
from faltung.train.seen import Seen, mark_of
from faltung.train.settings import Settings
from faltung.train.target_scale import scale_of
from faltung.train.teacher import Teacher, teacher_of


class Fitting(Network):
    """A network that learns; see ``Model`` for the arguments."""

    _seen: Seen | None = None  # what the last ``fit`` held a part of out

    def fit(
        self,
        x: npt.ArrayLike | Source,
        y: npt.ArrayLike | None = None,
        *,
        validation: float | tuple[npt.ArrayLike, ...] | Source | None = None,
        show: bool = True,
        epochs: int = defaults.EPOCHS,
        batch: int = defaults.BATCH,
        accumulate: int = 1,
        optimizer: OptimizerName = defaults.OPTIMIZER,
        lr: float | Literal["find"] | None = None,
        momentum: float | None = None,
        nesterov: bool = False,
        decay: float = defaults.DECAY,
        clip: float | None = None,
        schedule: ScheduleName = defaults.SCHEDULE,
        warmup: float = defaults.WARMUP,
        loss: Loss | str | Expr = defaults.LOSS,
        scale_targets: bool = True,
        smoothing: float = defaults.SMOOTHING,
        metric: str | None = None,
        metrics: str | Sequence[str] = (),
        patience: int | None = None,
        ema: float | None = None,
        class_weight: str | Sequence[float] | Mapping[Any, float] | None = None,
        sample_weight: npt.ArrayLike | None = None,
        sampler: Sampler = defaults.SAMPLER,
        freeze: str | int | Sequence[str] = (),
        seed: int = defaults.SEED,
        precision: Precision = defaults.PRECISION,
        augment: Augment | None = None,
        callbacks: Callable[[Epoch], Any] | Sequence[Callable[[Epoch], Any]] | None = None,
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
            which -1 does not count. For losses of numbers numbers ``(n, *output shape)``; with
            ``loss="binary_cross_entropy"`` 0 or 1 for each of several labels, ``(n, labels)``.
        validation : float, (x, y), (x, y, sample_weight) or Source, optional
            The part of the samples to hold out (0.2, say), or other samples. With a validation the
            best weights are kept, without one those of the last epoch.
        show : bool
            Whether progress is printed.
        epochs : int
            Passes over the samples.
        batch : int
            Samples that are computed at once, and without ``accumulate`` one step.
        accumulate : int
            Of how many batches a step of the optimizer has the gradient: ``batch=8, accumulate=4``
            is ``batch=32`` in a quarter of the memory, up to rounding. Batch normalisation alone
            differs, since it normalises what is computed at once. At the end of an epoch a step
            may have fewer batches.
        optimizer : {"sgd", "adamw"}
            Stochastic gradient descent with momentum, or Adam with decoupled weight decay [1]_.
        lr : float or "find", optional
            The highest learning rate; by default 0.003 for "adamw", 0.05 for "sgd". "find": that of
            a range test [5]_ of some 100 steps before training, after which the weights are as
            before; ``History.lr_test`` has its points.
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
        loss : str or Expr
            For labels "cross_entropy", or "dice" [6]_ where every position has one; for several
            labels at once "binary_cross_entropy"; for numbers "mse", "mae" or "huber" [7]_, the
            squared, the absolute and Huber's error; or a formula of ``output`` and ``target``, such
            as ``"log(cosh(output - target))"``, which is compiled with its derivative.
        scale_targets : bool
            Whether numbers are learned with mean 0 and standard deviation 1, as those of the
            training samples then have; losses are of such numbers, what ``predict`` gives and all
            metrics are in the units of ``y``. It applies to "mse", "mae", "huber" and formulas of
            ``output - target`` alone; other formulas see ``y`` as it is. A model that was trained
            on numbers before keeps what it has.
        smoothing : float
            Of the labels, at least 0 and below 1.
        metric : str, optional
            By which the best epoch is chosen: "loss", for labels "accuracy" (the usual one),
            "balanced_accuracy", "f1", "precision", "recall", "jaccard", "kappa", "mcc", "auc" or
            "average_precision", means over classes, for numbers "mse", "rmse", "mae" or "r2"; all
            by the definitions of scikit-learn. The usual one for numbers is the loss.
        metrics : str or sequence of str
            Further metrics of the validation, of the same names; "val_f1" and so on in the history.
        patience : int, optional
            Epochs without a better validation after which training ends.
        ema : float, optional
            The part that stays at each step, 0.999 say, of an exponential moving average of the
            weights and of running statistics; in the first steps less stays. The average is what is
            validated and what the model has afterwards.
        class_weight : "balanced", sequence of float or dict, optional
            One number for each class, or for some by label: the loss is the weighted mean, as in
            PyTorch. "balanced": samples / (classes * samples of the class). The validation is not
            weighted.
        sample_weight : array_like, optional
            A number from 0 for each sample, ``(n,)``: what its loss is multiplied with, divided by
            the mean of all. A part that is held out is validated with its weights.
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
        callbacks : function or sequence of functions, optional
            Each is called after every epoch with an ``Epoch``, while the model has the weights that
            were validated; training ends after the epoch if one returns True or "stop". The weights
            are the same with callbacks and without. What a callback raises is passed on, and the
            model then has the weights of that epoch. ``faltung.train.callbacks`` has some for
            TensorBoard and MLflow.
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
            A list with the metrics of each epoch, which prints as a table; ``best`` is the epoch
            whose weights the model has, ``to_dict()`` gives columns, ``notes`` what is worth saying
            of the training as a whole.

        Raises
        ------
        ValueError, TypeError
            Samples, targets or settings that do not fit the network, or each other.
        FloatingPointError
            The loss is not finite. The model then has the best weights of the validation, or
            without any those from before.

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
        .. [5] L. N. Smith, "Cyclical learning rates for training neural networks", 2015.
        .. [6] F. Milletari, N. Navab and S. Ahmadi, "V-Net", 2016.
        .. [7] P. J. Huber, "Robust estimation of a location parameter", 1964.

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
            accumulate=accumulate,
            optimizer=optimizer,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            decay=decay,
            clip=clip,
            schedule=schedule,
            warmup=warmup,
            loss=loss,  # type: ignore[arg-type]
            smoothing=smoothing,
            metric=metric,
            metrics=(metrics,) if isinstance(metrics, str) else metrics,  # type: ignore[arg-type]
            patience=patience,
            ema=ema,
            class_weight=class_weight,  # type: ignore[arg-type]
            scale_targets=scale_targets,
            sampler=sampler,
            freeze=freeze,  # type: ignore[arg-type]
            seed=seed,
            precision=precision,
            augment=Augment() if augment is None else augment,
        )
        learned_from = teacher_of(teacher, distil, temperature)
        watching = checked(callbacks)
        train = as_source(x, y, self, wanted.loss, sample_weight)
        units = self.units or (train.units if is_stored(train) else None)
        held: Source | None = None
        seen: Seen | None = None
        with self._named(train.classes if _are_words(y) else None):
            if isinstance(validation, tuple) and len(validation) in (2, 3):
                held_x, held_y, *weights = validation
                given = as_source(held_x, held_y, self, wanted.loss, *weights)
                held = in_units(given, units)
            elif is_source(validation):
                held = in_units(validation, units)
            elif validation is not None:
                part = _part(validation)
                seen = Seen(mark_of(train), part, wanted.seed)
                train, held = split(train, part, seed=wanted.seed)
            history = self._trained(wanted, train, held, show, learned_from, watching)
        self._seen = seen
        return history

    @contextmanager
    def _named(self, classes: Sequence[str] | None) -> Iterator[None]:
        """With these names of classes, if it has none; dropped again if the block fails."""
        before = self.classes
        self.classes = before if before is not None or classes is None else tuple(classes)
        try:
            yield
        except BaseException:
            self.classes = before
            raise

    def _trained(
        self,
        settings: Settings,
        train: Source,
        held: Source | None,
        show: bool,
        teacher: Teacher | None,
        callbacks: tuple[Callback, ...],
    ) -> History:
        """Train; what was taken from the samples is dropped again if training cannot begin."""
        from faltung.train.loop import Loop  # half of all modules, which prediction does not need

        with self._lock:
            before = self.standard, self.units, self.layout, self.target_scale
            if self.units is None and self.standard is None:
                self.layout = layout_in(train)
            if self.words is None:
                self.words = getattr(train, "words", None)
            if not self.tokens and (self.standard is None or self.units is None):
                standard, units = learned(train)
                self.standard, self.units = self.standard or standard, self.units or units
            check_targets(self, train, settings.loss)
            if (
                settings.scale_targets
                and self.targets != "numbers"
                and kind_of(settings.loss).scales
            ):
                self.target_scale = scale_of(train, self.graph.output.channels)
            try:
                loop = Loop(
                    self, settings, train, held, show=show, teacher=teacher, callbacks=callbacks
                )
            except BaseException:
                self.standard, self.units, self.layout, self.target_scale = before
                raise
            if self.loss != settings.loss:
                self.forget_programs()
            self.loss = settings.loss
            history = loop.run()
            loop.restore_best()
        points = () if loop.tested is None else loop.tested.points
        return History(history, best=loop.best, notes=loop.closing, lr_test=points)


def _are_words(y: object) -> bool:
    """Whether labels are words, which a network then has for names of its classes."""
    return y is not None and isinstance(next(iter(np.asarray(y).flat), None), str)


def _part(validation: object) -> float:
    """A part of the samples to hold out. ValueError, TypeError."""
    if isinstance(validation, bool) or not isinstance(validation, int | float):
        raise FaltungTypeError(
            f"validation={show(validation)}: must be a number, (x, y), (x, y, sample_weight), a "
            "source or None"
        )
    if not 0 < validation < 1:
        raise FaltungError(
            f"validation={show(validation)}: must lie between 0 and 1; None holds nothing out"
        )
    return float(validation)
