"""Long kernels by Fourier transforms: against the reference, and what is promised of them."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import back, options, real, to

import faltung
from cases import CASES, Case
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.geometry.expr import maximum, operand
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import Correlation, contiguous, forward
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.fft.blocks import block_segments
from faltung.methods.fft.cut import Cut, of_length, sizes
from faltung.methods.fft.fft import FFT, MOST_BYTES
from faltung.methods.fft.kernel import AS_IS, FftFilters
from faltung.methods.fft.sums import FftSums
from faltung.methods.fft.weight_grad import FFT_WEIGHT_GRAD
from faltung.ops import run
from faltung.ops.arguments import elements
from faltung.plan.build import build_forward
from faltung.plan.choose import Policy

BOUNDS = {"float32": 5e-6, "float64": 1e-13}
FORCED = {"method": "fft"}


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)))


def check(spec: ConvSpec, last: bool, gradient: bool = True) -> None:
    x, w, bias, g = real(spec)
    given = {**options(spec), "channels_last": last, **FORCED}
    try:
        got = faltung.conv(to(x, last), w, bias, **given)
    except ValueError as refusal:
        assert "fft" in str(refusal)
        return
    assert error(back(got, last), reference.conv(x, w, bias, spec)) < BOUNDS[spec.dtype]
    if gradient:
        try:
            got = faltung.conv_input_grad(to(g, last), w, to(x, last).shape, **given)
        except ValueError as refusal:  # a phase of one tap
            assert "fft" in str(refusal)
            return
        want = reference.conv_input_grad(g, w, spec)
        assert error(back(got, last), want) < BOUNDS[spec.dtype]


@grid(case=[case for case in CASES if case.spec.batch][::2], machine=MACHINES)
def test_table(case: Case, machine: Machine) -> None:
    check(case.spec, last=len(case.name) % 2 == 0)


LONG = [
    "n2 c1>1 3000 k101 p50",
    "n1 c1>1 9000 k4001 p(3000,7)",
    "n1 c3>2 2000 k300 psame g1 d3",
    "n1 c2>4 2500 k65 s3 p9 g2 flip",
    "n1 c1>1 1000 k90 p60 m:reflect",
    "n1 c1>2 900 k33 p32 m:circular",
    "n1 c1>1 61x83 k15 p7",
    "n1 c2>3 40x50 k9x5 s2x3 p4x2 d2x1",
    "n1 c1>2 33x40 k5x7 p2x3 m:circular,zeros",
    "n1 c1>1 20x18x22 k5 p2",
    "n1 c1>1 4 k9 p40",
]


@grid(text=LONG, machine=MACHINES)
def test_long_kernels(text: str, machine: Machine) -> None:
    for dtype in ("f32", "f64"):
        for last in (False, True):
            check(parse(f"{text} {dtype}"), last)


@grid(text=LONG, machine=MACHINES)
def test_gradients_for_the_weight(text: str, machine: Machine) -> None:
    for dtype, last in (("f32", False), ("f64", True)):
        spec = parse(f"{text} {dtype}")
        x, w, _, g = real(spec)
        given = {**options(spec), "channels_last": last, **FORCED}
        got = faltung.conv_weight_grad(to(x, last), to(g, last), w.shape, **given)
        assert error(got, reference.conv_weight_grad(x, g, spec)) < 2 * BOUNDS[spec.dtype]


def test_a_gradient_for_the_weight_has_the_same_bits() -> None:
    """Whatever the threads: bands are cut by the plan."""
    spec = parse("n3 c2>2 4000 k101 p50")
    x, w, _, g = real(spec)
    before, found = faltung.get_threads(), []
    try:
        for threads in (1, 2, 5):
            faltung.set_threads(threads)
            found.append(faltung.conv_weight_grad(x, g, w.shape, padding=50, **FORCED))
    finally:
        faltung.set_threads(before)
    assert all(found[0].tobytes() == other.tobytes() for other in found)


BOXES = [
    "n2 c1>1 150x210 k9x5 p4x2",
    "n1 c2>2 130x190 k5x7 p0x3 s1x2",
    "n1 c1>1 140x170 k7 s2x1 p3",
    "n1 c1>2 90x160 k3x9 p1x4 d2x3 m:circular,zeros",
    "n1 c1>1 24x30x70 k5 p2",
]


@grid(dtype=["f32", "f64"], text=BOXES, machine=MACHINES)
def test_every_cut(
    text: str, dtype: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes of any width, rows read where they are and rows copied, short transforms and long."""
    spec = parse(f"{text} {dtype}")
    x, w, bias, g = real(spec)
    want = reference.conv(x, w, bias, spec), reference.conv_weight_grad(x, g, spec)
    known = sizes(correlation(spec).windows)
    for length in (1024, 2048, 4096, 8192, 16384):
        for made in list(of_length(length, known))[::2]:
            monkeypatch.setattr(run, "plans", run.Recent(run.KEPT))
            monkeypatch.setattr(FFT, "cut", lambda *_, made=made: made)
            monkeypatch.setattr(FFT_WEIGHT_GRAD, "cut", lambda *_, made=made: made)
            got = faltung.conv(x, w, bias, **options(spec), **FORCED)
            assert error(got, want[0]) < BOUNDS[spec.dtype], made
            got = faltung.conv_weight_grad(x, g, w.shape, **options(spec), **FORCED)
            assert error(got, want[1]) < 2 * BOUNDS[spec.dtype], made


def test_rows_are_read_where_they_are() -> None:
    """Blocks inside an image need no copy, those at its borders do."""
    c = correlation(parse("n1 c1>1 400x500 k15 p7"))
    chosen = (cut for cut in of_length(8192, sizes(c.windows)))
    made = next(cut for cut in chosen if cut.widths[1] == 128)
    blocks, _, _ = block_segments(c, made)
    as_is = blocks[: made.blocks, 2].reshape(made.each, made.boxes) == AS_IS
    assert as_is[1:-1, 1:-1].all()
    assert not as_is[[0, -1]].any()
    assert not as_is[:, [0, -1]].any()


def test_a_nan_stays_in_its_blocks_of_an_image() -> None:
    spec = parse("n1 c1>1 600x700 k15 p7")
    x, w, _, _ = real(spec)
    plain = faltung.conv(x, w, padding=7, **FORCED)
    x[0, 0, 300, 350] = np.nan
    got = faltung.conv(x, w, padding=7, **FORCED)
    there = np.isfinite(got)
    assert not there[0, 0, 293:308, 343:358].any()
    assert there.mean() > 0.5
    np.testing.assert_array_equal(got[there], plain[there])


def test_plans_are_small() -> None:
    """A table says "row after row" instead of every row, also where an image is cut into boxes."""
    c = correlation(parse("n1 c1>1 1500x1500 k15 p7"))
    made = FFT.cut(c, row("avx2"))
    assert made is not None
    assert made.boxes > 1
    assert sum(table.nbytes for table in block_segments(c, made)) < 200_000


def test_lengths() -> None:
    """Every length up to some, powers of four and the others, one block and several."""
    rng = np.random.default_rng(0)
    for exponent in range(7, 14):
        k = 2**exponent * 2 // 3
        for size in (k + 5, 5 * k):
            x, w = rng.standard_normal((1, 1, size)), rng.standard_normal((1, 1, k))
            got = faltung.conv(x, w, **FORCED)
            assert error(got[0, 0], np.correlate(x[0, 0], w[0, 0], "valid")) < 1e-14


def test_the_same_bits(machine: Machine) -> None:
    """Whatever the threads, the batch and the neighbours of a sample."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 2, 3001)).astype(np.float32)
    w = rng.standard_normal((2, 2, 301)).astype(np.float32)
    before = faltung.get_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            faltung.set_threads(threads)
            found.append(faltung.conv(x, w, padding=150, **FORCED))
        alone = faltung.conv(x[3], w, padding=150, **FORCED)
    finally:
        faltung.set_threads(before)
    assert all(found[0].tobytes() == other.tobytes() for other in found)
    assert alone.tobytes() == found[0][3].tobytes()


@pytest.mark.parametrize("text", ["n2 c2>3 500 k70 p30 s2", "n2 c2>3 90x200 k9 p4"])
def test_epilogues(text: str, machine: Machine) -> None:
    spec = parse(text)
    x, w, bias, _ = real(spec)
    other = np.random.default_rng(2).standard_normal(spec.output_shape).astype(np.float32)
    want = np.maximum(reference.conv(x, w, bias, spec) + other, 0)
    epilogue = Epilogue(maximum(operand(0) + operand(1), 0.0), 1)
    for last in (False, True):
        out, aux = (np.empty_like(to(other, last)), to(other, last).copy())
        arrays = back(to(x, last), last), w, back(out, last)
        plan = build_forward(
            spec,
            *map(elements, arrays),
            bias=True,
            machine=machine,
            epilogue=epilogue,
            aux=[elements(back(aux, last))],
            policy=Policy(method="fft"),
        )
        words = [int(a.ctypes.data) for a in (*arrays, bias)]
        kept, scratch = (
            np.empty(sum(n + 64 for n in held.values()) + 64, np.uint8)
            for held in (plan.work.kept, plan.work.scratch)
        )
        places = [int(a.ctypes.data) for a in (kept, scratch, aux)]
        plan.region("all").run([*words, *places], 2)
        assert error(back(out, last), want) < 5e-6


# Values that are not ordinary ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_is_not_finite_spreads_over_two_blocks_and_no_further() -> None:
    spec = parse("n2 c1>1 20000 k101 p50")
    x, w, _, _ = real(spec)
    plain = faltung.conv(x, w, padding=50, **FORCED)
    c = made_cut(spec)
    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[0, 0, 10_000] = value
        got = faltung.conv(bad, w, padding=50, **FORCED)
        wrong = np.flatnonzero(~np.isfinite(got[0, 0]))
        assert set(range(9_950, 10_051)) <= set(wrong)
        assert wrong[-1] - wrong[0] < 4 * c.length
        rest = np.isfinite(got)
        np.testing.assert_array_equal(got[rest], plain[rest])
        assert np.isfinite(got[1]).all()


def correlation(spec: ConvSpec) -> Correlation:
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    return forward(spec, *(contiguous(shape, False) for shape in shapes))


def made_cut(spec: ConvSpec) -> Cut:
    made = FFT.cut(correlation(spec), current())
    assert made is not None
    return made


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_large_and_small_numbers(scale: float) -> None:
    spec = parse("n1 c1>1 5000 k501 p250")
    x, w, _, _ = real(spec)
    x *= np.float32(scale)
    got = faltung.conv(x, w, padding=250, **FORCED)
    assert error(got / scale, reference.conv(x, w, None, spec) / scale) < 5e-6


def test_errors_are_relative_to_the_largest_value_of_a_block() -> None:
    """Beside 1e30 what is small is lost, within two blocks; a sum keeps it."""
    spec = parse("n1 c1>1 40000 k101 p50")
    x, w, _, _ = real(spec)
    x[0, 0, 0] = 1e30
    got = faltung.conv(x, w, padding=50, **FORCED)
    want = reference.conv(x, w, None, spec)
    assert np.abs(got - want).max() < 5e-6 * np.abs(want).max()
    far = slice(4 * made_cut(spec).length, None)
    assert error(got[..., far], want[..., far]) < 5e-6
    strict = faltung.conv(x, w, padding=50, precision="strict")
    assert error(strict[..., 51:], want[..., 51:]) < 5e-6


def test_denormals() -> None:
    spec = parse("n1 c1>1 5000 k501 p250")
    x, w, _, _ = real(spec)
    small = (x * np.float32(1e-40)).astype(np.float32)
    got = faltung.conv(small, w, padding=250, **FORCED)
    want = reference.conv(small, w, None, spec)
    assert np.abs(got - want).max() < 1e-42  # the distance of denormals is 1.4e-45


# What it says, and what it refuses ----------------------------------------------------------------


def test_strict_leaves_it_out() -> None:
    x, w = np.ones((1, 1, 4000), np.float32), np.ones((1, 1, 1001), np.float32)
    fast, strict = (faltung.Conv(w, precision=p).plan(x) for p in ("fast", "strict"))
    assert fast.reasons[0][1][0].name == "fft"
    assert strict.reasons[0][1][0].name != "fft"
    assert "blocks of" in str(fast)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("n1 c4>4 1000x1 k3x1", "one tap"),
        ("n1 c4>4 1000 k1", "one tap"),
        ("n1 c512>1024 1000 k900", "memory"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    c = correlation(parse(text))
    assert why in (FFT.why_not(c, current()) or "")
    assert FFT.cost(c, current()) == np.inf


def test_memory_is_bounded() -> None:
    spec = parse("n64 c2>2 1000000 k100001 p50000")
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    strides = [contiguous(shape, False) for shape in shapes]
    plan = build_forward(spec, *strides, bias=False, machine=current(), policy=Policy(method="fft"))
    assert sum(plan.work.scratch.values()) <= 2 * MOST_BYTES
    assert sum(plan.work.kept.values()) <= 2 * MOST_BYTES


@pytest.mark.parametrize("name", ["avx512", "neon", "sse"])
def test_compiles_for(name: str) -> None:
    for dtype in ("float32", "float64"):
        recipe = FftSums(dtype, True, 1, True, False, True)
        rows = [replace(recipe, radix=radix) for radix in (2, 4)]
        for each in (recipe, *rows, FftFilters(dtype)):
            assert object_code(each, row(name))


def test_no_samples() -> None:
    """No transform of nothing: it would divide the work by a number of blocks that is zero."""
    x, g = np.zeros((0, 3, 40), np.float32), np.zeros((0, 4, 40), np.float32)
    with pytest.raises(ValueError, match="there are no samples"):
        faltung.conv_weight_grad(x, g, (4, 3, 9), padding=4, method="fft")
    assert not faltung.conv_weight_grad(x, g, (4, 3, 9), padding=4).any()
