"""Convolutions and paddings of ATen as operations of a graph, against PyTorch in float64."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional as F
from torch_aten import check, check_gradients, part_of, traced
from torch_opinfo import check_samples

from faltung.graph.expand import expanded
from faltung.graph.ops import Convolve

R = torch.randn
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
SPACE = {1: (9,), 2: (9, 7), 3: (6, 5, 4)}


def leaf(*shape: int) -> Callable[[Any], Any]:
    """Numbers that are known before the run, in the dtype of a tensor."""
    numbers = R(*shape, dtype=torch.float64)
    return lambda x: numbers.to(x.dtype)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_samples(rank: int) -> None:
    check_samples([f"nn.functional.conv{rank}d", f"nn.functional.conv_transpose{rank}d"], most=3)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_paddings_by_name(rank: int) -> None:
    conv, w, even = CONV[rank], leaf(6, 2, *(3,) * rank), leaf(6, 4, *(4,) * rank)
    x = R(2, 4, *SPACE[rank])
    check(lambda x: conv(x, w(x), None, 1, "same", 2, 2), x)
    check(lambda x: conv(x, even(x), None, 1, "same"), x)
    check(lambda x: conv(x, even(x)[..., :3], None, 2, "valid"), x)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_without_a_batch_and_of_one_pixel(rank: int) -> None:
    conv, turned = CONV[rank], TRANSPOSED[rank]
    w, b = leaf(6, 4, *(3,) * rank), leaf(6)
    check(lambda x: conv(x, w(x), b(x), 2, 1), R(4, *SPACE[rank]))
    check(lambda x: conv(x, w(x), b(x), 1, 1), R(1, 4, *(1,) * rank))
    check(lambda x: turned(x, w(x), None, 2, 1, 1), R(6, *SPACE[rank]))


def test_channels_last_and_weights_with_gaps() -> None:
    w = R(5, 4, 6, 6, dtype=torch.float64)[:, :, ::2, 1::2]
    x = R(2, 4, 8, 7).to(memory_format=torch.channels_last)
    check(lambda x: F.conv2d(x, w.to(x.dtype)), x)
    check(lambda x: F.conv2d(x.permute(0, 3, 1, 2), w.to(x.dtype)), R(2, 8, 7, 4))


def test_the_general_forms() -> None:
    w, turned, b = leaf(6, 2, 3, 3), leaf(4, 3, 3, 3), leaf(6)
    aten = torch.ops.aten

    def function(x: Any) -> Any:
        plain = aten.convolution(x, w(x), b(x), [2, 1], [1, 0], [1, 2], False, [0, 0], 2)
        return plain, aten.convolution(x, turned(x), b(x), [2], [1], [1], True, [1], 2)

    check(function, R(3, 4, 9, 7))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_gradients(rank: int) -> None:
    kernel, x = (3,) * rank, R(3, 4, *SPACE[rank])

    def conv(x: Any, w: Any, b: Any) -> Any:
        return CONV[rank](x, w, b, stride=2, padding=1, groups=2)

    def transposed(x: Any, w: Any, b: Any) -> Any:
        return TRANSPOSED[rank](x, w, b, 2, 1, 1, 2, 1)

    check_gradients(conv, [x], [R(6, 2, *kernel), R(6)])
    check_gradients(transposed, [x], [R(4, 3, *kernel), R(6)])


def test_computed_weights_have_gradients() -> None:
    def conv(x: Any, w: Any, b: Any) -> Any:
        return F.conv2d(x, w, b, padding=(1, 0), dilation=(1, 2), groups=2)

    def transposed(x: Any, w: Any, b: Any) -> Any:
        return F.conv_transpose1d(x, w, b, 2, 1, 1, 2)

    check(conv, R(3, 4, 9, 7), R(6, 2, 3, 2), R(6))
    check_gradients(conv, [R(3, 4, 9, 7), R(6, 2, 3, 2), R(6)])
    check_gradients(transposed, [R(3, 4, 9), R(4, 3, 3), R(6)])


# Paddings -----------------------------------------------------------------------------------------

MODES = ("constant", "reflect", "replicate", "circular")


@pytest.mark.parametrize("mode", MODES)
def test_paddings(mode: str) -> None:
    x = R(2, 3, 6, 5)
    check(lambda x: F.pad(x, (1, 2, 3, 0), mode=mode), x)
    check(lambda x: F.pad(x, (2, -1, -2, -1), mode=mode), x[0])
    check(lambda x: F.pad(x, (2, 1, 1, 1, 1, 0), mode=mode), R(2, 3, 4, 5, 6))
    check_gradients(lambda x: F.pad(x, (1, 2, 3, -1), mode=mode), [x])


@pytest.mark.parametrize("mode", MODES)
def test_entries_taken_away_and_added(mode: str) -> None:
    """Mirrors and edges continue the whole axis, circles what is left of it."""
    x = torch.arange(20.0).reshape(2, 2, 5)
    pairs = [(-4, 4), (4, -3), (-2, 3), (3, -1), (-1, -2)][2 * (mode == "circular") :]
    check(lambda x: [F.pad(x, pair, mode=mode) for pair in pairs], x)


def test_a_circle_of_fewer_entries_is_left_to_pytorch() -> None:
    x = R(2, 3, 5)
    (gap,) = part_of(traced(lambda x: F.pad(x, (-4, 2), mode="circular"), x), [x]).gaps
    assert gap.reason == "padding=(-4, 2): a circle of fewer entries"


def test_what_is_added() -> None:
    x = R(2, 3, 6, 5)
    check(lambda x: F.pad(x, (1, -2, 1, 1, 1, 0), value=3.5), x)
    check(lambda x: F.pad(x, (1, -2, 0, 1), value=float("-inf")), x)
    check(lambda x: F.pad(x > 0, (1, 2), value=True), x)


def test_operators_of_one_mode() -> None:
    aten = torch.ops.aten

    def function(x: Any) -> Any:
        yield aten.constant_pad_nd(x, [1, -2, 0, 3], 2.5)
        yield aten._pad_circular(x, [2, 1, 0, 3])
        yield aten.reflection_pad1d(x[0], [2, 1])
        yield aten.reflection_pad2d(x, [2, 1, 0, 3])
        yield aten.replication_pad3d(x, [2, 1, 0, 3, 4, 5])

    check(lambda x: list(function(x)), R(2, 3, 6, 5))


@pytest.mark.parametrize("mode", ["zeros", *MODES[1:]])
@pytest.mark.parametrize("padding", [2, "same"])
def test_padding_modes_of_modules_are_those_of_the_convolution(mode: str, padding: Any) -> None:
    layer = nn.Conv2d(3, 4, (3, 4), padding=padding, padding_mode=mode).requires_grad_(False)
    wide, x = deepcopy(layer).double(), R(2, 3, 7, 6)
    check(lambda x: (wide if x.dtype == torch.float64 else layer)(x), x)
    graph = part_of(traced(layer, x), [x]).graph
    assert graph is not None
    assert [type(n.op) for n in expanded(graph)[0].nodes].count(Convolve) == 1
    assert not [n for n in expanded(graph)[0].nodes if type(n.op).__name__ == "Resample"]


def test_gradients_through_a_padding() -> None:
    def function(x: Any, w: Any) -> Any:
        return F.conv2d(F.pad(x, (2, 1, 0, 3), mode="circular"), w, stride=2)

    check_gradients(function, [R(2, 4, 7, 6)], [R(5, 4, 3, 3)])
