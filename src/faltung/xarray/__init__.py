"""Filters of labelled arrays: xarray's DataArray and Dataset, by the names of dimensions.

>>> import numpy as np, xarray as xr, faltung.xarray
>>> field = xr.DataArray(np.eye(3), dims=("lat", "lon"), coords={"lon": [0, 120, 240]})
>>> faltung.xarray.conv(field, {"lon": [1.0, 1.0, 1.0]}, padding_mode={"lon": "wrap"}).values
array([[1., 1., 1.],
       [1., 1., 1.],
       [1., 1., 1.]])
"""

from faltung.xarray.convolve import conv
from faltung.xarray.derivatives import (
    gaussian_gradient_magnitude,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
)
from faltung.xarray.extremes import grey_dilation, grey_erosion, maximum_filter, minimum_filter
from faltung.xarray.smooth import convolve, correlate, gaussian_filter, uniform_filter

__all__ = [
    "conv",
    "convolve",
    "correlate",
    "gaussian_filter",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "grey_dilation",
    "grey_erosion",
    "laplace",
    "maximum_filter",
    "minimum_filter",
    "prewitt",
    "sobel",
    "uniform_filter",
]
