"""Every dtype beside float32 and float64: against the reference, PyTorch, and NumPy's rules."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from grid import grid, rows

import faltung
from faltung import reference
from faltung.geometry import conv_spec, parse
from faltung.plan import plan_forward, plan_input_grad, plan_weight_grad

torch = pytest.importorskip("torch")

# Shapes of x and weight, and options: thin, wide, grouped, depthwise, strided, with borders.
PROBLEMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "thin": ((2, 3, 9, 10), (4, 3, 3, 3), {"padding": 1}),
    "wide": ((2, 17, 9, 10), (33, 17, 3, 3), {"padding": 1}),
    "grouped": ((2, 8, 9, 9), (12, 4, 3, 2), {"groups": 2, "stride": 2}),
    "depthwise": ((2, 16, 8, 9), (16, 1, 3, 3), {"groups": 16, "padding": 1}),
    "signal": ((3, 1, 70), (1, 1, 5), {"dilation": 2}),
    "long": ((1, 1, 600), (1, 1, 51), {"padding": 25}),
    "pointwise": ((2, 9, 5, 7), (10, 9, 1, 1), {"stride": 2}),
    "volume": ((1, 2, 4, 5, 6), (3, 2, 3, 3, 3), {"padding": 1}),
}


WALK = [f"{name} {last}" for name in PROBLEMS for last in ("first", "last")]


def problem_of(text: str) -> tuple[Any, ...]:
    name, order = text.split()
    return *PROBLEMS[name], order == "last"


def to(array: np.ndarray, last: bool) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array


def back(array: np.ndarray, last: bool) -> np.ndarray:
    return np.moveaxis(array, -1, 1) if last else array


def three(
    x: np.ndarray, w: np.ndarray, bias: Any, g: np.ndarray, last: bool, **given: Any
) -> tuple[np.ndarray, ...]:
    """The convolution, of a layer too, and both gradients, channels first."""
    given["channels_last"] = last
    x_in, g_in = to(x, last), to(g, last)
    made = faltung.conv(x_in, w, bias, **given)
    assert faltung.Conv(w, bias, **given)(x_in).tobytes() == made.tobytes()
    by_x = faltung.conv_input_grad(g_in, w, x_in.shape, **given)
    by_w = faltung.conv_weight_grad(x_in, g_in, w.shape, **given)
    assert made.dtype == by_x.dtype == by_w.dtype == x.dtype
    return back(made, last), back(by_x, last), by_w


def output(x: tuple[int, ...], w: tuple[int, ...], given: dict[str, Any]) -> tuple[int, ...]:
    return conv_spec(x, w, **given).output_shape


def bfloat16() -> np.dtype:
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


STORED = {"float16": lambda: np.dtype(np.float16), "bfloat16": bfloat16}


# Numbers of 16 bits -------------------------------------------------------------------------------


@grid(problem=WALK, name=STORED, precision=["fast", "strict"], every=4)
def test_sums_are_float32_and_rounded_once(name: str, precision: str, problem: str) -> None:
    x_shape, w_shape, given, last = problem_of(problem)
    kind, rng = STORED[name](), np.random.default_rng(1)
    shapes = x_shape, w_shape, output(x_shape, w_shape, given)
    x, w, g = (rng.standard_normal(shape).astype(kind) for shape in shapes)
    bias = rng.standard_normal(w_shape[0]).astype(np.float32)
    spec = conv_spec(x_shape, w_shape, **given, dtype="float64")
    full = tuple(array.astype(np.float64) for array in (x, w, g))
    wants = (
        reference.conv(full[0], full[1], bias, spec),
        reference.conv_input_grad(full[2], full[1], spec),
        reference.conv_weight_grad(full[0], full[2], spec),
    )
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[name]
    own = {"fast": 1e-5, "strict": 2e-6}[precision]
    found = three(x, w, bias, g, last, **given, precision=precision)
    for got, want in zip(found, wants, strict=True):
        size = np.abs(want)
        error = np.abs(got.astype(np.float64) - want)
        assert (error <= unit * size * 1.001 + own * size.max()).all(), "more than one rounding"


@pytest.mark.parametrize("name", STORED)
def test_bias_of_either_dtype(name: str) -> None:
    kind = STORED[name]()
    x, w = np.ones((1, 2, 8), kind), np.ones((3, 2, 3), kind)
    bias = np.array([0.5, 1, -2], np.float32)
    made = faltung.conv(x, w, bias)
    np.testing.assert_array_equal(made, faltung.conv(x, w, bias.astype(kind)))
    np.testing.assert_array_equal(made[0, :, 0].astype(np.float32), 6 + bias)
    with pytest.raises(TypeError, match=rf"^bias\.dtype=float64: must be float32 or {name}, as"):
        faltung.conv(x, w, bias.astype(np.float64))
    with pytest.raises(TypeError, match=r"^weight\.dtype=float32: must be that of the other"):
        faltung.conv(x, w.astype(np.float32))


def test_float16_has_denormals_and_overflows_as_numpy() -> None:
    small = np.float16(6e-8)  # the least denormal
    x = np.full((1, 1, 40), small)
    np.testing.assert_array_equal(faltung.conv(x, np.ones((1, 1, 3), np.float16)), 3 * small)
    large = np.full((1, 1, 40), 60000, np.float16)
    one = np.array([[[1, 1, -1]]], np.float16)
    np.testing.assert_array_equal(faltung.conv(large, one), np.float16(60000))
    assert np.isposinf(faltung.conv(large, np.abs(one))).all()
    large[0, 0, 7] = np.nan
    assert np.isnan(faltung.conv(large, one)).sum() == 3


@pytest.mark.parametrize("name", STORED)
def test_any_strides_and_out(name: str) -> None:
    kind, rng = STORED[name](), np.random.default_rng(2)
    x = rng.integers(-4, 5, (3, 6, 18, 20)).astype(kind)[::-1, ::2, :, ::3].transpose(0, 1, 3, 2)
    w = rng.integers(-2, 3, (4, 3, 2, 2)).astype(kind)[:, :, ::-1]
    want = faltung.conv(x.astype(np.float32), w.astype(np.float32), padding=1)
    out = np.zeros((3, 8, *(2 * size for size in want.shape[2:])), kind)[:, ::2, ::2, ::2]
    assert faltung.conv(x, w, padding=1, out=out) is out
    np.testing.assert_array_equal(out.astype(np.float32), want)
    assert not out.base[:, 1::2].any()
    given = {"padding": 1, "padding_mode": "reflect"}
    np.testing.assert_array_equal(
        faltung.conv_transpose(x, w.swapaxes(0, 1)[:, :3], np.ones(3, np.float32), **given),
        faltung.conv_transpose(
            *(a.astype(np.float32) for a in (x, w.swapaxes(0, 1)[:, :3], np.ones(3))), **given
        ).astype(kind),
    )


# Whole numbers ------------------------------------------------------------------------------------


@grid(problem=WALK, dtype=["int32", "int64"], every=4)
def test_whole_numbers_wrap(dtype: str, problem: str) -> None:
    x_shape, w_shape, given, last = problem_of(problem)
    rng, ends = np.random.default_rng(3), np.iinfo(dtype)
    shapes = x_shape, w_shape, (w_shape[0],), output(x_shape, w_shape, given)
    x, w, bias, g = (rng.integers(ends.min, ends.max, shape, dtype) for shape in shapes)
    wants = by_hand(x, w, bias, g, given)
    for got, want in zip(three(x, w, bias, g, last, **given), wants, strict=True):
        np.testing.assert_array_equal(got, want)


def by_hand(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, g: np.ndarray, given: dict[str, Any]
) -> tuple[np.ndarray, ...]:
    """Plain loops over taps in NumPy's own arithmetic, which wraps."""
    rank, groups = x.ndim - 2, given.get("groups", 1)
    stride, dilation = given.get("stride", 1), given.get("dilation", 1)
    pads = [(0, 0)] * 2 + [(given.get("padding", 0),) * 2] * rank
    padded = np.pad(x, pads)
    made = np.zeros_like(g) + bias.reshape(-1, *(1,) * rank)
    by_x, by_w = np.zeros_like(padded), np.zeros_like(w)
    per_in, per_out = w.shape[1], w.shape[0] // groups
    for tap in np.ndindex(w.shape[2:]):
        window = tuple(
            slice(k * dilation, k * dilation + (size - 1) * stride + 1, stride)
            for k, size in zip(tap, g.shape[2:], strict=True)
        )
        for co in range(w.shape[0]):
            for ci in range(per_in):
                read = (slice(None), co // per_out * per_in + ci, *window)
                made[:, co] += padded[read] * w[(co, ci, *tap)]
                by_x[read] += g[:, co] * w[(co, ci, *tap)]
                by_w[(co, ci, *tap)] = (padded[read] * g[:, co]).sum(dtype=w.dtype)
    inside = tuple(slice(lo, size - hi) for (lo, hi), size in zip(pads, padded.shape, strict=True))
    return made, by_x[inside], by_w


def test_whole_numbers_have_no_transforms() -> None:
    spec = parse("n1 c64>64 56x56 k3 p1 i32")
    for plan in (plan_forward(spec), plan_input_grad(spec), plan_weight_grad(spec)):
        assert "not winograd: int32 is exact, and a transform rounds" in str(plan)


# Complex numbers ----------------------------------------------------------------------------------


def complexes(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (rng.integers(-4, 5, shape) + 1j * rng.integers(-4, 5, shape)).astype(dtype)


@grid(
    problem=WALK,
    dtype_precision=rows(
        "dtype precision", [("complex64", "fast"), ("complex64", "strict"), ("complex128", "fast")]
    ),
    every=4,
)
def test_complex_as_pytorch_differentiates(dtype: str, precision: str, problem: str) -> None:
    x_shape, w_shape, given, last = problem_of(problem)
    rng = np.random.default_rng(4)
    shapes = x_shape, w_shape, (w_shape[0],), output(x_shape, w_shape, given)
    x, w, bias, g = (complexes(rng, shape, dtype) for shape in shapes)
    leaves = [torch.tensor(array, requires_grad=True) for array in (x, w)]
    function = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")
    want = function(*leaves, torch.tensor(bias), **given)
    want.backward(torch.tensor(g))
    wants = want.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)
    got = three(x, w, bias, g, last, **given, precision=precision)
    for mine, theirs in zip(got, wants, strict=True):
        if precision == "strict":
            np.testing.assert_array_equal(mine, theirs)
        bound = {"complex64": 1e-5, "complex128": 1e-12}[dtype]
        assert np.abs(mine - theirs).max() <= bound * np.abs(theirs).max()


def test_complex_transpose_borders_and_strides() -> None:
    rng = np.random.default_rng(5)
    x, w = complexes(rng, (2, 4, 10, 9), "c8"), complexes(rng, (4, 3, 3, 2), "c8")
    bias = complexes(rng, (3,), "c8")
    strict = {"precision": "strict"}
    want = torch.nn.functional.conv_transpose2d(*map(torch.tensor, (x, w, bias)), stride=2)
    got = faltung.conv_transpose(x, w, bias, stride=2, **strict)
    np.testing.assert_array_equal(got, want.numpy())
    view, kernel = x[:, ::2, ::-1, ::3], w[:2].swapaxes(0, 1)[..., ::-1]
    given = {"padding": 1, "padding_mode": "circular", **strict}
    plain = faltung.conv(view.copy(), kernel.copy(), **given)
    np.testing.assert_array_equal(faltung.conv(view, kernel, **given), plain)
    parts = [
        faltung.conv(a, b, **given)
        for a in (view.real, view.imag)
        for b in (kernel.real, kernel.imag)
    ]
    np.testing.assert_array_equal(plain, parts[0] - parts[3] + 1j * (parts[1] + parts[2]))


def test_complex_rounding() -> None:
    """Of four products each part is as good as a real sum; of three it is so beside the modulus."""
    rng = np.random.default_rng(6)
    x, w = (
        (rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype("c8")
        for s in ((1, 32, 12, 12), (24, 32, 3, 3))
    )
    want = faltung.conv(x.astype("c16"), w.astype("c16"), precision="strict")
    for precision, bound in (("strict", 2e-6), ("fast", 4e-6)):
        error = np.abs(faltung.conv(x, w, precision=precision) - want).max()
        assert error <= bound * np.abs(want).max()


# All of them --------------------------------------------------------------------------------------

WORDS = {"f16": "float16", "bf16": "bfloat16", "i32": "int32", "i64": "int64",
         "c64": "complex64", "c128": "complex128"}  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_words_and_plans(word: str) -> None:
    spec = parse(f"n2 c3>4 9x9 k3 p1 {word} flip")
    assert spec.dtype == WORDS[word]
    assert parse(str(spec)) == spec
    for make in (plan_forward, plan_input_grad, plan_weight_grad):
        made: Callable[..., Any] = make
        assert word in str(made(spec))
        assert word in str(made(spec, channels_last=True))


@pytest.fixture
def team() -> Iterator[None]:
    """As many threads afterwards as before."""
    before = faltung.get_threads()
    yield
    faltung.set_threads(before)


@pytest.mark.parametrize("dtype", ["float16", "int32", "int64", "complex64", "complex128"])
def test_same_bits(dtype: str, team: None) -> None:
    rng = np.random.default_rng(7)
    shapes = (4, 5, 16, 17), (9, 5, 3, 3), (4, 9, 16, 17)
    x, w, g = ((9 * rng.standard_normal(shape)).astype(dtype) for shape in shapes)
    found = []
    for threads in (1, 2, 3):
        faltung.set_threads(threads)
        found.append([a.tobytes() for a in three(x, w, None, g, False, padding=1)])
    assert found[0] == found[1] == found[2]
    whole = faltung.conv(x, w, padding=1)
    for i in (0, 3):
        assert faltung.conv(x[i], w, padding=1).tobytes() == whole[i].tobytes()


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_empty_batches(dtype: str) -> None:
    x, w = np.ones((0, 3, 9, 9), dtype), np.ones((4, 3, 3, 3), dtype)
    made = faltung.conv(x, w)
    assert made.shape == (0, 4, 7, 7)
    assert faltung.conv_input_grad(made, w, x.shape).shape == x.shape
    np.testing.assert_array_equal(faltung.conv_weight_grad(x, made, w.shape), np.zeros_like(w))


@pytest.mark.parametrize("dtype", ["float16", "int32", "int64", "complex64"])
def test_every_machine(dtype: str, machine: object) -> None:
    rng = np.random.default_rng(8)
    x, w, g = (
        rng.integers(-2, 3, shape).astype(dtype)
        for shape in ((2, 8, 7, 9), (17, 8, 3, 3), (2, 17, 7, 9))
    )
    spec = conv_spec(x.shape, w.shape, padding=1, dtype="float64")
    full = tuple(array.real.astype(np.float64) for array in (x, w, g))
    made, by_x, by_w = three(x, w, None, g, True, padding=1, precision="strict")
    np.testing.assert_array_equal(made, reference.conv(full[0], full[1], None, spec))
    np.testing.assert_array_equal(by_x, reference.conv_input_grad(full[2], full[1], spec))
    np.testing.assert_array_equal(by_w, reference.conv_weight_grad(full[0], full[2], spec))
