"""PyTorch, eager, in both layouts; gradients by ``aten.convolution_backward``, one at a time."""

from collections.abc import Callable
from typing import Any

from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.peers.scipy import one_channel
from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD, INPUT_GRAD

environment = openmp


def start(threads: int) -> str:
    torch = library("torch")
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    return str(torch.__version__)


def build(problem: Problem, variant: str) -> Task:
    torch = library("torch")
    spec = problem.spec
    if spec.rank > 3:
        raise Unable("no convolution above rank 3")
    if spec.flip:
        raise Unable("no true convolution")
    if variant == "fft":
        return _by_fft(torch, problem)
    put = layout(torch, spec.rank, variant)
    if problem.direction == FORWARD:
        call = _forward(torch, problem, put)
    else:
        call = _backward(torch, problem, put)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def timed() -> Any:
        return call()

    return Task(timed, lambda: timed().contiguous().numpy())


def _by_fft(torch: Any, problem: Problem) -> Task:
    """What people write where ``conv1d`` is too slow for them."""
    one_channel(problem)
    spec = problem.spec
    x, weight = torch.from_numpy(problem.x[0, 0]), torch.from_numpy(problem.weight[0, 0])
    sizes = [fast(axis.size + axis.kernel - 1) for axis in spec.axes]
    axes = tuple(range(spec.rank))
    middle = tuple(slice(axis.lo, axis.lo + axis.size) for axis in spec.axes)
    kernel = weight.flip(axes).contiguous()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def timed() -> Any:
        spectrum = torch.fft.rfftn(x, sizes, axes) * torch.fft.rfftn(kernel, sizes, axes)
        return torch.fft.irfftn(spectrum, sizes, axes)[middle]

    return Task(timed, lambda: timed()[None, None].contiguous().numpy())


def fast(length: int) -> int:
    """The least length from there on of factors 2, 3 and 5 alone."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def layout(torch: Any, rank: int, variant: str) -> Callable[[Array], Any]:
    if variant == "nchw":
        return lambda array: torch.from_numpy(array)
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    if rank not in formats:
        raise Unable("no channels-last layout for rank 1")
    return lambda array: torch.from_numpy(array).contiguous(memory_format=formats[rank])


def _forward(torch: Any, problem: Problem, put: Callable[[Array], Any]) -> Callable[[], Any]:
    spec = problem.spec
    function = getattr(torch.nn.functional, f"conv{spec.rank}d")
    x, weight = put(problem.x), put(problem.weight)
    bias = None if problem.bias is None else torch.from_numpy(problem.bias)
    shared = (spec.stride, spec.dilation, spec.groups)
    if problem.symmetric:
        stride, dilation, groups = shared
        padding = tuple(lo for lo, _ in problem.pads)
        return lambda: function(x, weight, bias, stride, padding, dilation, groups)
    stride, dilation, groups = shared
    flat = [side for pair in reversed(problem.pads) for side in pair]
    pad = torch.nn.functional.pad  # its convolutions pad both sides alike; so does its own Conv
    return lambda: function(pad(x, flat), weight, bias, stride, 0, dilation, groups)


def _backward(torch: Any, problem: Problem, put: Callable[[Array], Any]) -> Callable[[], Any]:
    if not problem.symmetric:
        raise Unable("gradients of asymmetric padding are not one call")
    spec = problem.spec
    grad, x, weight = put(problem.grad), put(problem.x), put(problem.weight)
    padding, zeros = [lo for lo, _ in problem.pads], [0] * spec.rank
    which = 0 if problem.direction == INPUT_GRAD else 1
    mask = [which == 0, which == 1, False]
    geometry = (list(spec.stride), padding, list(spec.dilation), False, zeros, spec.groups)
    backward = torch.ops.aten.convolution_backward
    return lambda: backward(grad, x, weight, None, *geometry, mask)[which]
