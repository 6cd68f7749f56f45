"""Other sizes, shuffles, windows and grids of ATen as operations of a graph, against PyTorch."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients
from torch_opinfo import check_samples

R = torch.randn
SPACE = {1: (7,), 2: (7, 6), 3: (5, 4, 6)}
SMOOTH = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}

SAMPLES = {
    "interpolate": 2,
    "upsample_nearest": 3,
    "upsample_bilinear": 3,
    "pixel_shuffle": 2,
    "pixel_unshuffle": 2,
    "channel_shuffle": 3,
    "grid_sample": 5,
    "unfold": 4,
    "pad": 3,
}


@pytest.mark.parametrize("op", SAMPLES)
def test_samples(op: str) -> None:
    check_samples([f"nn.functional.{op}"], most=SAMPLES[op])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_factors_that_are_not_whole(rank: int) -> None:
    """Positions follow from the factor, not from the sizes."""
    x = R(2, 3, *SPACE[rank])
    modes = ("nearest", "nearest-exact", "area", *SMOOTH[rank])

    def function(x: Any, factor: float) -> Any:
        return [F.interpolate(x, scale_factor=factor, mode=mode) for mode in modes]

    check(lambda x: function(x, 1.7), x)
    check(lambda x: function(x, 0.6), x)
    check_gradients(lambda x: function(x, 1.7), [x])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_corners_and_sizes(rank: int) -> None:
    modes = SMOOTH[rank]

    def function(x: Any) -> Any:
        for mode in modes:
            for size in (1, 5, 11):
                yield F.interpolate(x, size=size, mode=mode, align_corners=True)
            again: Any = {"scale_factor": 1.7, "recompute_scale_factor": True}
            yield F.interpolate(x, mode=mode, align_corners=False, **again)

    check(lambda x: list(function(x)), R(2, 3, *SPACE[rank]))
    check(lambda x: F.interpolate(x, scale_factor=3, mode=modes[0]), R(1, 2, *(1,) * rank))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [False, True])
def test_antialiasing(mode: str, corners: bool) -> None:
    def function(x: Any) -> Any:
        options: Any = {"mode": mode, "antialias": True, "align_corners": corners}
        return [F.interpolate(x, scale_factor=s, **options) for s in (0.35, 0.6, 1.7)]

    check(function, R(2, 3, 13, 9))
    check_gradients(function, [R(1, 2, 13, 9)])


def test_forms_without_vectors() -> None:
    aten = torch.ops.aten

    def function(x: Any) -> Any:
        yield aten.upsample_bilinear2d(x, [9, 8], False, 1.6, 1.7)
        yield aten.upsample_nearest2d(x, [9, 8], 1.6, 1.7)
        yield aten._upsample_bicubic2d_aa(x, [4, 3], False, 0.7, 0.65)
        yield aten.upsample_nearest1d(x[0], [9], 1.6)

    check(lambda x: list(function(x)), R(2, 3, 6, 5))


def test_shuffles() -> None:
    x = R(2, 12, 4, 6)
    check(lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), F.channel_shuffle(x, 3)), x)
    check(lambda x: (F.pixel_shuffle(x[0], 2), F.pixel_unshuffle(x[None], 2)), x)
    check(lambda x: F.channel_shuffle(x, 3), R(2, 6, 3, 4, 5))
    check_gradients(lambda x: F.pixel_shuffle(x, 2), [x])


def test_windows_and_their_sums() -> None:
    options: Any = {"dilation": (1, 2), "padding": (1, 2), "stride": (2, 1)}
    columns = F.unfold(R(2, 3, 6, 5), (2, 3), **options)

    def fold(x: Any) -> Any:
        return F.fold(x, (6, 5), (2, 3), **options)

    check(lambda x: F.unfold(x, (2, 3), **options), R(3, 6, 5))
    check(lambda x: (fold(x), fold(x[0])), columns)
    check(lambda x: F.fold(x, (7, 7), 2, stride=3), R(2, 8, 4))  # with gaps
    check_gradients(fold, [columns])
    check_gradients(lambda x: F.unfold(x, (2, 3), **options), [R(2, 3, 6, 5)])


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grids(mode: str) -> None:
    def function(x: Any, grid: Any) -> Any:
        for padding in ("zeros", "border", "reflection")[: 2 if mode == "bicubic" else 3]:
            yield F.grid_sample(x, grid, mode, padding, align_corners=padding == "border")

    inputs = [R(2, 3, 6, 5), R(2, 4, 3, 2) * 0.8]
    check(lambda *given: list(function(*given)), *inputs)
    check_gradients(lambda *given: next(function(*given)), inputs)


def test_grids_of_affine_maps() -> None:
    def function(x: Any, theta: Any) -> Any:
        grid = F.affine_grid(theta, [2, 3, 4, 5], align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    check(function, R(2, 3, 6, 5), R(2, 2, 3))
    check_gradients(function, [R(2, 3, 6, 5), R(2, 2, 3)])
    check(lambda t: F.affine_grid(t, [2, 3, 4, 5, 2], align_corners=True), R(2, 3, 4))
