"""Interpolation as tables: which entries of an axis make one of the same axis in another size.

Frameworks differ in where an output lies on the input (``place``), in which neighbours count, and
in how far beyond the edge these reach. ``resized`` follows ONNX's Resize; ``interpolated`` follows
PyTorch's ``interpolate``, which rounds the positions of "nearest" to float32, whatever the numbers
are, and so decides ties in its own way.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import ceil, floor, isclose
from struct import pack, unpack

from faltung.geometry.check import one_of
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.geometry.resample import MOST_TAPS, Table, Tap, averaged, selected, table

# Entries of a result along one axis, each with weights of its own.
MOST_WEIGHTED = 1 << 18
# Tables of axes up to this are kept, because the same sizes come again.
KEPT_SIZE = 1 << 12
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
# Modes of PyTorch along one axis: "bilinear" is "linear" along two.
MODES = ("nearest", "nearest-exact", "linear", "cubic", "area")


# Weights of neighbours ----------------------------------------------------------------------------


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _keys(a: float) -> Callable[[float], float]:
    """R. Keys, *Cubic convolution interpolation for digital image processing*, IEEE Trans. ASSP 29,
    1981; he derives a = -0.5.
    """

    def weight(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return ((a + 2) * x - (a + 3)) * x * x + 1
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0

    return weight


def _kernel(mode: str, a: float) -> tuple[Callable[[float], float], int]:
    """The weight by distance, and how far it reaches."""
    return (_triangle, 1) if mode == "linear" else (_keys(a), 2)


# ONNX ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resizing:
    """How ONNX's Resize interpolates; the names of its attributes.

    mode: "nearest", "linear" or "cubic". coordinates: one of ``COORDINATES``; rounding: of nearest,
    one of ``ROUNDINGS``. a: of cubic. exclude: what lies outside has no weight, instead of that of
    the edge. antialias: the kernel is as wide as an output where there are fewer of these.
    """

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    a: float = -0.75
    exclude: bool = False
    antialias: bool = False

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("nearest", "linear", "cubic"))
        one_of("coordinate_transformation_mode", self.coordinates, COORDINATES)
        one_of("nearest_mode", self.rounding, ROUNDINGS)
        if self.antialias and self.mode == "nearest":
            raise FaltungError("antialias=1: must be 0 with mode=nearest")


def resized(
    how: Resizing,
    size: int,
    output: int,
    scale: float | None = None,
    roi: tuple[float, float] = (0.0, 1.0),
) -> Table:
    """The table of ONNX's Resize along one axis.

    scale: outputs for each entry, which need not be ``output / size``. roi: the part of the axis
    that "tf_crop_and_resize" reads; outputs outside the axis are rows without taps.
    """
    _sizes(size, output, how.mode == "nearest")
    scale = output / size if scale is None else scale
    if not 0 < scale < float("inf"):
        raise FaltungError(f"scale={scale}: must be above 0")
    if how.antialias and output * (4 / min(scale, 1.0) + 4) > MOST_TAPS:
        raise FaltungError(f"scale={scale}: is too small for antialiasing")
    make = _resized if max(size, output) > KEPT_SIZE else _resized_before
    return make(how, size, output, scale, roi)


def _resized(
    how: Resizing, size: int, output: int, scale: float, roi: tuple[float, float]
) -> Table:
    places = [place(how.coordinates, o, size, output, scale, roi) for o in range(output)]
    cropped, last = how.coordinates == "tf_crop_and_resize", size - 1
    if how.mode == "nearest":
        chosen: list[int | None] = []
        for o, x in enumerate(places):
            x = _as_runtimes(how.coordinates, x, o, scale)
            outside = cropped and not 0 <= x <= last
            chosen.append(None if outside else min(max(_rounded(x, how.rounding), 0), last))
        return selected(size, chosen)
    around = _neighbours(how, size, scale)
    return table(size, ([] if cropped and not 0 <= x <= last else around(x) for x in places))


_resized_before = lru_cache(maxsize=256)(_resized)


def _sizes(size: int, output: int, nearest: bool) -> None:
    if size < 1 or output < 1:
        raise FaltungError(f"size={output}: an axis of {size} must be resized to at least 1")
    most = MOST_TAPS if nearest else MOST_WEIGHTED
    if output > most:
        raise FaltungError(f"size={output}: must be at most {most}")


def place(
    mode: str, o: int, size: int, output: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)
) -> float:
    """Where output ``o`` lies on the input, whose entry ``i`` is at ``i``."""
    # A scale of 0.6 in float32 is not quite that: its outputs are whole all the same.
    wide = float(output) if isclose(scale * size, output, rel_tol=1e-6) else scale * size
    if mode == "align_corners":
        return 0.0 if wide == 1 else o * (size - 1) / (wide - 1)
    if mode == "asymmetric":
        return o / scale
    if mode == "tf_crop_and_resize":
        begin, end = roi
        if wide == 1:
            return (begin + end) * (size - 1) / 2
        return begin * (size - 1) + o * (end - begin) * (size - 1) / (wide - 1)
    if mode == "pytorch_half_pixel" and wide == 1:
        return 0.0
    offset = size / 2 * (1 - output / wide) if mode == "half_pixel_symmetric" else 0.0
    return offset + (o + 0.5) / scale - 0.5


def _as_runtimes(mode: str, x: float, o: int, scale: float) -> float:
    """A position where an entry must be chosen, rounded as readers of ONNX round it: a scale such
    as 0.6 is not quite that, and would put whole positions just before an entry.
    """
    if mode == "asymmetric":
        return _float32(o / scale)
    if mode in ("half_pixel", "pytorch_half_pixel") and x == (o + 0.5) / scale - 0.5:
        return _float32((o + 0.5) / scale) - 0.5
    return x


def _neighbours(how: Resizing, size: int, scale: float) -> Callable[[float], list[Tap]]:
    """What linear and cubic interpolation read at a position."""
    weight, reach = _kernel(how.mode, how.a)
    shrink = min(scale, 1.0) if how.antialias else 1.0
    # Of entries at equal distance the first counts, so that whole positions read to the left.
    first, last = floor(-reach / shrink) + 1, size - 1
    scaled = how.exclude or how.antialias

    def around(x: float) -> list[Tap]:
        base = ceil(x) - 1
        taps = [(base + k, weight((base + k - x) * shrink)) for k in range(first, 2 - first)]
        if how.exclude:
            taps = [(i, w) for i, w in taps if 0 <= i <= last]
        total = (sum(w for _, w in taps) or 1.0) if scaled else 1.0
        return [(min(max(i, 0), last), w / total) for i, w in taps]

    return around


def _rounded(x: float, mode: str) -> int:
    if mode == "floor":
        return floor(x)
    if mode == "ceil":
        return ceil(x)
    return ceil(x - 0.5) if mode == "round_prefer_floor" else floor(x + 0.5)


# PyTorch ------------------------------------------------------------------------------------------


def interpolated(
    mode: str,
    size: int,
    output: int,
    *,
    scale: float | None = None,
    align_corners: bool = False,
    antialias: bool = False,
) -> Table:
    """The table of PyTorch's ``interpolate`` along one axis.

    mode: one of ``MODES``. scale: as its ``scale_factor``, where that is given instead of a size.
    """
    one_of("mode", mode, MODES)
    _sizes(size, output, mode.startswith("nearest") or mode == "area")
    if mode == "area":
        return averaged(size, output)
    if align_corners:
        step = (size - 1) / (output - 1) if output > 1 else 0.0
    else:
        step = 1 / scale if scale else size / output
    if mode.startswith("nearest"):
        places = _nearest(mode, size, output, step)
        return selected(size, [min(i, size - 1) for i in places])
    if antialias:
        return table(size, _antialiased(mode, size, output, step))
    return table(size, [_around(mode, o, size, step, align_corners) for o in range(output)])


def _float32(x: float) -> float:
    return float(unpack("f", pack("f", x))[0])


def _nearest(mode: str, size: int, output: int, step: float) -> Iterable[int]:
    """The entries, rounded as PyTorch rounds: positions are float32 even of float64 numbers, and
    the two commonest sizes ignore a scale that is not quite theirs.
    """
    if mode == "nearest" and output in (size, 2 * size):
        return (o * size // output for o in range(output))
    half = 0.5 if mode == "nearest-exact" else 0.0
    step = _float32(step)
    return (floor(_float32((o + half) * step)) for o in range(output))


def _around(mode: str, o: int, size: int, step: float, align_corners: bool) -> list[Tap]:
    x = o * step if align_corners else (o + 0.5) * step - 0.5
    if mode == "linear":
        x = max(x, 0.0)
    weight, reach = _kernel(mode, -0.75)
    base = floor(x)
    span = range(base - reach + 1, base + reach + 1)
    return [(min(max(i, 0), size - 1), weight(i - x)) for i in span]


def _antialiased(mode: str, size: int, output: int, step: float) -> Sequence[list[Tap]]:
    """The kernel is as wide as an output; as Pillow does it, with a = -0.5."""
    weight, reach = _kernel(mode, -0.5)
    wide = max(step, 1.0)
    if output * (2 * reach * wide + 2) > MOST_TAPS:
        raise FaltungError(f"size={output}: is too small for antialiasing an axis of {size}")
    rows = []
    for o in range(output):
        centre = step * (o + 0.5)
        first = max(int(centre - reach * wide + 0.5), 0)
        stop = min(int(centre + reach * wide + 0.5), size)
        taps = [(i, weight((i - centre + 0.5) / wide)) for i in range(first, stop)]
        total = sum(w for _, w in taps) or 1.0
        rows.append([(i, w / total) for i, w in taps])
    return rows
