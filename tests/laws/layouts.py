"""How the tests bring arrays into both layouts, and a spec into keyword arguments."""

from typing import Any

import numpy as np

from cases import Case
from faltung.geometry import ConvSpec


def options(spec: ConvSpec) -> dict[str, Any]:
    """The keyword arguments of `faltung.conv` that mean `spec`."""
    return {
        "stride": spec.stride,
        "padding": spec.padding,
        "dilation": spec.dilation,
        "groups": spec.groups,
        "padding_mode": spec.padding_mode,
        "flip": spec.flip,
    }


def to(array: np.ndarray, channels_last: bool) -> np.ndarray:
    """(N, C, *space) -> contiguous, channels last where asked."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if channels_last else array


def one_if_narrow(case: Case, last: bool, machine: str) -> bool:
    """Whether a case is walked in this layout: on the narrowest rows in one, half of them in
    either, since their code differs from that of others by width alone.
    """
    return machine not in ("sse", "generic") or last == (len(case.name) % 2 == 0)


def back(array: np.ndarray, channels_last: bool) -> np.ndarray:
    return np.moveaxis(array, -1, 1) if channels_last else array


def real(spec: ConvSpec, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Normal random x, weight, bias and output gradient."""
    rng = np.random.default_rng(seed)
    shapes = spec.input_shape, spec.weight_shape, (spec.channels_out,), spec.output_shape
    return tuple(rng.standard_normal(shape).astype(spec.dtype) for shape in shapes)
