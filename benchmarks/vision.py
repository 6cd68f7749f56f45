"""Networks of torchvision as rows: PyTorch trains the module itself, we what ``to_model`` makes.

``torchvision.vgg11_bn 3x64x64 n8 lr0.001 num_classes=10 dropout=0`` names a function or class of
``torchvision.models`` and its options. Weights are drawn by PyTorch, with a fixed seed. Needs torch
and torchvision.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung import nn

PREFIX = "torchvision."
Options = tuple[tuple[str, Any], ...]


def models() -> Any:
    """torchvision's; its operators in C++ are not needed, and do not fit every PyTorch."""
    from torch import library

    register = library.register_fake

    def unless_missing(name: Any, *others: Any, **options: Any) -> Any:
        if str(name).startswith("torchvision::"):
            return lambda function: function
        return register(name, *others, **options)

    library.register_fake = unless_missing  # type: ignore[assignment]
    try:
        import torchvision
    finally:
        library.register_fake = register
    return torchvision.models


def module(name: str, options: Options) -> Any:
    """A new module, with the same weights every time."""
    import torch

    torch.manual_seed(0)
    return getattr(models(), name.removeprefix(PREFIX))(**dict(options))


@lru_cache(2)
def _made(name: str, shape: tuple[int, ...], options: Options) -> Any:
    import torch

    from faltung.torch import to_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return to_model(module(name, options), torch.zeros(1, *shape))


def layer(name: str, shape: Sequence[int], options: Options) -> nn.Layer:
    """The network as a layer of ours."""
    made: nn.Layer = _made(name, tuple(shape), options).net
    return made


def values(
    name: str, shape: Sequence[int], options: Options
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Its parameters and running statistics, by the names that they have in both."""
    return dict(_made(name, tuple(shape), options).parameters)


def filled(name: str, options: Options, values: Mapping[str, npt.NDArray[np.float32]]) -> Any:
    """A module with these parameters. ValueError: it has none of some name."""
    import torch

    made = module(name, options)
    shapes = {key: tensor.shape for key, tensor in made.state_dict().items()}
    given = {}
    for key, value in values.items():
        # A parameter of a module of its own is the weight of a layer here, and vectors lack the
        # axes of size 1 that they have in PyTorch.
        known = key if key in shapes else key.removesuffix(".weight")
        shape = shapes.get(known, value.shape)
        given[known] = torch.from_numpy(value.copy()).reshape(shape)
    found = made.load_state_dict(given, strict=False)
    left = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    if found.unexpected_keys or left:
        raise ValueError(f"{name}: has other parameters: {found.unexpected_keys} {left}")
    return made
