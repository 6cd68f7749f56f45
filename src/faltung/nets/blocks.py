"""What the networks have in common: a convolution with its normalisation and activation."""

from collections.abc import Sequence
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm

NORMALISATIONS = ("none", "batch")


def convolved(
    channels: int,
    kernel: int | Sequence[int],
    normalisation: str,
    *,
    activation: Layer | None = ReLU(),  # noqa: B008 (frozen)
    name: str | None = None,
    **options: Any,
) -> tuple[Layer, ...]:
    """A convolution, batch normalisation instead of its bias where that is asked for, and an
    activation. options: of ``Conv``.
    """
    one_of("normalisation", normalisation, NORMALISATIONS)
    batch = normalisation == "batch"
    layers: list[Layer] = [Conv(channels, kernel, bias=not batch, name=name, **options)]
    if batch:
        layers.append(BatchNorm(name=name and f"{name}_norm"))
    return (*layers, activation) if activation else tuple(layers)


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """ValueError: an option has none of its choices."""
    if value not in choices:
        raise FaltungError(f"{name}={show(value)}: must be one of {', '.join(choices)}")
