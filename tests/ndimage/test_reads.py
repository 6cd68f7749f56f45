"""What each function reads: nothing beyond it changes a result, and its ends do."""

from typing import Any

import numpy as np
import pytest

from faltung import FaltungError, ndimage
from faltung.geometry.border import Border
from faltung.ndimage.reads import FUNCTIONS, reads

SHAPE = (31, 33)
FLAT = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]], bool)
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("correlate1d", ([1, 2, 3, 4], 0), {"origin": -2}),
    ("convolve1d", ([1, 2, 3, 4],), {"origin": 1}),
    ("correlate", (np.ones((3, 4)),), {"origin": (1, -2)}),
    ("convolve", ([np.ones((3, 4)), np.ones((1, 6))],), {"origin": (0, 1)}),
    ("gaussian_filter1d", (1.0, 0), {"truncate": 2.5}),
    ("gaussian_filter", ((1.0, 0.7),), {"radius": (2, 5)}),
    ("gaussian_laplace", (1.0,), {"axes": 1, "truncate": 3}),
    ("gaussian_gradient_magnitude", (0.8,), {}),
    ("laplace", (), {}),
    ("sobel", (0,), {}),
    ("prewitt", (), {}),
    ("uniform_filter1d", (6, 0), {"origin": 2}),
    ("uniform_filter", ((4, 1),), {}),
    ("maximum_filter1d", (5,), {"origin": -2}),
    ("minimum_filter1d", (5, 0), {"origin": 1}),
    ("maximum_filter", (), {"footprint": FLAT, "origin": (1, 1)}),
    ("minimum_filter", ((2, 5),), {}),
    ("grey_dilation", (), {"footprint": FLAT}),
    ("grey_erosion", (), {"structure": 1.0 * FLAT}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES, ids=[one[0] for one in CASES])
def test_reads(name: str, args: Any, kwargs: Any) -> None:
    """Rows and columns are changed in turn: those that change a result are those that are read."""
    x = np.random.default_rng(1).integers(1, 50, SHAPE).astype(np.float64)
    want = getattr(ndimage, name)(x, *args, **kwargs)
    centre = tuple(n // 2 for n in SHAPE)
    for axis, (before, after, _) in enumerate(reads(name, SHAPE, x.dtype, *args, **kwargs)):
        seen = []
        for shift in range(-12, 13):
            changed = x.copy()
            index: list[Any] = [slice(None)] * 2
            index[axis] = centre[axis] + shift
            sign = -1 if name.startswith(("min", "grey_e")) else 1
            changed[tuple(index)] += sign * np.linspace(1000, 2000, changed[tuple(index)].size)
            made = getattr(ndimage, name)(changed, *args, **kwargs)
            if not np.array_equal(made[..., centre[0], centre[1]], want[..., centre[0], centre[1]]):
                seen.append(shift)
        assert (min(seen), max(seen)) == (-before, after)


def test_every_function_is_there() -> None:
    assert set(FUNCTIONS) == {case[0] for case in CASES}
    generic = {"generic_laplace", "generic_gradient_magnitude"}
    assert set(FUNCTIONS) | generic == set(ndimage.__all__)


def test_borders() -> None:
    made = reads("gaussian_filter", (9, 9), np.uint8, 1.0, 0, None, ("wrap", "constant"), 3.0)
    assert made == ((4, 4, Border("circular")), (4, 4, Border("constant", 3.0)))


def test_mistakes() -> None:
    with pytest.raises(FaltungError, match="median_filter: must be one of correlate1d"):
        reads("median_filter", (3,), "f4", 3)
    with pytest.raises(FaltungError, match="sobel: got an unexpected keyword argument 'sigma'"):
        reads("sobel", (3,), "f4", sigma=2)
    with pytest.raises(FaltungError, match="mode='edge'"):
        reads("sobel", (3,), "f4", mode="edge")
