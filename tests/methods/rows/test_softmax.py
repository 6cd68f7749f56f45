"""Softmax and cross-entropy against their reference, at extremes, and bit for bit."""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide

from faltung import reference
from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.rows.softmax import (
    NARROW_CHANNELS,
    cross_entropy,
    soft_cross_entropy,
    softmax,
)

CHANNELS = [1, 2, 3, 5, 8, 10, 17, NARROW_CHANNELS, NARROW_CHANNELS + 1, 33, 100, 1000, 21841]
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Relative to 1, and for losses also to their size.
TOLERANCE = {"float32": 1e-6, "float64": 3e-15}


def beside(array: np.ndarray, allocate: Allocate) -> np.ndarray:
    made = allocate(array.nbytes).view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


def probabilities(
    x: np.ndarray,
    machine: Machine,
    extra: int = 0,
    threads: int = 2,
    in_place: bool = False,
    allocate: Allocate = anywhere,
) -> np.ndarray:
    """Softmax of (batch, channels, *space)."""
    channels, pitch = x.shape[1], x.shape[1] + extra
    arrays = {"x": as_map(x, pitch, allocate)}
    rows = len(arrays["x"])
    arrays["out"] = blank(rows, channels, pitch, x.dtype, allocate)
    work, out = Work(), "x" if in_place else "out"
    softmax(
        work,
        *(Matrix(Operand("x"), pitch), Matrix(Operand(out), pitch)),
        rows=rows,
        channels=channels,
        dtype=str(x.dtype),
        machine=machine,
    )
    run(work, machine, arrays, threads, allocate)
    assert np.isnan(between(arrays[out])).all(), "written between the rows"
    return from_map(arrays[out], x.shape)


def entropy(
    x: np.ndarray,
    labels: np.ndarray,
    machine: Machine,
    smoothing: float = 0.0,
    scale: float = 1.0,
    extra: int = 0,
    threads: int = 2,
    in_place: bool = False,
    allocate: Allocate = anywhere,
    weights: np.ndarray | None = None,
) -> reference.CrossEntropy:
    dtype, channels, pitch = x.dtype, x.shape[1], x.shape[1] + extra
    logits = as_map(x, pitch, allocate)
    rows = len(logits)
    arrays = {
        "logits": logits,
        "labels": beside(labels, allocate),
        "scale": beside(np.array([scale], dtype), allocate),
        "smoothing": beside(np.array([smoothing], dtype), allocate),
        "losses": beside(np.full(labels.shape, np.nan, dtype), allocate),
        "correct": beside(np.full(labels.shape, np.nan, dtype), allocate),
        "grad": blank(rows, channels, pitch, dtype, allocate),
    }
    if weights is not None:
        arrays["weights"] = beside(weights.astype(dtype), allocate)
    o = {name: Operand(name) for name in arrays}
    grad = "logits" if in_place else "grad"
    work = Work()
    cross_entropy(
        work,
        *(Matrix(o["logits"], pitch), o["labels"], o["scale"], o["smoothing"]),
        *(o["losses"], o["correct"], Matrix(o[grad], pitch)),
        rows=rows,
        channels=channels,
        dtype=str(dtype),
        machine=machine,
        weights=None if weights is None else o["weights"],
    )
    run(work, machine, arrays, threads, allocate)
    assert np.isnan(between(arrays[grad])).all(), "written between the rows"
    return reference.CrossEntropy(
        arrays["losses"], arrays["correct"], from_map(arrays[grad], x.shape)
    )


def data(channels: int, dtype: str, rows: int = 37) -> tuple[np.ndarray, np.ndarray]:
    """Logits (rows, channels) of every size and labels, of which some count for nothing."""
    rng = np.random.default_rng(channels)
    rows = rows if channels < 5000 else 3
    x = rng.standard_normal((rows, channels)) * rng.choice([0.1, 1, 10, 60], (rows, 1))
    labels = rng.integers(-1, channels, rows)
    # Half of the rows right, some of them at a tie.
    for i in range(0, rows, 2):
        x[i, labels[i]] = x[i].max() + (i % 4 == 0)
    return x.astype(dtype), labels


def compare(
    x: np.ndarray, labels: np.ndarray, machine: Machine, smoothing: float = 0.0, **how: object
) -> None:
    # Sums of many terms in few lanes.
    bound = TOLERANCE[str(x.dtype)] * (1 + x.shape[1] / 5000)
    given = {"smoothing": float(x.dtype.type(smoothing)), "scale": 0.25}
    got = entropy(x, labels, machine, **given, **how)  # type: ignore[arg-type]
    want = reference.cross_entropy(x, labels, **given)
    np.testing.assert_allclose(got.losses, want.losses, rtol=3 * bound, atol=3 * bound)
    np.testing.assert_array_equal(got.correct, want.correct)
    np.testing.assert_allclose(got.grad, want.grad, rtol=0, atol=bound)
    made = probabilities(x, machine, **how)  # type: ignore[arg-type]
    np.testing.assert_allclose(made, reference.softmax(x), rtol=0, atol=bound)


@grid(channels=CHANNELS, dtype=["float32", "float64"], machine=MACHINES)
def test_weights_of_classes(channels: int, dtype: str, machine: Machine) -> None:
    """As PyTorch has them: they multiply the target, of which smoothing gives each class a part."""
    x, labels = data(channels, dtype)
    weights = np.random.default_rng(channels).random(channels) * 2
    weights[labels[0]] = 0  # counts for nothing
    bound = 3 * TOLERANCE[dtype] * (1 + channels / 5000)
    for smoothing in (0.0, 0.1):
        exact = {"smoothing": float(x.dtype.type(smoothing)), "scale": 0.25}
        given = weights.astype(dtype)
        got = entropy(x, labels, machine, weights=given, extra=3, **exact)  # type: ignore[arg-type]
        want = reference.cross_entropy(x, labels, weights=given, **exact)
        np.testing.assert_allclose(got.losses, want.losses, rtol=3 * bound, atol=3 * bound)
        np.testing.assert_array_equal(got.correct, want.correct)
        np.testing.assert_allclose(got.grad, want.grad, rtol=0, atol=2 * bound)


def test_the_reference_has_the_weights_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((9, 4, 3)), rng.integers(-1, 4, (9, 3))
    weights = np.array([0.5, 2.0, 1.0, 3.0])
    logits = torch.tensor(x, requires_grad=True)
    words = {"weight": torch.tensor(weights), "ignore_index": -1, "label_smoothing": 0.1}
    theirs = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), **words)
    theirs.backward()
    total = weights[labels[labels >= 0]].sum()
    ours = reference.cross_entropy(x, labels, smoothing=0.1, weights=weights, scale=1 / total)
    assert ours.losses.sum() / total == pytest.approx(theirs.item(), rel=1e-14)
    np.testing.assert_allclose(ours.grad, logits.grad.numpy(), atol=1e-16)


@grid(channels=CHANNELS, dtype=["float32", "float64"], machine=MACHINES)
def test_any_number_of_channels(channels: int, dtype: str, machine: Machine) -> None:
    x, labels = data(channels, dtype)
    compare(x, labels, machine, extra=3)
    compare(x, labels, machine, smoothing=0.1)
    for rows in (0, 1, 2, 15, 16):
        if rows <= len(x):
            compare(x[:rows], labels[:rows], machine, smoothing=0.1)


@pytest.mark.parametrize("channels", CHANNELS)
def test_wide_vectors(channels: int) -> None:
    x, labels = data(channels, "float32")
    compare(x, labels, wide(), smoothing=0.1, extra=1)


@DTYPES
def test_maps(dtype: str, machine: Machine) -> None:
    """A label for each position: what segmentation needs."""
    rng = np.random.default_rng(0)
    for channels in (3, 40):
        x = rng.standard_normal((2, channels, 5, 7)).astype(dtype)
        labels = rng.integers(-1, channels, (2, 5, 7))
        compare(x, labels, machine, smoothing=0.2, extra=2)


@grid(channels=[3, 10, 50], dtype=["float32", "float64"], machine=MACHINES)
def test_extremes(channels: int, dtype: str, machine: Machine) -> None:
    inf, nan = np.inf, np.nan
    x = np.zeros((12, channels), dtype)
    x[0, 0], x[0, 1] = 1e30, -1e30
    x[1] = -1e30
    x[2, 1:] = -inf
    x[3, 1] = nan
    x[4] = -inf
    x[5] = 1e30
    x[6, -1] = -inf
    x[7] = np.linspace(-1e4, 1e4, channels)
    x[8, 0] = inf
    x[9, -1] = nan
    x[10] = np.finfo(dtype).smallest_subnormal
    x[11, 0] = nan
    labels = np.zeros(12, np.int64)
    labels[6] = channels - 1
    with np.errstate(all="ignore"):
        wants = {
            smoothing: reference.cross_entropy(x, labels, smoothing=smoothing)
            for smoothing in (0.0, 0.5)
        }
        shares = reference.softmax(x)
    for smoothing, want in wants.items():
        got = entropy(x, labels, machine, smoothing)
        np.testing.assert_allclose(got.losses, want.losses, rtol=1e-5)
        np.testing.assert_array_equal(got.correct, want.correct)
        np.testing.assert_allclose(got.grad, want.grad, rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities(x, machine), shares, rtol=0, atol=1e-6)
    got = entropy(x, labels, machine)
    nans = [3, 4, 8, 9, 11]
    assert np.isnan(got.losses[nans]).all() and np.isnan(got.grad[nans]).all()
    # Certain: no loss, no gradient, nothing rounded.
    assert got.losses[[0, 2]].tolist() == [0, 0]
    assert not got.grad[[0, 2]].any()
    # Impossible, and it happened.
    assert got.losses[6] == inf
    assert got.grad[6, -1] == -1


@grid(channels=[2, 10, 33, 130], dtype=["float32", "float64"], machine=MACHINES)
def test_the_same_bits(channels: int, dtype: str, machine: Machine) -> None:
    """For any number of threads, any pitch, in place, and a row alone."""
    x, labels = data(channels, dtype, 200)
    given = {"smoothing": 0.1, "scale": 0.3}
    first = entropy(x, labels, machine, **given, threads=1)
    ways = [{"threads": n} for n in (2, 3, 7)] + [{"extra": 5}, {"in_place": True}]
    for how in ways:
        for one, two in zip(first, entropy(x, labels, machine, **given, **how), strict=True):
            assert one.tobytes() == two.tobytes(), how
    for i in (0, 1, 77, 199):
        alone = entropy(x[i : i + 1], labels[i : i + 1], machine, **given)
        for one, two in zip(first, alone, strict=True):
            assert one[i].tobytes() == two[0].tobytes()
    once = probabilities(x, machine, threads=1)
    for how in ways:
        assert probabilities(x, machine, **how).tobytes() == once.tobytes()


def test_a_gradient_is_the_slope(machine: Machine) -> None:
    x, labels = data(6, "float64", 5)
    got = entropy(x, labels, machine, smoothing=0.1)
    step = 1e-6
    for c in range(6):
        ahead, behind = x.copy(), x.copy()
        ahead[:, c] += step
        behind[:, c] -= step
        slope = (
            entropy(ahead, labels, machine, smoothing=0.1).losses
            - entropy(behind, labels, machine, smoothing=0.1).losses
        ) / (2 * step)
        np.testing.assert_allclose(got.grad[:, c], slope, atol=1e-8)


@pytest.mark.parametrize("channels", [4, 40])
def test_a_label_that_is_no_channel_touches_nothing(channels: int, machine: Machine) -> None:
    x, _ = data(channels, "float32", 4)
    labels = np.array([channels, -2, 2**31 - 1, -(2**40) + 1])
    got = entropy(x, labels, machine)
    assert not got.losses.any() and not got.correct.any() and not got.grad.any()


@pytest.mark.parametrize("row", [AVX512, NEON], ids=lambda row: row.name)
@pytest.mark.parametrize("channels", [2, 10, 1000])
def test_compiles_elsewhere(channels: int, row: Machine) -> None:
    work, o, rows = Work(), Operand("x"), Matrix(Operand("x"), 9)
    given = {"rows": 5, "channels": channels, "dtype": "float32", "machine": row}
    softmax(work, rows, rows, **given)  # type: ignore[arg-type]
    cross_entropy(work, rows, *[o] * 5, rows, **given)  # type: ignore[arg-type]
    soft_cross_entropy(work, rows, rows, o, o, rows, **given)  # type: ignore[arg-type]
    for step in work.steps:
        assert object_code(step.recipe, row)


@between_fences(
    channels=(1, 2, 3, 5, 8, 10, 16, 17, NARROW_CHANNELS, NARROW_CHANNELS + 1, 37, 100),
    dtype=["float32", "float64"],
    extra=[0, 3],
)
def test_between_fences(channels: int, dtype: str, extra: int, side: str, machine: Machine) -> None:
    x, labels = data(channels, dtype, 19)
    compare(x, labels, machine, extra=extra, allocate=lambda n: fenced(n, side == "after"))


# Targets that are numbers -------------------------------------------------------------------------


def soft_entropy(
    x: np.ndarray,
    targets: np.ndarray,
    machine: Machine,
    scale: float = 1.0,
    extra: int = 0,
    threads: int = 2,
    in_place: bool = False,
    allocate: Allocate = anywhere,
) -> tuple[np.ndarray, np.ndarray]:
    dtype, channels, pitch = x.dtype, x.shape[1], x.shape[1] + extra
    arrays = {"logits": as_map(x, pitch, allocate)}
    rows = len(arrays["logits"])
    arrays |= {
        "targets": as_map(targets.astype(dtype), pitch, allocate),
        "scale": beside(np.array([scale], dtype), allocate),
        "losses": beside(np.full(rows, np.nan, dtype), allocate),
        "grad": blank(rows, channels, pitch, dtype, allocate),
    }
    work, grad = Work(), "logits" if in_place else "grad"
    soft_cross_entropy(
        work,
        *(Matrix(Operand(name), pitch) for name in ("logits", "targets")),
        *(Operand("scale"), Operand("losses"), Matrix(Operand(grad), pitch)),
        rows=rows,
        channels=channels,
        dtype=str(dtype),
        machine=machine,
    )
    run(work, machine, arrays, threads, allocate)
    assert np.isnan(between(arrays[grad])).all(), "written between the rows"
    return arrays["losses"], from_map(arrays[grad], x.shape)


def answers(channels: int, dtype: str, rows: int = 37) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets: soft ones, hard ones, sums that are not 1, and some of nothing."""
    x, labels = data(channels, dtype, rows)
    rng = np.random.default_rng(channels + 1)
    targets = reference.softmax(3 * rng.standard_normal(x.shape))
    targets[1::5] = np.eye(channels)[np.maximum(labels[1::5], 0)]
    targets[2::5] *= 1.7
    targets[3::5] = 0
    return x, targets.astype(dtype)


def compare_soft(x: np.ndarray, targets: np.ndarray, machine: Machine, **how: object) -> None:
    bound = 2 * TOLERANCE[str(x.dtype)] * (1 + x.shape[1] / 5000)
    losses, grad = soft_entropy(x, targets, machine, scale=0.25, **how)  # type: ignore[arg-type]
    want_losses, want_grad = reference.soft_cross_entropy(x, targets, scale=0.25)
    # Sums of terms of another sign than their result.
    size = 1 + np.abs(x - x.max(1, keepdims=True)).max(1)
    assert (np.abs(losses - want_losses) <= 3 * bound * size).all()
    np.testing.assert_allclose(grad, want_grad, rtol=0, atol=bound)


@grid(channels=CHANNELS, dtype=["float32", "float64"], machine=MACHINES)
def test_soft_targets(channels: int, dtype: str, machine: Machine) -> None:
    x, targets = answers(channels, dtype)
    compare_soft(x, targets, machine, extra=3)
    for rows in (0, 1, 2, 15, 16):
        if rows <= len(x):
            compare_soft(x[:rows], targets[:rows], machine)


@pytest.mark.parametrize("channels", [1, 7, 24, 25, 100])
def test_soft_targets_in_wide_vectors(channels: int) -> None:
    compare_soft(*answers(channels, "float32"), wide(), extra=1)


def test_hard_targets_are_labels(machine: Machine) -> None:
    for channels in (5, 40):
        x, labels = data(channels, "float64")
        labels = np.maximum(labels, 0)
        want = entropy(x, labels, machine)
        losses, grad = soft_entropy(x, np.eye(channels)[labels], machine)
        np.testing.assert_allclose(losses, want.losses, atol=1e-13)
        np.testing.assert_allclose(grad, want.grad, atol=1e-14)


def test_the_reference_has_the_soft_targets_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, targets = rng.standard_normal((9, 4, 3)), rng.random((9, 4, 3))
    logits = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="sum")
    theirs.backward()
    losses, grad = reference.soft_cross_entropy(x, targets)
    assert losses.sum() == pytest.approx(theirs.item(), rel=1e-14)
    np.testing.assert_allclose(grad, logits.grad.numpy(), atol=1e-14)


@pytest.mark.parametrize("channels", [5, 40])
def test_soft_extremes(channels: int, machine: Machine) -> None:
    inf, nan = np.inf, np.nan
    x, targets = np.zeros((6, channels)), np.zeros((6, channels))
    targets[:5, 0] = 1
    x[0, 1:] = -inf  # impossible, and not wanted
    x[1, 0] = -inf  # impossible, and wanted
    x[2, 2] = nan
    targets[3, 0] = nan
    x[4] = -1e30
    x[5] = nan  # does not count
    losses, grad = soft_entropy(x, targets, machine)
    assert losses[0] == 0 and not grad[0].any()
    assert losses[1] == inf and grad[1, 0] == -1
    assert np.isnan(losses[2:4]).all() and np.isnan(grad[2:4]).all()
    assert losses[4] == pytest.approx(np.log(channels))
    assert losses[5] == 0 and not grad[5].any()


@grid(channels=[2, 10, 33, 130], dtype=["float32", "float64"], machine=MACHINES)
def test_soft_targets_give_the_same_bits(channels: int, dtype: str, machine: Machine) -> None:
    x, targets = answers(channels, dtype, 200)
    first = soft_entropy(x, targets, machine, scale=0.3, threads=1)
    for how in ({"threads": 2}, {"threads": 7}, {"extra": 5}, {"in_place": True}):
        for one, two in zip(first, soft_entropy(x, targets, machine, 0.3, **how), strict=True):  # type: ignore[arg-type]
            assert one.tobytes() == two.tobytes(), how
    for i in (0, 1, 77, 199):
        alone = soft_entropy(x[i : i + 1], targets[i : i + 1], machine, 0.3)
        for one, two in zip(first, alone, strict=True):
            assert one[i].tobytes() == two[0].tobytes()


@between_fences(channels=(1, 2, 5, 8, 17, 24, 25, 37), dtype=["float32", "float64"], extra=[0, 3])
def test_soft_targets_between_fences(
    channels: int, dtype: str, extra: int, side: str, machine: Machine
) -> None:
    x, targets = answers(channels, dtype, 19)
    compare_soft(x, targets, machine, extra=extra, allocate=lambda n: fenced(n, side == "after"))
