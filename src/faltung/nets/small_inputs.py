"""How networks made for large pictures shrink to small ones: one rule for all of them.

Most networks halve their picture about five times, by strides and poolings. For small inputs **the
first halvings are left out**, until the last map is about 4 wide, for pictures below 16 about 2: at
32x32 three of five remain (which is the usual ResNet for CIFAR), at 8x8 two, at 224x224 all. A
first convolution that loses its stride has a 3x3 kernel. If no halving is left out the network is
that of its paper.
"""

from collections.abc import Sequence

from faltung.geometry.check import real, show, whole
from faltung.geometry.errors import FaltungError


def kept(space: Sequence[int], total: int, halvings: int | None = None) -> tuple[bool, ...]:
    """Which of ``total`` halvings happen, in their order.

    space: the sizes that are halved. halvings: how many happen, overriding the rule.
    """
    if not space:
        raise FaltungError("input_shape: must have at least one axis of space")
    if halvings is None:
        size = min(space)
        least = 4 if size >= 16 else 2
        count = len([k for k in range(1, total + 1) if int(size / 2**k + 0.5) >= least])
    else:
        count = whole("halvings", halvings, 0)
        if count > total:
            raise FaltungError(f"halvings={count}: must be at most {total}")
    return (False,) * (total - count) + (True,) * count


def scaled(channels: int, width: float, divisor: int = 8) -> int:
    """``channels`` times ``width``, as a multiple of ``divisor``; unchanged at width 1."""
    check_width(width)
    if width == 1:
        return channels
    return max(divisor, divisor * round(channels * width / divisor))


def check_width(width: float, name: str = "width") -> None:
    """TypeError, ValueError: not a number above 0."""
    if not real(name, width) > 0:
        raise FaltungError(f"{name}={show(width)}: must be above 0")
