"""How many words a network for text must know: as many as its samples name, within reason."""

import numpy as np

from faltung.data.source import Source
from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.ops import Embed
from faltung.graph.value import Graph
from faltung.program.memory import largest

# More words than tokenizers have (the largest in use have 2**18), so a larger number is no word.
MOST_WORDS = 1 << 18
_AT_ONCE = 4096  # samples read at a time


@dataclass(frozen=True)
class Vocabulary:
    """``words``: one more than the largest token. ``said``: where this number comes from."""

    words: int
    said: str

    def makes_most_of(self, graph: Graph) -> bool:
        """Whether the table of words is the largest parameter of a network."""
        most = largest(graph)
        return most is not None and most.shape[0] == self.words


def largest_token(source: Source) -> tuple[int, int, int]:
    """The largest token, the first sample that has it, and how many tokens there are in all."""
    most, at, tokens = -1, 0, 0
    for start in range(0, len(source), _AT_ONCE):
        part = source.read(np.arange(start, min(start + _AT_ONCE, len(source))))
        tokens += part.size
        each = part.reshape(len(part), -1).max(axis=1, initial=-1)
        if each.max() > most:
            most, at = int(each.max()), start + int(each.argmax())
    return most, at, tokens


def rows(graph: Graph) -> int | None:
    """How many tokens a network has a row for; None if it takes none."""
    each = [node.inputs[1].shape[0] for node in graph.nodes if isinstance(node.op, Embed)]
    return min(each, default=None)


def check_tokens_known(source: Source, graph: Graph, where: str) -> None:
    """ValueError names ``where``, the sample and the token that a network has no row for."""
    known = rows(graph)
    if known is None:
        return
    most, at, _ = largest_token(source)
    if most >= known:
        raise FaltungError(
            f"{where}: sample {source.names[at]} has the token {most:,}: must be below {known:,}, "
            "as the network knows no other words"
        )


def vocabulary(source: Source, where: str, given: object = None) -> Vocabulary:
    """The vocabulary that samples need, or the one ``given``. ValueError names ``where``, the
    sample and the token: a number so large that most rows of a table would have no word, or beyond
    what was given.
    """
    most, at, tokens = largest_token(source)
    said = f"{where}: sample {source.names[at]} has the token {most:,}"
    if given is not None:
        words = whole("vocabulary", given, 1)
        if most >= words:
            raise FaltungError(f"{said}: must be below vocabulary={words}")
        return Vocabulary(words, f"vocabulary={words}")
    if most >= max(MOST_WORDS, tokens):
        raise FaltungError(
            f"{said}: must be the number of a word, below {max(MOST_WORDS, tokens):,}; if there "
            f"are so many words, say --set vocabulary={most + 1}"
        )
    return Vocabulary(most + 1, said)
