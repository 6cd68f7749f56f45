"""A convolutional network for sentences."""

from collections.abc import Sequence

from faltung.geometry.errors import FaltungError
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.pool import MaxPool
from faltung.nn.structure import Embedding, Flatten, Parallel, Sequential


def textcnn(
    classes: int,
    input_shape: Sequence[int],
    *,
    vocabulary: int = 18_765,
    features: int = 300,
    widths: Sequence[int] = (3, 4, 5),
    maps: int = 100,
    padding_index: int | None = 0,
    dropout: float = 0.5,
) -> Layer:
    """A CNN for sentences: word vectors, windows of words, the maximum of each map over time.

    5,990,402 parameters with the vocabulary of MR (Table 1).

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(words,)``, at least as many as the widest window; shorter sentences are filled up with
        the word ``padding_index``.
    vocabulary : int
        How many words there are.
    features : int
        The length of a word vector.
    widths : sequence of int
        Words that each kind of window spans.
    maps : int
        Maps of each kind of window.
    padding_index : int, optional
        The word whose vector is zero and stays so.
    dropout : float
        The rate of dropout.

    References
    ----------
    Y. Kim, "Convolutional neural networks for sentence classification", EMNLP 2014.
    """
    if len(input_shape) != 1:
        raise FaltungError(f"input_shape={tuple(input_shape)}: must be (words,)")
    (words,) = input_shape
    windows = (
        Sequential(Conv(maps, h), ReLU(), MaxPool(max(1, words - h + 1)), name=f"window{h}")
        for h in widths
    )
    return Sequential(
        Embedding(vocabulary, features, padding_index=padding_index),
        Parallel(*windows, name="windows"),
        Flatten(),
        Dropout(dropout),
        Linear(classes),
    )
