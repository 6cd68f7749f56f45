"""Writes in place: all names of a memory see them, or PyTorch itself does them."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch_aten import check, check_gradients, part_of, traced
from torch_models import assert_near, conv, gradients, odd, pictures

from faltung.torch.compiled import engine_of

CASES: dict[str, Callable[[torch.Tensor], Any]] = {}


def case(name: str) -> Callable[[Callable[[torch.Tensor], Any]], Callable[[torch.Tensor], Any]]:
    def add(function: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
        CASES[name] = function
        return function

    return add


@case("the argument")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    y.relu_()
    return y


@case("a view made before")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    z = y.view(6, 4)
    y.add_(1)
    return y, z, z + 1


@case("the value before")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    z = y + 1
    y.mul_(3)
    return z, y


@case("through a part")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    y[:, 0] = y[:, 1]
    y[:, 2] = 3.0
    return y


@case("through every second")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    y[..., ::2].mul_(3)
    return y


@case("through several views")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    y.transpose(0, 1)[1].unsqueeze(0).permute(2, 0, 1)[1:3, 0].add_(10)
    return y


@case("two views of one")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    a, b = y[0], y.reshape(-1)
    a.neg_()
    c = b * 1
    b.mul_(2)
    return a, b, c, y


@case("a diagonal")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    y.diagonal(0, 1, 2).zero_()
    return y


@case("a new tensor filled")
def _(x: torch.Tensor) -> Any:
    z = torch.zeros(2, 5, 4, dtype=x.dtype)
    z[:, 1:4] = x
    return z


@case("a loop")
def _(x: torch.Tensor) -> Any:
    z = torch.empty(2, 3, 4, dtype=x.dtype)
    for i in range(3):
        z[:, i] = x[:, i] * (i + 1)
    return z


@case("constants written before")
def _(x: torch.Tensor) -> Any:
    z = torch.ones(4, dtype=x.dtype)
    z[1] = 5
    z.mul_(2)
    v = z[1:3]
    v.add_(1)
    return x * z


@case("masks and indices")
def _(x: torch.Tensor) -> Any:
    y = x * 2
    y[y > 0] = -1.0
    y[:, [0, 2]] = x[:, :2]
    y[0, [0, 1], [1, 2]] += 1
    return y


@case("arithmetic")
def _(x: torch.Tensor) -> Any:
    y = x * 1
    y += 1
    y *= x
    y -= 0.5
    return y.clamp_(0)


@pytest.mark.parametrize("name", CASES)
def test_writes(name: str) -> None:
    x = torch.randn(2, 3, 4)
    check(CASES[name], x)
    check_gradients(CASES[name], [x])


def test_a_result_written_into() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty(2, 3, 4, dtype=x.dtype)
        torch.add(x, x, out=y)
        return y * 2

    check(function, torch.randn(2, 3, 4))


def test_parts_that_pytorch_gives_several_of() -> None:
    def function(x: torch.Tensor) -> Any:
        y = x * 2
        a, b = y.split([1, 2], 1)
        b.add_(a)
        c, _ = y.unbind(0)
        c.neg_()
        return y, a, b, c

    check(function, torch.randn(2, 3, 4))


BUFFER = torch.zeros(3, 4)


def _into_an_input(x: torch.Tensor) -> Any:
    x[0] = 1
    return x


def _into_a_view_of_an_input(x: torch.Tensor) -> Any:
    return x.view(-1).relu_()


def _into_a_buffer(x: torch.Tensor) -> Any:
    BUFFER.copy_(x[0])
    return BUFFER + x


def _a_buffer_read_after_its_write(x: torch.Tensor) -> Any:
    BUFFER.add_(1)
    return BUFFER * 2 + x


def _a_buffer_read_before_its_write(x: torch.Tensor) -> Any:
    y = BUFFER + x
    BUFFER.add_(1)
    return y


def _repeated_elements(x: torch.Tensor) -> Any:
    y = (x * 2)[:, :1].expand(2, 3, 4)
    return y.add_(1)


def _bits(x: torch.Tensor) -> Any:
    y = x * 2
    v = y.view(torch.int32)
    y.add_(1)
    return v, y


GAPS = [
    (_into_an_input, "writes into an input"),
    (_into_a_view_of_an_input, "writes into an input"),
    (_into_a_buffer, "writes into a buffer"),
    (_a_buffer_read_after_its_write, "reads a buffer after it was written"),
    (_a_buffer_read_before_its_write, "writes a buffer that was read before"),
    (_repeated_elements, "several times"),
    (_bits, "PyTorch itself looks at"),
]


@pytest.mark.parametrize(("function", "reason"), GAPS)
def test_what_is_left_to_pytorch(function: Callable[..., Any], reason: str) -> None:
    x = torch.randn(2, 3, 4)
    part = part_of(traced(function, x), [x])
    assert any(reason in gap.reason for gap in part.gaps)


class Filled(nn.Module):
    """A tensor that is filled part by part, and looked at before; torn: across an eager piece."""

    def __init__(self, torn: bool) -> None:
        super().__init__()
        self.a, self.b, self.torn = conv(), conv(), torn

    def forward(self, x: Any) -> Any:
        y, z = self.a(x), self.b(x)
        view = y.flatten(2)
        y[:, 1:3] = odd(z)[:, 1:3] if self.torn else z[:, 1:3]
        y[:, :, ::2].relu_()
        return view * 2, y


@pytest.mark.parametrize("torn", [False, True])
def test_pieces_keep_memory_together(torn: bool) -> None:
    model, x = Filled(torn), pictures()
    engine = engine_of(model, fallback=True, prices=False)

    def call(x: Any) -> Any:
        return engine((x,), {})

    assert_near(call(x), model(x))
    assert_near(gradients(call, model, x), gradients(model, model, x), 5e-5)
    entry, _, _ = engine.found((x,), {})
    cut = entry.plan.cut
    kinds = {
        piece.ours
        for piece in cut.pieces
        for node in piece.nodes
        if node.name.startswith(("copy_", "relu_", "flatten"))
    }
    assert kinds == {not torn}
    assert torn or len(cut.pieces) == 1
