"""Random problems in every dtype, on arrays that lie anywhere, against an oracle of their own; in
plain memory, and between pages that cannot be read.

A problem is a function of its number, so that ``--point "number=7 avx2"`` brings it again.
"""

import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from grid import MACHINES, grid
from laws import windows
from laws.fences import beside, between_fences
from laws.layouts import options, to
from laws.test_any_layout import scattered

import faltung
from faltung.geometry import DTYPES, MODES, Axis, ConvSpec
from faltung.plan.choose import FORWARD

Array = np.ndarray[Any, Any]
Place = Callable[[Array], Array]
MOST = 300_000  # multiply-adds
KNOWN = [dtype for dtype in DTYPES if dtype != "bfloat16" or find_spec("ml_dtypes")]
WIDE = {"i": np.int64, "c": np.complex128}
CALLS = ("conv", "Conv", "conv_input_grad", "conv_weight_grad", "conv_transpose")


def axis(rng: random.Random, rank: int) -> Axis:
    mode = rng.choice(["zeros", "zeros", *MODES])
    kernel, stride = rng.randint(1, (12, 5, 3, 2)[rank - 1]), rng.choice([1, 1, 1, 2, 3])
    dilation = rng.choice([1, 1, 2, 3])
    extent = dilation * (kernel - 1) + 1
    lo, hi = (rng.randint(0, rng.choice([0, extent, extent + 3])) for _ in range(2))
    least = {"reflect": max(lo, hi) + 1, "symmetric": max(lo, hi), "circular": max(lo, hi)}
    size = max(1, extent - lo - hi, least.get(mode, 1))
    size += rng.randint(0, (60, 14, 5, 2)[rank - 1])
    return Axis(size, kernel, stride, dilation, lo, hi, mode)


def problem(number: int) -> tuple[ConvSpec, random.Random]:
    """A problem, and what its arrays and options are drawn from."""
    rng = random.Random(number)
    while True:
        rank = rng.choices([1, 2, 3, 4], [30, 42, 20, 8])[0]
        groups = rng.choice([1, 1, 1, 2, 3, 8, 17, 33])
        spec = ConvSpec(
            tuple(axis(rng, rank) for _ in range(rank)),
            channels_in=groups * rng.choice([1, 1, 2, 3, 5, 16, 19]),
            channels_out=groups * rng.choice([1, 1, 2, 4, 7, 16, 33]),
            batch=rng.choice([0, 1, 1, 2, 3, 7]),
            groups=groups,
            dtype=rng.choice(["float32", "float32", "float64", *KNOWN]),
            flip=rng.random() < 0.25,
        )
        if spec.macs <= MOST:
            return spec, rng


def numbers(spec: ConvSpec, seed: int) -> list[Array]:
    """x, w, bias, g: whole numbers in the widest dtype of their kind, of which sums are exact."""
    rng, kind = np.random.default_rng(seed), "c" if spec.dtype.startswith("complex") else "f"
    kind = "i" if spec.dtype.startswith("int") else kind
    shapes = spec.input_shape, spec.weight_shape, (spec.channels_out,), spec.output_shape
    found = []
    for shape in shapes:
        made = rng.integers(-3, 4, shape).astype(WIDE.get(kind, np.float64))
        found.append(made + 1j * rng.integers(-3, 4, shape) if kind == "c" else made)
    return found


def compare(number: int, place: Place) -> None:
    """All functions of one problem, its operands and results where ``place`` puts them."""
    spec, rng = problem(number)
    dtype = np.zeros(0, np.float32).astype(_numpy(spec.dtype)).dtype
    last, method = rng.random() < 0.5, rng.choice(["strict", "strict", "auto", *FORWARD])
    transform = method == "auto" or (method in FORWARD and FORWARD[method].transform)
    x, w, bias, g = numbers(spec, number)
    wants = {
        "conv": windows.forward(x, w, bias, spec),
        "conv_input_grad": windows.input_grad(g, w, spec),
        "conv_weight_grad": windows.weight_grad(x, g, spec),
        "conv_transpose": windows.input_grad(g, w.conj(), spec),
    }
    wants["Conv"] = wants["conv"]
    x, g = to(x, last), to(g, last)
    x, w, bias, g = (place(a.astype(dtype)) for a in (x, w, bias, g))
    how = {"precision": "strict"} if method == "strict" else {"method": method}
    given: dict[str, Any] = {**options(spec), "channels_last": last, **how}
    unread = [axis.unread for axis in spec.axes]
    calls: dict[str, Callable[[Array | None], Any]] = {
        "conv": lambda o: faltung.conv(x, w, bias, out=o, **given),
        "Conv": lambda o: faltung.Conv(w, bias, **given)(x, out=o),
        "conv_input_grad": lambda o: faltung.conv_input_grad(g, w, x.shape, out=o, **given),
        "conv_weight_grad": lambda o: faltung.conv_weight_grad(x, g, w.shape, out=o, **given),
        "conv_transpose": lambda o: faltung.conv_transpose(
            g, w, output_padding=unread, out=o, **given
        ),
    }
    for name in CALLS:
        want = wants[name] if name == "conv_weight_grad" else to(wants[name], last)
        out = place(np.zeros(want.shape, dtype)) if rng.random() < 0.5 else None
        try:
            got = calls[name](out)
        except ValueError as refusal:
            if "must be one of" not in str(refusal):
                raise
            continue
        assert out is None or got is out
        assert got.dtype == dtype
        if transform:
            room = 0.02 if dtype.itemsize == 2 else 1e-4
            assert np.abs(got - want).max(initial=0) <= room * np.abs(want).max(initial=1), name
        else:  # rounded once, where 16 bits are too few
            np.testing.assert_array_equal(got, want.astype(dtype), err_msg=name)


def _numpy(dtype: str) -> Any:
    return pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype


@grid(number=range(3000), machine=MACHINES, every=90)
def test_any_problem(number: int, machine: object) -> None:
    rng = random.Random(number)

    def place(array: Array) -> Array:
        return scattered(array, rng)[0] if array.dtype.kind == "f" else array

    compare(number, place)


@between_fences(number=range(3000), every=150)
def test_any_problem_between_fences(number: int, side: str, machine: object) -> None:
    compare(number, lambda array: beside(array, side == "after"))


def test_the_two_oracles_agree() -> None:
    from faltung import reference

    for number in range(60):
        spec, _ = problem(number)
        if not spec.dtype.startswith("float"):
            continue
        x, w, bias, g = numbers(spec, number)
        for got, want in (
            (windows.forward(x, w, bias, spec), reference.conv(x, w, bias, spec)),
            (windows.input_grad(g, w, spec), reference.conv_input_grad(g, w, spec)),
            (windows.weight_grad(x, g, spec), reference.conv_weight_grad(x, g, spec)),
        ):
            np.testing.assert_array_equal(got, want)
