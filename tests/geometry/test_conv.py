import itertools
from math import prod
from typing import Any

import numpy as np
import pytest
from grid import grid

from cases import CASES, Case
from faltung.geometry import Axis, ConvSpec, Ladder, conv_spec

STEM: dict[str, Any] = {"stride": 2, "padding": 3}


def test_the_stem_of_resnet() -> None:
    spec = conv_spec((1, 3, 224, 224), (64, 3, 7, 7), **STEM)
    assert spec.axes == (Axis(224, 7, 2, 1, 3, 3),) * 2
    assert spec.rank == 2
    assert spec.input_shape == (1, 3, 224, 224)
    assert spec.weight_shape == (64, 3, 7, 7)
    assert spec.output_shape == (1, 64, 112, 112)
    assert (spec.size, spec.output) == ((224, 224), (112, 112))
    assert (spec.kernel, spec.stride, spec.dilation) == ((7, 7), (2, 2), (1, 1))
    assert (spec.padding, spec.padding_mode) == (((3, 3), (3, 3)), ("zeros", "zeros"))
    assert spec.taps == 49
    assert spec.macs == 118_013_952
    assert spec.flops == 236_027_904
    assert (spec.weight_parameters, spec.bias_parameters) == (9408, 64)
    assert spec.itemsize == 4
    assert spec.bytes_moved == 4 * (3 * 224 * 224 + 9408 + 64 * 112 * 112)
    assert str(spec) == "n1 c3>64 224x224 k7 s2 p3"


def test_the_ladder() -> None:
    # An image of 32 x 32 grey pixels to as many, with 3 x 3 kernels: 1 048 576 > 9216 > 9.
    assert conv_spec((1, 1, 32, 32), (1, 1, 3, 3), padding=1).ladder() == Ladder(2**20, 9216, 9)
    grouped = conv_spec((7, 4, 8), (6, 2, 3), groups=2)
    assert grouped.ladder() == Ladder(dense=4 * 8 * 6 * 6, local=6 * 36, conv=36)


@grid(case=CASES, every=1)
def test_closed_forms_by_counting(case: Case) -> None:
    spec = case.spec
    assert spec.batch * spec.ladder().local == spec.macs  # one weight, one multiply-add
    assert spec.flops == 2 * spec.macs
    per_output = spec.channels_in // spec.groups * prod(spec.kernel)
    assert spec.macs == prod(spec.output_shape) * per_output
    assert eval(repr(spec)) == spec
    assert len({spec, eval(repr(spec))}) == 1


@grid(case=CASES, every=1)
def test_conv_spec_says_the_same(case: Case) -> None:
    spec = case.spec
    again = conv_spec(
        np.array(spec.input_shape),
        list(spec.weight_shape),
        stride=np.array(spec.stride),
        padding=np.array(spec.padding),
        dilation=list(spec.dilation),
        groups=np.int32(spec.groups),
        padding_mode=list(spec.padding_mode),
        flip=spec.flip,
        dtype=np.dtype(spec.dtype),
    )
    assert again == spec
    assert eval(repr(again)) == spec  # no NumPy scalars inside


X, W = (1, 4, 9, 9), (6, 4, 3, 3)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stride": (0, 1)}, ValueError, "stride=(0, 1): every stride must be at least 1"),
    ({"stride": -2}, ValueError, "stride=-2: every stride must be at least 1"),
    ({"stride": 1.5}, TypeError, "stride=1.5: must be an int or a sequence of 2 ints"),
    ({"stride": (1, 1, 1)}, ValueError, "stride=(1, 1, 1): must be one int or 2, one for each "
     "axis"),
    ({"dilation": 0}, ValueError, "dilation=0: every dilation must be at least 1"),
    ({"dilation": True}, TypeError, "dilation=True: must be an int or a sequence of 2 ints"),
    ({"dilation": (1, 5)}, ValueError, "kernel=3: must not be larger than the padded input; with "
     "dilation 5 it spans 11, the input 0 + 9 + 0 = 9 (spatial axis 1)"),
    ({"groups": 0}, ValueError, "groups=0: must be at least 1"),
    ({"groups": 3}, ValueError, "groups=3: must divide the input channels, 4"),
    ({"groups": 2}, ValueError, "weight_shape=(6, 4, 3, 3): its second entry must be channels_in "
     "// groups = 4 // 2"),
    ({"groups": 4, "w": (6, 1, 3, 3)}, ValueError, "groups=4: must divide the output channels, 6"),
    ({"groups": 1.0}, TypeError, "groups=1.0: must be an int"),
    ({"padding": -1}, ValueError, "padding=-1: every padding must be at least 0"),
    ({"padding": (9, 3), "padding_mode": "reflect"}, ValueError, "padding=(9, 9): reflect padding "
     "must be at most 8 on an axis of size 9; faltung.ndimage has borders of any width (spatial "
     "axis 0)"),
    ({"padding_mode": "mirror"}, ValueError, "padding_mode='mirror': must be one of zeros, "
     "reflect, symmetric, replicate, circular; say padding_mode='reflect'"),
    ({"x": (4, 9)}, ValueError, "input_shape=(4, 9): must be (batch, channels, *space)"),
    ({"x": (1, 4, 9)}, ValueError, "weight_shape=(6, 4, 3, 3): must have 3 dimensions, as the "
     "input (1, 4, 9) has"),
    ({"x": (1, 4, 0, 9)}, ValueError, "input_shape=(1, 4, 0, 9): channels and sizes must be at "
     "least 1"),
    ({"x": (-1, 4, 9, 9)}, ValueError, "input_shape=(-1, 4, 9, 9): the batch must be at least 0"),
    ({"x": (1, 4.0, 9, 9)}, TypeError, "input_shape=(1, 4.0, 9, 9): must be a sequence of ints"),
    ({"x": 3}, TypeError, "input_shape=3: must be a sequence of ints"),
    ({"w": (6, 4, 0, 3)}, ValueError, "weight_shape=(6, 4, 0, 3): every entry must be at least 1"),
    ({"w": (6, 4, 10, 3)}, ValueError, "kernel=10: must not be larger than the padded input; with "
     "dilation 1 it spans 10, the input 0 + 9 + 0 = 9 (spatial axis 0)"),
    ({"w": (6, 5, 3, 3)}, ValueError, "weight_shape=(6, 5, 3, 3): its second entry must be "
     "channels_in // groups = 4 // 1"),
    ({"dtype": "int8"}, ValueError, "dtype='int8': must be one of float32, float64, float16, "
     "bfloat16, int32, int64, complex64, complex128"),
    ({"flip": 1}, TypeError, "flip=1: must be True or False"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), BAD, ids=[str(row[0]) for row in BAD])
def test_bad_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    keywords = {"x": X, "w": W} | arguments
    with pytest.raises(error) as caught:
        conv_spec(keywords.pop("x"), keywords.pop("w"), **keywords)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axes": ()}, ValueError, "axes=(): a convolution must have at least one spatial axis"),
        ({"axes": [Axis(3, 1)]}, TypeError, "must be a tuple of Axis"),
        ({"channels_in": 0}, ValueError, "channels_in=0: must be at least 1"),
        ({"channels_out": 4.0}, TypeError, "channels_out=4.0: must be an int"),
        ({"batch": -1}, ValueError, "batch=-1: must be at least 0"),
        ({"groups": 3}, ValueError, "groups=3: must divide the channels, 4 in and 6 out"),
        ({"groups": 4}, ValueError, "groups=4: must divide the channels, 4 in and 6 out"),
    ],
)
def test_a_spec_checks_itself(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ConvSpec(**({"axes": (Axis(9, 3),), "channels_in": 4, "channels_out": 6} | arguments))
    assert message in str(caught.value)


def test_every_rank() -> None:
    for rank in range(1, 7):
        spec = conv_spec((2, 3, *(4,) * rank), (5, 3, *(2,) * rank), padding="same")
        assert spec.output_shape == (2, 5, *(4,) * rank)
        assert spec.taps == 2**rank == len(list(itertools.product(*map(range, spec.kernel))))
