"""Training a network: ``fit``, every setting of which an editor shows."""

from collections.abc import Sequence

import numpy.typing as npt

from faltung.data.augment import Augment
from faltung.data.loader import Sampler
from faltung.data.source import Source, in_units, is_source, is_stored, layout_in, split
from faltung.data.standard import learned
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.losses import Loss
from faltung.plan.choose import Precision
from faltung.program.optimizer import OptimizerName
from faltung.train import defaults
from faltung.train.history import History
from faltung.train.loop import Loop
from faltung.train.network import Network
from faltung.train.samples import as_source
from faltung.train.schedule import ScheduleName
from faltung.train.settings import Settings
from faltung.train.teacher import Teacher, teacher_of


class Fitting(Network):
    """A network that learns; see ``Model`` for the arguments."""

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
        class_weight: str | Sequence[float] | None = None,
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
        class_weight : "balanced" or sequence of float, optional
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
            class_weight=class_weight,  # type: ignore[arg-type]
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
