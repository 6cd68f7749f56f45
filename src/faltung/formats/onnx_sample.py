"""Maps read at computed points as operators of ONNX: GridSample, and for windows DeformConv."""

from math import prod
from typing import Any

import numpy as np

from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.geometry.sample import SampleSpec
from faltung.graph.value import Node

MODES = {"linear": "bilinear", "nearest": "nearest", "cubic": "bicubic"}
OUTSIDE = {
    "zeros": "zeros",
    "replicate": "border",
    "reflect": "reflection",
    "symmetric": "reflection",
}


def sample(writer: Writer, node: Node) -> str:
    op: Any = node.op
    spec: SampleSpec = op.layer
    x, points, *mask = node.inputs
    names = [writer.name(value) for value in (x, points, *mask)]
    if spec.rank == 2 and spec.windows and (spec.mode, spec.outside) == ("linear", "zeros"):
        return _windows(writer, spec, x.channels, *names)
    if spec.rank != 2 or len(spec.output) != 2 or spec.groups != 1 or spec.windows:
        raise FaltungError(
            f"graph: how layer {writer.layer!r} reads its input at points cannot be expressed in "
            "ONNX, which has one set of points in two axes"
        )
    made = writer.node(
        "GridSample",
        names[0],
        _grid(writer, spec, names[1]),
        mode=MODES[spec.mode],
        padding_mode=OUTSIDE[spec.outside],
        align_corners=int(spec.outside == "reflect"),
    )
    return writer.node("Mul", made, names[2]) if spec.masked else made


def _grid(writer: Writer, spec: SampleSpec, points: str) -> str:
    """Coordinates from -1 to 1, the last axis first."""
    if not spec.backwards:
        points = writer.node("Gather", points, writer.whole(1, 0), axis=1)
    sizes = np.array(spec.size[::-1], np.float64).reshape(2, 1, 1)
    if spec.outside == "reflect":  # -1 and 1 are the first and the last entry
        scale, shift = 2 / np.maximum(sizes - 1, 1), np.full_like(sizes, -1)
    else:
        scale, shift = 2 / sizes, 1 / sizes - 1
    scaled = writer.node("Mul", points, writer.tensor(scale))
    grid = writer.node("Add", scaled, writer.tensor(shift))
    return writer.node("Transpose", grid, perm=[0, 2, 3, 1])


def _windows(writer: Writer, spec: SampleSpec, channels: int, x: str, *moved: str) -> str:
    """A deformable convolution that puts what each tap reads into a channel of its own."""
    kernel = [axis.kernel for axis in spec.windows]
    taps = prod(kernel)
    # (group, coordinate, *windows, tap) to (group, tap, coordinate, *windows).
    inputs = []
    for name, parts in zip(moved, (spec.rank, 1), strict=False):
        split = writer.node("Reshape", name, writer.whole(0, spec.groups, parts, *spec.output))
        turned = writer.node("Transpose", split, perm=[0, 1, 5, 2, 3, 4])
        if parts > 1 and spec.backwards:
            turned = writer.node("Gather", turned, writer.whole(1, 0), axis=3)
        flat = spec.groups * taps * parts
        inputs.append(writer.node("Reshape", turned, writer.whole(0, flat, *spec.output[:-1])))
    one = np.tile(np.eye(taps).reshape(taps, 1, *kernel), (channels, 1, 1, 1))
    made = writer.node(
        "DeformConv",
        x,
        writer.tensor(one),
        inputs[0],
        *(["", inputs[1]] if spec.masked else []),
        kernel_shape=kernel,
        strides=[axis.stride for axis in spec.windows],
        dilations=[axis.dilation for axis in spec.windows],
        pads=[axis.lo for axis in spec.windows] + [axis.hi for axis in spec.windows],
        group=channels,
        offset_group=spec.groups,
    )
    split = writer.node("Reshape", made, writer.whole(0, channels, taps, *spec.output[:-1]))
    return writer.node("Transpose", split, perm=[0, 1, 3, 4, 2])
