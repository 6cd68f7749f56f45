"""PoolSpec: shapes as PyTorch's, counts, and what is refused."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from grid import grid
from pools import POOLS

from faltung.geometry import Axis, PoolSpec, pool_axes, pool_spec


def test_the_pooling_of_the_stem_of_resnet() -> None:
    spec = pool_spec((2, 64, 112, 112), 3, stride=2, padding=1)
    assert spec == PoolSpec((Axis(112, 3, 2, 1, 1, 1),) * 2, 64, 2)
    assert spec.rank == 2
    assert spec.input_shape == (2, 64, 112, 112)
    assert spec.output_shape == (2, 64, 56, 56)
    assert (spec.size, spec.output) == ((112, 112), (56, 56))
    assert (spec.kernel, spec.stride, spec.dilation) == ((3, 3), (2, 2), (1, 1))
    assert spec.padding == ((1, 1), (1, 1))
    assert spec.taps == 9
    assert spec.flops == 9 * 2 * 64 * 56 * 56
    assert spec.bytes_moved == 4 * 2 * 64 * (112 * 112 + 56 * 56)
    assert str(spec) == "max n2 c64 112x112 k3 s2 p1"


def test_texts() -> None:
    given: dict[str, Any] = {"kind": "average", "count_padding": False, "dtype": "float64"}
    spec = pool_spec((1, 8, 6, 5), (2, 3), stride=1, padding=((0, 1), 1), dilation=2, **given)
    assert str(spec) == "average n1 c8 6x5 k2x3 p(0,1)x1 d2 inside f64"
    assert str(pool_spec((1, 8, 6, 6), 2)) == "max n1 c8 6x6 k2 s2"


@grid(spec=POOLS, every=1)
def test_repr_reads_back(spec: PoolSpec) -> None:
    assert eval(repr(spec)) == spec
    assert len({spec, eval(repr(spec))}) == 1


def test_defaults() -> None:
    assert pool_axes((8, 9), 2) == (Axis(8, 2, 2), Axis(9, 2, 2))
    assert pool_axes((8, 9), (2, 3)) == (Axis(8, 2, 2), Axis(9, 3, 3))
    assert pool_axes((8, 9)) == (Axis(8, 8, 8), Axis(9, 9, 9))  # as large as the input
    assert pool_axes([np.int64(8)], np.int32(2), stride=1) == (Axis(8, 2),)
    assert pool_axes((8,), 3, stride=1, padding="same") == (Axis(8, 3, 1, 1, 1, 1),)
    assert pool_axes((8, 8), 3, stride=1, padding=("causal", (0, 1))) == (
        *(Axis(8, 3, 1, 1, 2, 0), Axis(8, 3, 1, 1, 0, 1)),
    )


def test_ceil_is_padding_after() -> None:
    assert pool_axes((9,), 2, ceil=True) == (Axis(9, 2, 2, 1, 0, 1),)
    assert pool_axes((8,), 2, ceil=True) == pool_axes((8,), 2)
    assert pool_axes((10,), 3, stride=2, padding=1, ceil=True) == (Axis(10, 3, 2, 1, 1, 2),)
    assert pool_spec((1, 1, 10), 3, stride=2, padding=1, ceil=True).overhang == (1,)
    # The last window would begin in the padding after the input: there is none.
    assert pool_axes((3,), 2, stride=2, padding=1, ceil=True)[0].output == 2
    assert pool_axes((5,), 1, stride=3, ceil=True)[0].output == 2
    # A window may be larger than the input.
    assert pool_axes((2,), 3, stride=2, ceil=True) == (Axis(2, 3, 2, 1, 0, 1),)
    # More padding than PyTorch allows, some of which no window may begin in.
    assert pool_axes((4,), 2, padding=[(0, 7)], ceil=True)[0].output == 2


def test_sizes_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    numbers = itertools.product(range(1, 10), range(1, 5), range(1, 5), range(3), (1, 2), (0, 1))
    compared = 0
    for size, kernel, stride, padding, dilation, ceil in numbers:
        if 2 * padding > kernel:
            continue
        given: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        try:
            spec = pool_spec((1, 1, size), kernel, **given, ceil=bool(ceil))
        except ValueError:
            # PyTorch gives minus infinity where a window sees nothing: dilation over the input.
            assert dilation > 1 or size + 2 * padding < kernel
            continue
        want = torch.nn.functional.max_pool1d(
            torch.zeros(1, 1, size), kernel, **given, ceil_mode=bool(ceil)
        )
        assert spec.output_shape == tuple(want.shape)
        compared += 1
    assert compared > 900


@grid(spec=POOLS, every=1)
def test_the_divisor_is_that_of_all_windows(spec: PoolSpec) -> None:
    counts = {
        int(np.prod([spec.counted(dim, o) for dim, o in enumerate(output)]))
        for output in np.ndindex(spec.output)
    }
    along = [
        {spec.counted(dim, o) for o in range(axis.output)} for dim, axis in enumerate(spec.axes)
    ]
    assert spec.divisor == (counts.pop() if all(len(each) == 1 for each in along) else None)


def test_counts() -> None:
    given: dict[str, Any] = {"stride": 2, "padding": 1, "ceil": True, "kind": "average"}
    all_of_it = pool_spec((1, 1, 10), 3, **given)
    inside = replace(all_of_it, count_padding=False)
    assert [all_of_it.counted(0, o) for o in range(6)] == [3, 3, 3, 3, 3, 2]
    assert [inside.counted(0, o) for o in range(6)] == [2, 3, 3, 3, 3, 1]
    assert all_of_it.divisor is inside.divisor is None
    assert pool_spec((1, 1, 10), 3, padding=1, kind="average").divisor == 3
    assert pool_spec((1, 1, 4), 6, padding=1, kind="average", count_padding=False).divisor == 4
    beyond = pool_spec((1, 1, 4), 2, padding=9, kind="average")  # zeros are means like any other
    assert {beyond.counted(0, o) for o in range(beyond.output[0])} == {2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kernel": 0}, "kernel=0: every kernel must be at least 1"),
        ({"kernel": (2, 2)}, r"kernel=\(2, 2\): must be one int or 1, one for each axis"),
        ({"kernel": 2, "stride": 0}, "stride=0: every stride"),
        ({"kernel": 2, "dilation": 0}, "dilation=0: every dilation"),
        ({"kernel": 2, "padding": -1}, "padding=-1: every padding must be at least 0"),
        ({"kernel": 2, "padding": "most"}, "padding='most': must be numbers or one of"),
        ({"kernel": 9}, "kernel=9: must not be larger than the padded input"),
        ({"kernel": 30, "stride": 1, "ceil": True}, "kernel=30: must not be larger"),
        (
            {"kernel": 2, "padding": 2},
            r"padding=\(2, 2\): output 0 would see nothing but padding, with 2 taps of "
            r"dilation 1 at stride 2 on 8 entries$",
        ),
        ({"kernel": 2, "padding": [(0, 2)]}, r"padding=\(0, 2\): output 4 would see nothing"),
        ({"kernel": 2, "padding": 10**12}, r"padding=\(1000000000000, 1000000000000\): output 0"),
        (
            {"kernel": 2, "padding": 3, "kind": "average", "count_padding": False},
            r"padding=\(3, 3\): output 0 would see",
        ),
        ({"kernel": 2, "kind": "median"}, "kind='median': must be one of max, average"),
        ({"kernel": 2, "dtype": "int8"}, "dtype='int8': must be one of float32, float64"),
    ],
)
def test_values_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        pool_spec((1, 3, 8), **given)


def test_an_error_names_the_axis() -> None:
    with pytest.raises(ValueError, match=r"larger than .*\(spatial axis 1\)$"):
        pool_spec((1, 1, 9, 2), 3)
    with pytest.raises(ValueError, match=r"nothing but padding.*\(spatial axis 1\)$"):
        pool_spec((1, 1, 9, 9), 2, padding=(0, 2))


@pytest.mark.parametrize("shape", [(3, 8), (0, 0, 8), (1, 3, 0), (-1, 3, 8)])
def test_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        pool_spec(shape, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axes": [Axis(4, 2)]}, r"axes=\[Axis.*: must be a tuple of Axis"),
        ({"channels": 3.0}, "channels=3.0: must be an int"),
        ({"batch": True}, "batch=True: must be an int"),
        ({"count_padding": 1}, "count_padding=1: must be True or False"),
        ({"overhang": [0]}, r"overhang=\[0\]: must be a tuple of ints"),
    ],
)
def test_types_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        PoolSpec(**{"axes": (Axis(4, 2),), "channels": 3, **given})
    with pytest.raises(TypeError, match=r"^ceil=1: must be True or False"):
        pool_axes((4,), 2, ceil=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axes": ()}, r"axes=\(\): a pooling must have at least one spatial axis"),
        ({"channels": 0}, "channels=0: must be at least 1"),
        ({"axes": (Axis(4, 2, 1, 1, 1, 1, "reflect"),)}, "padding_mode='reflect': must be zeros"),
        ({"axes": (Axis(4, 2, 1, 1, -1, 0),)}, r"padding=\(-1, 0\): must be at least 0"),
        ({"overhang": (1,)}, r"overhang=\(1,\): must be from 0 to the padding after each axis"),
        ({"overhang": (0, 0)}, r"overhang=\(0, 0\): must be"),
    ],
)
def test_specs_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        PoolSpec(**{"axes": (Axis(4, 2),), "channels": 3, **given})


def test_a_window_in_the_overhang_alone() -> None:
    axes = (Axis(4, 2, 2, 1, 0, 2),)
    assert PoolSpec(axes, 1, kind="average").output == (3,)
    with pytest.raises(ValueError, match="output 2 would see nothing"):
        PoolSpec(axes, 1, kind="average", overhang=(2,))
