"""Regions: leaves that change, gradients asked for in every way that PyTorch has, memory, bits."""

import copy
import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch_aten import traced

import faltung
from faltung.geometry.errors import FaltungError
from faltung.torch.hooks import no_saved_tensors_hooks
from faltung.torch.programs import Inferred, _laid_out
from faltung.torch.region import Region
from faltung.torch.trained import Trained


class Net(nn.Module):
    """Everything that a step has: statistics, a shortcut, a pooling, a shared weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.first(x)))
        y = y + self.again(y)
        y = self.again(F.max_pool2d(y, 2))
        return self.last(y.mean((2, 3)))


def of(module: nn.Module, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The module by a region over its own parameters and buffers."""
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    names = list(state)

    def function(x: torch.Tensor, *leaves: torch.Tensor) -> Any:
        return functional_call(module, dict(zip(names, leaves, strict=True)), (x,))

    def made(x: torch.Tensor) -> Region:
        nodes = list(traced(function, x, *state.values()).graph.nodes)
        places = [node.name for node in nodes if node.op == "placeholder"]
        (output,) = [node.args[0] for node in nodes if node.op == "output"]
        return Region(nodes, places[:1], places[1:], [output.name])  # type: ignore[union-attr]

    regions: dict[torch.Size, Region] = {}

    def run(x: torch.Tensor) -> torch.Tensor:
        now = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        if x.shape not in regions:
            with no_saved_tensors_hooks():
                regions[x.shape] = made(x)
        (found,) = regions[x.shape]([x], [now[name] for name in names])
        return found

    run.regions = regions  # type: ignore[attr-defined]
    return run


def programs(run: Any) -> list[Inferred | Trained]:
    return [program for region in run.regions.values() for program in region.programs]


def pair(dtype: torch.dtype = torch.float64, train: bool = True) -> tuple[Any, Any, torch.Tensor]:
    """The same network twice, the second through a region, and an input."""
    torch.manual_seed(0)
    theirs = Net().to(dtype).train(train)
    ours = copy.deepcopy(theirs)
    x = torch.randn(4, 3, 8, 8, dtype=dtype)
    return theirs, ours, x


def close(a: torch.Tensor | None, b: torch.Tensor | None) -> None:
    assert a is not None and b is not None
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_steps_of_training_are_those_of_pytorch() -> None:
    theirs, ours, x = pair()
    run = of(ours, x)
    steps = [torch.optim.AdamW(net.parameters(), 0.01) for net in (theirs, ours)]
    for _ in range(3):
        for call, step in zip((theirs, run), steps, strict=True):
            step.zero_grad()
            F.cross_entropy(call(x), torch.tensor([0, 1, 2, 3])).backward()
            step.step()
    for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True):
        close(a.double(), b.double())


def test_weights_that_change_are_seen() -> None:
    theirs, ours, x = pair(train=False)
    run = of(ours, x)
    with torch.no_grad():
        close(run(x), theirs(x))
        changes: list[Callable[[Net], object]] = [
            lambda net: net.first.weight.mul_(2),  # in place
            lambda net: net.norm.running_var.add_(1),
            lambda net: net.last.bias.fill_(3),
            lambda net: setattr(net.again.weight, "data", net.again.weight.data * 0.5),  # moved
            lambda net: setattr(net, "last", nn.Linear(8, 4).double()),  # replaced
        ]
        for change in changes:
            for net in (theirs, ours):
                torch.manual_seed(1)
                change(net)
            close(run(x), theirs(x))


def test_what_has_changed_in_place_is_only_packed_again() -> None:
    _, ours, x = pair(train=False)
    run = of(ours, x)
    with torch.no_grad():
        run(x)
        (before,) = programs(run)
        ours.first.weight.mul_(2)
        run(x)
        assert programs(run) == [before]


def test_tensors_of_inference_mode() -> None:
    _, ours, x = pair(train=False)
    wanted = ours(x)
    with torch.inference_mode():
        inside = copy.deepcopy(ours)
        close(of(ours, x)(x), wanted)
        close(of(inside, x)(x), wanted)


def test_gradients_add_up_and_two_calls_may_be_open() -> None:
    theirs, ours, x = pair()
    other = torch.randn_like(x)
    run = of(ours, x)
    for call in (theirs, run):
        first, second = call(x), call(other)
        (second.square().sum() + 2 * first.sum()).backward()
        call(x).sum().backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a.grad, b.grad)


def test_a_graph_that_is_kept_and_one_that_is_not() -> None:
    _, ours, x = pair()
    run = of(ours, x)
    y = run(x).sum()
    first = torch.autograd.grad(y, ours.first.weight, retain_graph=True)[0]
    again = torch.autograd.grad(y, ours.first.weight)[0]
    assert torch.equal(first, again)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, ours.first.weight)


def test_memory_comes_back_after_each_step() -> None:
    _, ours, x = pair()
    run = of(ours, x)
    for _ in range(5):
        loss = run(x).sum()
        loss.backward()
    (program,) = programs(run)
    assert isinstance(program, Trained)
    del loss
    gc.collect()
    assert len(program.arenas._free) == 1


def test_a_weight_written_between_forward_and_backward_is_an_error() -> None:
    _, ours, x = pair()
    y = of(ours, x)(x).sum()
    with torch.no_grad():
        ours.again.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(reentrant: bool) -> None:
    theirs, ours, x = pair()
    for net in (theirs, ours):  # statistics would be taken twice, also by PyTorch
        net.norm.momentum = 0.0
    run = of(ours, x)
    grads = []
    for net, call in ((theirs, theirs), (ours, run)):
        given = x.clone().requires_grad_()
        checkpoint(call, given, use_reentrant=reentrant).square().sum().backward()
        grads.append([given.grad, *(p.grad for p in net.parameters())])
    for a, b in zip(*grads, strict=True):
        close(a, b)


def test_saved_tensors_may_be_moved() -> None:
    theirs, ours, x = pair()
    run = of(ours, x)
    for call in (theirs, run):
        with torch.autograd.graph.save_on_cpu():
            y = call(x).square().sum()
        y.backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a.grad, b.grad)


def test_gradients_of_gradients() -> None:
    theirs, ours, x = pair()
    run = of(ours, x)
    for call, net in ((theirs, theirs), (run, ours)):
        given = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(call(given).square().sum(), given, create_graph=True)
        grad.square().sum().backward()
        net.given = given.grad
    close(theirs.given, ours.given)
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a.grad, b.grad)


def test_several_gradients_at_once() -> None:
    theirs, ours, x = pair()
    run = of(ours, x)
    seeds = torch.eye(16, dtype=x.dtype).view(16, 4, 4)
    grads = []
    for call in (theirs, run):
        given = x.clone().requires_grad_()
        grads += torch.autograd.grad(call(given), given, seeds, is_grads_batched=True)
    close(*grads)


def test_frozen_parameters_have_no_gradient() -> None:
    theirs, ours, x = pair()
    for net in (theirs, ours):
        net.first.weight.requires_grad_(False)
        net.norm.bias.requires_grad_(False)
    run = of(ours, x)
    for call in (theirs, run):
        call(x).square().sum().backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            close(a.grad, b.grad)


def test_statistics_in_training_without_gradients() -> None:
    theirs, ours, x = pair()
    run = of(ours, x)
    with torch.no_grad():
        for _ in range(2):
            close(run(x), theirs(x))
    for a, b in zip(theirs.buffers(), ours.buffers(), strict=True):
        close(a.double(), b.double())


def test_training_has_the_same_bits_for_any_number_of_threads() -> None:
    found = []
    before = faltung.get_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            faltung.set_threads(threads)
            _, ours, x = pair(torch.float32)
            step = torch.optim.SGD(ours.parameters(), 0.1)
            run = of(ours, x)
            for _ in range(2):
                step.zero_grad()
                run(x).square().sum().backward()
                step.step()
            found.append([p.detach().clone() for p in ours.parameters()])
    finally:
        faltung.set_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_sample_has_the_same_bits_alone_and_in_a_batch() -> None:
    _, ours, x = pair(torch.float32, train=False)
    run = of(ours, x)
    with torch.no_grad():
        assert torch.equal(run(x)[1:2], run(x[1:2]))


def test_layouts_of_inputs() -> None:
    theirs, ours, x = pair(train=False)
    run = of(ours, x)
    with torch.no_grad():
        wanted = theirs(x)
        gaps = torch.randn(4, 5, 8, 8, dtype=x.dtype)[:, 1:4].copy_(x)
        for given in (x.contiguous(memory_format=torch.channels_last), gaps, x.flip(0).flip(0)):
            close(run(given), wanted)


def test_several_threads_at_once() -> None:
    theirs, ours, x = pair(train=False)
    run, wanted = of(ours, x), theirs(x)
    with torch.no_grad():
        run(x)  # a trace of PyTorch is made by one thread at a time
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with torch.no_grad():
                for _ in range(5):
                    close(run(x), wanted.detach())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors


def test_tied_parameters_have_one_gradient() -> None:
    torch.manual_seed(0)
    w = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6, dtype=w.dtype), nn.Linear(6, 6, dtype=w.dtype)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.tanh(self.a(x)))

    theirs = Tied()
    ours = copy.deepcopy(theirs)
    x = torch.randn(3, 6, dtype=w.dtype)
    run = of(ours, x)
    for call in (theirs, run):
        call(x).square().sum().backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a.grad, b.grad)


def test_what_parameters_follow_from_is_differentiated_by_pytorch() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(144, 2)
    ).double()
    ours = copy.deepcopy(theirs)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    run = of(ours, x)
    for _ in range(2):
        for call, net in ((theirs, theirs), (run, ours)):
            net.zero_grad()
            call(x).square().sum().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 0.01 * p.grad
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a.grad, b.grad)
    with torch.no_grad():
        close(run(x), theirs(x))


def test_entries_of_a_parameter_that_others_follow_from() -> None:
    class Slopes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv1d(2, 2, 1) for _ in range(2))
            self.slope = nn.Parameter(torch.tensor([[[0.5]], [[2.0]]]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer, slope in zip(self.layers, self.slope, strict=True):
                x = x + torch.sin(slope * layer(x)) ** 2 / (slope + 0.1)
            return x

    torch.manual_seed(0)
    theirs = Slopes().double()
    ours = copy.deepcopy(theirs)
    x = torch.randn(2, 2, 5, dtype=torch.float64)
    run = of(ours, x)
    for call in (theirs, run):
        call(x).square().sum().backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a.grad, b.grad)


def test_gaps_are_listed_together() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(x) + torch.linalg.det(x)

    x = torch.eye(3)
    nodes = list(traced(function, x).graph.nodes)
    (output,) = [node.args[0] for node in nodes if node.op == "output"]
    region = Region(nodes, [nodes[0].name], [], [output.name])  # type: ignore[union-attr]
    assert len(region.gaps([x], [])) == 2
    with pytest.raises(FaltungError, match=r"inv.*; .*det"):
        region([x], [])


def test_a_number_stays_one_when_it_is_laid_out() -> None:
    assert _laid_out(np.asarray(2.0), ()).shape == ()
    turned = _laid_out(np.arange(6.0).reshape(2, 3), (1, 0))
    assert turned.strides == (8, 16) and turned.shape == (2, 3)
