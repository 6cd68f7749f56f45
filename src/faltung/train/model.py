"""A network with its numbers: train it, predict with it, keep it. All on NumPy arrays.

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

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from faltung.data.source import Source, split
from faltung.data.standard import Standard, standardise
from faltung.formats.tensors import check_tensors, load_tensors, save_tensors
from faltung.geometry.check import whole
from faltung.graph.initial import parameters
from faltung.graph.ops import Embed
from faltung.graph.value import Graph
from faltung.methods.embedding import check_tokens
from faltung.nn import Layer, build
from faltung.nn.text import parse
from faltung.plan.choose import policy_of
from faltung.program.inference import Inference
from faltung.program.state import State
from faltung.runtime.buffers import empty
from faltung.train.history import History
from faltung.train.metadata import checked
from faltung.train.samples import as_source, is_source
from faltung.train.settings import Settings

Array = npt.NDArray[Any]

# The version of what `save` writes; another one is refused.
FORMAT = 1
# Samples that are predicted at once, and bytes of activations that this may take.
AT_ONCE, ROOM = 256, 512 << 20
# Compiled programs that are kept, each for a batch of another size.
PROGRAMS = 6


class Model:
    """A network for samples of one shape, with parameters.

    input_shape: (C, *space), or (length,) with ``tokens``. dtype: "float32" or "float64". seed: of
    the first parameters. classes: names of the outputs. standard: subtracted and divided by before
    the network sees a sample. precision: "fast", or "strict" for convolutions that are plain sums
    of products, in training too. ValueError, TypeError: a layer that does not fit what it gets.
    MemoryError: more parameters than this computer can hold.

    Several threads may call a model; they take turns.
    """

    def __init__(
        self,
        net: Layer,
        input_shape: Sequence[int],
        *,
        dtype: str = "float32",
        tokens: bool = False,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        standard: Standard | None = None,
        precision: str = "fast",
    ) -> None:
        self.precision = policy_of(precision).precision
        self.net = net
        self.tokens = tokens
        self.graph: Graph = build(net, input_shape, dtype=dtype, tokens=tokens)
        # With what takes part in training alone: auxiliary heads have parameters, too.
        self.trained: Graph = build(net, input_shape, dtype=dtype, tokens=tokens, training=True)
        self.classes = None if classes is None else tuple(map(str, classes))
        self.standard = standard
        self._check()
        # What it was trained on: "cross_entropy", "mse", or None as long as nobody said.
        self.loss: str | None = None if classes is None else "cross_entropy"
        self.state = State(self.trained.parameters, dtype)
        self.state.update(parameters(self.trained, whole("seed", seed, 0)))
        self._programs: dict[tuple[int, bool], Inference] = {}
        self._fresh: set[tuple[int, bool]] = set()
        self._lock = threading.RLock()

    def _check(self) -> None:
        """ValueError: classes or a standard for another network."""
        channels, outputs = self.input_shape[0], self.graph.output.channels
        if self.classes is not None and len(self.classes) != outputs:
            raise ValueError(
                f"classes: there are {len(self.classes)}, the network has {outputs} outputs"
            )
        if self.standard is not None and self.tokens:
            raise ValueError("standard: words have no mean")
        if self.standard is not None and len(self.standard.mean) != channels:
            raise ValueError(
                f"standard: has {len(self.standard.mean)} channels, samples have {channels}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.graph.input.shape

    @property
    def dtype(self) -> str:
        return self.graph.dtype

    @property
    def parameters(self) -> dict[str, Array]:
        """Copies of all parameters and running statistics, by name."""
        return self.state.all()

    def set_parameters(self, values: Mapping[str, npt.ArrayLike]) -> None:
        """Write the parameters named. ValueError, before anything is written: one that is not there
        or has another shape.
        """
        with self._lock:
            self.state.update(values)
            self.changed()

    def changed(self) -> None:
        """The parameters have changed: programs take them over before they run again."""
        self._fresh.clear()

    def __repr__(self) -> str:
        count = sum(p.size for p in self.graph.parameters if p.trained)
        parts = [f"{self.input_shape} -> {self.graph.output.shape}", f"{count:,} parameters"]
        if self.dtype != "float32":
            parts.append(self.dtype)
        if self.classes is not None:
            names = ", ".join(self.classes[:4]) + (", ..." if len(self.classes) > 4 else "")
            parts.append(f"classes {names}")
        return f"<Model {', '.join(parts)}>"

    # Prediction ----------------------------------------------------------------------------------

    def program(self, batch: int = 1, *, softmax: bool = False) -> Inference:
        """The network compiled for this batch, with the parameters as they are now. It takes
        samples as `prepared` gives them, and is used by one thread at a time.
        """
        with self._lock:
            key = whole("batch", batch, 1), softmax
            found = self._programs.pop(key, None)
            if found is None:
                found = Inference(
                    self.graph, self.state, batch, softmax=softmax, precision=self.precision
                )
            elif key not in self._fresh:
                found.refresh()
            self._fresh.add(key)
            self._programs[key] = found  # the last used one last
            if len(self._programs) > PROGRAMS:
                oldest = next(iter(self._programs))
                del self._programs[oldest]
                self._fresh.discard(oldest)
            return found

    def predict(self, x: npt.ArrayLike | Source, *, softmax: bool | None = None) -> Array:
        """What the network says of samples (n, *input_shape), or of one without n: probabilities
        (n, classes, *space), or for a network of numbers the numbers.

        softmax: by default where the model has classes, or was trained on labels. The bits of a
        sample's result do not depend on the samples beside it.
        """
        wanted = self.loss == "cross_entropy" if softmax is None else softmax
        if is_source(x):
            return self._outputs(x.read, len(x), wanted)  # type: ignore[union-attr, arg-type]
        given = np.asarray(x)
        single = given.shape == self.input_shape
        if not single and given.shape[1:] != self.input_shape:
            raise ValueError(
                f"x.shape={given.shape}: must be (n, {', '.join(map(str, self.input_shape))})"
            )
        many = given[np.newaxis] if single else given
        result = self._outputs(lambda i: many[i[0] : i[-1] + 1], len(many), wanted)
        return result[0] if single else result

    def prepared(self, x: Array) -> Array:
        """Samples as the network takes them: standardised, of its dtype, or tokens in range."""
        if self.tokens:
            return self.checked_tokens(x)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"x.dtype={x.dtype}: must be real numbers")
        if self.standard is not None:
            x = self.standard(np.asarray(x, np.float32))
        return np.asarray(x, self.dtype)

    def checked_tokens(self, x: Array) -> Array:
        """Tokens as int64. ValueError: one that the network has no row for."""
        tables = [
            node.inputs[1].shape[0] for node in self.graph.nodes if isinstance(node.op, Embed)
        ]
        return check_tokens(x, min(tables))

    def _outputs(self, read: Callable[[Array], Array], count: int, softmax: bool) -> Array:
        """The outputs of samples that are read by their numbers, some at once; the last ones stand
        beside zeros.
        """
        size = max(1, max(v.size for n in self.graph.nodes for v in n.outputs)) * 4
        most = int(min(AT_ONCE, max(1, ROOM // (8 * size))))
        made = empty((count, *self.graph.output.shape), self.dtype)
        batch = min(most, 1 << max(0, count - 1).bit_length())
        with self._lock:
            for start in range(0, count, batch):
                part = self.prepared(read(np.arange(start, min(start + batch, count))))
                rest = batch - len(part)
                if rest:
                    part = np.concatenate([part, np.zeros((rest, *part.shape[1:]), part.dtype)])
                made[start : start + batch] = self.program(batch, softmax=softmax)(part)[
                    : batch - rest
                ]
        return made

    def evaluate(
        self, x: npt.ArrayLike | Source, y: npt.ArrayLike | None = None
    ) -> dict[str, float]:
        """The "loss" and, for labels, the "accuracy" over samples and their targets; ``x`` may be a
        source. A model that was never trained counts as a classifier if the targets are labels.
        """
        from faltung.train.evaluate import evaluate

        targets = x.targets if is_source(x) else np.asarray(y)  # type: ignore[union-attr]
        loss = self.loss or ("mse" if targets.dtype.kind == "f" else "cross_entropy")
        return evaluate(self, as_source(x, y, self, loss), loss).metrics()

    # Training ------------------------------------------------------------------------------------

    def fit(
        self,
        x: npt.ArrayLike | Source,
        y: npt.ArrayLike | None = None,
        *,
        validation: float | tuple[npt.ArrayLike, npt.ArrayLike] | Source | None = None,
        show: bool = True,
        **settings: Any,
    ) -> History:
        """Train; a row for each epoch.

        x: (n, *input_shape), or a source. y: labels (n,) or (n, *space), or with ``loss="mse"``
        numbers (n, *output shape). validation: a part of the samples to hold out (0.2), or others.
        settings: fields of `Settings`: epochs, batch, optimizer, lr, seed, augment, ...

        A model without a ``standard`` gets that of the samples it is trained on first. With a
        validation the best weights are kept, those of the last epoch without. Ctrl-C ends after the
        batch; fitted again, a model goes on from its weights.
        """
        from faltung.train.loop import Loop

        wanted = Settings(**settings)
        train = as_source(x, y, self, wanted.loss)
        held: Source | None = None
        if isinstance(validation, tuple) and len(validation) == 2:
            held = as_source(*validation, self, wanted.loss)
        elif is_source(validation):
            held = validation  # type: ignore[assignment]
        elif validation is not None:
            train, held = split(train, validation, wanted.seed)  # type: ignore[arg-type]
        with self._lock:
            before = self.standard
            if before is None and not self.tokens:
                self.standard = standardise(train)
            try:
                loop = Loop(self, wanted, train, held, show=show)
            except BaseException:
                self.standard = before
                raise
            self.loss = wanted.loss
            history = loop.run()
            loop.restore_best()
        return History(history)

    # Keeping -------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """One safetensors file with the network, its parameters and what prediction needs."""
        about = {
            "faltung": "model",
            "format": str(FORMAT),
            "about": json.dumps(self.about(), sort_keys=True),
        }
        save_tensors(path, self.state.all(), about)

    def about(self) -> dict[str, Any]:
        """All but the numbers, as JSON."""
        usual = self.precision == "fast"
        return {
            **({} if usual else {"precision": self.precision}),
            "net": repr(self.net),
            "input_shape": list(self.input_shape),
            "dtype": self.dtype,
            "tokens": self.tokens,
            "loss": self.loss,
            "classes": None if self.classes is None else list(self.classes),
            "standard": None if self.standard is None else self.standard.as_dict(),
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The model that `save` wrote. ValueError: a file of something else, of another version, or
        with a tensor that is missing, unknown or misshapen. Nothing in it is run.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("faltung") != "model" or metadata.get("format") != str(FORMAT):
            raise ValueError(f"{path}: must be a model of format {FORMAT}, written by Model.save")
        try:
            about = json.loads(metadata.get("about", ""))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a model, {error}") from None
        made = cls.from_about(about, str(path))
        made.take(tensors, str(path))
        return made

    @classmethod
    def from_about(cls, about: Any, where: str = "about", seed: int = 0) -> Self:
        """A model with first parameters from what `about` gave, perhaps by way of a file.
        ValueError, naming ``where``: not that.
        """
        try:
            given = checked(about)
            standard = given.pop("standard")
            loss, net = given.pop("loss"), parse(given.pop("net"))
            given["precision"] = given["precision"] or "fast"
            made = cls(
                net,
                **given,
                standard=None if standard is None else Standard.from_dict(standard),
                seed=seed,
            )
        except (TypeError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
            raise ValueError(f"{where}: not a model, {error}") from error
        made.loss = loss
        return made

    def take(self, tensors: Mapping[str, Array], where: str) -> None:
        """Write all parameters. ValueError naming ``where``: one missing, unknown, misshapen."""
        wanted = {p.name: (p.shape, self.dtype) for p in self.trained.parameters}
        check_tensors(tensors, wanted, where)
        self.set_parameters(tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: what it is and its numbers, nothing that was compiled."""
        return _restored, (type(self), self.about(), self.parameters)


def _restored(cls: type[Model], about: dict[str, Any], tensors: dict[str, Array]) -> Model:
    made = cls.from_about(about)
    made.take(tensors, "pickle")
    return made
