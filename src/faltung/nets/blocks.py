"""What the networks have in common: a convolution with its normalisation and activation."""

from collections.abc import Sequence
from dataclasses import replace
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
    batch_norm: BatchNorm = BatchNorm(),  # noqa: B008
    **options: Any,
) -> tuple[Layer, ...]:
    """A convolution, batch normalisation instead of its bias where that is asked for, and an
    activation. batch_norm: with which numbers. options: of ``Conv``.
    """
    one_of("normalisation", normalisation, NORMALISATIONS)
    batch = normalisation == "batch"
    layers: list[Layer] = [Conv(channels, kernel, bias=not batch, name=name, **options)]
    if batch:
        layers.append(replace(batch_norm, name=name and f"{name}_norm"))
    return (*layers, activation) if activation else tuple(layers)


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """ValueError: an option has none of its choices."""
    if value not in choices:
        raise FaltungError(f"{name}={show(value)}: must be one of {', '.join(choices)}")


def inverted(
    channels: tuple[int, int, int],
    kernel: int,
    stride: int,
    activation: Layer,
    *,
    gate: Layer | None = None,
    batch_norm: BatchNorm = BatchNorm(),  # noqa: B008
) -> list[Layer]:
    """The body of an inverted residual: expand, depthwise, [gate,] project.

    channels: before, inside and after it. Where nothing is expanded the first part is left out.
    """
    before, inside, after = channels
    given: dict[str, Any] = {"activation": activation, "batch_norm": batch_norm}
    space: dict[str, Any] = {"stride": stride, "padding": kernel // 2, "groups": inside}
    return [
        *(convolved(inside, 1, "batch", name="expand", **given) if inside != before else ()),
        *convolved(inside, kernel, "batch", name="depthwise", **space, **given),
        *((gate,) if gate else ()),
        *convolved(after, 1, "batch", name="project", **(given | {"activation": None})),
    ]
