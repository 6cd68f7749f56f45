"""Arrays and sources as samples to train or evaluate a model on."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.native import native
from faltung.data.source import ArraySource, SampleKind, Source, is_source
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.train.network import Network

# The kind of samples by the axes of an array, except for text. It decides how they are augmented.
KINDS: dict[int, SampleKind] = {2: "table", 3: "series", 4: "picture", 5: "volume"}


def as_source(
    x: npt.ArrayLike | Source, y: npt.ArrayLike | None, model: Network, loss: str
) -> Source:
    """x (n, *input_shape) and y as a source of samples; a source is returned as it is.

    x is not scaled, even if it holds whole numbers. y: labels (n,) or (n, *space), or for "mse"
    numbers of the network's output shape, (n,) for a single number. TypeError, ValueError.
    """
    if is_source(x):
        if y is not None:
            raise FaltungTypeError(
                "y: must be left out if x is a source, which has its own targets"
            )
        return x
    if y is None:
        raise FaltungTypeError("y: must be given with x")
    samples, targets = native(np.asarray(x)), native(np.asarray(y))
    if samples.shape[1:] != model.input_shape:
        raise FaltungError(
            f"x.shape={samples.shape}: must be (n, {', '.join(map(str, model.input_shape))})"
        )
    kind = "text" if model.tokens else KINDS.get(samples.ndim)
    if loss == "mse":
        return ArraySource(samples, _numbers(targets, len(samples), model), kind=kind, scale=1.0)
    if targets.dtype.kind not in "bui":
        raise FaltungTypeError(f"y.dtype={targets.dtype}: labels must be whole numbers")
    # Not every class needs to occur.
    names = model.classes or tuple(map(str, range(model.graph.output.channels)))
    return ArraySource(samples, targets, kind=kind, scale=1.0, classes=names, partial=True)


def _numbers(y: npt.NDArray[Any], count: int, model: Network) -> npt.NDArray[np.float32]:
    """y as (n, outputs)."""
    wanted = (count, *model.graph.output.shape)
    if y.dtype.kind not in "buif":
        raise FaltungTypeError(f"y.dtype={y.dtype}: must be real numbers")
    if y.shape != wanted and not (y.shape == (count,) and model.graph.output.size == 1):
        raise FaltungError(f"y.shape={y.shape}: must be {wanted}")
    return y.reshape(count, -1).astype(np.float32)
