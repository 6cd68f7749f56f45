"""Convolutions and poolings against PyTorch in float64, and what PyTorch does not have."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

import faltung
import faltung.torch as ft

# Of PyTorch's samples for each function and dtype: kernels of many sizes take their time.
MOST, MORE = 12, 4
NAMES = [
    f"{base}{r}d" for base in ("conv", "conv_transpose", "max_pool", "avg_pool") for r in (1, 2, 3)
]


def rand(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


def samples(name: str, dtype: Any, most: int) -> Iterator[Any]:
    """PyTorch's own samples of a function, with the function."""
    from torch.testing._internal.common_methods_invocations import op_db

    (found,) = [op for op in op_db if op.name == f"nn.functional.{name}"]
    for number, sample in enumerate(found.sample_inputs("cpu", dtype, requires_grad=False)):
        if number >= most:
            return
        yield found.op, sample


def wide(value: Any) -> Any:
    """A tensor in double precision; other things as they are."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(torch.complex128 if value.is_complex() else torch.float64)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", NAMES)
def test_samples_of_pytorch(name: str) -> None:
    dtypes = {torch.float32: 3e-6, torch.float64: 1e-13}
    if name.startswith("conv"):
        dtypes |= {torch.complex64: 3e-6, torch.bfloat16: 2e-2}
    count = 0
    for dtype, bound in dtypes.items():
        for op, sample in samples(name, dtype, MOST if dtype == torch.float64 else MORE):
            args, kwargs = sample.args, sample.kwargs
            want = op(
                wide(sample.input), *map(wide, args), **{k: wide(v) for k, v in kwargs.items()}
            )
            got = getattr(ft, name)(sample.input, *args, **kwargs)
            if isinstance(want, tuple):
                assert torch.equal(got[1], want[1])
                got, want = got[0], want[0]
            assert got.dtype == dtype and got.shape == want.shape
            scale = max(1.0, float(want.abs().max())) if want.numel() else 1.0
            assert not want.numel() or float((got - want).abs().max()) < bound * scale
            count += 1
    assert count >= 11


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_modes_are_those_of_pytorch(rank: int, mode: str) -> None:
    x, w = rand(2, 3, *(6, 5, 4)[:rank]), rand(4, 3, *(3,) * rank)
    pairs = ((1, 2), (0, 1), (2, 1))[:rank]
    flat = [n for pair in reversed(pairs) for n in pair]
    conv = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    want = conv(F.pad(x, flat, mode=mode), w, stride=2)
    assert torch.allclose(ft.conv(x, w, None, 2, pairs, padding_mode=mode), want)


def test_what_pytorch_does_not_have() -> None:
    x, w = rand(1, 2, 8, 7), rand(3, 2, 3, 3)
    # "same" with a stride is every second output of "same".
    whole = F.conv2d(x, w, padding="same")
    assert torch.allclose(ft.conv2d(x, w, None, 2, "same"), whole[..., ::2, ::2])
    assert ft.conv2d(x, w, None, 2, "same_upper").shape == (1, 3, 4, 4)
    # A mode for each axis.
    round_, plain = F.pad(x, (0, 0, 1, 1), mode="circular"), F.pad(x, (1, 1))
    both = F.conv2d(F.pad(round_, (1, 1)), w)
    assert torch.allclose(ft.conv2d(x, w, None, 1, 1, padding_mode=("circular", "zeros")), both)
    assert plain.shape == (1, 2, 8, 9)
    # Symmetric: the edge is repeated.
    line = torch.tensor([[1.0, 2.0, 3.0]])
    ones = torch.ones(1, 1, 3)
    assert ft.conv1d(line, ones, padding=1, padding_mode="symmetric").tolist() == [[4.0, 6.0, 8.0]]
    # True convolution, and padding that differs.
    assert torch.allclose(ft.conv2d(x, w, flip=True), F.conv2d(x, w.flip(2, 3)))
    assert torch.allclose(ft.conv2d(x, w, padding=((0, 2), 1)), F.conv2d(F.pad(x, (1, 1, 0, 2)), w))
    causal = ft.conv1d(rand(1, 2, 9), rand(3, 2, 3), padding="causal", dilation=2)
    assert torch.allclose(causal, F.conv1d(F.pad(rand(1, 2, 9), (4, 0)), rand(3, 2, 3), dilation=2))


def test_rank_four_and_five() -> None:
    for rank in (4, 5):
        x, w = rand(1, 2, *(3,) * rank), rand(2, 2, *(2,) * rank)
        want = faltung.conv(x.numpy(), w.numpy(), padding=1)
        assert np.array_equal(ft.conv(x, w, padding=1), want)
        back = faltung.conv_transpose(x.numpy(), w.numpy(), stride=2)
        assert np.array_equal(ft.conv_transpose(x, w, stride=2), back)
        assert ft.max_pool(x, 2).shape == (1, 2, *(1,) * rank)


@pytest.mark.parametrize("batch", [True, False])
def test_channels_last_as_an_argument_names_the_axes(batch: bool) -> None:
    x, w, b = rand(2, 6, 7, 3), rand(4, 3, 3, 3), rand(4)
    x = x if batch else x[0]
    y = ft.conv2d(x, w, b, padding=1, channels_last=True)
    assert y.is_contiguous()
    want = F.conv2d(x.movedim(-1, -3), w, b, padding=1).movedim(-3, -1)
    assert torch.allclose(y, want)
    z = ft.conv_transpose2d(y, w, stride=2, channels_last=True)
    assert torch.allclose(z, F.conv_transpose2d(want.movedim(-1, -3), w, stride=2).movedim(-3, -1))


def test_local_layers() -> None:
    """A kernel for each position: as a convolution with the kernel of that position."""
    x, w, b = rand(2, 4, 6, 5), rand(3, 3, 6, 2, 2, 3), rand(3, 3, 6)
    y = ft.conv_local(x, w, b, (2, 1), groups=2)
    for i in range(3):
        for j in range(3):
            patch = x[:, :, 2 * i : 2 * i + 2, j : j + 3]
            want = F.conv2d(patch, w[i, j], b[i, j], groups=2)[..., 0, 0]
            assert torch.allclose(y[:, :, i, j], want)
    back = ft.conv_local_transpose(y, w, None, (2, 1), groups=2)
    # The transpose: <conv_local(x), y> = <x, conv_local_transpose(y)>.
    assert torch.allclose((ft.conv_local(x, w, None, (2, 1), groups=2) * y).sum(), (x * back).sum())
    packed = ft.pack_local(w)
    assert torch.equal(packed, w)
    assert torch.equal(ft.conv_local(x, packed, b, (2, 1), groups=2), y)
    with pytest.raises(faltung.FaltungError, match="must be"):
        ft.pack_local(w[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_pools_of_16_bits_round_once(dtype: Any) -> None:
    x = rand(2, 3, 9, 9).to(dtype)
    assert torch.equal(ft.avg_pool2d(x, 3), F.avg_pool2d(x.double(), 3).float().to(dtype))
    y, places = ft.max_pool2d(x, 3, return_indices=True)
    want, at = F.max_pool2d(x.double(), 3, return_indices=True)
    assert torch.equal(y.double(), want) and torch.equal(places, at) and y.dtype == dtype


def test_pools_by_pytorchs_names_and_indices_for_its_unpool() -> None:
    x = rand(2, 3, 8, 7)
    y, places = ft.max_pool2d(input=x, kernel_size=3, stride=2, ceil_mode=True, return_indices=True)
    want = F.max_pool2d(x, 3, 2, ceil_mode=True, return_indices=True)
    assert torch.equal(y, want[0]) and torch.equal(places, want[1])
    assert torch.equal(
        F.max_unpool2d(y, places, 3, 2, output_size=(8, 7)),
        F.max_unpool2d(*want, 3, 2, output_size=(8, 7)),
    )
    got = ft.avg_pool2d(x, kernel_size=(3, 2), count_include_pad=False, padding=1)
    assert torch.allclose(got, F.avg_pool2d(x, (3, 2), padding=1, count_include_pad=False))
    for ceil in (False, True):
        got = ft.avg_pool2d(x, 3, 2, 1, ceil, divisor_override=5)
        assert torch.allclose(got, F.avg_pool2d(x, 3, 2, 1, ceil, divisor_override=5))
    assert torch.allclose(ft.global_avg_pool(x), x.mean((2, 3)))
    assert torch.equal(ft.global_max_pool(x), x.amax((2, 3)))
    assert torch.equal(ft.max_pool1d(x[0, 0].contiguous(), 2), F.max_pool1d(x[0, 0], 2))
    nan = torch.tensor([[[1.0, float("nan"), 2.0, 3.0]]])
    assert ft.max_pool1d(nan, 2).isnan().tolist() == [[[True, False]]]
    with pytest.raises(faltung.FaltungError, match="one for each axis of max_pool2d"):
        ft.max_pool2d(x, (2, 2, 2))
    with pytest.raises(faltung.FaltungError, match="must be called with a tensor and a kernel"):
        ft.max_pool2d(x)
    with pytest.raises(faltung.FaltungError, match="divisor_override=0"):
        ft.avg_pool2d(x, 2, divisor_override=0)


def test_torch_fx_sees_the_functions() -> None:
    def model(x: Any, w: Any, b: Any) -> Any:
        return ft.max_pool2d(ft.conv2d(x, w, b, padding="same"), 2, ceil=True)

    traced = torch.fx.symbolic_trace(model)
    x, w, b = rand(1, 2, 5, 5), rand(2, 2, 3, 3), rand(2)
    assert torch.equal(traced(x, w, b), model(x, w, b))
    targets = [node.target.__name__ for node in traced.graph.nodes if node.op == "call_function"]
    assert targets == ["conv", "max_pool"]
