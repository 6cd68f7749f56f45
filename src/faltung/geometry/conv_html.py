"""A convolution as a box in a notebook: its axes, shapes, parameters and cost."""

from typing import TYPE_CHECKING

from faltung.geometry.html import box, shape, table

if TYPE_CHECKING:
    from faltung.geometry.conv import ConvSpec

_HEAD = ("", "size", "kernel", "stride", "dilation", "padding", "mode", "output")


def axis_names(rank: int) -> tuple[str, ...]:
    """The usual names of the spatial axes."""
    usual = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
    return usual.get(rank) or tuple(f"axis {i}" for i in range(rank))


def conv_html(spec: "ConvSpec", more: str = "") -> str:
    """The box; ``more``: HTML at its end."""
    kind = "convolution" if spec.flip else "cross-correlation"
    groups = f", {spec.groups} groups" if spec.groups > 1 else ""
    rows = [
        (
            name,
            *map(str, (axis.size, axis.kernel, axis.stride, axis.dilation)),
            str(axis.lo) if axis.lo == axis.hi else f"{axis.lo}, {axis.hi}",
            axis.mode if axis.lo or axis.hi else "",
            str(axis.output),
        )
        for name, axis in zip(axis_names(spec.rank), spec.axes, strict=True)
    ]
    ladder = spec.ladder()
    shapes = [spec.input_shape, spec.weight_shape, spec.output_shape]
    facts = [
        ("input, weight, output", ", ".join(f"({shape(s)})" for s in shapes)),
        ("parameters", f"{ladder.conv:,} (locally connected {ladder.local:,})"),
        ("multiply-adds", f"{spec.macs:,}"),
    ]
    note = f"{spec.rank}-D {kind}, {spec.dtype}{groups}"
    return box(
        str(spec), table(_HEAD, rows, right=(1, 2, 3, 4, 5, 7)), table((), facts), more, note=note
    )
