"""``python -m benchmarks accuracy``: the error of every method, as tables of ``docs/accuracy.md``.

``--write`` updates that page. Errors are relative root mean squares against sums in long double;
all numbers are normally distributed. The machine matters only because some lack fused multiply-add.
The errors of elementary functions come from ``elementary.py``.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import faltung
from benchmarks import elementary
from faltung.geometry.conv import ConvSpec
from faltung.geometry.text import parse

Array = np.ndarray[Any, Any]

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"
OPEN, CLOSE = "<!-- {} -->\n", "<!-- /{} -->"
METHODS = {
    "forward": ("sum", "winograd", "fft", "strassen"),
    "weight_grad": ("sum", "winograd", "fft"),
}
DTYPES = ("float32", "float64")

# Forward. All are small in memory, but have sums as long as those of the layers in their names.
FORWARD = {
    "depthwise 3x3": "c64>64 20x20 k3 p1 g64",
    "3x3, 8 channels": "c8>16 14x14 k3 p1",
    "3x3, 64 channels": "c64>16 14x14 k3 p1",
    "3x3, 128 channels": "c128>16 14x14 k3 p1",
    "3x3, 512 channels": "c512>16 14x14 k3 p1",
    "5x5, 32 channels": "c32>16 14x14 k5 p2",
    "3x3x3, 32 channels": "c32>8 8x8x8 k3 p1",
    "1x1, 256 channels": "c256>64 14x14 k1",
    "1x1, 1,024 channels": "c1024>64 14x14 k1",
    "1x1, 4,096 channels": "c4096>64 14x14 k1",
    "linear, 25,088 features": "n16 c25088>16 1x1 k1",
    "signal, 101 taps": "c1>1 20000 k101 p50",
    "signal, 1,001 taps": "c1>1 20000 k1001 p500",
    "signal, 10,001 taps": "c1>1 30000 k10001 p5000",
}
WEIGHT_GRAD = {
    "3x3, 14x14": "c16>16 14x14 k3 p1",
    "3x3, 56x56": "c16>16 56x56 k3 p1",
    "3x3, 56x56, batch 16": "n16 c8>8 56x56 k3 p1",
    "5x5, 28x28": "c16>16 28x28 k5 p2",
    "depthwise 3x3, 56x56": "c16>16 56x56 k3 p1 g16",
    "signal, 101 taps": "c1>1 100000 k101 p50",
}
NARROW = {
    "float16": ("fast",),
    "bfloat16": ("fast",),
    "complex64": ("fast", "strict"),
    "complex128": ("fast", "strict"),
}


# One result, and the exact one --------------------------------------------------------------------


def drawn(spec: ConvSpec, dtype: str, seed: int = 0) -> tuple[Array, Array, Array]:
    """Draw an input, a weight and an output gradient."""
    rng = np.random.default_rng(seed)
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    x, w, g = (rng.standard_normal(shape) for shape in shapes)
    if dtype.startswith("complex"):
        x, w, g = (a + 1j * rng.standard_normal(a.shape) for a in (x, w, g))
    if dtype == "bfloat16":
        import ml_dtypes

        dtype = ml_dtypes.bfloat16
    return x.astype(dtype), w.astype(dtype), g.astype(dtype)


def windows(spec: ConvSpec, x: Array) -> Iterable[tuple[tuple[int, ...], Array]]:
    """For each tap, what all outputs read there; stride 1, padding with zeros."""
    kind = np.clongdouble if np.iscomplexobj(x) else np.longdouble
    padded = np.pad(x.astype(kind), ((0, 0), (0, 0), *spec.padding))
    for tap in np.ndindex(*spec.kernel):
        inside = (slice(k, k + n) for k, n in zip(tap, spec.output, strict=True))
        yield tap, padded[(..., *inside)]


def exact(spec: ConvSpec, x: Array, w: Array) -> Array:
    """The convolution in long double."""
    groups, out = spec.groups, np.zeros((), np.longdouble)
    for tap, read in windows(spec, x):
        part = read.reshape(spec.batch, groups, -1, prod(spec.output))
        taps = w[(..., *tap)].reshape(groups, -1, part.shape[2]).astype(part.dtype)
        out = out + np.einsum("ngcp,goc->ngop", part, taps)
    return out.reshape(spec.output_shape)


def exact_weight_grad(spec: ConvSpec, x: Array, g: Array) -> Array:
    groups, out = spec.groups, np.zeros(spec.weight_shape, np.longdouble)
    back = g.reshape(spec.batch, groups, -1, prod(spec.output)).astype(np.longdouble)
    for tap, read in windows(spec, x):
        part = read.reshape(spec.batch, groups, -1, prod(spec.output))
        sums = np.einsum("ngcp,ngop->goc", part, back)
        out[(..., *tap)] = sums.reshape(spec.weight_shape[:2])
    return out


def error(got: Array, want: Array) -> float:
    size = float(np.sqrt((np.abs(want) ** 2).sum()))
    kind = np.clongdouble if np.iscomplexobj(got) else np.longdouble
    return float(np.sqrt((np.abs(got.astype(kind) - want) ** 2).sum())) / size


def asked(name: str) -> dict[str, str]:
    """The options that select a method, or a plain sum."""
    return {"precision": "strict"} if name == "sum" else {"method": name}


def tried(call: Callable[..., Array], want: Array, name: str) -> float | None:
    """The error of a method; None where it does not apply."""
    try:
        return error(call(**asked(name)), want)
    except ValueError:
        return None


def errors(direction: str, text: str, dtype: str) -> list[float | None]:
    """The errors of all methods on one problem."""
    spec, methods = replace(parse(text), dtype=dtype), METHODS[direction]
    x, w, g = drawn(spec, dtype)
    given = {"padding": spec.padding, "groups": spec.groups}
    if direction == "forward":
        want = exact(spec, x, w)
        return [tried(lambda **how: faltung.conv(x, w, **given, **how), want, m) for m in methods]
    want = exact_weight_grad(spec, x, g)
    return [
        tried(lambda **how: faltung.conv_weight_grad(x, g, w.shape, **given, **how), want, m)
        for m in methods
    ]


# Tables -------------------------------------------------------------------------------------------


def cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}".replace("e-0", "e-")


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def head(*names: str) -> list[str]:
    return [line(*names), "|" + "---|" * len(names)]


def table(direction: str, rows: dict[str, str]) -> list[str]:
    """Errors, ordered by the number of products in a sum."""
    made = []
    for name, text in rows.items():
        spec = parse(text)
        count = spec.batch * prod(spec.output)
        if direction == "forward":
            count = spec.channels_in // spec.groups * spec.taps
        found = [cell(value) for dtype in DTYPES for value in errors(direction, text, dtype)]
        made.append((count, line(name, f"{count:,}", *found)))
    kinds = [f"{method}, {dtype}" for dtype in DTYPES for method in METHODS[direction]]
    lines = [text for _, text in sorted(made, key=lambda entry: entry[0])]
    return [*head("problem", "products", *kinds), *lines]


def dtypes(text: str = "c64>16 14x14 k3 p1") -> list[str]:
    """The other dtypes on one problem, as the policy computes it and as plain sums."""
    lines = head("dtype", "fast", "strict")
    for dtype, precisions in NARROW.items():
        spec = parse(text)
        x, w, _ = drawn(spec, dtype)
        want = exact(spec, x, w)
        found = [
            error(faltung.conv(x, w, padding=spec.padding, precision=p), want) for p in precisions
        ]
        lines.append(line(dtype, *(cell(value) for value in (*found, found[-1])[:2])))
    return [*lines, line("int32, int64", "0", "0")]


TABLES: dict[str, Callable[[], list[str]]] = {
    "forward": lambda: table("forward", FORWARD),
    "weight gradient": lambda: table("weight_grad", WEIGHT_GRAD),
    "dtypes": dtypes,
    "elementary functions": elementary.functions,
    "activations": elementary.activations_table,
}


def written(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with these lines between its marks. ValueError: the marks are missing."""
    before, opened, rest = page.partition(OPEN.format(name))
    _, closed, after = rest.partition(CLOSE.format(name))
    if not opened or not closed:
        raise ValueError(f"the page has no {OPEN.format(name).strip()} ... {CLOSE.format(name)}")
    return "".join((before, opened, *(f"{text}\n" for text in lines), closed, after))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks accuracy", description=__doc__)
    parser.add_argument("--only", metavar="TABLE", choices=tuple(TABLES), help="(all)")
    parser.add_argument("--write", action="store_true", help=f"also into {PAGE.name}")
    options = parser.parse_args(arguments)
    for name in [options.only] if options.only else TABLES:
        lines = TABLES[name]()
        print(f"\n{name}\n", *lines, sep="\n", flush=True)
        if options.write:
            PAGE.write_text(written(PAGE.read_text("utf-8"), name, lines), "utf-8")
    return 0
