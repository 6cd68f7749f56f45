"""Which parameters of a network are frozen: layers by name, by number, or all but the last.

A layer is whatever has parameters of its own, such as ``conv1`` or ``stage2.block1.body.conv2``;
layers are counted in the order in which the network computes them.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from faltung.data.names import listing
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.graph.value import Graph

ALL_BUT_LAST = "all-but-last"
SHOWN_NAMES = 12  # in a message


def layer_of(parameter: str) -> str:
    """The layer that a parameter belongs to."""
    return parameter.rpartition(".")[0]


def layers(graph: Graph) -> list[str]:
    """The layers with parameters, in the order in which they are computed."""
    own = {p.name for p in graph.parameters}
    read = (value.name for node in graph.nodes for value in node.inputs if value.name in own)
    return list(dict.fromkeys(map(layer_of, read)))


def frozen(training: Graph, graph: Graph, words: Sequence[str]) -> tuple[str, ...]:
    """The names of the parameters that are frozen, running statistics too.

    words: "all-but-last"; a number of layers, from the first on; or a layer's name, which may stand
    for the layers inside it and have ``*``, ``?`` and ``[...]`` as names of files do. training,
    graph: the network for training, and for inference. ValueError: a word that says nothing, or
    nothing left to train.
    """
    every, inference = layers(training), layers(graph)
    chosen: set[str] = set()
    for word in words:
        chosen |= _chosen(word, every, inference)
    if words and not set(inference) - chosen:
        raise FaltungError(
            f"freeze={show(' '.join(words))}: leaves nothing to train: the network has the layers "
            f"{listing(inference, SHOWN_NAMES)}"
        )
    return tuple(p.name for p in training.parameters if layer_of(p.name) in chosen)


def _chosen(word: str, every: list[str], inference: list[str]) -> set[str]:
    if word == ALL_BUT_LAST:
        return set(every) - set(inference[-1:])
    if word.isascii() and word.isdigit():
        number = int(word) if len(word) < 10 else 10**9
        if not 0 < number < len(inference):
            raise FaltungError(
                f"freeze={word}: must be from 1 to {len(inference) - 1}, one less than the layers "
                "with parameters"
            )
        return set(inference[:number])
    found = {name for name in every if fnmatchcase(name, word) or fnmatchcase(name, f"{word}.*")}
    if not found:
        raise FaltungError(
            f"freeze={show(word)}: no layer with parameters has this name; there are "
            f"{listing(inference, SHOWN_NAMES)}"
        )
    return found
