"""``scipy.ndimage``, compiled: change one import.

Names, signatures, defaults and meanings are SciPy's, for everything linear and for flat maxima and
minima. Arguments that all functions share:

output : array or dtype
    Where the result is written, or its dtype; by default that of the input. It may be the input
    itself, or overlap it.
mode : str, or one for each filtered axis
    What stands beyond the ends: "reflect" (d c b a | a b c d | d c b a), "constant" (``cval``),
    "nearest" (a a a | a b c d | d d d), "mirror" (d c b | a b c d | c b a), "wrap"
    (b c d | a b c d | a b c). "grid-mirror", "grid-constant" and "grid-wrap" are the same as
    "reflect", "constant" and "wrap".
cval : number
    What "constant" puts there.
origin : int, or one for each filtered axis
    How far the window lies before its usual place, in entries.
axes : int or sequence of int
    The axes that are filtered; all by default.

An array of whole numbers is summed in float64 and cut, as SciPy does, and float32 stays float32.

>>> import numpy as np
>>> from faltung import ndimage
>>> ndimage.gaussian_filter(np.arange(50, step=2).reshape(5, 5), sigma=1)[0].tolist()
[4, 6, 8, 9, 11]
"""

from faltung.ndimage.derivatives import (
    generic_gradient_magnitude,
    generic_laplace,
    laplace,
    prewitt,
    sobel,
)
from faltung.ndimage.gaussian import (
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
)
from faltung.ndimage.linear import convolve, convolve1d, correlate, correlate1d
from faltung.ndimage.windows import (
    grey_dilation,
    grey_erosion,
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_gradient_magnitude",
    "generic_laplace",
    "grey_dilation",
    "grey_erosion",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]


def __dir__() -> list[str]:
    return __all__
