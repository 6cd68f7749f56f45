"""Faltung on Dask arrays: convolution and filters of what does not fit into memory.

>>> import dask.array, numpy as np, faltung.dask
>>> x = dask.array.ones((1, 3, 1000, 1000), chunks=(1, 3, 256, 256))
>>> faltung.dask.conv(x, np.ones((8, 3, 3, 3)), padding="same").chunksize
(1, 8, 256, 256)
"""

from faltung.dask.conv import conv

__all__ = ["conv"]
