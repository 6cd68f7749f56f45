"""Arrays as users save them, understood once: their kind, and which axis holds the channels.

The kind of x, unless ``kind`` is given:

| axes | dtype or shape                     | kind                                          |
|------|------------------------------------|-----------------------------------------------|
| 2    |                                    | series of one channel, (n, length)            |
| 3    | uint8, or the last two axes equal  | pictures of one channel, (n, height, width)   |
| 3    | otherwise                          | series                                        |
| 4    |                                    | pictures                                      |
| 5    |                                    | volumes                                       |

The axis of channels is the first after n, or the last. Where ``channels`` does not say ("first",
"last", or how many there are), it is the one that can be recognised:

- the first if it is at most 4 long (grey, colour, with or without alpha), else the last if that is;
- the one beside which all others are equally long (16x16 with 13 bands);
- in series, the one that is at most 16 long if the other is at least four times as long (9 by 128).

If none of that holds, both readings make sense, and the user is asked. What was decided for the
training data is then kept with the run, and nothing is recognised again.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.data.source import AXES, SampleKind
from faltung.geometry.check import one_of, show
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
Layout = Literal["first", "last"]
LAYOUTS: tuple[Layout, ...] = ("first", "last")
MOST_COLOURS = 4  # grey, with alpha, colour, colour with alpha
# Channels that a series may have to be recognised, and how many times as long it is at least.
MOST_SERIES_CHANNELS, MIN_SERIES_RATIO = 16, 4


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


def channels_first(x: Array, kind: SampleKind, channels: int | Layout | None, where: str) -> Array:
    """Samples of a known kind as a view (n, channels, *space), (n, length) of text or a table.

    ValueError if the axes do not fit the kind, no axis is as long as ``channels``, or where the
    channels lie cannot be known.
    """
    layout = layout_of(x.shape, kind, channels, where)
    if kind not in ("text", "table"):
        x = x[:, np.newaxis] if x.ndim == AXES[kind] else x
        x = np.moveaxis(x, -1, 1) if layout == "last" else x
        if isinstance(channels, int) and x.shape[1] != channels:
            raise FaltungError(f"{where}.shape={x.shape}: must have {channels} channels")
    return x


def layout_of(
    shape: tuple[int, ...], kind: SampleKind, channels: int | Layout | None, where: str
) -> Layout:
    """Where the channels of (n, ...) lie; "first" where there is no axis of channels. ValueError:
    the axes do not fit the kind, or it cannot be known.
    """
    one_of("kind", kind, AXES)
    axes = AXES[kind] + 1
    flat = kind in ("text", "table")
    if len(shape) != axes and (flat or len(shape) != axes - 1):
        more = "" if flat else f", or {axes - 1} without channels"
        raise FaltungError(f"{where}.shape={shape}: must have {axes} axes for kind={kind!r}{more}")
    if flat or len(shape) < axes:
        return "first"
    if channels == "first" or channels == "last":
        return channels
    ends = shape[1], shape[-1]
    if channels is not None:
        if ends == (channels, channels):
            return _asked(shape, kind, where)
        return "last" if ends[1] == channels else "first"
    for first, last in (
        (ends[0] <= MOST_COLOURS, ends[0] > MOST_COLOURS and ends[1] <= MOST_COLOURS),
        (_even(shape[2:]), _even(shape[1:-1])),
        (kind == "series" and _short(*ends), kind == "series" and _short(*ends[::-1])),
    ):
        if first != last:
            return "first" if first else "last"
    return _asked(shape, kind, where)


def _even(space: tuple[int, ...]) -> bool:
    """Whether two axes of space or more are equally long."""
    return len(space) > 1 and len(set(space)) == 1


def _short(channels: int, length: int) -> bool:
    return channels <= MOST_SERIES_CHANNELS and channels * MIN_SERIES_RATIO <= length


def _asked(shape: tuple[int, ...], kind: SampleKind, where: str) -> Layout:
    """ValueError: both readings make sense."""
    readings = [
        f"{shape[1]} channels of {_by(shape[2:])} (channels first)",
        f"{shape[-1]} channels of {_by(shape[1:-1])} (channels last)",
    ]
    more = ""
    if kind == "series":
        more = ", or a grey picture of " + _by(shape[1:]) + " (kind picture)"
    raise FaltungError(
        f"{where}.shape={shape}: a sample may be {' or '.join(readings)}{more}: say which with "
        'channels="first" or "last" (--channels first, --channels last)'
    )


def as_samples(
    x: Array, kind: SampleKind, shape: tuple[int, ...], layout: Layout
) -> tuple[Array, bool] | None:
    """Samples of a known shape as a view (n, *shape), and whether x was a single one without n.

    x: (n, *shape) or (*shape); with channels last instead of first, or without a single channel.
    Where several of these fit, it is as ``layout`` says. None: none fits.
    """
    channels, space = shape[0], shape[1:]
    if layout == "first" and x.shape in (shape, x.shape[:1] + shape):  # nearly always
        return (x[np.newaxis], True) if x.shape == shape else (x, False)
    # What a sample may look like, and how many become (n, *shape).
    forms: list[tuple[tuple[int, ...], Callable[[Array], Array]]] = [(shape, lambda many: many)]
    if kind not in ("text", "table") and space:
        forms.append(((*space, channels), lambda many: np.moveaxis(many, -1, 1)))
        if layout == "last":
            forms.reverse()
        if channels == 1:
            forms.append((space, lambda many: many[:, np.newaxis]))
    for form, arranged in forms:
        if x.shape[1:] == form:
            return arranged(x), False
        if x.shape == form:
            return arranged(x[np.newaxis]), True
    return None


def samples_of_file(
    x: Array, kind: SampleKind, shape: tuple[int, ...], layout: Layout, where: str
) -> tuple[Array, bool]:
    """``as_samples`` of an array in a file. ValueError: it has another shape."""
    found = as_samples(x, kind, shape, layout)
    if found is None:
        wanted = ", ".join(map(str, shape))
        raise FaltungError(f"{where}: has shape {x.shape}, must be {shape} or (n, {wanted})")
    return found


def as_layout(name: str, value: object) -> Layout:
    """A word of ``LAYOUTS``. ValueError: anything else."""
    if value not in LAYOUTS:
        raise FaltungError(f"{name}={show(value)}: must be first or last")
    return value


def _by(space: tuple[int, ...]) -> str:
    return f"length {space[0]}" if len(space) == 1 else "x".join(map(str, space))
