"""Arrays and sources as samples to train or evaluate a model on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.names import number_classes
from faltung.data.native import as_array
from faltung.data.source import (
    ArraySource,
    Source,
    in_units,
    is_source,
    kind_of_sample,
    weighted,
)
from faltung.data.targets import as_float32, check_flags, understood
from faltung.geometry.check import no_array
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.losses import targets_of
from faltung.train.network import Network


def as_source(
    x: npt.ArrayLike | Source,
    y: npt.ArrayLike | None,
    model: Network,
    loss: str,
    weights: npt.ArrayLike | None = None,
) -> Source:
    """Samples and their targets as a source, in the units of the model.

    x: a source, or an array (n, *input_shape), with channels last instead of first, or without a
    single channel. The array is not scaled, unless the model was trained on other units. y: labels
    (n,) or (n, *space), which may be whole floats, words of the model's classes, or rows (n,
    classes) with a single 1; for losses of numbers those of the network's output shape, (n,) for a
    single one; for several labels at once the same of 0 and 1. weights: of the samples, if any.
    TypeError, ValueError.
    """
    if is_source(x):
        if y is not None:
            raise FaltungTypeError(
                "y: must be left out if x is a source, which has its own targets"
            )
        return weighted(in_units(x, model.units), weights)
    no_array("x", x)
    if y is None:
        raise FaltungTypeError(
            "y: must be given with x, unless that is a source, as data.open_source opens one"
        )
    kind = "text" if model.tokens else kind_of_sample(len(model.input_shape))
    given, targets = as_array("x", x), as_array("y", y)
    samples, single = model.samples(given)
    if single:
        raise FaltungError(
            f"x.shape={given.shape}: must be (n, {', '.join(map(str, model.input_shape))})"
        )
    if targets_of(loss) != "labels":
        if targets_of(loss) == "flags":
            check_flags(targets)
        made = ArraySource(samples, _numbers(targets, len(samples), model), kind=kind)
    else:
        # Not every class needs to occur.
        targets = _as_words(targets)
        names = model.classes or _names(targets, model.graph.output.channels)
        made = ArraySource(
            samples, _labels(targets, names, model), kind=kind, classes=names, partial=True
        )
    if model.units is None:
        made.units = replace(made.units, scale=1.0)
    return weighted(in_units(made, model.units), weights)


def _as_words(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Words that are kept as objects, as pandas does, as words."""
    if y.dtype.kind == "O" and all(isinstance(each, str) for each in y.flat):
        return y.astype(str)
    return y


def _names(y: npt.NDArray[Any], outputs: int) -> tuple[str, ...]:
    """The classes of a network that has no names for them: the words in order, or numbers.
    ValueError: other than ``outputs`` words.
    """
    if y.dtype.kind != "U":
        return tuple(map(str, range(outputs)))
    words = tuple(map(str, np.unique(y)))
    if len(words) != outputs:
        raise FaltungError(
            f"y: has {len(words)} different words, and the network {outputs} outputs; "
            "Model(..., classes=[...]) names them"
        )
    return words


def _labels(y: npt.NDArray[Any], names: Sequence[str], model: Network) -> npt.NDArray[Any]:
    """y as whole numbers."""
    if y.dtype.kind == "U" and y.ndim == 1:
        return number_classes([str(word) for word in y], "y", names)[0]
    if y.dtype.kind not in "buif":
        raise FaltungTypeError(f"y.dtype={y.dtype}: labels must be whole numbers, or names")
    maps = bool(model.graph.output.space)
    made = understood(y, "labels", "y", maps=maps)
    if not maps and y.ndim == 2 and made.ndim == 1 and 1 < y.shape[1] != len(names):
        raise FaltungError(f"y.shape={y.shape}: must have {len(names)} columns, one for each class")
    return made


def _numbers(y: npt.NDArray[Any], count: int, model: Network) -> npt.NDArray[np.float32]:
    """y as (n, outputs)."""
    wanted = (count, *model.graph.output.shape)
    if y.dtype.kind not in "buif":
        raise FaltungTypeError(f"y.dtype={y.dtype}: must be real numbers")
    if y.shape != wanted and not (y.shape == (count,) and model.graph.output.size == 1):
        raise FaltungError(f"y.shape={y.shape}: must be {wanted}")
    return as_float32(y.reshape(count, -1), "y")
