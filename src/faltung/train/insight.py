"""What a network sees: the maps of its layers, gradients for them, and Grad-CAM. For ``Model``."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from faltung.data.native import as_array
from faltung.data.source import scaled
from faltung.geometry.check import show, truth, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.graph.value import Graph, Value
from faltung.program.state import State
from faltung.runtime.buffers import empty
from faltung.train.grad_cam import grad_cam, interpolated, likeliest, up_to_one
from faltung.train.predicting import Predicting

if TYPE_CHECKING:
    from faltung.graph.summary import Summary
    from faltung.program.probe import Probe

Array = npt.NDArray[Any]
Target = str | int | Sequence[str | int] | npt.NDArray[np.integer[Any]]

# Programs that are kept, each for other layers or another number of samples.
MAX_PROBES = 4
# Samples that are looked at at once at most, and bytes that what is kept of them may take.
MAX_SAMPLES, MAX_BYTES = 256, 256 << 20
# Layers that an error names.
MOST_NAMED = 6
INPUT = "input"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network makes of samples: outputs before softmax, maps and gradients by the names of
    their layers, all (n, C, *space).
    """

    outputs: Array
    maps: dict[str, Array]
    gradients: dict[str, Array]


class Insight(Predicting):
    """The part of ``Network`` that looks inside; what it has is made there."""

    training_graph: Graph
    classes: tuple[str, ...] | None
    _probes: dict[tuple[int, tuple[str, ...], tuple[str, ...]], "Probe"]
    _widened: State | None

    def summary(self) -> "Summary":
        """The network layer by layer: shapes, receptive fields, parameters, cost, methods.

        Returns
        -------
        Summary
            Printed, it is the table of ``faltung summary``; ``rows`` has the numbers,
            ``table(depth)`` shows fewer levels of names, ``as_dict()`` is for JSON.

        Examples
        --------
        >>> from faltung import Model, nn
        >>> summary = Model(nn.Sequential(nn.Conv(4, 3), nn.ReLU()), (1, 8, 8)).summary()
        >>> summary.parameters, [row.name for row in summary.rows]
        (40, ['conv1', 'relu1'])
        """
        made: Summary = import_module("faltung.graph.summary").summary(self.graph)
        return made

    def _repr_html_(self) -> str:
        """For notebooks."""
        made: str = import_module("faltung.train.notebook").model_html(self)
        return made

    @overload
    def activations(self, x: npt.ArrayLike, layer: str) -> Array: ...

    @overload
    def activations(self, x: npt.ArrayLike, layer: None = None) -> dict[str, Array]: ...

    def activations(self, x: npt.ArrayLike, layer: str | None = None) -> Array | dict[str, Array]:
        """What layers make of samples.

        Parameters
        ----------
        x : array_like
            Samples ``(n, *input_shape)``, or a single one, as ``predict`` takes them.
        layer : str, optional
            The name of a layer as in ``summary()``, or of a part of the network, which stands for
            its last layer. By default all layers.

        Returns
        -------
        ndarray or dict of str to ndarray
            The output of the layer, ``(n, channels, *space)`` or ``(n, features)``, without ``n``
            for a single sample; of all layers a dict in their order. It is that of the layer
            alone: of a convolution before its normalisation and activation. A model of 16 bits is
            computed in float32.

        Raises
        ------
        ValueError, TypeError
            Samples that do not fit; an unknown layer.
        MemoryError
            More than fits: look at fewer samples or a single layer.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
        >>> model = Model(net, (1, 8, 8))
        >>> x = np.ones((5, 1, 8, 8), np.float32)
        >>> model.activations(x, "relu1").shape
        (5, 4, 6, 6)
        >>> {name: maps.shape for name, maps in model.activations(x[0]).items()}
        {'conv1': (4, 6, 6), 'relu1': (4, 6, 6), 'linear1': (2,)}
        """
        values = self.layer_values()
        names = list(values) if layer is None else [self.layer_name("layer", layer)]
        samples, single, _ = self.given(x)
        maps = self.look(samples, names).maps
        if single:
            maps = {name: found[0] for name, found in maps.items()}
        return maps if layer is None else maps[names[0]]

    def gradients(
        self, x: npt.ArrayLike, of: str | None = None, *, target: Target | None = None
    ) -> Array:
        """How an output changes with what a layer makes, or with the samples.

        Parameters
        ----------
        x : array_like
            Samples, or a single one, as ``predict`` takes them.
        of : str, optional
            The name of the layer, as for ``activations``. By default the samples themselves.
        target : str, int, or a sequence of n of them, optional
            The class, by its name or number, or the number of the output, whose value before
            softmax or sigmoid is differentiated, at all positions together; of a sequence one for
            each sample. By default the sum of all outputs.

        Returns
        -------
        ndarray
            The gradient, of the shape of the layer's output, ``(n, channels, *space)``, without
            ``n`` for a single sample. For samples it is in the units of ``x``: what the output
            changes by, for a change of a number in ``x`` by 1.

        Raises
        ------
        ValueError, TypeError
            Samples that do not fit; an unknown layer or class; tokens, which are no numbers: ask
            for the layer that embeds them; a layer that does not act on the output, or after which
            something has no gradient.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
        >>> model = Model(net, (1, 8, 8))
        >>> x = np.ones((5, 1, 8, 8), np.float32)
        >>> model.gradients(x, target=1).shape, model.gradients(x, "relu1").shape
        ((5, 1, 8, 8), (5, 4, 6, 6))
        """
        name = INPUT if of is None else self.layer_name("of", of)
        if name == INPUT and self.tokens:
            first = next(iter(self.layer_values()))
            raise FaltungError(f"of={of!r}: tokens have no gradient; of={first!r} has one")
        samples, single, divisor = self.given(x)
        weights = self.weights_of(target, len(samples))
        grad = self.look(samples, (), [name], weights).gradients[name]
        if name == INPUT:
            if self.standard is not None:
                grad /= np.asarray(self.standard.std, grad.dtype).reshape(
                    -1, *[1] * (grad.ndim - 2)
                )
            grad /= divisor
        return grad[0] if single else grad

    def explain(
        self,
        x: npt.ArrayLike,
        *,
        target: Target | None = None,
        layer: str | None = None,
        resize: bool = False,
    ) -> Array:
        """Where in samples the evidence for a class lies: Grad-CAM [1]_.

        Parameters
        ----------
        x : array_like
            Samples, or a single one, as ``predict`` takes them.
        target : str, int, or a sequence of n of them, optional
            The class, by its name or number, or the number of the output; by default for each
            sample the class that the network takes it for.
        layer : str, optional
            The layer whose maps are weighted, as for ``activations``; by default the last one
            before the output that has more than one position.
        resize : bool
            Whether the result is resized to the samples, by linear interpolation.

        Returns
        -------
        ndarray
            ``(n, *space)`` of the layer, or with ``resize`` of the samples; from 0, which nothing
            speaks for, to 1 at the most important place of each sample, or 0 everywhere if there is
            none. Without ``n`` for a single sample.

        Raises
        ------
        ValueError, TypeError
            As for ``gradients``; a network or a layer without positions.

        References
        ----------
        .. [1] R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via
           gradient-based localization", ICCV 2017.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import Model, nn
        >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
        >>> model = Model(net, (1, 8, 8))
        >>> x = np.random.default_rng(0).standard_normal((5, 1, 8, 8), dtype=np.float32)
        >>> model.explain(x).shape, model.explain(x[0], target=1, resize=True).shape
        ((5, 6, 6), (8, 8))
        """
        name = self.explained_layer(layer)
        samples, single, _ = self.given(x)
        if target is None:
            seen = self.look(samples, [name], [name])
        else:
            weights = self.weights_of(target, len(samples))
            seen = self.look(samples, [name], [name], weights)
        heat = grad_cam(seen.maps[name], seen.gradients[name])
        if truth("resize", resize):
            space = samples.shape[1:] if self.tokens else samples.shape[2:]
            if heat.ndim - 1 != len(space):
                raise FaltungError(
                    f"layer={name!r}: its axes {heat.shape[1:]} are not those of a sample, "
                    f"{space}; leave out resize"
                )
            for axis, size in enumerate(space):
                heat = interpolated(heat, size, axis + 1)
            heat = up_to_one(heat)
        return heat[0] if single else heat

    # Names ---------------------------------------------------------------------------------------

    def layer_values(self) -> dict[str, Value]:
        """What each layer makes, by its name, in their order."""
        return {name: nodes[-1].output for name, nodes in self.graph.layers()}

    def layer_name(self, argument: str, name: str) -> str:
        """The layer that a name stands for: itself, or the last of a part. ValueError."""
        if not isinstance(name, str):
            raise FaltungTypeError(f"{argument}={show(name)}: must be the name of a layer")
        known = list(self.layer_values())
        if name in known:
            return name
        inside = [each for each in known if each.startswith(f"{name}.")]
        if inside:
            return inside[-1]
        from difflib import get_close_matches

        near = get_close_matches(name, known, MOST_NAMED, 0.4) or known
        more = ", ..." if len(near) > MOST_NAMED else ""
        raise FaltungError(
            f"{argument}={show(name)}: must be a layer of the summary: "
            f"{', '.join(near[:MOST_NAMED])}{more}"
        )

    def explained_layer(self, name: str | None = None) -> str:
        """The layer that Grad-CAM weights the maps of. ValueError: it has no positions."""
        values = self.layer_values()
        wide = [n for n, v in values.items() if v.positions > 1 and _is_map(v)]
        if name is not None:
            found = self.layer_name("layer", name)
            if not values[found].space or not _is_map(values[found]):
                said = f"layer={show(name)}: has no map of more than one position; "
                raise FaltungError(f"{said}{_such(wide)}")
            return found
        # Behind the last layer with weights are answers, which explain nothing.
        names = list(values)
        owners = {p.name.rpartition(".")[0] for p in self.graph.parameters}
        last = max((i for i, n in enumerate(names) if n in owners), default=len(names))
        before = [n for n in wide if names.index(n) < last] or wide
        axes = max(len(self.graph.input.shape) - (not self.tokens), 1)
        before = [n for n in before if len(values[n].space) == axes] or before
        if not before:
            raise FaltungError("layer=None: the network has no layer with more than one position")
        return before[-1]

    def class_number(self, target: object) -> int:
        """The number of a class, or of an output. ValueError, TypeError."""
        many = self.graph.output.channels
        if isinstance(target, str):
            if self.classes is None:
                raise FaltungError(
                    f"target={show(target)}: the model has no names of classes; give a number "
                    f"below {many}"
                )
            if target not in self.classes:
                from faltung.data.names import listing

                raise FaltungError(f"target={show(target)}: must be one of {listing(self.classes)}")
            return self.classes.index(target)
        number = whole("target", target, 0)
        if number >= many:
            raise FaltungError(f"target={number}: must be below {many}, the number of outputs")
        return number

    def weights_of(self, target: Target | None, count: int) -> Array:
        """The weights of the sum of outputs that is differentiated, (n, *output); of numbers in the
        units of their targets.
        """
        made = np.zeros((count, *self.graph.output.shape), self.graph.dtype)
        self._choose(made, target)
        if self.target_scale is not None:
            std = np.asarray(self.target_scale.std, made.dtype)
            made *= std.reshape(-1, *[1] * (made.ndim - 2))
        return made

    def _choose(self, made: Array, target: Target | None) -> None:
        """Write 1 for the outputs that count."""
        count = len(made)
        if target is None:
            made[...] = 1
            return
        if isinstance(target, str | int | np.integer):
            made[:, self.class_number(target)] = 1
            return
        if np.ndim(target) != 1 or len(target) != count:
            raise FaltungError(
                f"target: must be one class, or a sequence of one for each of {count} samples, got "
                f"{show(target)}"
            )
        for row, each in zip(made, target, strict=True):
            row[self.class_number(each)] = 1

    # Programs ------------------------------------------------------------------------------------

    def given(self, x: npt.ArrayLike) -> tuple[Array, bool, float]:
        """Samples as the network takes them, whether it was a single one, and what they were
        divided by. ValueError, TypeError.
        """
        many, single = self.samples(as_array("x", x))
        divisor = 1.0
        if self.units is not None and not self.tokens:
            divisor = self.divisor(self.units.seen(many))
        return self.standardised(many if divisor == 1 else scaled(many, divisor)), single, divisor

    def look(
        self,
        x: Array,
        watched: Sequence[str],
        to: Sequence[str] = (),
        weights: Array | None = None,
    ) -> Seen:
        """Run over samples as the network takes them. weights: (n, *output); by default 1 for the
        class of each sample with the largest mean output.
        """
        values = {**self.layer_values(), INPUT: self.graph.input}
        shapes = [self.graph.output, *(values[n] for n in watched), *(values[n] for n in to)]
        size = sum(v.size for v in shapes) * np.dtype(self.graph.dtype).itemsize
        count = len(x)
        most = min(MAX_SAMPLES, max(1, MAX_BYTES // max(size, 1)))
        batch = min(1 << most.bit_length() - 1, 1 << max(0, count - 1).bit_length())
        made = [empty((count, *_shape(v)), _dtype(v, self.graph.dtype)) for v in shapes]
        with self._lock:
            program = self._probe(batch, tuple(watched), tuple(to))
            for start in range(0, count, batch):
                rows = slice(start, min(start + batch, count))
                part = _filled(x[rows], batch)
                seed = None if not to or weights is None else _filled(weights[rows], batch)
                if to and weights is None:
                    outputs, _, _ = program(part, np.zeros(_seed(self.graph, batch)))
                    seed = likeliest(self.unscaled(outputs))
                outputs, maps, grads = program(part, seed)
                for whole_array, found in zip(made, [outputs, *maps, *grads], strict=True):
                    whole_array[rows] = found[: rows.stop - rows.start]
        maps, grads = made[1 : 1 + len(watched)], made[1 + len(watched) :]
        return Seen(
            made[0], dict(zip(watched, maps, strict=True)), dict(zip(to, grads, strict=True))
        )

    def unit_gradients(self, x: Array, units: Sequence[tuple[str, tuple[int, ...]]]) -> Array:
        """For each sample the gradient of one unit for it: the name of a layer, and where the unit
        lies in what the layer makes, (channel, *space).

        x: as the network takes them. One program computes all of them.
        """
        from faltung.program.probe import Probe

        values = self.layer_values()
        of = {name: values[name] for name, _ in units}
        size = 4 * sum(v.size for v in of.values())
        size += 16 * max(v.size for node in self.graph.nodes for v in node.outputs)
        batch = min(len(x), max(1, MAX_BYTES // size))
        made = np.empty(x.shape, x.dtype)
        with self._lock:
            probe = Probe(
                replace(self.graph, outputs=tuple(of.values())[-1:]),
                self._numbers(),
                batch,
                to=[self.graph.input],
                of=tuple(of.values()),
                precision=self.precision,
            )
            for start in range(0, len(x), batch):
                some = slice(start, start + batch)
                seeds = {n: np.zeros((batch, *v.shape), self.graph.dtype) for n, v in of.items()}
                for row, (name, unit) in enumerate(units[some]):
                    seeds[name][(row, *unit)] = 1
                found = probe(_filled(x[some], batch), list(seeds.values()))[2][0]
                made[some] = found[: len(made[some])]
        return made

    def _probe(self, batch: int, watched: tuple[str, ...], to: tuple[str, ...]) -> "Probe":
        """The program for so many samples; used ones are kept."""
        from faltung.program.probe import Probe

        kept = self._probes
        numbers = self._numbers()
        key = batch, watched, to
        found = kept.pop(key, None)
        if found is None:
            values = {**self.layer_values(), INPUT: self.graph.input}
            found = Probe(
                self.graph,
                numbers,
                batch,
                [values[name] for name in watched],
                to=[values[name] for name in to],
                precision=self.precision,
            )
        kept[key] = found  # in order of use
        if len(kept) > MAX_PROBES:
            del kept[next(iter(kept))]
        return found

    def _numbers(self) -> State:
        """The parameters as they are now, in the dtype that is computed in."""
        if not self.state.stored:
            return self.state
        if self._widened is None:
            self._widened = State(self.training_graph.parameters, self.graph.dtype)
        self._widened.update(self.state.all())
        return self._widened


def _such(names: Sequence[str]) -> str:
    """What may be said instead."""
    if not names:
        return "nor has another"
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"others have: {', '.join(names[-MOST_NAMED:][::-1])}{more}"


def _is_map(value: Value) -> bool:
    """Whether a value is one map for each sample: not parts of it that count as samples."""
    return value.kind == "float" and value.samples == 1


def _shape(value: Value) -> tuple[int, ...]:
    return value.shape if value.samples == 1 else (value.samples, *value.shape)


def _dtype(value: Value, usual: str) -> str:
    return usual if value.kind == "float" else "int32"


def _seed(graph: Graph, batch: int) -> tuple[int, ...]:
    return (batch, *graph.output.shape)


def _filled(part: Array, batch: int) -> Array:
    """Samples with as many zeros behind them as a batch needs."""
    rest = batch - len(part)
    return np.concatenate([part, np.zeros((rest, *part.shape[1:]), part.dtype)]) if rest else part
