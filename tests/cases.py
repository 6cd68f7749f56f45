"""THE table of problems: one line is one convolution, and every test of every stage walks it.

A case is small (below 2e7 multiply-adds), so that the whole table runs in seconds. Tags say what
a case is there for; `tagged("groups")` picks by them. `integers(case)` makes data on which every
method that adds plain products must be exact in float32. `random_specs()` is a hypothesis strategy.

    @pytest.mark.parametrize("case", CASES, ids=str)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.geometry import MODES, Axis, ConvSpec, parse

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MAX_MACS = 20_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A named problem; `str(case)` is the name, `str(case.spec)` the text form."""

    name: str
    spec: ConvSpec
    tags: frozenset[str]

    def __str__(self) -> str:
        return self.name


def _rows(tag: str, rows: dict[str, str]) -> list[Case]:
    return [Case(f"{tag}-{name}", parse(text), _tags(tag, text)) for name, text in rows.items()]


def _tags(tag: str, text: str) -> frozenset[str]:
    """The tag of the section, and what anybody can see in the spec."""
    spec = parse(text)
    seen = {
        f"rank{spec.rank}": True,
        "strided": max(spec.stride) > 1,
        "dilated": max(spec.dilation) > 1,
        "padded": any(map(any, spec.padding)),
        "grouped": spec.groups > 1,
        "modes": set(spec.padding_mode) != {"zeros"},
        "flipped": spec.flip,
        "empty": spec.batch == 0,
        spec.dtype: True,
    }
    return frozenset({tag, *(name for name, true in seen.items() if true)})


_EDGE = {
    "one-pixel": "n1 c1>1 1x1 k1",
    "one-pixel-padded": "n1 c2>3 1x1 k3 p1",
    "one-sample": "n1 c1>1 1 k1",
    "one-column": "n1 c3>4 9x1 k3x1 p1x0",
    "one-row": "n1 c3>4 1x9 k1x3 p0x1",
    "kernel-is-size": "n2 c3>5 6x7 k6x7",
    "kernel-is-size-1d": "n1 c4>4 33 k33",
    "kernel-is-padded-size": "n1 c2>2 4x4 k6 p1",
    "kernel-beyond-size": "n1 c2>3 3x4 k7x9 p3x4",
    "even-kernel": "n1 c3>4 9x8 k2x4",
    "even-kernel-same": "n1 c3>4 9x8 k2x4 psame",
    "long-kernel": "n1 c1>2 5x40 k1x31 p0x15",
    "tall-kernel": "n1 c2>2 40x5 k31x1 p15x0",
    "pad-beyond-kernel": "n1 c2>3 5x4 k3 p5x7",
    "pad-one-sided": "n1 c2>3 6x7 k3 p(0,2)x(1,0)",
    "pad-one-sided-beyond-kernel": "n1 c2>3 4x5 k2 p(6,0)x(0,5)",
    "pad-only-read-1d": "n1 c2>2 2 k1 s4 p(5,4)",
    "pad-odd": "n1 c2>3 8x8 k4 p(1,2)x(2,1)",
    "empty-batch": "n0 c3>4 8x8 k3 p1",
    "empty-batch-grouped": "n0 c4>8 9 k3 g4",
    "batch-7": "n7 c3>5 6x5 k3 p1",
    "batch-7-strided": "n7 c16>17 9x9 k3 s2 p1",
    "thin-image": "n1 c16>16 1x64 k1x3 p0x1",
    "wide-channels-one-pixel": "n3 c129>65 1x1 k1",
    "many-channels": "n1 c200>3 4x4 k3 p1",
    "many-outputs": "n1 c3>200 4x4 k3 p1",
}

_STRIDE = {
    "2": "n1 c3>4 9x10 k3 s2 p1",
    "2-even": "n1 c3>4 8x8 k3 s2 p1",
    "2x1": "n1 c3>4 9x10 k3 s2x1 p1",
    "1x3": "n2 c3>4 9x10 k3 s1x3 p1",
    "beyond-kernel": "n1 c3>4 11x12 k2 s3",
    "far-beyond-kernel": "n1 c2>3 17x19 k1 s5x7",
    "beyond-size": "n1 c2>3 5x5 k3 s9",
    "pointwise": "n1 c8>16 9x9 k1 s2",
    "pointwise-padded": "n1 c8>16 9x9 k1 s2 p1",
    "equals-kernel": "n1 c3>8 12x12 k4 s4",
    "leaves-a-tail": "n1 c3>8 14x15 k4 s4",
    "same": "n1 c3>4 10x11 k3 s2 psame",
    "same-upper": "n1 c3>4 10x11 k3 s2 psame_upper",
    "same-lower": "n1 c3>4 10x11 k4x3 s3x2 psame_lower",
    "same-upper-gaps": "n1 c3>4 10x11 k1x2 s3 psame_upper",
    "one-sided": "n1 c3>4 10x11 k5 s3 p(4,0)x(0,3)",
}

_DILATION = {
    "2": "n1 c3>4 9x9 k3 d2",
    "2-padded": "n1 c3>4 7x8 k3 d2 p2",
    "1x3": "n2 c3>4 9x10 k3 d1x3 p1x3",
    "with-stride-2": "n1 c3>4 12x13 k3 s2 d2 p2",
    "with-stride-3": "n1 c3>4 14x15 k3 s2 d3 p3",
    "stride-3-dilation-2": "n1 c3>4 14x15 k3 s3 d2 p2",
    "stride-4-dilation-6": "n1 c3>4 30x31 k4 s4 d6 p5",
    "stride-6-dilation-4": "n1 c3>4 30x31 k4 s6 d4 p5",
    "reads-mostly-padding": "n1 c2>2 3x3 k3 d5 p5",
    "phase-beyond-output": "n1 c2>3 2 k2 s2 d5 p(0,4)",
    "causal": "n2 c4>6 40 k3 d8 pcausal",
    "causal-strided": "n2 c4>6 41 k3 s2 d4 pcausal",
    "one-tap": "n1 c2>2 6x6 k1 d7",
}

_MODES = {
    "reflect": "n1 c3>4 6x7 k3 p1 m:reflect",
    "reflect-widest": "n1 c2>2 4x5 k7x9 p3x4 m:reflect",
    "reflect-strided": "n2 c3>4 8x9 k5 s2 p2 m:reflect",
    "symmetric": "n1 c3>4 6x7 k3 p1 m:symmetric",
    "symmetric-widest": "n1 c2>2 3x4 k7x9 p3x4 m:symmetric",
    "symmetric-one-pixel": "n1 c2>2 1x1 k3 p1 m:symmetric",
    "replicate": "n1 c3>4 6x7 k3 p1 m:replicate",
    "replicate-far": "n1 c2>2 2x3 k3 p6x5 m:replicate",
    "circular": "n1 c3>4 6x7 k3 p1 m:circular",
    "circular-widest": "n1 c2>2 3x4 k7x9 p3x4 m:circular",
    "circular-one-sided": "n1 c2>2 6 k4 p(0,3) m:circular",
    "circular-dilated": "n1 c3>4 9x8 k3 d2 p2 m:circular",
    "globe": "n1 c3>4 9x18 k3 p1 m:zeros,circular",
    "globe-strided": "n2 c4>6 9x18 k3 s2 p1 m:replicate,circular",
    "all-five": "n1 c1>2 3x3x3x3x3 k2 p1 m:zeros,reflect,symmetric,replicate,circular",
    "mixed-3d": "n1 c2>3 4x5x6 k3 p1 m:reflect,zeros,circular",
    "one-sided-strided": "n1 c2>2 9x8 k3 s2x3 p(2,0)x(0,2) m:reflect,symmetric",
    "unpadded": "n1 c2>2 6x6 k3 m:reflect",
    "grouped": "n1 c4>6 6x7 k3 p1 g2 m:reflect",
    "depthwise": "n1 c17>17 6x7 k3 p1 g17 m:circular",
    "causal-replicate": "n1 c4>4 20 k3 d2 pcausal m:replicate",
}

_GROUPS = {
    "2": "n1 c4>6 7x8 k3 p1 g2",
    "3-strided": "n2 c9>6 9x9 k3 s2 p1 g3",
    "4-pointwise": "n1 c16>32 5x5 k1 g4",
    "32": "n1 c64>64 7x7 k3 p1 g32",
    "uneven-to-vectors": "n1 c51>34 6x6 k3 p1 g17",
    "wide": "n1 c34>66 6x6 k3 p1 g2",
    "narrowing": "n1 c24>4 6x6 k3 g4",
    "dilated": "n1 c6>4 11x11 k3 s2 d2 p2 g2",
    "depthwise": "n1 c16>16 9x9 k3 p1 g16",
    "depthwise-1": "n1 c1>1 9x9 k3 p1 g1",
    "depthwise-33": "n2 c33>33 8x7 k3 p1 g33",
    "depthwise-5-strided": "n1 c20>20 11x10 k5 s2 p2 g20",
    "depthwise-dilated": "n1 c15>15 11x10 k3 d2 p2 g15",
    "resnext-8": "n1 c32>32 9x8 k3 s2 p1 g4",
    "few-to-more": "n2 c12>20 7x9 k3 p1 g4",
    "multiplier-2": "n1 c8>16 7x7 k3 p1 g8",
    "multiplier-3": "n2 c5>15 7x7 k3 s2 p1 g5",
    "multiplier-17": "n1 c2>34 7x7 k3 p1 g2",
    "depthwise-1d": "n1 c31>31 40 k7 p3 g31",
    "depthwise-3d": "n1 c8>8 5x6x7 k3 p1 g8",
    "depthwise-7": "n1 c24>24 12x11 k7 p3 g24",
    "depthwise-31": "n1 c4>4 32x32 k31 p15 g4",
}

_CHANNELS = {
    f"{c_in}-to-{c_out}": f"n1 c{c_in}>{c_out} 6x7 k3 p1"
    for c_in, c_out in [
        (1, 1), (1, 3), (1, 15), (1, 16), (1, 17), (1, 33), (3, 1), (3, 3), (3, 16), (3, 31),
        (4, 2), (15, 1), (15, 15), (16, 1), (16, 2), (16, 16), (16, 17), (17, 16), (17, 17),
        (31, 3), (31, 33), (33, 31), (32, 32), (33, 47), (48, 49), (64, 64), (65, 80), (7, 100),
    ]
}  # fmt: skip

_WIDTHS = {
    f"{kind}-{width}": text.format(w=width)
    for width in (1, 2, 7, 8, 15, 16, 17, 31, 32, 33)
    for kind, text in {
        "few": "n1 c1>2 5x{w} k3 p1",
        "many": "n1 c16>32 3x{w} k3 p1",
        "1d": "n1 c3>1 {w} k5 psame",
        "strided": "n1 c2>1 5x{w} k3 s2 p1",
        "depthwise": "n1 c16>16 3x{w} k3 p1 g16",
    }.items()
}

_RANKS = {
    "1": "n2 c3>4 20 k5 p2",
    "1-strided": "n2 c3>4 21 k5 s3 p2",
    "1-signal": "n1 c1>1 4000 k101 psame",
    "1-long-kernel": "n1 c1>1 3000 k1001",
    "1-many-signals": "n40 c1>1 100 k7 p3",
    "1-bank": "n1 c1>24 1000 k64 s8",
    "3": "n1 c2>3 5x6x7 k3 p1",
    "3-strided": "n2 c3>4 5x6x7 k3x1x2 s1x2x3 p1x0x1",
    "3-dilated": "n1 c2>3 7x8x9 k3 d1x2x3 p(1,0)x(2,2)x(0,3)",
    "3-one-channel": "n1 c1>16 9x10x17 k3 p1",
    "3-to-one-channel": "n1 c16>1 6x7x18 k3 p1",
    "3-thin": "n1 c4>4 1x9x9 k1x3x3 p0x1x1",
    "4": "n1 c2>3 3x4x5x4 k2 p1",
    "4-strided": "n2 c2>4 4x5x4x6 k3x2x1x3 s2x1x1x2 p1 g2",
    "5": "n1 c1>2 3x2x3x2x4 k2 p(1,0)x0x1x0x1",
}

_FLIP = {
    "1d": "n1 c3>4 20 k4 p1 flip",
    "2d": "n1 c3>4 8x9 k3x2 p1 flip",
    "strided": "n1 c3>4 9x10 k4x3 s2x3 p1 flip",
    "dilated": "n1 c3>4 14x15 k3 s2 d3 p3 flip",
    "grouped": "n1 c4>6 7x8 k3 p1 g2 flip",
    "depthwise": "n1 c17>17 7x8 k3 p(1,0)x(0,2) g17 flip",
    "reflect": "n1 c3>4 7x8 k4 p2 m:reflect flip",
    "3d": "n1 c2>3 5x6x7 k3x2x1 p1 flip",
    "one-tap": "n1 c3>4 5x5 k1 flip",
}

_FLOAT64 = {
    "plain": "n1 c8>9 7x8 k3 p1 f64",
    "wide": "n1 c33>34 7x8 k3 p1 f64",
    "strided": "n2 c3>17 9x10 k3 s2 p1 f64",
    "dilated": "n1 c5>7 12x13 k3 s2 d2 p2 f64",
    "depthwise": "n1 c15>15 9x9 k3 p1 g15 f64",
    "one-channel": "n1 c1>1 9x33 k3 p1 f64",
    "signal": "n1 c1>1 2000 k51 psame f64",
    "volume": "n1 c3>4 4x5x6 k3 p1 f64",
    "circular": "n1 c3>4 6x7 k3 p1 m:circular f64 flip",
}

# Layers shaped like those of real networks, cut down in size or channels.
_NETS = {
    "lenet-1": "n4 c1>6 28x28 k5 p2",
    "lenet-2": "n4 c6>16 14x14 k5",
    "alexnet-1": "n1 c3>32 67x67 k11 s4 p2",
    "vgg-early": "n1 c3>64 28x28 k3 p1",
    "vgg-middle": "n1 c64>64 14x14 k3 p1",
    "vgg-late": "n1 c128>128 7x7 k3 p1",
    "resnet-stem": "n1 c3>64 40x40 k7 s2 p3",
    "resnet-reduce": "n1 c256>64 14x14 k1",
    "resnet-expand": "n1 c64>256 14x14 k1",
    "resnet-down": "n1 c64>128 14x14 k3 s2 p1",
    "resnet-shortcut": "n1 c64>128 14x14 k1 s2",
    "resnext": "n1 c128>128 10x10 k3 p1 g32",
    "inception-5x5": "n1 c16>48 14x14 k5 p2",
    "inception-1x7": "n1 c32>32 17x17 k1x7 p0x3",
    "mobilenet-depthwise": "n1 c96>96 14x14 k3 s2 p1 g96",
    "mobilenet-pointwise": "n2 c96>24 14x14 k1",
    "efficientnet-same": "n1 c48>48 15x15 k5 s2 psame_upper g48",
    "convnext-depthwise": "n1 c96>96 14x14 k7 p3 g96",
    "convnext-patches": "n1 c3>96 32x32 k4 s4",
    "vit-patches": "n1 c3>64 64x64 k16 s16",
    "deeplab-atrous": "n1 c64>32 17x17 k3 d6 p6",
    "unet-up": "n1 c32>64 20x20 k2 s2",
    "gan-down": "n2 c16>32 16x16 k4 s2 p1",
    "super-resolution": "n1 c32>12 24x24 k3 p1",
    "style-transfer": "n1 c16>3 20x20 k9 p4 m:reflect",
    "weather": "n1 c8>16 12x24 k3 p1 m:replicate,circular",
    "wavenet": "n1 c32>64 256 k2 d32 pcausal",
    "tcn": "n2 c25>25 200 k7 d4 pcausal",
    "speech-bank": "n1 c1>64 1600 k10 s5",
    "text-windows": "n8 c50>20 40 k5",
    "c3d": "n1 c3>16 6x14x14 k3 p1",
    "r2plus1d-space": "n1 c8>18 4x14x14 k1x3x3 p0x1x1",
    "r2plus1d-time": "n1 c18>16 6x10x10 k3x1x1 p1x0x0",
    "unet-3d": "n1 c16>16 8x8x8 k3 p1",
    "digits": "n64 c1>16 8x8 k3 p1",
}

CASES: list[Case] = [
    case
    for tag, rows in {
        "edge": _EDGE,
        "stride": _STRIDE,
        "dilation": _DILATION,
        "mode": _MODES,
        "groups": _GROUPS,
        "channels": _CHANNELS,
        "width": _WIDTHS,
        "rank": _RANKS,
        "flip": _FLIP,
        "float64": _FLOAT64,
        "net": _NETS,
    }.items()
    for case in _rows(tag, rows)
]


def tagged(*tags: str) -> list[Case]:
    """The cases that have all these tags, in the order of the table."""
    return [case for case in CASES if case.tags >= set(tags)]


def integers(case: Case | ConvSpec, seed: int = 0) -> tuple[np.ndarray, ...]:
    """x, w, bias and output gradient of small integers, in the dtype of the spec.

    |x|, |w|, |g| <= 4 and |bias| <= 9. Every partial sum of the forward pass and of both gradients
    is an integer below 2**24 (a case has too few terms for more), so float32 adds without rounding.
    """
    spec = case.spec if isinstance(case, Case) else case
    rng = np.random.default_rng(seed)
    shapes = {
        "x": spec.input_shape,
        "w": spec.weight_shape,
        "bias": (spec.channels_out,),
        "g": spec.output_shape,
    }
    return tuple(
        rng.integers(-bound, bound, size=shape, endpoint=True).astype(spec.dtype)
        for shape, bound in zip(shapes.values(), (4, 4, 9, 4), strict=True)
    )


def random_specs(
    *, max_rank: int = 4, max_macs: int = 1_000_000, modes: tuple[str, ...] = MODES
) -> SearchStrategy[ConvSpec]:
    """A hypothesis strategy for legal specs of at most `max_macs` multiply-adds.

    Every spec that it draws is one that people may ask for: pads are not negative.
    """
    from hypothesis import strategies as st

    @st.composite
    def specs(draw: Any) -> ConvSpec:
        rank = draw(st.integers(1, max_rank))
        axes = tuple(draw(random_axes(rank, modes)) for _ in range(rank))
        # Channels are drawn from those that fit, so that no draw has to be thrown away.
        here = ConvSpec(axes, 1, 1).macs
        widths = [c for c in (1, 2, 3, 4, 8, 15, 16, 17, 33) if here * c <= max_macs] or [1]
        per_in = draw(st.sampled_from(widths))
        widths = [c for c in widths if here * per_in * c <= max_macs] or [1]
        per_out = draw(st.sampled_from(widths))
        most = max(1, min(5, max_macs // (here * per_in * per_out)))
        groups = draw(st.integers(1, most))
        batch = draw(st.integers(0, min(3, max(1, most // groups))))
        return ConvSpec(
            axes,
            channels_in=per_in * groups,
            channels_out=per_out * groups,
            batch=batch,
            groups=groups,
            dtype=draw(st.sampled_from(("float32", "float64"))),
            flip=draw(st.booleans()),
        )

    return specs()


def random_axes(rank: int, modes: tuple[str, ...]) -> SearchStrategy[Axis]:
    """One axis, the smaller the more there are; every mode gets pads that it can fill."""
    from hypothesis import strategies as st

    @st.composite
    def axes(draw: Any) -> Axis:
        few = (7, 5, 3, 2)[min(rank, 4) - 1]
        kernel, stride = draw(st.integers(1, few)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 4 if rank < 3 else 2))
        mode = draw(st.sampled_from(modes))
        lo, hi = draw(st.integers(0, 2 * few)), draw(st.integers(0, 2 * few))
        least = {"reflect": max(lo, hi) + 1, "symmetric": max(lo, hi), "circular": max(lo, hi)}
        extent = dilation * (kernel - 1) + 1
        size = max(1, extent - lo - hi, least.get(mode, 1))
        size += draw(st.integers(0, (40, 12, 4, 2)[min(rank, 4) - 1]))
        return Axis(size, kernel, stride, dilation, lo, hi, mode)

    return axes()
