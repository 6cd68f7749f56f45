"""Initial values of parameters: they depend on a seed and the parameter's name alone.

A network that gains or loses a layer keeps the values of all other layers.
"""

from hashlib import sha256
from math import sqrt

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.graph.ops import Embed
from faltung.graph.scales import followed
from faltung.graph.value import Graph, Parameter

Array = npt.NDArray[np.floating]


def parameters(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """A value for every parameter, in the graph's dtype: name -> array of its shape.

    "normal" is a normal distribution of variance gain / fan_in (He et al., 2015, with gain 2),
    "uniform" is uniform between plus and minus the root of gain / fan_in. The rows of tables that
    stand for padding are zero. seed: a whole number from 0.
    """
    seed = whole("seed", seed, 0)
    made = {p.name: first(p, seed, graph.dtype) for p in graph.parameters}
    for node in graph.nodes:
        if isinstance(node.op, Embed) and node.op.padding_index is not None:
            made[node.inputs[1].name][node.op.padding_index] = 0
    return made | followed(graph.parameters, made.__getitem__)


def first(parameter: Parameter, seed: int, dtype: str) -> Array:
    """The initial value of one parameter."""
    if isinstance(parameter.initial, str):
        if parameter.initial not in ("normal", "uniform"):
            raise FaltungError(
                f"initial={parameter.initial!r}: must be 'normal', 'uniform' or a number"
            )
        size = sqrt(parameter.gain / parameter.fan_in)
        numbers = generator(seed, parameter.name)
        # In float64 for every dtype, so that both precisions start from the same network.
        if parameter.initial == "normal":
            return (numbers.standard_normal(parameter.shape) * size).astype(dtype)
        return numbers.uniform(-size, size, parameter.shape).astype(dtype)
    return np.full(parameter.shape, parameter.initial, dtype)


def generator(seed: int, name: str) -> np.random.Generator:
    """The random numbers of a seed and a name."""
    words = np.frombuffer(sha256(name.encode()).digest(), "<u4")
    return np.random.default_rng([seed, *words.tolist()])
