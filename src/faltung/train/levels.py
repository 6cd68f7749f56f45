"""Weights on grids as whole numbers, and back: in files, and in a model that is done training.

In training a weight is more than its level, so that many small steps add up to one. Later only the
level counts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from faltung.graph.fold import computed_ahead
from faltung.graph.scales import followed
from faltung.graph.value import Graph

if TYPE_CHECKING:
    from faltung.train.network import Network

Array = npt.NDArray[Any]


def settled(graph: Graph, view: Callable[[str], Array]) -> dict[str, Array]:
    """The parameters on grids as a network uses them. view: a parameter in its unfolded shape."""
    made = {}
    for derived in computed_ahead(graph)[1]:
        p = graph.parameter(derived.like)
        out = np.empty(p.inner, graph.dtype)
        derived.into(out, view)
        made[p.name] = out.reshape(p.shape)
    return made


def follow(model: "Network") -> None:
    """Compute the scales of a model's weights again, from the weights as they are now."""
    made = followed(model.state.parameters.values(), model.state.get)
    if made:
        model.set_parameters(made)


def settle(model: "Network") -> None:
    """Write to the weights on grids of a model the numbers that it uses. It predicts the same."""
    made = settled(model.training_graph, model.state.view)
    if made:
        model.set_parameters(made)
