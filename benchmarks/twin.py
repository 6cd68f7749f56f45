"""Builds a network of ``faltung.nn`` as a PyTorch module, the way users of PyTorch write it.

Parameters are in the order of the graph, which is that of the layers.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from benchmarks.peers import Unable, library
from benchmarks.problem import Array
from faltung import nn
from faltung.geometry.check import per_axis
from faltung.geometry.padding import pads

Module = Any


def twin(net: nn.Layer, rank: int, parameters: Mapping[str, Array]) -> Module:
    """The module, with copies of ``parameters``, for inputs (N, C, *space) of this rank.

    Unable: a layer is not in the table.
    """
    made = Twin(iter(parameters.values()), rank)
    module = made(net)
    if next(made.parameters, None) is not None:
        raise ValueError("parameters: there are more than the network has")
    return module


class Twin:
    """One pass over a network; ``rank``: number of spatial axes."""

    def __init__(self, parameters: Iterator[Array], rank: int) -> None:
        self.torch = library("torch")
        self.nn = self.torch.nn
        self.parameters = parameters
        self.rank = rank

    def __call__(self, layer: nn.Layer) -> Module:
        if type(layer) not in RULES:
            raise Unable(f"no twin for {type(layer).__name__}")
        return RULES[type(layer)](self, layer)

    def ranked(self, name: str) -> Any:
        """A class of this rank, such as Conv2d."""
        return getattr(self.nn, f"{name}{self.rank}d")

    def coming(self) -> tuple[int, ...]:
        """The shape of the next parameter."""
        following = next(self.parameters)
        self.parameters = chain([following], self.parameters)
        return tuple(following.shape)

    def tensor(self) -> Any:
        """The next parameter, a copy."""
        return self.torch.from_numpy(next(self.parameters).copy())

    def filled(self, module: Module, bias: bool) -> Module:
        """A layer with weights, filled with the next parameters."""
        module.weight = self.nn.Parameter(self.tensor())
        if bias:
            module.bias = self.nn.Parameter(self.tensor())
        return module


def _conv(made: Twin, layer: nn.Conv) -> Module:
    shape = made.coming()
    kernel = per_axis("kernel", layer.kernel, made.rank, 1)
    stride = per_axis("stride", layer.stride, made.rank, 1)
    dilation = per_axis("dilation", layer.dilation, made.rank, 1)
    if layer.flip or layer.padding_mode != "zeros":
        raise Unable("zeros around and no flip alone")
    # Our networks do not use names of padding that depend on the size.
    pairs = pads(
        layer.padding, sizes=(0,) * made.rank, kernel=kernel, stride=stride, dilation=dilation
    )
    even = all(lo == hi for lo, hi in pairs)
    module = made.ranked("Conv")(
        shape[1] * layer.groups,
        layer.channels,
        kernel,
        stride,
        tuple(lo for lo, _ in pairs) if even else 0,
        dilation,
        layer.groups,
        layer.bias,
        device="meta",  # without values: drawing them takes long
    )
    module = made.filled(module, layer.bias)
    if even:
        return module
    pad = made.ranked("ConstantPad")([side for pair in reversed(pairs) for side in pair], 0.0)
    return made.nn.Sequential(pad, module)


def _linear(made: Twin, layer: nn.Linear) -> Module:
    features, inputs = made.coming()
    return made.filled(made.nn.Linear(inputs, features, layer.bias, device="meta"), layer.bias)


def _batch_norm(made: Twin, layer: nn.BatchNorm) -> Module:
    weight, bias, mean, variance = (made.tensor() for _ in range(4))
    module = made.ranked("BatchNorm")(len(weight), layer.eps, layer.momentum)
    module.weight, module.bias = made.nn.Parameter(weight), made.nn.Parameter(bias)
    module.running_mean, module.running_var = mean, variance
    return module


def _max_pool(made: Twin, layer: nn.MaxPool) -> Module:
    options = {"dilation": layer.dilation, "ceil_mode": layer.ceil}
    return made.ranked("MaxPool")(layer.kernel, layer.stride, layer.padding, **options)


def _average_pool(made: Twin, layer: nn.AvgPool) -> Module:
    options = {"ceil_mode": layer.ceil, "count_include_pad": layer.count_padding}
    return made.ranked("AvgPool")(layer.kernel, layer.stride, layer.padding, **options)


def _global_average(made: Twin, layer: nn.GlobalAvgPool) -> Module:
    return made.nn.Sequential(made.ranked("AdaptiveAvgPool")(1), made.nn.Flatten())


def _sequential(made: Twin, layer: nn.Sequential) -> Module:
    return made.nn.Sequential(*map(made, layer.layers))


def _parallel(made: Twin, layer: nn.Parallel) -> Module:
    torch = made.torch

    class Beside(torch.nn.Module):  # type: ignore[misc,name-defined]
        """Parallel branches, their channels concatenated."""

        def __init__(self) -> None:
            super().__init__()
            self.branches = torch.nn.ModuleList(map(made, layer.branches))

        def forward(self, x: Any) -> Any:
            return torch.cat([branch(x) for branch in self.branches], 1)

    return Beside()


def _residual(made: Twin, layer: nn.Residual) -> Module:
    torch = made.torch

    class Around(torch.nn.Module):  # type: ignore[misc,name-defined]
        """A body with a shortcut that is added to it."""

        def __init__(self) -> None:
            super().__init__()
            self.body = made(layer.body)
            self.shortcut = torch.nn.Identity() if layer.shortcut is None else made(layer.shortcut)

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    return Around()


def _dropout(made: Twin, layer: nn.Dropout) -> Module:
    return made.nn.Dropout(layer.rate)


def _plain(name: str, **options: Any) -> Callable[[Twin, Any], Module]:
    """A rule for a layer without parameters."""
    return lambda made, layer: getattr(made.nn, name)(**options)


RULES: dict[type, Callable[[Twin, Any], Module]] = {
    nn.Conv: _conv,
    nn.Linear: _linear,
    nn.BatchNorm: _batch_norm,
    nn.MaxPool: _max_pool,
    nn.AvgPool: _average_pool,
    nn.GlobalAvgPool: _global_average,
    nn.Sequential: _sequential,
    nn.Parallel: _parallel,
    nn.Residual: _residual,
    nn.Dropout: _dropout,
    nn.Flatten: _plain("Flatten"),
    nn.Identity: _plain("Identity"),
    nn.Auxiliary: _plain("Identity"),  # only used in training, where we leave it out
    nn.ReLU: _plain("ReLU", inplace=True),
    nn.ReLU6: _plain("ReLU6", inplace=True),
    nn.Tanh: _plain("Tanh"),
}
