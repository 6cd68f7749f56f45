"""In what PyTorch traces: compiled, exported, with sizes that are not known."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

import faltung.torch as ft
from faltung.torch import shapes
from faltung.torch.words import Conv, Pool, conv_words, pool_words


def rand(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


def net(conv: Any, pool: Any, mean: Any) -> Any:
    """A small network of one kind of functions."""

    def forward(x: Any, w: Any, v: Any, b: Any) -> Any:
        y = pool(torch.relu(conv[0](x, w, b, 1, 1)), 2)
        return mean(conv[1](y, v, None, 2), 3, 2, 1)

    return forward


OURS = net((ft.conv2d, ft.conv_transpose2d), ft.max_pool2d, ft.avg_pool2d)
THEIRS = net((F.conv2d, F.conv_transpose2d), F.max_pool2d, F.avg_pool2d)


def small(x: Any, w: Any) -> Any:
    """Little enough to be traced with symbols in a moment."""
    return ft.max_pool1d(ft.conv1d(x, w, None, 2, 1), 2)


def inputs(batch: int = 2, height: int = 10) -> tuple[Any, ...]:
    given = rand(batch, 3, height, 12), rand(4, 3, 3, 3), rand(4, 2, 3, 3), rand(4)
    return tuple([t.requires_grad_() for t in given])


def with_gradients(function: Any, args: tuple[Any, ...]) -> list[Any]:
    y = function(*args)
    return [y, *torch.autograd.grad(y.sin().sum(), args)]


def close(mine: list[Any], theirs: list[Any]) -> bool:
    return all(torch.allclose(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_whole(backend: str, last: bool) -> None:
    torch._dynamo.reset()
    args = inputs()
    if last:
        x = args[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        args = (x, *args[1:])
    compiled = torch.compile(OURS, backend=backend, fullgraph=True)
    assert close(with_gradients(compiled, args), with_gradients(THEIRS, args))


def test_compiled_by_inductor() -> None:
    """What it checks when it runs: shapes and strides as the tracer was told."""
    torch._dynamo.reset()
    w, v = rand(4, 3, 3, 3), rand(5, 4, 3, 3)

    def model(x: Any) -> Any:
        return ft.max_pool2d(ft.conv2d(ft.conv2d(x, w, None, 1, 1), v, None, 2), 2)

    compiled = torch.compile(model, backend="inductor", fullgraph=True)
    for x in (rand(2, 3, 9, 9), rand(2, 3, 9, 9).contiguous(memory_format=torch.channels_last)):
        want = model(x)
        got = compiled(x)
        assert torch.equal(got, want) and got.stride() == want.stride()


def test_other_batches_and_sizes_are_one_program() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(OURS, backend=counter, fullgraph=True)
    for batch, height in ((2, 10), (3, 14), (8, 12), (5, 20), (4, 16)):
        args = inputs(batch, height)
        assert torch.allclose(compiled(*args), THEIRS(*args))
    assert counter.frame_count == 2  # the first with numbers, the second with symbols


def test_symbolic_gradients() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(small, backend="aot_eager", fullgraph=True, dynamic=True)
    w = rand(4, 3, 3).requires_grad_()
    for batch, length in ((2, 16), (3, 21)):
        args = rand(batch, 3, length).requires_grad_(), w
        assert close(with_gradients(compiled, args), with_gradients(small, args))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = ft.Conv2d(3, 4, 3, padding="same_upper", stride=2, padding_mode="replicate")
        self.pool = ft.MaxPool2d(2, ceil_mode=True)
        self.local = ft.ConvLocal1d(4, 2, 3, 4)
        self.up = ft.ConvTranspose2d(4, 2, 2, stride=2, padding_mode="circular")

    def forward(self, x: Any) -> Any:
        y = self.pool(self.first(x))
        return self.up(y), self.local(y.mean(2)), ft.global_avg_pool(y)


@pytest.mark.parametrize("strict", [False, True])
def test_exported_with_free_sizes(strict: bool) -> None:
    model = Model().double()
    dims = {"x": {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=8, max=512)}}
    exported = torch.export.export(model, (rand(2, 3, 24, 16),), dynamic_shapes=dims, strict=strict)
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert {
        *("faltung.conv.default", "faltung.max_pool.default", "faltung.conv_local.default"),
        *("faltung.conv_transpose.default", "faltung.avg_pool.default"),
    } <= targets
    for program in (exported, exported.run_decompositions()):
        x = rand(3, 3, 40, 16)
        assert close(list(program.module()(x)), list(model(x)))


def test_an_exported_program_is_written_and_read(tmp_path: Any) -> None:
    model, x = ft.Conv2d(3, 4, 3, groups=1, flip=True).double(), rand(1, 3, 5, 5)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "model.pt2")
    again = torch.export.load(tmp_path / "model.pt2")
    assert torch.equal(again.module()(x), model(x))
    words = [n.args[3] for n in again.graph.nodes if n.op == "call_function"]
    assert words == ["flip"]


def test_numbers_that_are_inputs_are_taken_as_they_are() -> None:
    """A padding that dynamo makes symbolic: another program for each, and the right one."""
    torch._dynamo.reset()
    x, w = rand(1, 2, 6, 6), rand(2, 2, 3, 3)

    def model(x: Any, padding: Any) -> Any:
        return ft.conv2d(x, w, padding=padding)

    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for padding in (0, 1, 2, (1, 2), "same", ((0, 1), (2, 2))):
        assert torch.equal(compiled(x, padding), model(x, padding))


def test_traced_by_make_fx() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    args = rand(2, 3, 16).requires_grad_(), rand(4, 3, 3).requires_grad_()
    for mode in ("fake", "symbolic"):
        graph = make_fx(lambda *a: with_gradients(small, a), tracing_mode=mode)(*args)
        assert close(graph(*args), with_gradients(small, args))


def test_autocast_within_a_compiled_function() -> None:
    torch._dynamo.reset()
    x, w = rand(1, 2, 6, 6, dtype=torch.float32), rand(2, 2, 3, 3, dtype=torch.float32)

    def model(x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return ft.conv2d(x, w)

    got = torch.compile(model, backend="aot_eager", fullgraph=True)(x)
    assert got.dtype == torch.bfloat16 and torch.equal(got, model(x))


CONVOLUTIONS = [
    {},
    {"stride": 2, "padding": "same"},
    {"stride": 3, "padding": "same_upper", "dilation": 2},
    {"stride": 2, "padding": "same_lower"},
    {"padding": ((0, 3), "causal"), "dilation": (1, 2)},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_symbolic_formulas_are_those_of_the_geometry(options: dict[str, Any]) -> None:
    from faltung.geometry.adjoint import transposed
    from faltung.geometry.conv import conv_spec

    read = Conv.read(conv_words(2, **options))
    for sizes in ((9, 8), (12, 7), (20, 31)):
        spec = conv_spec((1, 1, *sizes), (1, 1, 3, 2), **options)
        assert tuple(shapes.output(sizes, (3, 2), read)) == spec.output
        back = transposed((1, 1, *sizes), (1, 1, 3, 2), **options)
        assert tuple(shapes.transposed_output(sizes, (3, 2), read)) == back.size


@pytest.mark.parametrize("ceil", [False, True])
def test_symbolic_sizes_of_poolings(ceil: bool) -> None:
    from faltung.geometry.pool import pool_spec

    for kernel, stride, padding, dilation in (
        *((3, 2, 1, 1), (2, None, 0, 1), (3, 3, 1, 2)),
        *((3, 2, "same_upper", 1), (2, 3, "same_lower", 1), (2, 4, 0, 1)),
    ):
        read = Pool.read(pool_words(1, kernel, stride, padding, dilation, ceil))
        for size in range(7, 24):
            spec = pool_spec(
                (1, 1, size), kernel, stride=stride, padding=padding, dilation=dilation, ceil=ceil
            )
            assert tuple(shapes.pooled((size,), read)) == spec.output
    assert shapes.pooled((5, 6), Pool.read("kall")) == [1, 1]
