import math

import numpy as np
import pytest
from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from faltung.geometry import MODES, Axis, Padding, modes, pads
from faltung.geometry.words import MODES_ELSEWHERE


def one(padding: Padding, size: int, kernel: int, stride: int = 1, dilation: int = 1):  # type: ignore[no-untyped-def]
    (pair,) = pads(padding, sizes=[size], kernel=[kernel], stride=[stride], dilation=[dilation])
    return pair


def two(padding: object) -> tuple[tuple[int, int], ...]:
    return pads(padding, sizes=(9, 8), kernel=(3, 4), stride=(1, 2), dilation=(2, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, (0, 3)], ((1, 1), (0, 3))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        (np.array([[1, 2], [3, 4]]), ((1, 2), (3, 4))),
        (np.array([1, 2]), ((1, 1), (2, 2))),
        (np.int64(1), ((1, 1), (1, 1))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((2, 2), (1, 2))),
        ("same_upper", ((2, 2), (1, 1))),
        ("causal", ((4, 0), (3, 0))),
        (("causal", "same"), ((4, 0), (1, 2))),
        (("valid", (1, 0)), ((0, 0), (1, 0))),
    ],
)
def test_every_way_to_say_it(padding: object, pairs: tuple[tuple[int, int], ...]) -> None:
    found = two(padding)
    assert found == pairs
    assert all(type(number) is int for pair in found for number in pair)


LAYER = st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 7), st.integers(1, 4))


@given(LAYER)
@examples(4)
def test_same(layer: tuple[int, int, int, int]) -> None:
    size, kernel, stride, dilation = layer
    lo, hi = one("same", *layer)
    assert lo + hi == dilation * (kernel - 1)
    assert lo == (lo + hi) // 2
    assert Axis(size, kernel, stride, dilation, lo, hi).output == math.ceil(size / stride)


@given(LAYER)
@examples(4)
def test_same_upper_and_lower_pad_the_least(layer: tuple[int, int, int, int]) -> None:
    size, kernel, stride, dilation = layer
    outputs = math.ceil(size / stride)
    lo, hi = one("same_upper", *layer)
    assert one("same_lower", *layer) == (hi, lo)
    assert lo <= hi <= lo + 1
    assert Axis(size, kernel, stride, dilation, lo, hi).output == outputs
    less = lo + hi - 1  # one entry less, and an output is lost
    extent = dilation * (kernel - 1) + 1
    assert less < 0 or (size + less - extent) // stride + 1 < outputs


@given(LAYER)
@examples(4)
def test_causal_outputs_see_nothing_later(layer: tuple[int, int, int, int]) -> None:
    size, kernel, stride, dilation = layer
    lo, hi = one("causal", *layer)
    axis = Axis(size, kernel, stride, dilation, lo, hi)
    assert axis.output == math.ceil(size / stride)
    for o in range(axis.output):  # output o stands at input o * stride, which it still sees
        assert axis.input_range(o, o + 1)[1] == o * stride + 1


def test_known_layers() -> None:
    assert one("same_upper", 224, 7, 2) == (2, 3)  # the TensorFlow ResNet stem
    assert one("same_lower", 224, 7, 2) == (3, 2)
    assert one("same", 224, 7, 2) == (3, 3)  # the PyTorch ResNet stem
    assert one("same", 10, 4) == (1, 2)


FULL = "; write the size of the kernel less one, as padding=2 for a kernel of 3"


@pytest.mark.parametrize(
    ("padding", "error", "message"),
    [
        (-1, ValueError, "padding=-1: every padding must be at least 0"),
        (((1, -1), 0), ValueError, "padding=((1, -1), 0): every padding must be at least 0"),
        ("full", ValueError, "padding='full': must be numbers or one of valid, same, same_upper, "
         f"same_lower, causal{FULL}"),
        (("same", "full"), ValueError, "padding=('same', 'full'): must be numbers or one of valid, "
         f"same, same_upper, same_lower, causal{FULL}"),
        ((1, 2, 3), ValueError, "padding=(1, 2, 3): must have one entry for each of the 2 spatial "
         "axes"),
        ((), ValueError, "padding=(): must have one entry for each of the 2 spatial axes"),
        (((1, 2, 3), 0), ValueError, "padding=((1, 2, 3), 0): the padding of an axis is an int or "
         "(lo, hi)"),
        (1.0, TypeError, "padding=1.0: must be an int, a name, or one int or (lo, hi) pair of ints "
         "for each axis"),
        (None, TypeError, "padding=None: must be an int, a name, or one int or (lo, hi) pair of "
         "ints for each axis"),
        ((1, (0, True)), TypeError, "padding=(1, (0, True)): must be an int, a name, or one int or "
         "(lo, hi) pair of ints for each axis"),
    ],
)  # fmt: skip
def test_bad_padding_is_named(padding: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        two(padding)
    assert str(caught.value) == message


def test_words_of_others() -> None:
    for word, mode in MODES_ELSEWHERE.items():
        assert word not in MODES and word == word.lower() and mode in MODES
        for written in (word, word.upper()):
            for call in (lambda: modes(written, 2), lambda: two(written)):  # noqa: B023
                with pytest.raises(ValueError, match=rf"; say padding_mode='{mode}'$"):
                    call()


def test_modes() -> None:
    assert modes("reflect", 3) == ("reflect",) * 3
    assert modes(["zeros", "circular"], 2) == ("zeros", "circular")
    assert modes(np.array(["zeros", "circular"]), 2) == ("zeros", "circular")  # type: ignore[arg-type]
    assert set(modes(MODES, 5)) == set(MODES)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("mirror", ValueError, "padding_mode='mirror': must be one of zeros, reflect, symmetric, "
         "replicate, circular; say padding_mode='reflect'"),
        (("zeros", "SAME"), ValueError, "padding_mode=('zeros', 'SAME'): must be one of zeros, "
         "reflect, symmetric, replicate, circular; say padding='same'"),
        (("zeros", 1), ValueError, "padding_mode=('zeros', 1): must be one of zeros, reflect, "
         "symmetric, replicate, circular"),
        (("zeros",), ValueError, "padding_mode=('zeros',): must be one name, or 2 names, one for "
         "each axis"),
        (None, TypeError, "padding_mode=None: must be a name or a sequence of 2 names"),
    ],
)  # fmt: skip
def test_bad_modes_are_named(value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        modes(value, 2)  # type: ignore[arg-type]
    assert str(caught.value) == message
