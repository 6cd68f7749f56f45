"""Products, attention and computed weights of ONNX files, against ONNX Runtime and themselves."""

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign_products import equation
from faltung.onnx import load

runtime = optional("onnxruntime")


def two(op: str, first: Any, second: Any, *, opset: int = 18, **attributes: Any) -> None:
    """A node of two inputs; then with either of them constant."""
    runtime.InferenceSession  # noqa: B018 - skips where it is not installed
    arrays = {"a": numbers(*first), "b": numbers(*second, seed=1)}
    for fixed in ((), ("a",), ("b",)):
        free = {n: x for n, x in arrays.items() if n not in fixed}
        data = made(
            [node(op, "a b", "y", **attributes)],
            {n: x.shape for n, x in free.items()},
            ["y"],
            {n: arrays[n] for n in fixed},
            opset=opset,
        )
        agree(data, free)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,))),
        *(((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5))),
        *(((2, 1, 3, 4), (5, 4, 2)), ((1, 2, 3, 4), (6, 1, 4, 5)), ((2, 3, 4), (4,))),
        *(((4,), (2, 4, 5)), ((2, 3, 1, 1), (2, 1, 1, 5)), ((1, 1), (1, 1))),
    ],
)
def test_matmul(first: Any, second: Any) -> None:
    two("MatMul", first, second)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("extra", [None, (5,), (3, 5), (3, 1), (1, 5), (1, 1)])
def test_gemm(turned: tuple[int, int], extra: Any) -> None:
    runtime.InferenceSession  # noqa: B018
    a = numbers(*((4, 3) if turned[0] else (3, 4)))
    b = numbers(*((5, 4) if turned[1] else (4, 5)), seed=1)
    arrays = {"a": a, "b": b} | ({} if extra is None else {"c": numbers(*extra, seed=2)})
    words = {"transA": turned[0], "transB": turned[1], "alpha": 0.5, "beta": 2.0}
    for fixed in ((), ("a",), ("b",), ("b", "c"), ("c",)):
        free = {n: x for n, x in arrays.items() if n not in fixed}
        data = made(
            [node("Gemm", " ".join(arrays), "y", **words)],
            {n: x.shape for n, x in free.items()},
            ["y"],
            {n: arrays[n] for n in fixed if n in arrays},
        )
        agree(data, free)


@pytest.mark.parametrize(
    ("words", "shapes"),
    [
        ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
        ("...ij,...jk->...ik", ((2, 1, 3, 4), (1, 5, 4, 2))),
        ("bhld,bhmd->bhlm", ((2, 3, 4, 5), (2, 3, 6, 5))),
        ("ij,jk", ((3, 4), (4, 2))),
        ("i...,i...->...", ((3, 4, 2), (3, 4, 2))),
        ("ab,cd->acbd", ((2, 3), (4, 5))),
        ("b n d , n e -> b e d", ((2, 3, 4), (3, 5))),
    ],
)
def test_einsum(words: str, shapes: Any) -> None:
    two("Einsum", *shapes, equation=words)


@pytest.mark.parametrize(
    ("words", "ranks", "says"),
    [
        ("ij,jk->ik", [2], "must have 1 terms"),
        ("ij,jk->ii", [2, 2], "each of its labels once"),
        ("ij,jk->iz", [2, 2], "each of its labels once"),
        ("i1->i", [2], "labels must be letters"),
        ("ijk...->i", [2], "more labels than an operand axes"),
    ],
)
def test_equations_that_are_none(words: str, ranks: list[int], says: str) -> None:
    with pytest.raises(FaltungError, match=says):
        equation(words, ranks)


def test_many_weights_of_one_model() -> None:
    """Weights and biases that are inputs, and that nodes make: each run has its own."""
    runtime.InferenceSession  # noqa: B018
    nodes = [
        node("Tanh", "w", "u"),
        node("Conv", "x u b", "y", pads=[1, 1, 1, 1]),
        node("ConvTranspose", "y v", "z", strides=[2, 2]),
    ]
    shapes = {"x": (2, 3, 7, 6), "w": (4, 3, 3, 3), "b": (4,), "v": (4, 2, 2, 2)}
    data = made(nodes, shapes, ["y", "z"])
    for seed in (0, 1):
        agree(data, {n: numbers(*s, seed=seed + i) for i, (n, s) in enumerate(shapes.items())})


def spelled(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
    s = np.einsum("bhld,bhmd->bhlm", q, k) * scale + mask
    p = np.exp(s - s.max(-1, keepdims=True))
    return np.einsum("bhlm,bhmd->bhld", p / p.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("mask", [(5, 6), (3, 5, 6), (2, 1, 5, 6), (1, 1, 1, 6), (6,)])
@pytest.mark.parametrize("fixed", [False, True])
def test_attention_with_masks(mask: Any, fixed: bool) -> None:
    """Of opset 23, which not every ONNX Runtime has: against its definition."""
    onnx = optional("onnx")
    if onnx.defs.onnx_opset_version() < 23:
        pytest.skip("this onnx has no Attention")
    arrays = {"q": numbers(2, 3, 5, 4), "k": numbers(2, 3, 6, 4, seed=1)}
    arrays |= {"v": numbers(2, 3, 6, 7, seed=2), "m": numbers(*mask, seed=3)}
    free = {n: x for n, x in arrays.items() if not (fixed and n == "m")}
    data = made(
        [node("Attention", "q k v m", "y", scale=0.3)],
        {n: x.shape for n, x in free.items()},
        ["y"],
        {n: x for n, x in arrays.items() if n not in free},
        opset=23,
    )
    (got,) = load(data).run(free)
    np.testing.assert_allclose(got, spelled(*arrays.values(), 0.3), atol=1e-5)


def deformed(
    x: Any, w: Any, offset: Any, mask: Any, stride: int, pad: int, dilation: int, groups: int
) -> Any:
    """By its definition, tap by tap."""
    batch, channels, height, width = x.shape
    count, own, *kernel = w.shape
    rows, columns = offset.shape[2:]
    taps = kernel[0] * kernel[1]
    parts = offset.shape[1] // (2 * taps)
    offset = offset.reshape(batch, parts, taps, 2, rows, columns)
    mask = mask.reshape(batch, parts, taps, rows, columns)
    made = np.zeros((batch, count, rows, columns))
    for n, c, i, j in np.ndindex(batch, channels, rows, columns):
        group = c // own
        outputs = slice(group * (count // groups), (group + 1) * (count // groups))
        part = c // (channels // parts)
        for tap in range(taps):
            moves = offset[n, part, tap, :, i, j]
            y = i * stride - pad + tap // kernel[1] * dilation + moves[0]
            z = j * stride - pad + tap % kernel[1] * dilation + moves[1]
            value = 0.0
            for a in (int(np.floor(y)), int(np.floor(y)) + 1):
                for b in (int(np.floor(z)), int(np.floor(z)) + 1):
                    if 0 <= a < height and 0 <= b < width:
                        value += x[n, c, a, b] * (1 - abs(y - a)) * (1 - abs(z - b))
            weight = w[outputs, c % own].reshape(-1, taps)[:, tap]
            made[n, outputs, i, j] += weight * value * mask[n, part, tap, i, j]
    return made


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("stride", "pad", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("fixed", [False, True])
def test_deformable_convolutions(
    groups: int, parts: int, stride: int, pad: int, dilation: int, fixed: bool
) -> None:
    height, width, kernel = 6, 7, (3, 2)
    sizes = [
        (n + 2 * pad - dilation * (k - 1) - 1) // stride + 1
        for n, k in zip((height, width), kernel, strict=True)
    ]
    arrays = {
        "x": numbers(2, 4, height, width),
        "w": numbers(6, 4 // groups, *kernel, seed=1),
        "o": numbers(2, parts * 12, *sizes, seed=2) * 2,
        "b": numbers(6, seed=3),
        "m": numbers(2, parts * 6, *sizes, seed=4),
    }
    free = {n: a for n, a in arrays.items() if not (fixed and n in "wb")}
    words = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [dilation] * 2}
    data = made(
        [node("DeformConv", "x w o b m", "y", group=groups, offset_group=parts, **words)],
        {n: a.shape for n, a in free.items()},
        ["y"],
        {n: a for n, a in arrays.items() if n not in free},
        opset=19,
    )
    (got,) = load(data).run(free)
    how = stride, pad, dilation, groups
    want = deformed(*(arrays[n].astype(np.float64) for n in "xwom"), *how)
    want += arrays["b"][:, None, None]
    np.testing.assert_allclose(got, want, atol=3e-5)
