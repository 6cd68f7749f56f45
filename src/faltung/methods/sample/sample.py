"""Maps read at computed points: grid samples, and what deformable convolutions read.

What it is.  For each point the entries around it (``geometry/sample.py``), times their weights. The
  arithmetic of a point is scalar; channels are vectors. A deformable convolution is this with a
  point for each tap of each window, and a convolution of what was read.
When it applies.  Always.
What it costs.  For each point about 40 scalar instructions, and a load of each entry around it.

The gradient for the map adds to entries that points decide, so an item owns some channels of a
sample and goes through all points in order: no two threads write the same, and the order of the
terms is that of the points. The gradients for points and masks are sums over channels.
"""

from math import prod

from faltung.geometry.sample import SampleSpec
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Matrix, Operand, Work, table
from faltung.methods.sample.kernels import (
    OWN_VECTORS,
    InputGradKernel,
    PointsGradKernel,
    SampleKernel,
)

# Entries of the map that an item reads, about.
ITEM_ENTRIES = 1 << 14


def sample(
    spec: SampleSpec,
    work: Work,
    x: Matrix,
    points: Matrix,
    mask: Matrix | None,
    y: Matrix,
    zeros: Operand,
    *,
    samples: int,
    channels: int,
    dtype: str,
) -> None:
    """Add the step. zeros: at least ``channels / groups`` of them."""
    given = _given(spec, points, mask, channels)
    block, blocks = _blocks(spec, channels)
    step = SampleKernel(dtype, *_kind(spec)).step(
        samples * blocks,
        "sample",
        barrier=False,
        **x.arguments("x"),
        **y.arguments("y"),
        zeros=zeros,
        block=block,
        blocks=blocks,
        **given,
    )
    work.steps.append(step)


def sample_input_grad(
    spec: SampleSpec,
    work: Work,
    grad: Matrix,
    points: Matrix,
    mask: Matrix | None,
    out: Matrix,
    *,
    samples: int,
    channels: int,
    dtype: str,
    machine: Machine,
) -> None:
    """Add the step of the gradient for the map."""
    width = OWN_VECTORS * machine.lanes(dtype)
    blocks = -(-(channels // spec.groups) // width)
    step = InputGradKernel(dtype, *_kind(spec)).step(
        samples * spec.groups * blocks,
        "sample input gradient",
        barrier=False,
        **grad.arguments("grad"),
        **out.arguments("x_grad"),
        blocks=blocks,
        **_given(spec, points, mask, channels),
    )
    work.steps.append(step)


def sample_points_grad(
    spec: SampleSpec,
    work: Work,
    grad: Matrix,
    x: Matrix,
    points: Matrix,
    mask: Matrix | None,
    points_grad: Matrix,
    mask_grad: Matrix | None,
    zeros: Operand,
    *,
    samples: int,
    channels: int,
    dtype: str,
) -> None:
    """Add the step of the gradients for the points and, where there are masks, for these."""
    given = _given(spec, points, mask, channels)
    block, blocks = _blocks(spec, channels)
    more = {} if mask_grad is None else mask_grad.arguments("mask_grad")
    step = PointsGradKernel(dtype, *_kind(spec)).step(
        samples * blocks,
        "sample points gradient",
        barrier=False,
        **grad.arguments("grad"),
        **x.arguments("x"),
        **points_grad.arguments("points_grad"),
        **more,
        zeros=zeros,
        block=block,
        blocks=blocks,
        **given,
    )
    work.steps.append(step)


def _kind(spec: SampleSpec) -> tuple[int, str, str, bool, bool, bool]:
    return (
        spec.rank,
        spec.mode,
        spec.outside,
        spec.masked,
        bool(spec.windows),
        spec.backwards,
    )


def _blocks(spec: SampleSpec, channels: int) -> tuple[int, int]:
    """Windows of an item, and items of a sample."""
    block = max(1, ITEM_ENTRIES // (len(spec.offsets) * channels))
    return block, -(-spec.positions // block)


def _given(
    spec: SampleSpec, points: Matrix, mask: Matrix | None, channels: int
) -> dict[str, Argument]:
    """The arguments that all kernels take."""
    offsets = spec.offsets
    made: dict[str, Argument] = {
        "positions": spec.positions,
        "count": len(offsets),
        "channels": channels // spec.groups,
        "groups": spec.groups,
        "taps": table(offsets if spec.windows else [(0,) * spec.rank], spec.rank),
        **points.arguments("points"),
    }
    if mask is not None:
        made |= mask.arguments("mask")
    for a, size in enumerate(spec.size):
        twice = 2 * size if spec.outside == "symmetric" else max(1, 2 * (size - 1))
        made |= {f"size{a}": size, f"period{a}": twice, f"step{a}": prod(spec.size[a + 1 :])}
    for a, axis in enumerate(spec.windows):
        made |= {f"out{a}": axis.output, f"stride{a}": axis.stride, f"lo{a}": axis.lo}
    return made
