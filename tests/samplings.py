"""Samplings at points with every option, drawn by hypothesis, and numbers for them."""

from math import prod

import numpy as np
from hypothesis import strategies as st

from faltung.geometry.axis import Axis
from faltung.geometry.sample import OUTSIDE, TAPS, SampleSpec

Array = np.ndarray
MODES = tuple(TAPS)


@st.composite
def specs(draw: st.DrawFn, smooth: bool = False) -> SampleSpec:
    """``smooth``: whose results have slopes for points almost everywhere."""
    rank = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 5)) for _ in range(rank))
    mode = draw(st.sampled_from(["linear", "cubic"] if smooth else MODES))
    outside = draw(st.sampled_from(OUTSIDE))
    windows: tuple[Axis, ...] = ()
    if draw(st.booleans()):
        windows = tuple(draw(_axes(n)) for n in size)
        taps = prod(axis.kernel for axis in windows)
        output = (*(axis.output for axis in windows), taps)
    else:
        output = tuple(draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 3))))
    groups = draw(st.integers(1, 2))
    masked, backwards = draw(st.booleans()), draw(st.booleans())
    return SampleSpec(size, output, mode, outside, groups, windows, masked, backwards)


@st.composite
def _axes(draw: st.DrawFn, size: int) -> Axis:
    kernel, stride, dilation = (draw(st.integers(1, 2)) for _ in range(3))
    reach = dilation * (kernel - 1) + 1
    lo = draw(st.integers(0, 2))
    hi = draw(st.integers(max(0, reach - size - lo), max(2, reach - size - lo)))
    return Axis(size, kernel, stride, dilation, lo, hi)


def numbers(spec: SampleSpec, samples: int, channels: int, seed: int) -> dict[str, Array]:
    """x, points, [mask] and a gradient. Points lie inside and far outside, none near a corner of
    the weights.
    """
    rng = np.random.default_rng(seed)
    reach = max(spec.size) + 3
    whole = rng.integers(-reach, reach + 1, (samples, spec.coordinates, *spec.output))
    made = {
        "x": rng.normal(size=(samples, channels, *spec.size)),
        "points": whole + rng.uniform(0.1, 0.4, whole.shape),
    }
    if spec.masked:
        made["mask"] = rng.normal(size=(samples, spec.groups, *spec.output))
    made["grad"] = rng.normal(size=(samples, channels, *spec.output))
    return made
