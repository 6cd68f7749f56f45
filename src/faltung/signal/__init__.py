"""Signals where people have them: SciPy's and NumPy's functions for convolutions and FIR filters.

``from faltung import signal`` instead of ``from scipy import signal``: the same names, arguments
and meanings. ``filter_bank`` and ``Stream`` are additions.

>>> from faltung import signal
>>> signal.convolve([1, 2, 3], [0, 1, 2], mode="same")
array([1, 4, 7])
"""

from faltung.signal.bank import filter_bank
from faltung.signal.convolve import choose_conv_method, convolve, correlate, correlation_lags
from faltung.signal.frequency import fftconvolve, oaconvolve
from faltung.signal.lfilter import lfilter
from faltung.signal.planar import convolve2d, correlate2d, sepfir2d
from faltung.signal.resample import decimate, resample_poly, upfirdn
from faltung.signal.stream import Stream

__all__ = [
    "Stream",
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "decimate",
    "fftconvolve",
    "filter_bank",
    "lfilter",
    "oaconvolve",
    "resample_poly",
    "sepfir2d",
    "upfirdn",
]
