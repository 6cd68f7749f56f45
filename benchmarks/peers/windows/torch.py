"""PyTorch's poolings, eager, in both layouts; it has no local layer."""

from typing import Any

from benchmarks.peers import Task, Unable, library
from benchmarks.peers.torch import environment, layout, start
from benchmarks.window_problem import LOCAL, MAX, WindowProblem

__all__ = ["build", "environment", "start"]


def build(problem: WindowProblem, variant: str) -> Task:
    torch = library("torch")
    spec = problem.spec
    if problem.kind == LOCAL:
        raise Unable("no local layer")
    put = layout(torch, spec.rank, variant)
    name = "max" if problem.kind == MAX else "avg"
    function = getattr(torch.nn.functional, f"{name}_pool{spec.rank}d")
    given = (spec.kernel, spec.stride, problem.pads)
    x = put(problem.x)
    if problem.forward:

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def call() -> Any:
            return function(x, *given)

    else:
        # Autograd keeps what the forward pass left: the backward pass alone is timed.
        leaf = x.detach().requires_grad_()
        result, grad = function(leaf, *given), put(problem.grad)

        def call() -> Any:
            return torch.autograd.grad(result, leaf, grad, retain_graph=True)[0]

    return Task(call, lambda: call().contiguous().numpy())
