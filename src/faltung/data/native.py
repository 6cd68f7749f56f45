"""Arrays in this machine's byte order: files of FITS, IDX and many instruments have the other."""

from typing import Any

import numpy as np
import numpy.typing as npt


def native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same numbers in this machine's byte order; a copy only if they have the other one.

    ``np.dtype(">u2") != np.uint16``: whatever looks at a dtype comes after this.
    """
    if array.dtype.isnative:
        return array
    return np.asarray(array.astype(array.dtype.newbyteorder("=")))
