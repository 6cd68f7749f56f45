"""Models as graphs of ATen: what is noted of them, and what cannot be."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_models import assert_near, conv, pictures

from faltung.torch import capture, gaps, places, trees
from faltung.torch.pieces import eager_module
from faltung.torch.state import State


def captured(
    model: nn.Module, *args: Any, dynamic: Any = (), **kwargs: Any
) -> tuple[capture.Captured, State]:
    flat, tree = trees.flat_arguments(args, kwargs)
    state = State({"": model})
    return capture.trace(model, flat, tree, state, dynamic), state


def titles(made: capture.Captured) -> list[str]:
    return [gaps.title(node) for node in made.nodes]


def run(made: capture.Captured, state: State, *inputs: Any) -> Any:
    """The graph by PyTorch, with the modes of its nodes."""
    wanted = [x.name for x in made.outputs if isinstance(x, torch.fx.Node)]
    names = [*made.inputs, *made.leaves]
    found = iter(
        eager_module(made.module, made.nodes, names, wanted)(
            *inputs, *state.leaves, *made.constants
        )
    )
    return made.together([next(found) if isinstance(x, torch.fx.Node) else x for x in made.outputs])


class Wide(nn.Module):
    """Many kinds of inputs and results."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.full((4, 1, 1), 2.0))
        self.plain = torch.full((1,), 0.5)
        self.several = [torch.ones(1), {"a": torch.full((1,), 3.0)}]

    def forward(self, x: Any, *, skip: Any = None, twice: bool = False) -> Any:
        y = self.norm(self.conv(x["x"])) * self.scale + self.plain
        y = y * self.several[0] + self.several[1]["a"]
        if twice:
            y = y + y
        return {"y": y, "both": (skip, y.shape[1], None)}


def test_inputs_leaves_and_results() -> None:
    model, x = Wide().eval(), pictures()
    made, state = captured(model, {"x": x}, twice=True)
    assert len(made.inputs) == 1
    assert set(state.names) >= {"plain", "scale", "conv.weight", "norm.running_var", "several"}
    assert len(made.leaves) == len(state.leaves) == 11
    assert "aten.conv2d" in titles(made) and "aten.batch_norm" in titles(made)
    assert_near(run(made, state, x), model({"x": x}, twice=True))
    # All is as it was: parameters, and tensors in lists.
    assert state.now() is not None and isinstance(model.conv.weight, nn.Parameter)
    assert type(model.several[1]["a"]) is torch.Tensor


def test_a_leaf_that_is_tied_is_one() -> None:
    model = nn.Sequential(conv(3, 3), conv(3, 3))
    model[1].weight = model[0].weight
    made, state = captured(model, pictures())
    assert len(made.leaves) == len(state.leaves) == 3


def test_nodes_know_their_place() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(conv(), nn.ReLU()), conv(4, 4)])

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return torch.tanh(x)

    made, _ = captured(Model(), pictures())
    found = {gaps.title(node): places.place_of(node) for node in reversed(made.nodes)}
    line = Model.forward.__code__.co_firstlineno
    assert str(found["aten.conv2d"]) == f"blocks.0.0 (test_capture.py:{line + 2})"
    assert str(found["aten.relu"]) == f"blocks.0.1 (test_capture.py:{line + 2})"
    assert str(found["aten.tanh"]) == f"test_capture.py:{line + 3}"


def test_gradient_and_autocast_modes_are_notes() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                y = torch.tanh(x)
            with torch.autocast("cpu", torch.bfloat16):
                z = self.conv(y)
            return z, self.conv(x) * y.sum()

    model, x = Model(), pictures().requires_grad_()
    made, state = captured(model, x)
    names = titles(made)
    assert "aten.detach" in names  # what no_grad made has no gradient
    assert not any("grad_enabled" in name or "autocast" in name for name in names)
    found = run(made, state, x)
    assert found[0].dtype == torch.bfloat16
    assert_near(found, model(x))
    found[1].sum().backward()
    mine = x.grad.clone()
    x.grad = None
    model(x)[1].sum().backward()
    assert_near(mine, x.grad)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_is_what_is_computed(reentrant: bool) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(3, 3)

        def forward(self, x: Any) -> Any:
            return checkpoint(self.conv, x, use_reentrant=reentrant) + x

    model, x = Model(), pictures().requires_grad_()
    made, state = captured(model, x)
    assert titles(made) == ["aten.conv2d", "aten.add.Tensor"]
    run(made, state, x).square().sum().backward()
    mine = model.conv.weight.grad.clone()
    model.zero_grad()
    model(x).square().sum().backward()
    assert_near(mine, model.conv.weight.grad)


def test_a_function_with_its_own_backward_stays_one_node() -> None:
    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.sign()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 7

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return Through.apply(x * 2) + 1

    x = torch.randn(3).requires_grad_()
    made, state = captured(Model(), x)
    assert "Through" in titles(made)
    run(made, state, x).sum().backward()
    assert x.grad.tolist() == [14.0] * 3
    # Without gradients its forward is what counts.
    with torch.no_grad():
        made, _ = captured(Model(), x)
    assert "aten.sign" in titles(made)


def _of_numbers(x: Any) -> Any:
    return x + 1 if x.sum() > 0 else x


def _item(x: Any) -> Any:
    return x * x.mean().item()


def _selected(x: Any) -> Any:
    return x[x > 0]


@pytest.mark.parametrize("function", [_of_numbers, _item, _selected])
def test_what_depends_on_numbers_has_no_graph(function: Any) -> None:
    class Inner(nn.Module):
        def forward(self, x: Any) -> Any:
            return function(x)

    model = nn.Sequential(conv(), Inner())
    with pytest.raises(capture.Untraceable) as error:
        captured(model, pictures())
    assert error.value.place.path == "1"
    assert error.value.place.file.endswith("test_capture.py")
    assert "numbers" in error.value.reason


def test_a_model_that_changes_itself_is_told_from_others() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            self.last = x + 1
            return self.last

    model = Model()
    with pytest.raises(capture.Changing, match="sets last"):
        captured(model, pictures())
    assert not hasattr(model, "last")


def test_results_in_dataclasses() -> None:
    from dataclasses import dataclass

    @dataclass
    class Out:
        y: Any
        more: Any

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return [Out(x + 1, (x * 2, None)), 3]

    x = torch.ones(2)
    made, state = captured(Model(), x)
    found = run(made, state, x)
    assert isinstance(found[0], Out) and found[0].y.tolist() == [2, 2]
    assert found[0].more[0].tolist() == [2, 2] and found[0].more[1] is None and found[1] == 3


def test_strange_results_are_refused() -> None:
    class Box:
        def __init__(self, x: Any) -> None:
            self.x = x

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return Box(x)

    with pytest.raises(capture.Untraceable, match="type Box"):
        captured(Model(), torch.ones(2))


def test_free_sizes() -> None:
    model = nn.Sequential(conv(), nn.MaxPool2d(2), nn.Flatten(2)).eval()
    made, _ = captured(model, pictures(8, 9), dynamic=[frozenset([0, 2, 3])])
    for batch, size in ((3, 9), (1, 12), (16, 17)):
        x = pictures(batch, size)
        assert made.bound([x]) is not None
    assert made.bound([pictures(2, 1)]) is None  # a pool of two needs two


def test_a_condition_on_sizes_is_a_guard() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2 if x.shape[0] > 4 else x * 3

    made, _ = captured(Model(), pictures(8), dynamic=[frozenset([0])])
    assert made.bound([pictures(5)]) is not None
    assert made.bound([pictures(4)]) is None


def test_squeeze_makes_one_special() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.squeeze()

    made, _ = captured(Model(), pictures(8), dynamic=[frozenset([0])])
    assert made.bound([pictures(2)]) is not None and made.bound([pictures(1)]) is None


def test_dead_nodes_are_left_out() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            torch.tanh(x)
            return x + 1

    made, _ = captured(Model(), torch.ones(2))
    assert titles(made) == ["aten.add.Tensor"]
