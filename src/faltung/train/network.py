"""A network with its parameters: prediction, saving and loading. ``Model`` adds training."""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from faltung.data.layout import Layout, as_layout
from faltung.data.names import class_list
from faltung.data.standard import Standard
from faltung.data.tokenizer import as_text, from_text
from faltung.data.units import Units
from faltung.formats.tensors import Words, check_tensors, save_tensors
from faltung.geometry.check import one_of, show, truth, whole
from faltung.geometry.check import path as check_path
from faltung.geometry.conv import KEPT, Kept, computed_in
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.initial import parameters
from faltung.graph.losses import Loss
from faltung.graph.value import Graph
from faltung.nn import Layer, build
from faltung.nn.text import parse
from faltung.plan.words import PRECISIONS, Precision
from faltung.program.half_state import HalfState, state_of
from faltung.program.inference import Inference
from faltung.program.memory import require_network
from faltung.program.state import State
from faltung.runtime.halves import HALF_LIMIT
from faltung.train.insight import Insight
from faltung.train.metadata import checked
from faltung.train.target_scale import check_scale

if TYPE_CHECKING:
    from faltung.program.tiles import Memory, Tiles

Array = npt.NDArray[Any]

# The version of the format that ``save`` writes; others are refused.
FORMAT = 1
# Samples that are predicted at once at most, and bytes of activations that they may take.
MAX_SAMPLES, MAX_ACTIVATION_BYTES = 256, 512 << 20


class Network(Insight):
    """A network for samples of one shape, with its parameters; see ``Model`` for the arguments.

    Several threads may call one; they take turns.
    """

    def __init__(
        self,
        net: Layer,
        input_shape: Sequence[int],
        *,
        dtype: Kept = "float32",
        tokens: bool = False,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        standard: Standard | None = None,
        units: Units | None = None,
        precision: Precision = "fast",
    ) -> None:
        one_of("precision", precision, PRECISIONS)
        one_of("dtype", dtype, KEPT)
        self._dtype: Kept = dtype
        computed = computed_in(dtype)
        self.precision: Precision = precision
        self.net = net
        self.tokens = tokens
        self.graph: Graph = build(net, input_shape, dtype=computed, tokens=tokens)
        # With what exists only in training: auxiliary heads have parameters too.
        self.training_graph: Graph = build(
            net, input_shape, dtype=computed, tokens=tokens, training=True
        )
        self.classes = None if classes is None else class_list(classes)
        self.standard = standard
        # What stored numbers mean; None before it was trained on any.
        self.units = units
        # What numbers were learned as, to answer in their units; None for others.
        self.target_scale: Standard | None = None
        # Where the channels lay in the arrays it was trained on; it decides where both would fit.
        self.layout: Layout = "first"
        # Of texts, which the numbers of their words stand for; None where these are given.
        self.words: tuple[str, ...] | None = None
        self._check()
        # What it was trained on; None before that is known.
        self.loss: Loss | str | None = None if classes is None else "cross_entropy"
        require_network(self.training_graph)
        self._state = state_of(self.training_graph.parameters, dtype)
        # The seed of first parameters that are not drawn yet: a file that is read replaces them.
        self._undrawn: int | None = whole("seed", seed, 0)
        size = 4 * max((v.size for n in self.graph.nodes for v in n.outputs), default=1)
        # How many samples are predicted at once at most.
        self._at_once = min(MAX_SAMPLES, max(1, MAX_ACTIVATION_BYTES // (8 * max(size, 1))))
        self._programs: dict[tuple[int, bool], Inference] = {}
        self._fresh: set[tuple[int, bool]] = set()
        self._sizes: dict[tuple[tuple[int, ...], bool], Tiles] = {}
        self._memory: Memory | None = None
        self._probes, self._widened = {}, None
        self._lock = threading.RLock()

    def _check(self) -> None:
        """ValueError: classes or a standard that do not fit the network."""
        channels, outputs = self.input_shape[0], self.graph.output.channels
        if self.classes is not None and len(self.classes) != outputs:
            raise FaltungError(
                f"classes: must be {outputs} names, one for each output, got {len(self.classes)}"
            )
        if not isinstance(self.standard, Standard | None):
            raise FaltungTypeError(f"standard={show(self.standard)}: must be a Standard")
        if self.standard is not None and self.tokens:
            raise FaltungError("standard: text has no mean")
        if self.standard is not None and len(self.standard.mean) != channels:
            raise FaltungError(
                f"standard: has {len(self.standard.mean)} channels, samples have {channels}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.graph.input.shape

    @property
    def dtype(self) -> Kept:
        """Of parameters and values: "float32", "float64", "float16" or "bfloat16"."""
        return self._dtype

    @property
    def state(self) -> State:
        """The parameters in memory; the first ones are drawn when they are asked for."""
        if self._undrawn is not None:
            with self._lock:
                if self._undrawn is not None:
                    self._state.update(parameters(self.training_graph, self._undrawn))
                    self._undrawn = None
        return self._state

    @property
    def parameters(self) -> dict[str, Array]:
        """Copies of all parameters and running statistics, by name: in float64 for a model of that
        dtype, otherwise in float32.
        """
        return self.state.all()

    def astype(self, dtype: Kept) -> Self:
        """The same model with its weights and values in another dtype.

        Parameters
        ----------
        dtype : {"float32", "float64", "float16", "bfloat16"}
            With 16 bits, weights and what layers make are kept in half the memory, and each is
            rounded once; sums and formulas are float32.

        Returns
        -------
        Model
            A copy; this one is not changed.

        Raises
        ------
        ValueError
            Another dtype, or weights that are too large for float16.

        Examples
        --------
        >>> from faltung import Model, nn
        >>> model = Model(nn.Linear(2), (3,))
        >>> model.astype("bfloat16")
        <Model (3,) -> (2,), 8 parameters, bfloat16>
        """
        with self._lock:
            about = {**self.about(), "dtype": one_of("dtype", dtype, KEPT)}
            tensors = self.state.all()
        if dtype == "float16":
            large = [
                n for n, array in tensors.items() if np.abs(array).max(initial=0) >= HALF_LIMIT
            ]
            if large:
                said = f"dtype={dtype!r}: {large[0]} has numbers of {HALF_LIMIT} and more"
                raise FaltungError(f"{said}, which float16 lacks; use bfloat16")
        made = type(self).from_about(about)
        made.set_parameters(tensors)
        return made

    def set_parameters(self, values: Mapping[str, npt.ArrayLike]) -> None:
        """Write some of the parameters.

        Parameters
        ----------
        values : mapping of str to array_like
            New values by name, each of the shape that ``parameters`` shows.

        Raises
        ------
        ValueError
            A name that the network does not have, or another shape. Nothing is written then.
        """
        with self._lock:
            every = isinstance(values, Mapping) and self._state.parameters.keys() <= values.keys()
            state = self._state if every else self.state
            state.update(values)
            self._undrawn = None  # nothing is left of the first ones
            self.changed()

    def changed(self) -> None:
        """Note that the parameters have changed: programs read them again before their next run."""
        self._fresh.clear()
        for tiles in self._sizes.values():
            tiles.changed()

    def forget_programs(self) -> None:
        """Drop what was compiled: what ends a program has changed."""
        self._programs.clear()
        self._fresh.clear()
        self._sizes.clear()

    def __repr__(self) -> str:
        count = sum(p.size for p in self.graph.parameters if p.trained)
        parts = [f"{self.input_shape} -> {self.graph.output.shape}", f"{count:,} parameters"]
        if self.dtype != "float32":
            parts.append(self.dtype)
        shape = self.input_shape
        if len(shape) == 2 and shape[0] == shape[1] > 1:  # or is it a picture without channels?
            parts.append(f"a series of {shape[0]} channels (a picture is 1x{shape[0]}x{shape[1]})")
        if self.classes is not None:
            names = ", ".join(self.classes[:4]) + (", ..." if len(self.classes) > 4 else "")
            parts.append(f"classes {names}")
        return f"<Model {', '.join(parts)}>"

    # Keeping -------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, coded: bool = False) -> None:
        """Write the network, its parameters and what prediction needs to one safetensors file.

        Parameters
        ----------
        path : path-like
            Where to; a file that is there is replaced, whole or not at all.
        coded : bool
            Whether the file is to have as few bytes as may be. The parameters stay the same, bit
            for bit: it pays where they have few different values, as those of a compressed model.

        Raises
        ------
        OSError
            The file cannot be written.
        ImportError
            ``constriction``, which codes, is not installed.

        Examples
        --------
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> model = Model(nn.Linear(50), (80,))
        >>> model.set_parameters({n: np.sign(v) for n, v in model.parameters.items()})
        >>> model.save("signs.safetensors", coded=True)
        >>> Path("signs.safetensors").stat().st_size < 1100  # of 4,000 weights
        True
        """
        self.write(check_path("path", path), coded=truth("coded", coded))

    def write(self, path: str, *, coded: bool = False, packed: bool = False) -> None:
        """``save``; ``packed``: weights of few values in 8 bits, which other programs can read."""
        about = {
            "faltung": "model",
            "format": str(FORMAT),
            "about": json.dumps(self.about(), sort_keys=True),
        }
        save_tensors(path, self.tensors(), about, coded=coded, packed=packed)

    def tensors(self) -> dict[str, Array | Words]:
        """All parameters as files hold them: weights of 16 bits in 16 bits."""
        state = self.state
        if not isinstance(state, HalfState):
            return dict(state.all())
        kept = state.halves if state.stored == "bfloat16" else ()
        words = {name: state.words(name) for name in state.parameters}
        return {n: Words(array) if n in kept else array for n, array in words.items()}

    def about(self) -> dict[str, Any]:
        """Everything but the parameters, ready for JSON."""
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
            **({} if self.units is None else {"units": self.units.as_dict()}),
            **({} if self.layout == "first" else {"layout": self.layout}),
            **({} if self.target_scale is None else {"target_scale": self.target_scale.as_dict()}),
            **({} if self.words is None else {"words": as_text(self.words)}),
        }

    @classmethod
    def from_about(cls, about: Any, where: str = "about", seed: int = 0) -> Self:
        """A model with initial parameters, from what ``about`` returned. ValueError naming
        ``where``: anything else.
        """
        try:
            given = checked(about)
            standard, units = given.pop("standard"), given.pop("units")
            scale = given.pop("target_scale")
            loss, net = given.pop("loss"), parse(given.pop("net"))
            layout = as_layout("layout", given.pop("layout") or "first")
            words = given.pop("words")
            vocabulary = None if words is None else from_text(words)
            given["precision"] = given["precision"] or "fast"
            made = cls(
                net,
                **given,
                standard=None if standard is None else Standard.from_dict(standard),
                units=None if units is None else Units.from_dict(units),
                seed=seed,
            )
            made.target_scale = None if scale is None else Standard.from_dict(scale)
            check_scale(made.target_scale, made.graph.output.channels)
        except (TypeError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
            raise FaltungError(f"{where}: not a model, {error}") from error
        made.loss, made.layout, made.words = loss, layout, vocabulary
        return made

    def take(self, tensors: Mapping[str, Array], where: str) -> None:
        """Write all parameters. ValueError naming ``where``: one missing, unknown, misshapen."""
        usual, half = self.graph.dtype, self._state.halves
        # Numbers of 16 bits may be in a file as what they are, or widened.
        narrow = [n for n in half if n in tensors and tensors[n].dtype == np.float16]
        wanted = {
            p.name: (p.shape, "float16" if p.name in narrow else usual)
            for p in self.training_graph.parameters
        }
        check_tensors(tensors, wanted, where)
        self.set_parameters(tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: description and parameters, nothing that was compiled."""
        return _restored, (type(self), self.about(), self.parameters)


def _restored(cls: type[Network], about: dict[str, Any], tensors: dict[str, Array]) -> Network:
    made = cls.from_about(about)
    made.set_parameters(tensors)
    return made
