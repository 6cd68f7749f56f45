"""Networks in 8 bits: grids for weights and activations, found on samples.

Batch normalisation is folded into the weights first. Then the network runs on samples, histograms
count what its values are, and layers that put them on grids (``nn.Quantise``) come behind those
that make them; weights get grids of their own (``bits``). What comes out is a network of the same
kind, in float32: it can be trained further, with gradients that pass straight through
(quantisation-aware training), and be stored and run in whole numbers.

R. Krishnamoorthi, *Quantizing deep convolutional networks for efficient inference: a whitepaper*,
2018; B. Jacob et al., *Quantization and training of neural networks for efficient
integer-arithmetic-only inference*, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.compress.calibrate import Choice, Histogram, checked, error, grid_for
from faltung.compress.fold import fold
from faltung.compress.grid_places import Places, places
from faltung.compress.means import Left, Outcome, Task, remade
from faltung.data.native import as_array
from faltung.data.source import Source, in_units, is_source
from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungArithmeticError, FaltungError
from faltung.graph.fuse import needed
from faltung.graph.scales import followed
from faltung.graph.value import Value
from faltung.nn import Layer, Quantise, Sequential, SqueezeExcite, build
from faltung.nn.edit import edit, paths
from faltung.nn.quantise import bits_of
from faltung.program.inference import Inference
from faltung.train.levels import settle
from faltung.train.model import Model

Array = npt.NDArray[Any]
Batches = Callable[[], Iterator[Array]]
# Samples that are looked at, and how many at once: fewer where their activations are large.
SAMPLES, BATCH, BATCH_BYTES = 512, 32, 256 << 20
# Of a map about so many entries are counted, at positions in equal distances, and the ends of all.
ENTRIES = 8192
# A grid that joined maps share costs nothing where the squared error of each is at most so many
# times that on its own grid, or so small a part of its squares.
TIMES, PART = 2.0, 2e-4


def quantise(
    model: Model,
    calibration: npt.ArrayLike | Source,
    *,
    bits: int = 8,
    method: str = "mse",
    percentile: float = 99.99,
    samples: int = SAMPLES,
    skip: Sequence[str] = (),
) -> Outcome:
    """A model whose weights and activations lie on grids.

    Parameters
    ----------
    model : Model
        A trained one, of float32. It is not changed.
    calibration : array_like or Source
        Samples as ``Model.predict`` takes them, of those that it was trained on.
    bits : int from 2 to 8
        Of the weights; activations have 8.
    method : {"mse", "percentile", "max"}
        How grids are chosen for activations: with the least squared error; the finest that clips
        no more than the numbers above a percentile; or one that clips nothing.
    percentile : float
        For "percentile", above 50, at most 100.
    samples : int
        How many samples are looked at, at most; if there are more, some in equal distances.
    skip : sequence of str
        Names of layers that stay as they are, with those in them.

    Returns
    -------
    Outcome
        The new model, and the layers that stay in float32, each with the reason. A network that is
        on grids already gets new ones.

    Raises
    ------
    ValueError, TypeError
        No samples, samples that do not fit, a model of another dtype, options that do not exist.
    FloatingPointError
        NaN or infinity in the samples, or in what a layer makes of them; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import Model, nn
    >>> from faltung.compress.quantise import quantise
    >>> net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    >>> x = np.random.default_rng(0).uniform(size=(64, 1, 8, 8))
    >>> quantise(Model(net, (1, 8, 8)), x).model.net
    Sequential(Quantise(0.00390625, name='conv1_quantise'), Conv(4, 3, bits=8), ReLU(), \
Quantise(0.0078125, name='relu1_quantise'), Flatten(), Linear(2, bits=8))
    """
    how = checked(method, percentile)
    if bits_of(bits) is None:
        raise FaltungError("bits=None: must be from 2 to 8")
    if model.dtype != "float32":
        raise FaltungError(f"dtype={model.dtype!r}: must be float32: its levels are exact")
    count = whole("samples", samples, 1)
    x = _samples(model, calibration, count)
    plain = fold(_without_grids(model))
    known = paths(plain.model.net)
    for name in skip:
        if name not in known:
            raise FaltungError(f"skip={name!r}: no layer has this name")
    found = places(plain.model.graph, known, dict.fromkeys(skip, "it is to be left out"))
    left = found.left | {each.layer: each.why for each in plain.left}
    stays = tuple(Left(name, why) for name, why in left.items())
    if not found.layers:
        return Outcome(model, stays, "no layer can be quantised", changed=False)
    counted = histograms(plain.model, x, [value for value, _ in found.values.values()])
    behind = _grids(found, counted, how)
    made = _built(plain.model, known, found.layers, behind, bits)
    settle(made)
    said = f"{len(found.layers)} layers in {bits} bits, {len(behind)} activations in 8"
    return Outcome(made, stays, said)


def apply(model: Model, task: Task, strength: float) -> Outcome:
    """``quantise`` as a means: ``strength`` is the number of bits."""
    return quantise(model, task.train, bits=int(strength))


# Samples ------------------------------------------------------------------------------------------


def _samples(model: Model, given: npt.ArrayLike | Source, count: int) -> Batches:
    """The samples, prepared, some at once. ValueError, TypeError, FloatingPointError."""
    if is_source(given):
        source = in_units(given, model.units)
        total = len(source)
    else:
        many, _ = model.samples(as_array("calibration", given))
        total = len(many)
    if not total:
        raise FaltungError("calibration: must be at least one sample, got none")
    chosen = np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))

    def read(numbers: npt.NDArray[np.int64]) -> Array:
        if is_source(given):
            return model.standardised(source.read(numbers))
        return model.prepared(many[numbers])

    def batches() -> Iterator[Array]:
        for start in range(0, len(chosen), BATCH):
            numbers = chosen[start : start + BATCH]
            x = read(numbers)
            bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))
            if bad.size:
                raise FaltungArithmeticError(
                    f"calibration: sample {numbers[bad[0]]}: has NaN or infinity: must be finite"
                )
            yield x

    return batches


def histograms(model: Model, batches: Batches, values: Sequence[Value]) -> dict[str, Histogram]:
    """What values of a network are on samples, by their names."""
    graph = model.graph
    made = {value.name: Histogram() for value in values}
    inside = [value for value in values if value.name != graph.input.name]
    if graph.input.name in made:
        for x in batches():
            made[graph.input.name].add(x)
    if not inside:
        return made
    nodes = needed(graph.nodes, {value.name for value in inside})
    part = replace(graph, outputs=tuple(inside), nodes=nodes)
    size = 4 * sum(v.size for node in nodes for v in node.outputs)
    batch = max(1, min(BATCH, BATCH_BYTES // max(1, size)))
    program = Inference(part, model.state, batch, precision=model.precision)
    for x in batches():
        for start in range(0, len(x), batch):
            some = x[start : start + batch]
            rows = len(some)
            if rows < batch:
                some = np.concatenate([some, np.zeros((batch - rows, *some.shape[1:]), some.dtype)])
            program.lend(some)
            program.run()
            for value, array in zip(inside, program.outputs_in_memory, strict=True):
                seen = array[: rows * value.samples]
                ends = float(seen.min()), float(seen.max())
                if not np.isfinite(ends).all():
                    raise FaltungArithmeticError(
                        f"calibration: {value.name.partition(':')[0]!r} gives NaN or infinity: "
                        "must be finite"
                    )
                step = 1 + value.size // value.samples // ENTRIES
                places = seen.reshape(len(seen), value.positions, value.channels)
                made[value.name].add(places[:, ::step], ends)
    return made


# Grids --------------------------------------------------------------------------------------------


def _grids(found: Places, counted: Mapping[str, Histogram], how: Choice) -> dict[str, Quantise]:
    """For each path the grid that is put behind it."""
    grids = {name: grid_for(counted[name], how) for name in found.values}
    more: dict[str, Quantise] = {}
    for group in found.groups:
        if not group.values:
            continue
        own = {name: grids[name] for name in group.values}
        shared, cost = _shared(counted, own, grid_for(_joined(counted, group.values), how))
        apart = all(path for path, _ in group.joins)  # there is a place for grids of what is joined
        if apart and cost > 1:
            more |= {p: grid_for(_joined(counted, names), how) for p, names in group.joins}
        else:
            grids |= dict.fromkeys(group.values, shared)
    return {path: grids[name] for name, (_, path) in found.values.items()} | more


def _joined(counted: Mapping[str, Histogram], names: Sequence[str]) -> Histogram:
    made = Histogram()
    for name in names:
        made = made.joined(counted[name])
    return made


def _shared(
    counted: Mapping[str, Histogram], own: Mapping[str, Quantise], together: Quantise
) -> tuple[Quantise, float]:
    """The grid that several values can best share, and what it costs the one that loses most: up to
    1 next to nothing. together: the grid for all of their numbers.
    """
    limits = {
        name: max(TIMES * error(counted[name], grid), PART * counted[name].energy)
        for name, grid in own.items()
    }
    found = {}
    for grid in dict.fromkeys((together, *own.values())):
        lost = [error(counted[name], grid) / limit for name, limit in limits.items() if limit]
        found[grid] = max(lost, default=0.0)
    best = min(found, key=found.__getitem__)
    return best, found[best]


# The new network ----------------------------------------------------------------------------------


def _without_grids(model: Model) -> Model:
    """The model without grids, those of its weights too."""
    edits: dict[str, Any] = {}
    for path, layer in paths(model.net).items():
        if any(path.startswith(f"{gate}.") for gate in edits):
            continue  # of a gate, which is replaced as a whole
        if isinstance(layer, Quantise):
            edits[path] = ()
        elif isinstance(layer, SqueezeExcite) and layer.bits is not None:
            edits[path] = replace(layer, bits=None, grid=None, activation=_plain(layer.activation))
        elif getattr(layer, "bits", None) is not None:
            edits[path] = replace(layer, bits=None)  # type: ignore[call-arg]
    if not edits:
        return model
    edited = edit(model.net, edits)
    values = {n: v for n, v in model.parameters.items() if not n.endswith(".weight_scale")}
    return remade(model, edited.net, edited.parameters(values))


def _plain(layer: Layer) -> Layer:
    """What ``_gate`` has put a grid behind."""
    if not isinstance(layer, Sequential):
        return layer
    first, *others = [each for each in layer.layers if not isinstance(each, Quantise)]
    return Sequential(first, *others, name=layer.name) if others else first


def _built(
    model: Model,
    known: Mapping[str, Layer],
    layers: Sequence[str],
    behind: Mapping[str, Quantise],
    bits: int,
) -> Model:
    """The model with bits in some layers, and grids behind some. behind: by path, "" the input."""
    edits: dict[str, list[Layer]] = {}
    gates: set[str] = set()
    for path in layers:
        new = replace(known[path], bits=bits)  # type: ignore[call-arg]
        if isinstance(new, SqueezeExcite):
            inside = {p: grid for p, grid in behind.items() if p.startswith(f"{path}.")}
            new, gates = _gate(new, path, inside), gates | set(inside)
        edits[path] = [new]
    for path, grid in behind.items():
        if path and path not in gates:
            edits.setdefault(path, [known[path]]).append(grid)
    if "" in behind:
        first = next(iter(known))
        edits.setdefault(first, [known[first]]).insert(0, behind[""])
    edited = edit(model.net, edits)
    net, values = edited.net, edited.parameters(model.parameters)
    dtype = model.graph.dtype
    graph = build(net, model.input_shape, dtype=dtype, tokens=model.tokens, training=True)
    return remade(model, net, values | followed(graph.parameters, values.__getitem__))


def _gate(layer: SqueezeExcite, path: str, behind: Mapping[str, Quantise]) -> SqueezeExcite:
    """A gate whose linear layers read grids. behind: what is within it, by path."""
    mean = behind.get(f"{path}.mean")
    between = [grid for inner, grid in behind.items() if inner != f"{path}.mean"]
    activation = Sequential(layer.activation, *between) if between else layer.activation
    return replace(layer, grid=mean, activation=activation)
