"""Every bad argument is refused in one line that names it, its value and the rule; the line is part
of what people work with, so it stands here as a whole.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import faltung
from faltung.ops.options import WITHOUT_CHANNELS

F4 = np.float32
X, W, B = np.ones((2, 4, 8, 9), F4), np.ones((6, 4, 3, 3), F4), np.ones(6, F4)
G = np.ones((2, 6, 6, 7), F4)
T = np.ones((4, 3, 3, 3), F4)  # of a transposed convolution


def conv(**given: Any) -> Callable[[], Any]:
    return lambda: faltung.conv(X, W, **given)


ROUND: list[Any] = []
ROUND.append(ROUND)

MODES = "zeros, reflect, symmetric, replicate, circular, constant"
RANK = "dimensions, (C_out, C_in // groups, *kernel); conv takes any rank"
NAMES = "valid, same, same_upper, same_lower, causal"
KINDS = "must be an int, a name, or one int or (lo, hi) pair of ints for each axis"

ARGUMENTS = [
    (conv(stride=0), ValueError, "stride=0: every stride must be at least 1"),
    (conv(stride=(0, 1)), ValueError, "stride=(0, 1): every stride must be at least 1"),
    (conv(stride=-(2**70)), ValueError, f"stride=-{2**70}: every stride must be at least 1"),
    (conv(stride=()), ValueError, "stride=(): must be one int or 2, one for each axis"),
    (conv(stride=1.0), TypeError, "stride=1.0: must be an int or a sequence of 2 ints"),
    (conv(stride=(1, True)), TypeError, "stride=(1, True): must be a sequence of ints"),
    (
        conv(stride=np.float64(2)),
        TypeError,
        "stride=np.float64(2.0): must be an int or a sequence of 2 ints",
    ),
    (conv(stride="2"), TypeError, "stride='2': must be an int or a sequence of 2 ints"),
    (conv(stride=None), TypeError, "stride=None: must be an int or a sequence of 2 ints"),
    (conv(stride={1: 1}), TypeError, "stride={1: 1}: must be an int or a sequence of 2 ints"),
    (conv(stride=ROUND), TypeError, "stride=[[...]]: must be a sequence of ints"),
    (
        conv(padding=ROUND),
        ValueError,
        "padding=[[...]]: must have one entry for each of the 2 spatial axes",
    ),
    (conv(channels_last=1), TypeError, "channels_last=1: must be True or False"),
    (conv(channels_last="no"), TypeError, "channels_last='no': must be True or False"),
    (
        conv(channels_last=np.ones(2)),
        TypeError,
        "channels_last=array([1., 1.]): must be True or False",
    ),
    (
        lambda: faltung.Conv(W, channels_last=None),  # type: ignore[arg-type]
        TypeError,
        "channels_last=None: must be True or False",
    ),
    (
        lambda: faltung.conv_input_grad(G, W, X.shape, channels_last=0),  # type: ignore[arg-type]
        TypeError,
        "channels_last=0: must be True or False",
    ),
    (
        lambda: faltung.conv_to_dense(W, (4, 8, 9), channels_last=True),
        TypeError,
        "channels_last=True: must be one of stride, padding, dilation, groups, padding_mode, flip",
    ),
    (
        lambda: faltung.dense_to_conv(W[0, 0], (1, 10**9), 1, (1,)),
        ValueError,
        f"matrix.shape=(3, 3): must be {(10**9, 10**9)}, (C_out * outputs, C_in * inputs)",
    ),
    (conv(dilation=0), ValueError, "dilation=0: every dilation must be at least 1"),
    (conv(dilation=[2.5, 1]), TypeError, "dilation=[2.5, 1]: must be a sequence of ints"),
    (
        conv(dilation=2**63),
        ValueError,
        f"kernel=3: must not be larger than the padded input; with dilation {2**63} it spans "
        f"{2**64 + 1}, the input 0 + 8 + 0 = 8 (spatial axis 0)",
    ),
    (conv(padding=-1), ValueError, "padding=-1: every padding must be at least 0"),
    (
        conv(padding=((1, 2), (0, -1))),
        ValueError,
        "padding=((1, 2), (0, -1)): every padding must be at least 0",
    ),
    (
        conv(padding="Same"),
        ValueError,
        f"padding='Same': must be numbers or one of {NAMES}; say padding='same'",
    ),
    (conv(padding=1.5), TypeError, f"padding=1.5: {KINDS}"),
    (conv(padding=True), TypeError, f"padding=True: {KINDS}"),
    (conv(padding=b"same"), TypeError, f"padding=b'same': {KINDS}"),
    (
        conv(padding=((1, 2, 3), 1)),
        ValueError,
        "padding=((1, 2, 3), 1): the padding of an axis is an int or (lo, hi)",
    ),
    (
        conv(padding=(1, 2, 3)),
        ValueError,
        "padding=(1, 2, 3): must have one entry for each of the 2 spatial axes",
    ),
    (
        conv(padding=10**6, padding_mode="reflect"),
        ValueError,
        "padding=(1000000, 1000000): reflect padding must be at most 7 on an axis of size 8; "
        "faltung.ndimage has borders of any width (spatial axis 0)",
    ),
    (
        conv(padding=(8, 10), padding_mode="symmetric"),
        ValueError,
        "padding=(10, 10): symmetric padding must be at most 9 on an axis of size 9; "
        "faltung.ndimage has borders of any width (spatial axis 1)",
    ),
    (
        conv(padding=9, padding_mode="circular"),
        ValueError,
        "padding=(9, 9): circular padding must be at most 8 on an axis of size 8; "
        "faltung.ndimage has borders of any width (spatial axis 0)",
    ),
    (
        conv(padding_mode="Zeros"),
        ValueError,
        f"padding_mode='Zeros': must be one of {MODES}; say padding_mode='zeros'",
    ),
    (
        conv(padding_mode=["zeros", "no"]),
        ValueError,
        f"padding_mode=['zeros', 'no']: must be one of {MODES}",
    ),
    (conv(padding_mode=3), TypeError, "padding_mode=3: must be a name or a sequence of 2 names"),
    (conv(groups=0), ValueError, "groups=0: must be at least 1"),
    (conv(groups=3), ValueError, "groups=3: must divide the input channels, 4"),
    (conv(groups=1.0), TypeError, "groups=1.0: must be an int"),
    (conv(groups=True), TypeError, "groups=True: must be an int"),
    (
        conv(groups=4),
        ValueError,
        "weight.shape=(6, 4, 3, 3): its second entry must be channels_in // groups = 4 // 4",
    ),
    (
        lambda: faltung.conv(X, W[:5, :2], groups=2),
        ValueError,
        "groups=2: must divide the output channels, 5",
    ),
    (conv(flip=1), TypeError, "flip=1: must be True or False"),
    (
        lambda: faltung.conv(X[:, :, :2], W),
        ValueError,
        "kernel=3: must not be larger than the padded input; with dilation 1 it spans 3, the input "
        "0 + 2 + 0 = 2 (spatial axis 0)",
    ),
    (
        lambda: faltung.conv_transpose(X, T, output_padding=1),
        ValueError,
        "output_padding=1: must be below the stride (1, 1) or the dilation (1, 1)",
    ),
    (
        lambda: faltung.conv_transpose(X, T, padding=9),
        ValueError,
        "padding=9: leaves no output; its sizes would be (-8, -7)",
    ),
    (
        lambda: faltung.conv_transpose(X, T[:3]),
        ValueError,
        "weight.shape=(3, 3, 3, 3): its first entry must be the input channels, 4",
    ),
]

PLACE = (
    "must have 4 dimensions (batch, channels and 2 of space, as the weight says), or 3 without the "
    "batch"
)
SHAPES = [
    (lambda: faltung.conv(X[0, 0], W), f"x.shape=(8, 9): {PLACE}; x[np.newaxis] has one channel"),
    (lambda: faltung.conv(X[None], W), f"x.shape=(1, 2, 4, 8, 9): {PLACE}"),
    (lambda: faltung.conv(F4(1), W), f"x.shape=(): {PLACE}"),
    (
        lambda: faltung.conv(X[:, :0], W),
        "x.shape=(2, 0, 8, 9): channels and sizes must be at least 1",
    ),
    (
        lambda: faltung.conv(X[..., :0], W),
        "x.shape=(2, 4, 8, 0): channels and sizes must be at least 1",
    ),
    (lambda: faltung.conv(X, W[:0]), "weight.shape=(0, 4, 3, 3): every entry must be at least 1"),
    (
        lambda: faltung.conv(X, W[..., :0]),
        "weight.shape=(6, 4, 3, 0): every entry must be at least 1",
    ),
    (
        lambda: faltung.conv(X, W[0, 0]),
        f"weight.shape=(3, 3): must be (C_out, C_in // groups, *kernel){WITHOUT_CHANNELS}",
    ),
    (
        lambda: faltung.conv(X, W, B[:5]),
        "bias.shape=(5,): must be (6,), one for each output channel",
    ),
    (
        lambda: faltung.conv(X, W, B[None]),
        "bias.shape=(1, 6): must be (6,), one for each output channel",
    ),
    (
        lambda: faltung.conv_transpose(X, T, B[:4]),
        "bias.shape=(4,): must be (3,), one for each output channel",
    ),
    (lambda: faltung.conv1d(X, W), f"weight.shape=(6, 4, 3, 3): conv1d needs 3 {RANK}"),
    (
        lambda: faltung.conv2d(X, W[0]),
        f"weight.shape=(4, 3, 3): conv2d needs 4 {RANK}",
    ),
    (lambda: faltung.conv3d(X, W), f"weight.shape=(6, 4, 3, 3): conv3d needs 5 {RANK}"),
    (
        lambda: faltung.conv_input_grad(G, W, (8, 9)),
        "input_shape=(8, 9): must have 4 dimensions, or 3 without a batch",
    ),
    (
        lambda: faltung.conv_input_grad(G, W, (2, 4, -8, 9)),
        "input_shape=(2, 4, -8, 9): channels and sizes must be at least 1",
    ),
    (
        lambda: faltung.conv_input_grad(G, W, (-2, 4, 8, 9)),
        "input_shape=(-2, 4, 8, 9): the batch must be at least 0",
    ),
    (
        lambda: faltung.conv_weight_grad(X, G, (6, 4)),
        "weight_shape=(6, 4): must be (C_out, C_in // groups, *kernel), at least 3 numbers",
    ),
    (
        lambda: faltung.conv(X, W, out=np.empty((2, 6, 6, 8), F4)),
        "out.shape=(2, 6, 6, 8): must be (2, 6, 6, 7)",
    ),
    (
        lambda: faltung.conv(X, W, out=np.empty((6, 6, 7), F4)),
        "out.shape=(6, 6, 7): must be (2, 6, 6, 7)",
    ),
    (
        lambda: faltung.conv(X, W, out=np.broadcast_to(F4(0), (2, 6, 6, 7))),
        "out: must be writable",
    ),
]


def refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert isinstance(error.value, faltung.FaltungError)
    assert isinstance(error.value, TypeError) == (kind is TypeError)
    assert str(error.value) == message


@pytest.mark.parametrize(("call", "kind", "message"), ARGUMENTS, ids=[row[2] for row in ARGUMENTS])
def test_arguments(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    refused(call, kind, message)
    refused(call, kind, message)  # nothing that was wrong once is remembered as right


@pytest.mark.parametrize(("call", "message"), SHAPES, ids=[row[1] for row in SHAPES])
def test_shapes(call: Callable[[], Any], message: str) -> None:
    refused(call, ValueError, message)


STRANGE = {
    "int8": np.ones((2, 4, 8, 9), np.int8),
    "uint16": np.ones((2, 4, 8, 9), np.uint16),
    "bool": np.ones((2, 4, 8, 9), bool),
    "object": X.astype(object),
    "<U1": np.full((2, 4, 8, 9), "a"),
    "datetime64[s]": X.astype("M8[s]"),
}


@pytest.mark.parametrize("dtype", STRANGE)
def test_dtypes(dtype: str) -> None:
    odd = STRANGE[dtype]

    def rule(name: str) -> str:
        return (
            f"{name}.dtype={dtype}: must be float32, float64, float16, ml_dtypes.bfloat16, int32, "
            f'int64, complex64 or complex128; write {name}.astype("float32"), or take '
            "faltung.ndimage or faltung.signal, which take what SciPy takes"
        )

    w, g = odd[:, :, :3, :3], odd[:, :, :6, :7]
    refused(lambda: faltung.conv(odd, W), TypeError, rule("x"))
    refused(lambda: faltung.conv(X, w), TypeError, rule("weight"))
    refused(lambda: faltung.conv(X, W, odd.ravel()[:6]), TypeError, rule("bias"))
    refused(lambda: faltung.Conv(w), TypeError, rule("weight"))
    refused(lambda: faltung.Conv(W)(odd), TypeError, rule("x"))
    refused(lambda: faltung.conv_input_grad(g, W, X.shape), TypeError, rule("grad"))
    refused(lambda: faltung.conv_weight_grad(X, g, W.shape), TypeError, rule("grad"))
    refused(lambda: faltung.conv_transpose(odd, T), TypeError, rule("x"))
    with pytest.raises(TypeError, match=r"^out\.dtype="):
        faltung.conv(X, W, out=np.ones((2, 6, 6, 7), odd.dtype))


def test_the_other_byte_order() -> None:
    odd, remedy = X.astype(">f4"), "must have this machine's byte order; pass {0}.astype({0}.dtype."
    w, g = odd[:, :, :3, :3], odd[:, :, :6, :7]
    for call, name in [
        (lambda: faltung.conv(odd, W), "x"),
        (lambda: faltung.conv(X, w), "weight"),
        (lambda: faltung.conv(X, W, odd.ravel()[:6]), "bias"),
        (lambda: faltung.Conv(w), "weight"),
        (lambda: faltung.Conv(W)(odd), "x"),
        (lambda: faltung.conv_input_grad(g, W, X.shape), "grad"),
        (lambda: faltung.conv_weight_grad(X, g, W.shape), "grad"),
        (lambda: faltung.conv_transpose(odd, T), "x"),
        (lambda: faltung.max_pool(odd, 2), "x"),
    ]:
        message = f"{name}.dtype=>f4: {remedy.format(name)}newbyteorder('='))"
        refused(call, TypeError, message)


def test_one_dtype_for_all() -> None:
    f8 = np.float64
    rule = "must be that of the other arrays,"
    for call, message in [
        (
            lambda: faltung.conv(X, W.astype(f8)),
            f"weight.dtype=float64: {rule} float32; pass weight.astype('float32')",
        ),
        (
            lambda: faltung.conv(X.astype(f8), W),
            f"weight.dtype=float32: {rule} float64; pass weight.astype('float64')",
        ),
        (
            lambda: faltung.conv(X, W, [1.0] * 6),
            f"bias.dtype=float64: {rule} float32; pass bias.astype('float32')",
        ),
        (
            lambda: faltung.Conv(W, B.astype(f8)),
            f"bias.dtype=float64: {rule} float32; pass bias.astype('float32')",
        ),
        (
            lambda: faltung.Conv(W)(X.astype(f8)),
            f"x.dtype=float64: {rule} float32; pass x.astype('float32')",
        ),
        (
            lambda: faltung.conv_weight_grad(X, G.astype(f8), W.shape),
            f"grad.dtype=float64: {rule} float32; pass grad.astype('float32')",
        ),
    ]:
        refused(call, TypeError, message)


@pytest.mark.parametrize(
    "nothing", [None, [], {}, "x", 3, object()], ids=lambda value: type(value).__name__
)
def test_what_is_no_array(nothing: object) -> None:
    for call in (
        lambda: faltung.conv(nothing, W),
        lambda: faltung.conv(X, nothing),
        lambda: faltung.conv_input_grad(nothing, W, X.shape),
        lambda: faltung.conv_weight_grad(X, nothing, W.shape),
        lambda: faltung.conv_transpose(nothing, T),
        lambda: faltung.Conv(nothing),
        lambda: faltung.Conv(W)(nothing),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^(x|weight|grad)[.:=]") as error:
            call()
        assert "\n" not in str(error.value)


def test_ragged_lists_are_named() -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        faltung.conv([[1.0], [1.0, 2.0]], W)
    with pytest.raises(ValueError, match=r"^weight: "):
        faltung.conv(X, [[[1.0], [1.0, 2.0]]])


@pytest.mark.parametrize("shape", [7, None, 1.5, "abcd", (2, 4, 8.0, 9), (2, 4, True, 9)], ids=str)
def test_shapes_that_are_none(shape: object) -> None:
    faltung.conv_input_grad(G, W, (2, 4, 8, 9))  # what was right before does not make it right
    with pytest.raises((TypeError, ValueError), match=r"^input_shape="):
        faltung.conv_input_grad(G, W, shape)
    with pytest.raises((TypeError, ValueError), match=r"^weight_shape="):
        faltung.conv_weight_grad(X, G, shape)


def test_masked_arrays_are_refused_everywhere() -> None:
    for name, call in {
        "x": lambda: faltung.conv(np.ma.masked_array(X), W),
        "weight": lambda: faltung.conv(X, np.ma.masked_array(W)),
        "bias": lambda: faltung.conv(X, W, np.ma.masked_array(B)),
        "grad": lambda: faltung.conv_input_grad(np.ma.masked_array(G), W, X.shape),
        "out": lambda: faltung.conv(X, W, out=np.ma.masked_array(G.copy())),
    }.items():
        with pytest.raises(TypeError, match=rf"^{name}[:=]"):
            call()


def test_a_layer_is_checked_when_it_is_made() -> None:
    for given, name in [
        ({"stride": 0}, "stride=0"),
        ({"stride": (1, 1, 1)}, "stride=(1, 1, 1)"),
        ({"dilation": 1.5}, "dilation=1.5"),
        ({"padding_mode": "mirror"}, "padding_mode='mirror'"),
        ({"groups": 0}, "groups=0"),
        ({"groups": 4}, "groups=4"),
    ]:
        with pytest.raises((TypeError, ValueError)) as error:
            faltung.Conv(W, **given)  # type: ignore[arg-type]
        assert str(error.value).startswith(name)
    with pytest.raises(ValueError, match=r"^weight\.shape=\(0, 4, 3, 3\)"):
        faltung.Conv(W[:0])


def overlaps() -> dict[str, Callable[[], Any]]:
    """Calls whose `out` shares memory with an input."""
    both = np.ones(2000, F4)

    def view(start: int, *shape: int) -> np.ndarray:
        return both[start : start + int(np.prod(shape))].reshape(shape)

    x, w = view(0, 2, 4, 8, 9), W
    return {
        "x: the last entry": lambda: faltung.conv(x, w, out=view(575, 2, 6, 6, 7)),
        "x: reversed": lambda: faltung.conv(x, w[:4, :, :1, :1], out=x[::-1, ::-1]),
        "x: itself": lambda: faltung.conv(x, w[:4, :, :1, :1], out=x),
        "weight": lambda: faltung.conv(X, view(0, 6, 4, 3, 3), out=view(215, 2, 6, 6, 7)),
        "bias": lambda: faltung.conv(X, W, view(500, 6), out=view(0, 2, 6, 6, 7)),
        "grad": lambda: faltung.conv_input_grad(
            view(0, 2, 6, 6, 7), W, X.shape, out=view(503, 2, 4, 8, 9)
        ),
        "weight of a gradient": lambda: faltung.conv_input_grad(
            G, view(0, 6, 4, 3, 3), X.shape, out=view(9, 2, 4, 8, 9)
        ),
        "x of a gradient": lambda: faltung.conv_weight_grad(x, G, W.shape, out=view(0, *W.shape)),
        "grad of a weight": lambda: faltung.conv_weight_grad(
            X, view(0, 2, 6, 6, 7), W.shape, out=view(500, *W.shape)
        ),
        "x of a transpose": lambda: faltung.conv_transpose(x, T, out=view(0, 2, 3, 10, 11)),
        "x of a layer": lambda: faltung.Conv(W)(x, out=view(100, 2, 6, 6, 7)),
    }


@pytest.mark.parametrize("name", overlaps())
def test_out_must_not_overlap_what_is_read(name: str) -> None:
    what = name.split(":")[0].split(" ")[0]
    with pytest.raises(ValueError, match=rf"^out: must not overlap {what}$"):
        overlaps()[name]()


def test_out_beside_the_input_is_fine() -> None:
    both = np.ones(576 + 504, F4)
    x, out = both[:576].reshape(X.shape), both[576:].reshape(2, 6, 6, 7)
    np.testing.assert_array_equal(faltung.conv(x, W, out=out), np.full_like(out, 36))
    assert (x == 1).all()


def test_out_that_no_kernel_can_write() -> None:
    raw = np.zeros(4 * 504 + 1, np.uint8)
    bent = raw[1:].view(F4).reshape(2, 6, 6, 7)
    with pytest.raises(ValueError, match=r"^out"):
        faltung.conv(X, W, out=bent)
    with pytest.raises(TypeError, match=r"^out="):
        faltung.conv(X, W, out=[[0.0]])  # type: ignore[arg-type]
    folded = np.lib.stride_tricks.as_strided(np.zeros(600, F4), (2, 6, 6, 7), (168, 28, 28, 4))
    with pytest.raises(ValueError, match=r"^out\.strides=.*must not share memory$"):
        faltung.conv(X, W, out=folded)


def test_an_empty_out_may_have_any_strides() -> None:
    x = np.zeros((0, 4, 8, 9), F4)
    out = np.zeros((7, 6, 6, 0), F4).transpose(3, 1, 2, 0)[:, :, ::-1]
    assert faltung.conv(x, W, out=out) is out


def test_nothing_is_written_when_an_argument_is_refused() -> None:
    out = np.full((2, 6, 6, 7), 5, F4)
    for given in ({"stride": 0}, {"groups": 3}, {"padding": -1}):
        with pytest.raises(ValueError):
            faltung.conv(X, W, out=out, **given)  # type: ignore[arg-type]
    assert (out == 5).all()
