"""Faltung on Dask arrays: convolution and filters of what does not fit into memory.

>>> import dask.array, numpy as np, faltung.dask
>>> x = dask.array.ones((1, 3, 1000, 1000), chunks=(1, 3, 256, 256))
>>> faltung.dask.conv(x, np.ones((8, 3, 3, 3)), padding="same").chunksize
(1, 8, 256, 256)
>>> faltung.dask.gaussian_filter(x[0, 0], sigma=2).chunksize
(256, 256)
"""

from faltung.dask.conv import conv
from faltung.dask.filters import (
    convolve,
    convolve1d,
    correlate,
    correlate1d,
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
    grey_dilation,
    grey_erosion,
    laplace,
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
    prewitt,
    sobel,
    uniform_filter,
    uniform_filter1d,
)
from faltung.dask.store import to_zarr

__all__ = [
    "conv",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "grey_dilation",
    "grey_erosion",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "prewitt",
    "sobel",
    "to_zarr",
    "uniform_filter",
    "uniform_filter1d",
]


def __dir__() -> list[str]:
    return __all__
