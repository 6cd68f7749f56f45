"""PyTorch: eager in both layouts, and compiled by inductor. Also the right answer, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import vision
from benchmarks.network_problem import MOMENTUM, STEPS, NetworkProblem
from benchmarks.peers import Task, Unable, library
from benchmarks.peers.networks.losses import training_task
from benchmarks.peers.torch import environment, start
from benchmarks.problem import Array
from benchmarks.protocol import INFERENCE
from benchmarks.twin import twin

__all__ = ["answer", "build", "environment", "start"]


def build(problem: NetworkProblem, variant: str) -> Task:
    torch = library("torch")
    options = _format(torch, problem, variant)
    module, x = _module(problem).to(**options), torch.from_numpy(problem.x).to(**options)
    if problem.direction == INFERENCE:
        return _inference(torch, module.eval(), x, variant)
    labels = torch.from_numpy(problem.labels)
    compiled = variant == "compile"
    step = _step(torch, module.train(), x, labels, problem.spec.lr, compiled=compiled)
    return training_task(step, keep=(problem.x, problem.labels))


def answer(problem: NetworkProblem) -> Array:
    """The outputs, or the losses of the first steps, in float64."""
    torch = library("torch")
    module, x = _module(problem).double(), torch.from_numpy(problem.x).double()
    if problem.direction == INFERENCE:
        with torch.inference_mode():
            return np.array(module.eval()(x))
    step = _step(torch, module.train(), x, torch.from_numpy(problem.labels), problem.spec.lr)
    return np.array([step() for _ in range(STEPS)])


def _module(problem: NetworkProblem) -> Any:
    if problem.spec.torchvision is not None:
        return vision.filled(*problem.spec.torchvision, problem.parameters)
    return twin(problem.spec.net, len(problem.spec.shape) - 1, problem.parameters)


def _format(torch: Any, problem: NetworkProblem, variant: str) -> dict[str, Any]:
    if variant != "nhwc":
        return {}
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    rank = len(problem.spec.shape) - 1
    if rank not in formats:
        raise Unable("no channels-last layout for rank 1")
    return {"memory_format": formats[rank]}


def _inference(torch: Any, module: Any, x: Any, variant: str) -> Task:
    if variant != "compile":

        @torch.inference_mode()  # type: ignore[untyped-decorator]
        def timed() -> Any:
            return module(x)

        return Task(timed, lambda: timed().contiguous().numpy())
    inductor = library("torch._inductor.config")
    inductor.freezing = True  # folds normalisation, lays weights out; inductor does not by default
    compiled = torch.compile(module)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def frozen() -> Any:
        return compiled(x)

    return Task(frozen, lambda: frozen().contiguous().numpy())


def _step(
    torch: Any, module: Any, x: Any, labels: Any, lr: float, compiled: bool = False
) -> Callable[[], float]:
    """A step of training; it returns the loss before it."""
    optimizer = torch.optim.SGD(module.parameters(), lr, momentum=MOMENTUM, fused=True)

    def loss_of(x: Any, labels: Any) -> Any:
        return torch.nn.functional.cross_entropy(module(x), labels)

    if compiled:
        loss_of = torch.compile(loss_of)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(x, labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step
