"""Arrays as users save them, converted to (n, channels, *space).

The kind of x, unless ``kind`` is given:

| axes | dtype or shape                     | kind                                          |
|------|------------------------------------|-----------------------------------------------|
| 2    |                                    | series of one channel, (n, length)            |
| 3    | uint8, or the last two axes equal  | pictures of one channel, (n, height, width)   |
| 3    | otherwise                          | series, (n, channels, length)                 |
| 4    |                                    | pictures                                      |
| 5    |                                    | volumes                                       |

The axis of channels, if there is one: axis 1 if its length is ``channels``, else the last axis if
its length is; without ``channels``, axis 1 if its length is at most MOST_CHANNELS, else the last
axis if its length is, else axis 1. Series have it at axis 1 unless ``channels`` excludes that.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.source import AXES, SampleKind
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
MOST_CHANNELS = 4  # grey, with alpha, colour, colour with alpha


def guess_kind(x: Array, where: str) -> SampleKind:
    """The kind of an array by the table. ValueError: too few or too many axes."""
    if x.ndim == 3:
        square = x.shape[1] == x.shape[2]
        return "picture" if x.dtype == np.uint8 or square else "series"
    kinds: dict[int, SampleKind] = {2: "series", 4: "picture", 5: "volume"}
    kind = kinds.get(x.ndim)
    if kind is None:
        raise FaltungError(f"{where}.shape={x.shape}: must have 2 to 5 axes, the samples first")
    return kind


def channels_first(x: Array, kind: SampleKind, channels: int | None, where: str) -> Array:
    """Samples of a known kind as a view (n, channels, *space); (n, length) of text or a table.

    ValueError if the axes do not fit the kind, or no axis is as long as ``channels``.
    """
    if kind not in AXES:
        raise FaltungError(f"kind={show(kind)}: must be one of {', '.join(AXES)}")
    axes = AXES[kind] + 1
    if kind in ("text", "table"):
        if x.ndim != 2:
            raise FaltungError(f"{where}.shape={x.shape}: must have 2 axes for kind={kind!r}")
        return x
    if x.ndim == axes - 1:
        x = x[:, np.newaxis]
        last = False
    elif x.ndim == axes:
        last = _last(x.shape, kind, channels)
    else:
        raise FaltungError(
            f"{where}.shape={x.shape}: must have {axes} axes for kind={kind!r}, or {axes - 1} "
            "without channels"
        )
    x = np.moveaxis(x, -1, 1) if last else x
    if channels is not None and x.shape[1] != channels:
        raise FaltungError(f"{where}.shape={x.shape}: must have {channels} channels")
    return x


def _last(shape: tuple[int, ...], kind: str, channels: int | None) -> bool:
    """Whether the channels of (n, ...) are the last axis."""
    if channels is not None:
        return shape[1] != channels and shape[-1] == channels
    return kind != "series" and shape[1] > MOST_CHANNELS and shape[-1] <= MOST_CHANNELS
