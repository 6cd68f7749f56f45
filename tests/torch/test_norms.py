"""Normalisations of ATen as operations of a graph, against PyTorch in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional as F
from torch_aten import check, check_gradients, part_of, traced
from torch_opinfo import check_samples

from faltung.torch.region import Region

R = torch.randn
C = 4
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SPACES = [(), (5,), (5, 6), (2, 3, 4)]


def leaf(*shape: int, positive: bool = False) -> Callable[[Any], Any]:
    """Numbers that are known before the run, in the dtype of a tensor."""
    numbers = R(*shape, dtype=torch.float64)
    numbers = numbers.abs() + 0.5 if positive else numbers
    return lambda x: numbers.to(x.dtype)


def by_batch(x: Any, gain: Any = None, shift: Any = None, mean: Any = None, var: Any = None) -> Any:
    return torch.batch_norm(x, gain, shift, mean, var, True, 0.3, 1e-5, False)


@pytest.mark.parametrize("op", ["group_norm", "layer_norm", "rms_norm", "local_response_norm"])
def test_samples(op: str) -> None:
    check_samples([f"nn.functional.{op}"], most=4)


# Batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=len)
def test_batches(space: tuple[int, ...]) -> None:
    """Statistics of all samples, with a gain, a shift, both or none, known or computed."""
    g, b, m, v = leaf(C), leaf(C), leaf(C), leaf(C, positive=True)
    x = R(3, C, *space) * 2 + 3
    check(lambda x: (by_batch(x, g(x), b(x)), by_batch(x, g(x)), by_batch(x)), x)
    check(lambda x, g: (by_batch(x, g, b(x)), F.batch_norm(x, m(x), v(x), g)), x, R(C))
    check(lambda x: F.batch_norm(x, m(x), v(x), g(x), b(x)), x)
    check(lambda x: torch.native_batch_norm(x, g(x), b(x), None, None, True, 0.1, 1e-5), x)


@pytest.mark.parametrize("space", SPACES, ids=len)
def test_gradients_of_batches(space: tuple[int, ...]) -> None:
    x, m, v = R(3, C, *space) * 2 + 3, R(C).double(), R(C).double().abs()
    check_gradients(lambda x, g, b: by_batch(x, g, b), [x], [R(C), R(C)])
    check_gradients(lambda x, g, b: by_batch(x, g, b), [x, R(C), R(C)])  # computed
    check_gradients(lambda x: by_batch(x), [x])
    check_gradients(lambda x, g, b: F.batch_norm(x, m, v, g, b), [x], [R(C), R(C)])


def test_one_channel() -> None:
    check_gradients(lambda x, g, b: by_batch(x, g, b), [R(3, 1, 4, 4)], [R(1), R(1)])
    check_gradients(lambda x, g, b: F.group_norm(x, 1, g, b), [R(3, 1, 4, 4)], [R(1), R(1)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_before_batches(rank: int) -> None:
    """At inference folded into the weights; in training not, whichever statistics there are."""
    x, w = R(3, C, *(6, 5, 4)[:rank]), R(C, C, *(3,) * rank)
    m, v = R(C).double(), R(C).double().abs()

    def settled(x: Any, w: Any, g: Any, b: Any) -> Any:
        return F.batch_norm(CONV[rank](x, w), m.to(x.dtype), v.to(x.dtype), g, b)

    known = [leaf(*t.shape) for t in (w, R(C), R(C))]
    check(lambda x: settled(x, *(each(x) for each in known)), x)
    check_gradients(settled, [x], [w, R(C), R(C)])
    check_gradients(lambda x, w, g, b: by_batch(CONV[rank](x, w), g, b), [x], [w, R(C), R(C)])


# Running statistics -------------------------------------------------------------------------------


def follow(
    function: Callable[..., Any],
    x: Any,
    leaves: Sequence[Any],
    buffers: Sequence[Any],
    gradients: bool,
) -> None:
    """Results, gradients and buffers of two steps are those of PyTorch."""
    wide = [t.double() for t in (x, *leaves, *buffers)]
    module = traced(function, *(t.clone() for t in wide))
    nodes = list(module.graph.nodes)
    names = [node.name for node in nodes if node.op == "placeholder"]
    region = Region(nodes, names[:1], names[1:], [y.name for y in nodes[-1].all_input_nodes])

    def run(call: Callable[..., Any]) -> list[Any]:
        given = [t.clone() for t in wide]
        first, made = given[: 1 + len(leaves)], []
        for t in first:
            t.requires_grad_(gradients)
        for _ in range(2):
            with torch.set_grad_enabled(gradients):
                y = call(*given)
            made.append(y.detach())
            if gradients:
                made += torch.autograd.grad((y * y.detach().cos()).sum(), first)
        return [*made, *given[1 + len(leaves) :]]

    ours = run(lambda *given: region(given[:1], given[1:])[0])
    for a, b in zip(ours, run(function), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("gradients", [True, False], ids=["training", "without gradients"])
@pytest.mark.parametrize("space", SPACES, ids=len)
def test_running_statistics_follow(space: tuple[int, ...], gradients: bool) -> None:
    """With the unbiased variance; of instances the mean of what each would lead to."""
    x, leaves, buffers = R(3, C, *space), [R(C), R(C)], [R(C), R(C).abs()]
    follow(by_batch, x, leaves, buffers, gradients)
    if space:

        def instances(x: Any, g: Any, b: Any, mean: Any, var: Any) -> Any:
            return F.instance_norm(x, mean, var, g, b, True, 0.3)

        follow(instances, x, leaves, buffers, gradients)


def test_a_layer_that_is_there_twice() -> None:
    def function(x: Any, g: Any, b: Any, mean: Any, var: Any) -> Any:
        return by_batch(by_batch(x, g, b, mean, var), g, b, mean, var)

    follow(function, R(3, C, 5, 6), [R(C), R(C)], [R(C), R(C).abs()], True)


def test_statistics_that_have_just_changed_are_left_to_pytorch() -> None:
    buffers = R(C), R(C).abs()

    def function(x: Any) -> Any:
        return F.batch_norm(by_batch(x, None, None, *buffers), *buffers)

    x = R(3, C, 5)
    (gap,) = part_of(traced(function, x), [x]).gaps
    assert gap.reason == "running statistics that have just changed"


# Groups, instances, the last axes -----------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=len)
def test_groups(space: tuple[int, ...]) -> None:
    g, b, x = leaf(C), leaf(C), R(3, C, *space) * 2 + 3

    def function(x: Any, gain: Any, shift: Any) -> Any:
        yield F.group_norm(x, 2, gain, shift)
        yield F.group_norm(x, 1, gain)
        if space:
            yield F.instance_norm(x, None, None, gain, shift)

    check(lambda x: [*function(x, g(x), b(x)), F.group_norm(x, 2)], x)
    check_gradients(lambda *given: list(function(*given)), [x], [R(C), R(C)])
    check_gradients(lambda x, g, b: F.group_norm(x, 2, g, b), [x, R(C), R(C)])  # computed


def test_instances_by_running_statistics() -> None:
    layer = nn.InstanceNorm2d(C, affine=True, track_running_stats=True).double().eval()
    check_gradients(lambda x: layer(x), [R(3, C, 5, 6)])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_last_axes(axes: int) -> None:
    shape = (4, 5, 6)[-axes:]
    g, b, x = leaf(*shape), leaf(*shape), R(3, 4, 5, 6) * 2 + 3

    def function(x: Any, gain: Any, shift: Any) -> Any:
        yield F.layer_norm(x, shape, gain, shift)
        yield F.layer_norm(x, shape, gain)
        yield F.rms_norm(x, shape, gain)

    check(lambda x: [*function(x, g(x), b(x)), F.layer_norm(x, shape, None, b(x))], x)
    check(lambda x: torch.native_layer_norm(x, shape, g(x), b(x), 1e-5), x)
    check_gradients(lambda *given: list(function(*given)), [x], [R(shape), R(shape)])
    check_gradients(lambda x, g, b: F.layer_norm(x, shape, g, b), [x, R(shape), R(shape)])
