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
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from faltung.data.source import ArraySource, Source, split
from faltung.data.standard import Standard
from faltung.formats.tensors import check_tensors, load_tensors, save_tensors
from faltung.geometry.check import show, whole
from faltung.graph.initial import parameters
from faltung.graph.ops import Embed
from faltung.graph.value import Graph
from faltung.methods.embedding import check_tokens
from faltung.nn import Layer, build
from faltung.nn.text import parse
from faltung.program.inference import Inference
from faltung.program.state import State
from faltung.train.history import Row
from faltung.train.settings import Settings

Array = npt.NDArray[Any]

# The version of what `save` writes; another one is refused.
FORMAT = 1
# Samples that are predicted at once, and bytes of activations that this may take.
AT_ONCE, ROOM = 256, 512 << 20


class Model:
    """A network for samples of one shape, with parameters.

    input_shape: (C, *space), or (length,) with ``tokens``. dtype: "float32" or "float64". seed: of
    the first parameters. classes: names of the outputs. standard: subtracted and divided by before
    the network sees a sample. ValueError, TypeError: a layer that does not fit what it gets.
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
    ) -> None:
        self.net = net
        self.tokens = tokens
        self.graph: Graph = build(net, input_shape, dtype=dtype, tokens=tokens)
        if classes is not None and len(classes) != self.graph.output.channels:
            raise ValueError(
                f"classes: there are {len(classes)}, the network has "
                f"{self.graph.output.channels} outputs"
            )
        self.classes = None if classes is None else tuple(map(str, classes))
        self.standard = standard
        self.classifies = classes is not None
        self.state = State(self.graph.parameters, dtype)
        self.state.update(parameters(self.graph, whole("seed", seed, 0)))
        self._programs: dict[tuple[int, bool], Inference] = {}
        self._fresh: set[tuple[int, bool]] = set()

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
        self.state.update(values)
        self.changed()

    def changed(self) -> None:
        """The parameters have changed: programs take them over before they run again."""
        self._fresh.clear()

    def __repr__(self) -> str:
        count = sum(p.size for p in self.graph.parameters if p.trained)
        return f"<Model {self.input_shape} -> {self.graph.output.shape}, {count:,} parameters>"

    # Prediction ----------------------------------------------------------------------------------

    def program(self, batch: int = 1, *, softmax: bool = False) -> Inference:
        """The network compiled for this batch, with the parameters as they are now."""
        key = whole("batch", batch, 1), softmax
        if key not in self._programs:
            self._programs[key] = Inference(self.graph, self.state, batch, softmax=softmax)
        elif key not in self._fresh:
            self._programs[key].refresh()
        self._fresh.add(key)
        return self._programs[key]

    def predict(self, x: npt.ArrayLike, *, softmax: bool | None = None) -> Array:
        """What the network says of samples (n, *input_shape), or of one without n: probabilities
        (n, classes, *space), or for a network of numbers the numbers.

        softmax: by default where the model has classes, or was trained on labels. The bits of a
        sample's result do not depend on the samples beside it.
        """
        given = np.asarray(x)
        single = given.shape == self.input_shape
        if not single and given.shape[1:] != self.input_shape:
            raise ValueError(
                f"x.shape={given.shape}: must be (n, {', '.join(map(str, self.input_shape))})"
            )
        made = self.prepared(given[np.newaxis] if single else given)
        wanted = self.classifies if softmax is None else softmax
        result = self._outputs(made, wanted)
        return result[0] if single else result

    def prepared(self, x: Array) -> Array:
        """Samples as the network takes them: standardised, of its dtype, or tokens in range."""
        if self.tokens:
            return self.checked_tokens(x)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"x.dtype={x.dtype}: must be numbers")
        if self.standard is not None:
            x = self.standard(np.asarray(x, np.float32))
        return np.asarray(x, self.dtype)

    def checked_tokens(self, x: Array) -> Array:
        """Tokens as int64. ValueError: one that the network has no row for."""
        tables = [
            node.inputs[1].shape[0] for node in self.graph.nodes if isinstance(node.op, Embed)
        ]
        return check_tokens(x, min(tables))

    def _outputs(self, x: Array, softmax: bool) -> Array:
        """The outputs of prepared samples, some at once; the last ones beside zeros."""
        size = max(1, max(v.size for n in self.graph.nodes for v in n.outputs)) * 4
        most = int(min(AT_ONCE, max(1, ROOM // (8 * size))))
        if not len(x):
            return np.empty((0, *self.graph.output.shape), self.dtype)
        batch = min(most, 1 << (len(x) - 1).bit_length())
        program = self.program(batch, softmax=softmax)
        parts = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            count = len(part)
            if count < batch:
                part = np.concatenate(
                    [part, np.zeros((batch - count, *part.shape[1:]), part.dtype)]
                )
            parts.append(program(part)[:count])
        return np.concatenate(parts)

    def evaluate(
        self, x: npt.ArrayLike | Source, y: npt.ArrayLike | None = None
    ) -> dict[str, float]:
        """Loss and, for labels, accuracy over samples and their targets; ``x`` may be a source."""
        from faltung.train.loop import judge

        return judge(self, as_source(x, y, self)).metrics()

    # Training ------------------------------------------------------------------------------------

    def fit(
        self,
        x: npt.ArrayLike | Source,
        y: npt.ArrayLike | None = None,
        *,
        validation: float | tuple[npt.ArrayLike, npt.ArrayLike] | Source | None = None,
        show: bool = True,
        **settings: Any,
    ) -> list[Row]:
        """Train; a row for each epoch.

        x: (n, *input_shape). y: labels (n,) or (n, *space), or numbers with ``loss="mse"``.
        validation: a part of the samples to hold out (0.2), or others. settings: fields of
        `Settings`: epochs, batch, optimizer, lr, seed, augment, ... Ctrl-C ends after the batch.
        With a validation the best weights are kept, those of the last epoch without.
        """
        from faltung.train.loop import Loop

        wanted = Settings(**settings)
        train = as_source(x, y, self)
        held: Source | None = None
        if isinstance(validation, float):
            train, held = split(train, validation, wanted.seed)
        elif isinstance(validation, tuple):
            held = as_source(*validation, self)
        else:
            held = validation
        self.classifies = wanted.loss == "cross_entropy"
        loop = Loop(self, wanted, train, held, show=show)
        history = loop.run()
        loop.restore_best()
        return history

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
        return {
            "net": repr(self.net),
            "input_shape": list(self.input_shape),
            "dtype": self.dtype,
            "tokens": self.tokens,
            "classifies": self.classifies,
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
            about = json.loads(metadata["about"])
            made = cls.from_about(about)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        made.take(tensors, str(path))
        return made

    @classmethod
    def from_about(cls, about: Any, seed: int = 0) -> Self:
        """A model with first parameters from what `about` gave. ValueError, TypeError: not that."""
        if not isinstance(about, dict):
            raise TypeError(f"about={show(about)}: must be a table")
        standard = about.get("standard")
        made = cls(
            parse(about["net"]),
            about["input_shape"],
            dtype=about.get("dtype", "float32"),
            tokens=bool(about.get("tokens", False)),
            classes=about.get("classes"),
            standard=None if standard is None else Standard.from_dict(standard),
            seed=seed,
        )
        made.classifies = bool(about.get("classifies", made.classifies))
        return made

    def take(self, tensors: Mapping[str, Array], where: str) -> None:
        """Write all parameters. ValueError naming ``where``: one missing, unknown, misshapen."""
        wanted = {p.name: (p.shape, self.dtype) for p in self.graph.parameters}
        check_tensors(tensors, wanted, where)
        self.set_parameters(tensors)


def as_source(
    x: npt.ArrayLike | Source, y: npt.ArrayLike | None, model: Model | None = None
) -> Source:
    """Arrays as a source of samples; a source as it is."""
    if hasattr(x, "read") and hasattr(x, "targets"):
        if y is not None:
            raise TypeError("y: must be left out where x is a source, which has its targets")
        return x  # type: ignore[return-value]
    if y is None:
        raise TypeError("y: must be given with x")
    kinds = {1: "table", 2: "series", 3: "picture", 4: "volume"}
    array = np.asarray(x)
    kind = "text" if model is not None and model.tokens else kinds.get(array.ndim - 1)
    return ArraySource(array, y, kind=kind, classes=None if model is None else model.classes)
