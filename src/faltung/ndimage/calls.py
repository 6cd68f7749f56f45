"""One call of any function: the input made plain, its recipe remembered, the output written.

A filter of a small array takes a few microseconds, its checks ten times as long. A key says
everything about a call but where its arrays lie.
"""

import inspect
from collections.abc import Callable, Hashable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.ndimage import resolve_extremes, resolve_kernels, resolve_lines
from faltung.ndimage.arguments import COMPLEX, REAL, on_dask, output, plain
from faltung.ndimage.recipe import Recipe
from faltung.runtime.memory import require

Array = npt.NDArray[Any]

# Recipes that are remembered; the oldest are forgotten.
KEPT = 256
# Kernels and other arguments of more bytes are not remembered.
KEPT_BYTES = 1 << 14

RESOLVERS: dict[str, Callable[..., Recipe]] = {
    name: getattr(module, name)
    for module, names in (
        (resolve_kernels, "correlate1d convolve1d correlate convolve"),
        (
            resolve_lines,
            "gaussian_filter1d gaussian_filter gaussian_laplace gaussian_gradient_magnitude "
            "laplace sobel prewitt uniform_filter1d uniform_filter",
        ),
        (
            resolve_extremes,
            "maximum_filter1d minimum_filter1d maximum_filter minimum_filter grey_dilation "
            "grey_erosion",
        ),
    )
    for name in names.split()
}

# Dtypes that need no closer look: those of this computer's order of bytes.
PLAIN = frozenset(np.dtype(name) for name in REAL | COMPLEX)

_found: dict[Hashable, Recipe] = {}


def call(name: str, x: Any, out: Any, *given: Any) -> Array:
    """The result of the function ``name``. ``given``: its arguments in the order of its signature,
    without ``input`` and ``output``.
    """
    if type(x) is not np.ndarray:
        if on_dask(x):
            return _on_dask(name, x, out, given)
        x = plain("input", x)
    elif x.dtype not in PLAIN or not x.flags.aligned:
        x = plain("input", x)
    recipe = recipe_of(name, x.shape, x.dtype, given)
    shape = (recipe.count, *x.shape) if recipe.count else x.shape
    made = output(out, shape, x.dtype, recipe.complex_result, recipe.promote)
    if not x.size:
        return made
    apart = out is not None and np.may_share_memory(x, made)
    if out is None or (made.dtype.isnative and made.flags.aligned and not apart):
        recipe.run(x, made)
    else:
        require(made.nbytes, "a copy of output", "give one that is not the input")
        fresh = np.empty(shape, made.dtype.newbyteorder("="))
        recipe.run(x, fresh)
        made[...] = fresh
    if made.dtype == np.bool_:  # in which the low bytes of sums stand
        np.not_equal(made.view(np.uint8), 0, out=made)
    return made


def _on_dask(name: str, x: Any, out: Any, given: tuple[Any, ...]) -> Array:
    """The same of a Dask array, which stays lazy: the one place where this is left to
    ``faltung.dask``.
    """
    names = list(inspect.signature(RESOLVERS[name]).parameters)[2:]
    named = dict(zip(names, given, strict=True))
    named.update(named.pop("rest", ()))
    lazy: Array = getattr(import_module("faltung.dask"), name)(x, output=out, **named)
    return lazy


def recipe_of(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], given: Any) -> Recipe:
    """What a call does; remembered."""
    try:
        key = (name, shape, dtype, *map(_frozen, given))
        recipe = _found.get(key)
    except TypeError:  # what has no key is not remembered
        return RESOLVERS[name](shape, dtype, *given)
    if recipe is None:
        recipe = RESOLVERS[name](shape, dtype, *given)
        if len(_found) >= KEPT:
            for old in list(_found)[: KEPT // 2]:
                _found.pop(old, None)
        _found[key] = recipe
    return recipe


def _frozen(value: Any) -> Hashable:
    """An argument as part of a key. TypeError: one that has none."""
    kind = type(value)
    if kind is str or value is None:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is float or kind is bool or kind is complex:
        return kind, value
    if kind is np.ndarray:
        if value.dtype.hasobject or value.nbytes > KEPT_BYTES:
            raise TypeError
        return value.shape, value.dtype, value.tobytes()
    if kind is list or kind is tuple:
        return kind, tuple(map(_frozen, value))
    if isinstance(value, np.generic):
        return kind, value.tobytes()
    raise TypeError
