"""Arrays in this machine's byte order: files of FITS, IDX and many instruments have the other."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import no_array
from faltung.geometry.errors import FaltungTypeError


def native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same numbers in this machine's byte order; a copy only if they have the other one.

    ``np.dtype(">u2") != np.uint16``: whatever looks at a dtype comes after this.
    """
    if array.dtype.isnative:
        return array
    return np.asarray(array.astype(array.dtype.newbyteorder("=")))


def as_array(name: str, value: object) -> npt.NDArray[Any]:
    """The argument ``name`` as an array, in this machine's byte order. TypeError: it is none."""
    no_array(name, value)
    try:
        return native(np.asarray(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise FaltungTypeError(
            f"{name}: must be an array, {' '.join(str(error).split())}"
        ) from None
