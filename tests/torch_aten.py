"""Functions of PyTorch through the importer, and the results of the program that it makes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

from faltung.graph.foreign import Tensor
from faltung.program.constants import Constants
from faltung.program.inference import Inference
from faltung.torch.importer import flat, imported
from faltung.torch.part import Feed, Leaf, Part
from faltung.torch.region import Region

DTYPE = {torch.float32: "float32", torch.float64: "float64"}


def traced(function: Callable[..., Any], *inputs: torch.Tensor) -> fx.GraphModule:
    return make_fx(function, tracing_mode="fake", pre_dispatch=True, _allow_non_fake_inputs=True)(
        *inputs
    )


def part_of(module: fx.GraphModule, inputs: Sequence[torch.Tensor], **options: Any) -> Part:
    nodes = list(module.graph.nodes)
    places = [node for node in nodes if node.op == "placeholder"]
    given = {
        node.name: Feed(tuple(x.shape), str(x.dtype).removeprefix("torch."))
        for node, x in zip(places, inputs, strict=True)
    }
    wanted = [x.name for x in _outputs(module)]
    double = any(x.dtype == torch.float64 for x in inputs)
    return imported(nodes, given, wanted, "float64" if double else "float32", **options)


def _outputs(module: fx.GraphModule) -> list[fx.Node]:
    (output,) = [node for node in module.graph.nodes if node.op == "output"]
    found = output.args[0]
    return [x for x in flat([found]) if isinstance(x, fx.Node)]


def computed(function: Callable[..., Any], *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The results of a function by a program of ours. AssertionError: gaps."""
    module = traced(function, *inputs)
    part = part_of(module, inputs)
    assert not part.gaps, [f"{gap.node}: {gap.reason}" for gap in part.gaps]
    return results_of(module, part, inputs)


def results_of(
    module: fx.GraphModule, part: Part, inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    graph = part.graph
    by_name = dict(
        zip([n.name for n in module.graph.nodes if n.op == "placeholder"], inputs, strict=True)
    )
    results: dict[str, Any] = {}
    given = {x.value.name: x.laid_out(_numbers(by_name[n])) for n, x in part.inputs.items()}
    if graph is not None:
        arrays = {name: bound.array for name, bound in part.bound.items()}
        program = Inference(graph, Constants(graph.parameters, graph.dtype, arrays), 1)
        program.feed(*(given[value.name] for value in graph.inputs))
        program.run()
        results = dict(zip([v.name for v in part.values], program.outputs_in_memory, strict=True))
    made = []
    for x in flat(part.outputs.values()):
        if isinstance(x, Leaf):
            made.append(x.tensor)
            continue
        assert isinstance(x, Tensor), x
        found = results.get(x.value.name)
        array = x.told(np.moveaxis(given[x.value.name], 1, -1) if found is None else found)
        wanted = getattr(torch, x.dtype)
        made.append(torch.from_numpy(np.array(array)).to(wanted))
    return made


def _numbers(x: torch.Tensor) -> np.ndarray[Any, Any]:
    if x.dtype == torch.bool:
        return x.float().numpy()
    return (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()


def check(function: Callable[..., Any], *inputs: torch.Tensor, times: float = 6.0) -> None:
    """The results in float32 are as close to those in float64 as PyTorch's are, within a factor;
    those in float64 are PyTorch's. Whole numbers and conditions must be equal.
    """
    double = [x.double() if x.is_floating_point() else x for x in inputs]
    exact = [x for x in flat([function(*double)]) if isinstance(x, torch.Tensor)]
    theirs = [x for x in flat([function(*inputs)]) if isinstance(x, torch.Tensor)]
    ours, wide = computed(function, *inputs), computed(function, *double)
    assert len(exact) == len(ours) == len(wide)
    for e, t, o, w in zip(exact, theirs, ours, wide, strict=True):
        assert o.shape == t.shape == w.shape
        assert o.dtype == t.dtype, (o.dtype, t.dtype)
        if not e.is_floating_point():
            assert torch.equal(o, t) and torch.equal(w, e)
            continue
        torch.testing.assert_close(w, e, rtol=1e-9, atol=1e-11, equal_nan=True)
        size = e[e.isfinite()].abs().max().item() if e.isfinite().any() else 1.0
        bound = times * float((t.double() - e).nan_to_num(0, 0, 0).abs().max()) + 2e-6 * max(
            size, 1e-30
        )
        assert torch.equal(o.isnan(), e.isnan()), "NaN in other places"
        assert float((o.double() - e).nan_to_num(0, 0, 0).abs().max()) <= bound


def region_of(function: Callable[..., Any], *inputs: torch.Tensor) -> Region:
    """A function of tensors as a region. Inputs that require gradients are leaves as well as
    inputs; close over parameters to have leaves.
    """
    module = traced(function, *inputs)
    nodes = list(module.graph.nodes)
    places = [node.name for node in nodes if node.op == "placeholder"]
    return Region(nodes, places, [], [x.name for x in _outputs(module)])


def check_gradients(
    function: Callable[..., Any],
    inputs: Sequence[torch.Tensor],
    leaves: Sequence[torch.Tensor] = (),
) -> None:
    """``function(*inputs, *leaves)`` and its gradients in float64 are PyTorch's. Floating-point
    inputs and all leaves require gradients; leaves are read as parameters are.
    """
    wide = [x.double() if x.is_floating_point() else x for x in (*inputs, *leaves)]
    module = traced(function, *wide)
    nodes = list(module.graph.nodes)
    names = [node.name for node in nodes if node.op == "placeholder"]
    count = len(inputs)
    outputs = [x.name for x in _outputs(module)]
    region = Region(nodes, names[:count], names[count:], outputs)

    def run(call: Callable[..., Any]) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
        given = [
            x.detach().clone().requires_grad_() if x.is_floating_point() else x.clone()
            for x in wide
        ]
        made = [y for y in flat([call(*given)]) if isinstance(y, torch.Tensor)]
        real = [y for y in made if y.requires_grad]
        generator = torch.Generator().manual_seed(7)
        seeds = [torch.randn(y.shape, generator=generator, dtype=y.dtype) for y in real]
        wanted = [x for x in given if x.requires_grad]
        grads = torch.autograd.grad(real, wanted, seeds, allow_unused=True)
        return [y.detach() for y in made], list(grads)

    theirs, expected = run(function)
    ours, found = run(lambda *given: region(given[:count], given[count:]))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, equal_nan=True)
    for a, b in zip(found, expected, strict=True):
        if b is None or a is None:
            other = a if b is None else b
            assert other is None or not other.any(), "a gradient on one side only"
            continue
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10, equal_nan=True)
