import math

import numpy as np
import pytest
from grid import examples, grid
from hypothesis import given
from hypothesis import strategies as st

from cases import CASES, Case, random_axes
from faltung.geometry import MODES, Axis

NUMPY_MODES = dict(zip(MODES, ("constant", "reflect", "symmetric", "edge", "wrap"), strict=True))
AXES = random_axes(1, MODES)


@given(AXES)
@examples(4)
def test_output_counts_the_windows_that_fit(axis: Axis) -> None:
    starts = range(0, axis.padded, axis.stride)
    fit = [i for i in starts if i + axis.dilation * (axis.kernel - 1) < axis.padded]
    assert axis.output == len(fit)
    assert axis.unread == axis.padded - (fit[-1] + axis.extent)


def test_output_is_the_formula_of_the_notes() -> None:
    # floor((H - h + p + s) / s), and ceil(H / s) for p = h - 1
    for size, kernel, stride in np.ndindex(12, 5, 4):
        size, kernel, stride = int(size) + 1, int(kernel) + 1, int(stride) + 1
        p = kernel - 1
        axis = Axis(size, kernel, stride, 1, p // 2, p - p // 2)
        assert axis.output == (size - kernel + p + stride) // stride == math.ceil(size / stride)


@given(AXES)
@examples(4)
def test_source_is_numpy_pad(axis: Axis) -> None:
    entries = np.arange(1, axis.size + 1)
    padded = np.pad(entries, (axis.lo, axis.hi), NUMPY_MODES[axis.mode])  # type: ignore[call-overload]
    sources = [axis.source(j - axis.lo) for j in range(axis.padded)]
    assert [0 if source is None else source + 1 for source in sources] == padded.tolist()


def test_source_by_hand() -> None:
    def row(mode: str) -> list[int | None]:
        return [Axis(3, 1, lo=2, hi=2, mode=mode).source(i) for i in range(-2, 5)]

    assert row("zeros") == [None, None, 0, 1, 2, None, None]
    assert row("reflect") == [2, 1, 0, 1, 2, 1, 0]
    assert row("symmetric") == [1, 0, 0, 1, 2, 2, 1]
    assert row("replicate") == [0, 0, 0, 1, 2, 2, 2]
    assert row("circular") == [1, 2, 0, 1, 2, 0, 1]


@given(AXES, st.data())
@examples(4)
def test_input_range_and_valid_taps_by_counting(axis: Axis, data: st.DataObject) -> None:
    o = data.draw(st.integers(0, axis.output - 1))
    stop = data.draw(st.integers(o + 1, axis.output))
    reads = [
        output * axis.stride + k * axis.dilation - axis.lo
        for output in range(o, stop)
        for k in range(axis.kernel)
    ]
    assert axis.input_range(o, stop) == (min(reads), max(reads) + 1)
    inside = [k for k, i in enumerate(reads[: axis.kernel]) if 0 <= i < axis.size]
    k_lo, k_hi = axis.valid_taps(o)
    assert 0 <= k_lo <= k_hi <= axis.kernel
    assert list(range(k_lo, k_hi)) == inside


def test_no_outputs_read_nothing() -> None:
    assert Axis(9, 3, 2, lo=1).input_range(2, 2) == (3, 3)


@grid(case=CASES, every=1)
def test_the_whole_range_stays_in_the_padded_input(case: Case) -> None:
    for axis in case.spec.axes:
        assert axis.input_range(0, axis.output) == (-axis.lo, axis.size + axis.hi - axis.unread)


def test_a_crop() -> None:
    axis = Axis(10, 3, lo=-2, hi=-1)
    assert (axis.padded, axis.output) == (7, 5)
    assert axis.input_range(0, 5) == (2, 9)
    assert axis.valid_taps(4) == (0, 3)


def test_values_behave() -> None:
    axis = Axis(9, 3, 2, 1, 1, 2, "reflect")
    assert eval(repr(axis)) == axis
    assert hash(axis) == hash(Axis(9, 3, 2, 1, 1, 2, "reflect"))
    with pytest.raises(AttributeError):
        axis.size = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0: must be at least 1"),
        ({"kernel": 0}, "kernel=0: must be at least 1"),
        ({"stride": 0}, "stride=0: must be at least 1"),
        ({"dilation": -1}, "dilation=-1: must be at least 1"),
        (
            {"kernel": 4, "dilation": 2, "lo": 1},
            "kernel=4: must not be larger than the padded input; with dilation 2 it spans 7, "
            "the input 1 + 5 + 0 = 6",
        ),
        ({"lo": -3}, "kernel=3: must not be larger than the padded input; with dilation 1 it "
         "spans 3, the input -3 + 5 + 0 = 2"),
        (
            {"mode": "mirror"},
            "padding_mode='mirror': must be one of zeros, reflect, symmetric, replicate, circular; "
            "did you mean reflect?",
        ),
        ({"lo": -1, "mode": "reflect"},
         "padding=(-1, 0): must be at least 0 unless the mode is zeros"),
        ({"lo": 5, "mode": "reflect"},
         "padding=(5, 0): reflect padding must be at most 4 on an axis of size 5; "
         "faltung.ndimage has borders of any width"),
        ({"hi": 6, "mode": "symmetric"},
         "padding=(0, 6): symmetric padding must be at most 5 on an axis of size 5; "
         "faltung.ndimage has borders of any width"),
        ({"hi": 6, "mode": "circular"},
         "padding=(0, 6): circular padding must be at most 5 on an axis of size 5; "
         "faltung.ndimage has borders of any width"),
    ],
)  # fmt: skip
def test_bad_values_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Axis(**({"size": 5, "kernel": 3} | arguments))  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [3.0, True, "3", np.int64(3)])
def test_only_ints(value: object) -> None:
    with pytest.raises(TypeError, match="kernel="):
        Axis(9, value)  # type: ignore[arg-type]


def test_the_widest_pads_of_each_mode() -> None:
    for mode, widest in {"reflect": 4, "symmetric": 5, "circular": 5, "replicate": 99}.items():
        assert Axis(5, 3, lo=widest, hi=widest, mode=mode).padded == 5 + 2 * widest
