"""What each function reads, along each axis, for a result at one place: for those who have an array
in pieces.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungTypeError
from faltung.ndimage import derivatives, gaussian, linear, windows
from faltung.ndimage.calls import RESOLVERS, recipe_of

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: next(
        getattr(module, name)
        for module in (linear, gaussian, derivatives, windows)
        if hasattr(module, name)
    )
    for name in RESOLVERS
}
NONE = (0, 0, Border("constant"))


def reads(
    name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, *args: Any, **kwargs: Any
) -> tuple[tuple[int, int, Border], ...]:
    """What ``faltung.ndimage.NAME(x, *args, **kwargs)`` reads of an array of this shape and dtype.

    Parameters
    ----------
    name : str
        Of a function.
    shape : tuple of int
        Of the input.
    dtype : dtype
        Of the input.
    *args, **kwargs : as in a call
        The arguments of the function behind ``input``, in its order and with its names. They are
        checked as in a call, except ``output``.

    Returns
    -------
    tuple
        For each axis ``(before, after, border)``: an output at ``o`` reads from ``o - before`` to
        ``o + after`` (either may be negative where an origin moves the window), and what it reads
        beyond the ends stands in the border. (0, 0, ...) for an axis that is not filtered.

    Raises
    ------
    FaltungError
        As the function.

    Notes
    -----
    A filter along several axes one after the other reads a constant border anew along each: to have
    its bits, a piece at an end of the array must end there, and be given to the function with that
    end, not with constants put before it. In the other modes a piece may as well be continued by
    copies of entries.

    Examples
    --------
    >>> reads("gaussian_filter", (10, 10), "float32", (0, 1.0), mode="mirror")
    ((0, 0, Border(mode='constant', value=0.0)), (4, 4, Border(mode='reflect', value=0.0)))
    """
    given = arguments(name, args, kwargs)[0]
    halo = recipe_of(name, tuple(shape), np.dtype(dtype), given).halo()
    return tuple(halo.get(axis, NONE) for axis in range(len(shape)))


def arguments(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], Any]:
    """The arguments behind ``input`` as ``recipe_of`` wants them, and ``output``. TypeError."""
    if name not in FUNCTIONS:
        raise FaltungTypeError(f"{name}: must be one of {', '.join(FUNCTIONS)}")
    try:
        bound = _signature(name).bind(None, *args, **kwargs)
    except TypeError as error:
        raise FaltungTypeError(f"{name}: {error}") from None
    bound.apply_defaults()
    named = dict(bound.arguments)
    del named["input"]
    out = named.pop("output")
    if "kwargs" in named:
        named["kwargs"] = tuple(named["kwargs"].items())
    return tuple(named.values()), out


@cache
def _signature(name: str) -> inspect.Signature:
    return inspect.signature(FUNCTIONS[name])
