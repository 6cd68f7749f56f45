"""The transposed convolution: every one that the table holds, and what PyTorch says of some."""

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from laws.layouts import back, one_if_narrow, options, to

import faltung
from cases import CASES, Case, integers, random_specs
from faltung import reference
from faltung.geometry import ConvSpec


def check(spec: ConvSpec, last: bool) -> None:
    """`conv_transpose` on the outputs of `spec` gives the transpose, and a bias, exactly."""
    _, w, _, g = integers(spec)
    bias = np.arange(spec.channels_in).astype(spec.dtype) % 7 - 3
    given = {
        **options(spec),
        "output_padding": [axis.unread for axis in spec.axes],
        "channels_last": last,
        "precision": "strict",
    }
    want = reference.conv_transpose(g, w, bias, spec)
    got = faltung.conv_transpose(to(g, last), w, bias, **given)
    np.testing.assert_array_equal(back(got, last), want)
    got = faltung.conv_transpose(to(g, last), w, **given)
    np.testing.assert_array_equal(back(got, last), want - bias.reshape(-1, *[1] * spec.rank))
    assert got.dtype == spec.dtype


@grid(case=CASES, last=[False, True], machine=MACHINES, where=one_if_narrow)
def test_table(case: Case, last: bool, machine: object) -> None:
    check(case.spec, last)


@given(random_specs(max_macs=100_000))
def test_random_problems(spec: ConvSpec) -> None:
    check(spec, False)
    check(spec, True)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_real_numbers_as_pytorch_has_them(rank: int, dtype: str, last: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(rank)
    for stride, dilation, groups, kernel in (
        (1, 1, 1, 3),
        (2, 1, 2, 4),
        (3, 2, 1, 2),
        (2, 3, 3, 5),
    ):
        x = rng.standard_normal((2, 6, *[5] * rank)).astype(dtype)
        w = rng.standard_normal((6, 12 // groups, *[kernel] * rank)).astype(dtype)
        bias = rng.standard_normal(12).astype(dtype)
        given = {
            "stride": stride,
            "dilation": dilation,
            "groups": groups,
            "padding": 1,
            "output_padding": max(stride, dilation) - 1,
        }
        theirs = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        want = theirs(*map(torch.from_numpy, (x, w, bias)), **given).numpy()
        got = faltung.conv_transpose(to(x, last), w, bias, channels_last=last, **given)
        bound = {"float32": 2e-6, "float64": 5e-15}[dtype] * np.abs(want).max()
        np.testing.assert_allclose(back(got, last), want, rtol=0, atol=bound)


def test_out_is_written_whole_also_where_no_tap_lands() -> None:
    x, w = np.ones((2, 3, 4, 4), np.float32), np.ones((3, 2, 1, 1), np.float32)
    bias = np.array([5, 7], np.float32)
    out = np.full((2, 2, 10, 10), np.nan, np.float32)
    assert faltung.conv_transpose(x, w, bias, stride=3, out=out) is out
    want = np.zeros_like(out)
    want[:, :, ::3, ::3] = 3
    np.testing.assert_array_equal(out, want + bias.reshape(2, 1, 1))
