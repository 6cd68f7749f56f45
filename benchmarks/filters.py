"""The table of filters of arrays and signals, with what is wanted of each.

A line is the name of a function of SciPy, the shape and the dtype of the array, and its options
(``filter_problem.py``). ``dask`` before it: the array is Dask's, in chunks. ``unet``: a network
over a picture on disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

SCIPY, OPENCV, DASK_IMAGE, IN_MEMORY = "scipy", "opencv", "dask-image", "faltung-array"


@dataclass(frozen=True, slots=True)
class Filter:
    """A named problem.

    ``goals``: by peer, how many times as fast we are to be. ``moves``: the memory decides, so that
    the page says how much is moved in a second. ``memory``: whether the memory is measured, too,
    and the most of it that we may take, as a share of the peer's.
    """

    name: str
    text: str
    goals: Mapping[str, float] = field(default_factory=dict)
    moves: bool = False
    memory: Mapping[str, float] = field(default_factory=dict)
    core: bool = True


def _gaussian(sigma: int, dtype: str, goal: float, **others: float) -> Filter:
    return Filter(
        f"gaussian_filter sigma {sigma}, {dtype}",
        f"gaussian_filter 4096x4096 {dtype} sigma={sigma}",
        {SCIPY: goal, **others},
    )


FILTERS: tuple[Filter, ...] = (
    _gaussian(2, "float32", 20, opencv=1.4),
    _gaussian(8, "float32", 20, opencv=1.4),
    _gaussian(2, "float64", 10),
    _gaussian(8, "float64", 10),
    _gaussian(2, "uint8", 20),
    _gaussian(8, "uint8", 20),
    Filter("correlate 7x7", "correlate 2048x2048 float32 kernel=7x7", {SCIPY: 40, OPENCV: 1.8}),
    Filter("correlate 15x15", "correlate 2048x2048 float32 kernel=15x15", {SCIPY: 120, OPENCV: 5}),
    Filter("correlate 5x5x5", "correlate 128x128x128 float32 kernel=5x5x5", {SCIPY: 30}),
    Filter("sobel", "sobel 4096x4096 float32", {SCIPY: 6}, moves=True),
    Filter("laplace", "laplace 4096x4096 float32", {SCIPY: 6}, moves=True),
    Filter("uniform_filter 25", "uniform_filter 4096x4096 float32 size=25", {SCIPY: 6}, moves=True),
    Filter("maximum_filter 7x7", "maximum_filter 4096x4096 float32 size=7", {SCIPY: 6}, moves=True),
    Filter("fftconvolve 101x101", "fftconvolve 2048x2048 float64 kernel=101x101", {SCIPY: 2}),
    Filter(
        "fftconvolve 101x101, float32", "fftconvolve 2048x2048 float32 kernel=101x101", {SCIPY: 2}
    ),
    Filter("oaconvolve 1001", "oaconvolve 10000000 float64 kernel=1001", {SCIPY: 5}),
    Filter("oaconvolve 1001, float32", "oaconvolve 10000000 float32 kernel=1001", {SCIPY: 5}),
    Filter("resample_poly 160/147", "resample_poly 10000000 float64 up=160 down=147", {SCIPY: 4}),
    Filter(
        "resample_poly 160/147, float32",
        "resample_poly 10000000 float32 up=160 down=147",
        {SCIPY: 4},
    ),
    Filter("small correlate 3x3", "correlate 64x64 float32 kernel=3x3", {SCIPY: 1}),
    Filter("small gaussian_filter", "gaussian_filter 64x64 float32 sigma=1", {SCIPY: 1}),
    Filter(
        "Dask, correlate 9x9",
        "dask correlate 20000x20000 float32 kernel=9x9 chunks=1024",
        {DASK_IMAGE: 10},
        memory={DASK_IMAGE: 0.5},
    ),
    Filter("U-Net from Zarr", "unet 8192x8192 float32 chunks=1024", {IN_MEMORY: 0.9}),
)


def scaled(rows: Sequence[Filter], factor: float) -> tuple[Filter, ...]:
    """The same rows with smaller arrays, to try them. Chunks follow; kernels stay."""
    return tuple(replace(row, text=_scaled(row.text, factor)) for row in rows)


def _scaled(text: str, factor: float) -> str:
    words = text.split()
    place = 2 if words[0] == "dask" else 1
    sizes = [max(64, int(int(size) * factor)) for size in words[place].split("x")]
    if words[0] == "unet":  # four halvings
        sizes = [size // 16 * 16 for size in sizes]
    words[place] = "x".join(map(str, sizes))
    for i, word in enumerate(words):
        if word.startswith("chunks="):
            words[i] = f"chunks={max(32, int(int(word.removeprefix('chunks=')) * factor))}"
    return " ".join(words)
