"""Graphs in pieces: as few as can be, each worth its edges, in the order of what is written."""

import copy
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch_models import Odd, assert_near, conv, gradients, odd, pictures

from faltung.torch import pieces, prices
from faltung.torch.compiled import engine_of
from faltung.torch.engine import Engine


def made(model: Any, *args: Any, prices: bool = False) -> tuple[pieces.Cut, Engine]:
    engine = engine_of(model, fallback=True, prices=prices)
    entry, _, _ = engine.found(args, {})
    assert entry.plan is not None, entry.reason
    return entry.plan.cut, engine


def kinds(cut: pieces.Cut) -> str:
    """A letter for each piece: f of ours, e eager."""
    return "".join("f" if piece.ours else "e" for piece in cut.pieces)


class Branches(nn.Module):
    """A gap in each of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(), conv(), conv(4, 2)

    def forward(self, x: Any) -> Any:
        y, z = odd(self.a(x)), torch.tanh(self.b(x))
        z = odd(z)
        return self.c(y + z), z


def test_as_few_pieces_as_there_can_be() -> None:
    x = pictures()
    cut, _ = made(Branches(), x)
    assert kinds(cut) == "fef"
    assert kinds(made(nn.Sequential(conv(), conv(4, 4)), x)[0]) == "f"
    assert kinds(made(nn.Sequential(Odd(), conv(), Odd(), conv(4, 4)), x)[0]) == "efef"


def test_results_and_gradients_through_pieces() -> None:
    model, x = Branches(), pictures()
    _, engine = made(model, x)

    def call(x: Any) -> Any:
        return engine((x,), {})

    assert_near(call(x), model(x))
    assert_near(gradients(call, model, x), gradients(model, model, x), 5e-5)


def test_a_piece_that_does_not_pay_is_eager() -> None:
    small = nn.Sequential(Odd(), nn.Tanh(), Odd(), conv(4, 4)).eval()
    x = pictures(8, 48, 4)
    assert kinds(made(small, x)[0]) == "efef"
    cut, _ = made(small, x, prices=True)
    assert kinds(cut) in ("ef", "e") and "aten.tanh" not in str(cut.pieces[-1].nodes)
    assert cut.priced and set(cut.reasons.values()) >= {pieces.TOO_LITTLE}
    large = nn.Sequential(Odd(), conv(4, 64), conv(64, 64), Odd()).eval()
    with torch.no_grad():
        assert kinds(made(large, x, prices=True)[0]) == "efe"


def test_reads_and_writes_of_one_memory_keep_their_order() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(3, 3)
            self.register_buffer("n", torch.zeros(3, 1, 1))

        def forward(self, x: Any) -> Any:
            before = self.conv(x) + self.n
            self.n += odd(before).mean((0, 2, 3)).reshape(3, 1, 1)
            after = self.conv(before) * self.n
            x.mul_(2)
            return after + self.conv(x)

    model, a = Model(), pictures()
    other, b = copy.deepcopy(model), a.clone()
    engine = engine_of(model, fallback=True, prices=False)
    with torch.no_grad():
        for _ in range(3):
            assert_near(engine((a,), {}), other(b))
            assert_near((a, model.n), (b, other.n))


def test_autocast_reaches_eager_pieces() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = conv(), conv(4, 4)

        def forward(self, x: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                y = odd(self.a(x))
                y = odd(y @ y.transpose(-1, -2))
            return y, self.b(self.a(x))

    model, x = Model().eval(), pictures()
    _, engine = made(model, x)
    found, expected = engine((x,), {}), model(x)
    assert [y.dtype for y in found] == [y.dtype for y in expected]
    assert_near([y.float() for y in found], [y.float() for y in expected], 0.1)


def test_work_of_operators() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = conv(3, 8), nn.Linear(9, 5)

        def forward(self, x: Any) -> Any:
            y = self.linear(self.conv(x))
            return torch.relu(y) @ y.transpose(-1, -2)

    cut, _ = made(Model(), pictures(2, 9))
    macs = {str(node.target): prices.work(node).macs for node in cut.captured.nodes}
    assert macs["aten.conv2d.default"] == 2 * 8 * 81 * 27
    assert macs["aten.linear.default"] == 2 * 8 * 9 * 5 * 9
    assert macs["aten.matmul.default"] == 2 * 8 * 81 * 5
    assert macs["aten.relu.default"] == 0


def test_results_of_pieces_are_freed() -> None:
    import weakref

    class Watch(nn.Module):
        def forward(self, x: Any) -> Any:
            return odd(x)

    model = nn.Sequential(conv(), Watch(), conv(4, 4), Watch(), conv(4, 4)).eval()
    engine = engine_of(model, fallback=True, prices=False)
    x = pictures()
    with torch.no_grad():
        entry, tensors, leaves = engine.found((x,), {})
        plan = entry.plan
        assert plan is not None
        seen: list[Any] = []
        for number, piece in enumerate(plan.cut.pieces):
            run = piece.run

            def noted(*args: Any, run: Any = run, number: int = number) -> Any:
                alive = [each() is not None for each in seen]
                assert not any(alive[:-1]), "an earlier result is still there"
                found = run(*args)
                seen.extend(weakref.ref(y) for y in found)
                return found

            piece.run = noted
        plan(tensors, leaves)
        assert len(seen) == 5
