"""YOLOX, a detector, in six sizes."""

from collections.abc import Sequence
from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.nets.blocks import convolved, one_of
from faltung.nets.small_inputs import check_width
from faltung.nn.activation import SiLU
from faltung.nn.conv import Conv
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm
from faltung.nn.pool import MaxPool
from faltung.nn.resize import PixelUnshuffle, Upsample
from faltung.nn.structure import Identity, Parallel, Residual, Sequential
from faltung.nn.wired import Read, Wired

# Section 3: factors on the blocks and on the channels, and whether 3x3 layers are depthwise.
SIZES = {
    "nano": (0.33, 0.25, True),
    "tiny": (0.33, 0.375, False),
    "s": (0.33, 0.5, False),
    "m": (0.67, 0.75, False),
    "l": (1.0, 1.0, False),
    "x": (1.33, 1.25, False),
}
STEP = 32  # between the units of the coarsest map
NORM = BatchNorm(eps=1e-3, momentum=0.03)


def yolox(
    classes: int, input_shape: Sequence[int], *, size: str = "s", width: float | None = None
) -> Layer:
    """YOLOX: boxes and classes for every position of three maps, without anchors.

    The result is (5 + classes, positions): the centre of a box and the logarithms of its sizes,
    both in units of the map, whether there is an object, and its classes, the last two before their
    sigmoid. Positions are those of the map 8 times smaller than the picture, then of those 16 and
    32 times smaller. Heights and widths must be multiples of 32.

    Parameters
    ----------
    classes : int
        How many classes.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"nano", "tiny", "s", "m", "l", "x"}
        Which network of the paper.
    width : float, optional
        A factor on all channels instead of that of the size.

    References
    ----------
    Z. Ge, S. Liu, F. Wang, Z. Li, J. Sun, "YOLOX: exceeding YOLO series in 2021", 2021.
    """
    one_of("size", size, tuple(SIZES))
    depth, usual, depthwise = SIZES[size]
    wide = usual if width is None else width
    check_width(wide)
    space = tuple(input_shape[1:])
    if not space or any(n % STEP for n in space):
        raise FaltungError(f"input_shape={tuple(input_shape)}: sizes must be multiples of {STEP}")
    parts = _Parts(max(1, round(64 * wide)), depth, depthwise)
    return parts.net(classes)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of one size. base: channels of the stem."""

    base: int
    depth: float
    depthwise: bool

    def blocks(self, count: int) -> int:
        return max(1, round(count * self.depth))

    def conv(self, channels: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
        return convolved(
            channels,
            kernel,
            "batch",
            stride=stride,
            padding=kernel // 2,
            activation=SiLU(),
            batch_norm=NORM,
        )

    def wide(self, before: int, channels: int, stride: int = 1) -> tuple[Layer, ...]:
        """A 3x3 layer; in size nano a depthwise one, then a 1x1."""
        if not self.depthwise:
            return self.conv(channels, 3, stride)
        options: dict[str, Any] = {"stride": stride, "padding": 1, "groups": before}
        made = convolved(before, 3, "batch", activation=SiLU(), batch_norm=NORM, **options)
        return (*made, *self.conv(channels, 1))

    def stage(self, channels: int, count: int, *, adds: bool = True, name: str) -> Layer:
        """A cross-stage partial block: half of the channels go through bottlenecks."""
        half = channels // 2
        body: list[Layer] = [*self.conv(half, 1)]
        for i in range(count):
            inner = Sequential(*self.conv(half, 1), *self.wide(half, half), name=f"inner{i + 1}")
            body.append(Residual(inner, name=f"block{i + 1}") if adds else inner)
        both = Parallel(
            Sequential(*body, name="through"), Sequential(*self.conv(half, 1), name="past")
        )
        return Sequential(both, *self.conv(channels, 1), name=name)

    def pooled(self, channels: int) -> tuple[Layer, ...]:
        """Spatial pyramid pooling: maxima of windows of three sizes beside the map."""
        pools = (MaxPool(k, stride=1, padding=k // 2) for k in (5, 9, 13))
        return (
            *self.conv(channels // 2, 1),
            Parallel(Identity(), *pools, name="windows"),
            *self.conv(channels, 1),
        )

    def body(self) -> list[Layer]:
        """Down to 32 times smaller; what is read again has a name."""
        b, n = self.base, self.blocks
        down = [
            PixelUnshuffle(2, name="focus"),
            *self.conv(b, 3),
            *self.wide(b, 2 * b, 2),
            self.stage(2 * b, n(3), name="stage2"),
        ]
        for number in (3, 4):
            before = 2 ** (number - 2) * b
            down += self.wide(before, 2 * before, 2)
            down.append(self.stage(2 * before, n(9), name=f"stage{number}"))
        down += [*self.wide(8 * b, 16 * b, 2), *self.pooled(16 * b)]
        down.append(self.stage(16 * b, n(3), adds=False, name="stage5"))
        return down

    def neck(self) -> list[Layer]:
        """Up again and down again, joined with what was there at each size."""
        b, n = self.base, self.blocks(3)

        def merged(name: str, channels: int, *sources: str) -> Layer:
            return Read(self.stage(channels, n, adds=False, name="stage"), *sources, name=name)

        def named(name: str, layers: Sequence[Layer]) -> Layer:
            return Sequential(*layers, name=name)

        return [
            named("lateral5", self.conv(8 * b, 1)),
            Upsample(scale=2, name="up5"),
            merged("up4_merged", 8 * b, "up5", "stage4"),
            named("lateral4", self.conv(4 * b, 1)),
            Upsample(scale=2, name="up4"),
            merged("out3", 4 * b, "up4", "stage3"),
            named("down3", self.wide(4 * b, 4 * b, 2)),
            merged("out4", 8 * b, "down3", "lateral4"),
            named("down4", self.wide(8 * b, 8 * b, 2)),
            merged("out5", 16 * b, "down4", "lateral5"),
        ]

    def head(self, level: int, classes: int) -> Layer:
        """Boxes and objects from one branch, classes from the other."""
        inside = 4 * self.base
        twice = (*self.wide(inside, inside), *self.wide(inside, inside))
        boxes = Parallel(Conv(4, 1, name="box"), Conv(1, 1, name="object"), name="what")
        branches = Parallel(
            Sequential(*twice, boxes, name="where"),
            Sequential(*twice, Conv(classes, 1, name="class"), name="which"),
            name="branches",
        )
        made = Sequential(*self.conv(inside, 1), branches, name="layers")
        return Read(made, f"out{level}", name=f"head{level}")

    def net(self, classes: int) -> Layer:
        heads = [self.head(level, classes) for level in (3, 4, 5)]
        names = [f"head{level}" for level in (3, 4, 5)]
        every = Read(Identity(), *names, along="positions", name="boxes")
        return Wired(*self.body(), *self.neck(), *heads, every)
