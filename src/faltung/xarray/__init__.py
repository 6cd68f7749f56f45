"""Filters of labelled arrays: xarray's DataArray and Dataset, by the names of dimensions.

>>> import numpy as np, xarray as xr, faltung.xarray
>>> field = xr.DataArray(np.eye(3), dims=("lat", "lon"), coords={"lon": [0, 120, 240]})
>>> faltung.xarray.conv(field, {"lon": [1.0, 1.0, 1.0]}, padding_mode={"lon": "wrap"}).values
array([[1., 1., 1.],
       [1., 1., 1.],
       [1., 1., 1.]])
"""

from faltung.xarray.convolve import conv

__all__ = ["conv"]
