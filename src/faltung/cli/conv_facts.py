"""The facts about a convolution as data, and as a page of 80 columns. Standard library only."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faltung.geometry import Axis, ConvSpec

FORMULA = "floor((H - d(h-1) - 1 + p_lo + p_hi) / s) + 1"


def formula(axis: "Axis") -> str:
    """``FORMULA`` with the numbers of one axis, and its result."""
    span = f"{axis.dilation}*({axis.kernel}-1)"
    inside = f"({axis.size} - {span} - 1 + {axis.lo} + {axis.hi})"
    return f"floor({inside} / {axis.stride}) + 1 = {axis.output}"


def facts(spec: "ConvSpec") -> dict[str, Any]:
    """Everything that follows from the spec, ready for JSON."""
    from faltung.geometry.conv_html import axis_names
    from faltung.geometry.field import receptive_field

    ladder = spec.ladder()
    fields = [receptive_field([axis]) for axis in spec.axes]
    return {
        "spec": str(spec),
        "input_shape": spec.input_shape,
        "weight_shape": spec.weight_shape,
        "output_shape": spec.output_shape,
        "dtype": spec.dtype,
        "groups": spec.groups,
        "flip": spec.flip,
        "axes": [
            {
                "name": name,
                "size": axis.size,
                "kernel": axis.kernel,
                "stride": axis.stride,
                "dilation": axis.dilation,
                "padding": (axis.lo, axis.hi),
                "padding_mode": axis.mode,
                "output": axis.output,
                "formula": formula(axis),
                "receptive_field": field.size,
                "jump": field.jump,
            }
            for name, axis, field in zip(axis_names(spec.rank), spec.axes, fields, strict=True)
        ],
        "parameters": {
            "dense": ladder.dense,
            "local": ladder.local,
            "convolution": ladder.conv,
            "bias": spec.bias_parameters,
        },
        "macs": spec.macs,
        "flops": spec.flops,
        "bytes_moved": spec.bytes_moved,
        "flops_per_byte": spec.flops / spec.bytes_moved,
    }


def page(spec: "ConvSpec") -> Iterator[str]:
    """The lines of the page, without the plan."""
    found = facts(spec)
    yield found["spec"]
    yield ""
    kind = "true convolution (kernel flipped)" if spec.flip else "cross-correlation"
    groups = f", {spec.groups} groups" if spec.groups > 1 else ""
    yield f"  {spec.rank}-D {kind}, {spec.dtype}{groups}"
    yield f"  input   {_shape(spec.input_shape)}"
    yield f"  weight  {_shape(spec.weight_shape)}"
    yield f"  output  {_shape(spec.output_shape)}"
    yield ""
    yield from _axes(found["axes"])
    yield ""
    yield f"Output size = {FORMULA}"
    yield from _table([(a["name"], a["formula"]) for a in found["axes"]])
    yield ""
    yield from _ladder(found["parameters"])
    yield ""
    yield from _cost(spec, found)


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _axes(axes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The geometry of the axes, one line each."""
    head = ("", "size", "kernel", "stride", "dilation", "before", "after", "output", "sees")
    rows = [
        (
            axis["name"],
            *(str(axis[key]) for key in ("size", "kernel", "stride", "dilation")),
            *map(str, axis["padding"]),
            str(axis["output"]),
            str(axis["receptive_field"]),
        )
        for axis in axes
    ]
    yield from _table([head, *rows], right=range(1, len(head)))
    yield "  sees: the receptive field, from the first input an output reads to the last"
    modes = [axis["padding_mode"] for axis in axes]
    padded = [axis for axis in axes if any(axis["padding"])]
    if not padded:
        yield "  no padding"
    elif len(set(modes)) == 1:
        yield f"  padding mode: {modes[0]}"
    else:
        every = (f"{axis['name']} {axis['padding_mode']}" for axis in axes)
        yield f"  padding modes: {', '.join(every)}"


def _ladder(parameters: dict[str, int]) -> Iterator[str]:
    """Parameters of the same mapping: dense, with locality, and with translation invariance."""
    least = parameters["convolution"]
    remarks = {
        "dense": "every output from every input",
        "local": "a kernel for each position",
        "convolution": "one kernel for all positions",
    }
    yield "Parameters of the same mapping, without bias"
    rows = [
        (name, _count(parameters[name]), f"{_ratio(parameters[name], least)} x", remark)
        for name, remark in remarks.items()
    ]
    yield from _table(rows, right=(1, 2))


def _cost(spec: "ConvSpec", found: dict[str, Any]) -> Iterator[str]:
    numbers = (prod(spec.input_shape), prod(spec.weight_shape), prod(spec.output_shape))
    x, w, y = (_bytes(n * spec.itemsize) for n in numbers)
    moved, intensity = found["bytes_moved"], found["flops_per_byte"]
    yield "Cost"
    rows = [
        ("MACs", _count(found["macs"]), "multiply-adds; taps on padding counted"),
        ("FLOPs", _count(found["flops"]), "2 per MAC"),
        ("bytes moved", _count(moved), f"= input {x} + weight {w} + output {y}"),
        ("intensity", f"{intensity:,.1f}", "FLOPs per byte"),
    ]
    yield from _table(rows, right=(1,))


def _count(value: int) -> str:
    """All digits if they fit in the column, else four."""
    return f"{value:,}" if value < 10**13 else f"{value:.3e}"


def _ratio(value: int, unit: int) -> str:
    ratio = value / unit
    return _count(round(ratio)) if ratio >= 10 or value % unit == 0 else f"{ratio:.1f}"


def _bytes(count: int) -> str:
    """A number of bytes with a decimal unit, three significant digits."""
    value, units = float(count), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 999.5 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Rows as lines of aligned columns, two blanks apart; ``right``: right-aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {'  '.join(cells)}".rstrip()
