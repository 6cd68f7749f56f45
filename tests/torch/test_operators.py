"""The operators as PyTorch's own tests ask for them: opcheck, dtypes, layouts, what is refused."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

import faltung
import faltung.torch as ft
from faltung.torch.operators import OPERATORS
from faltung.torch.threads import found

ops = torch.ops.faltung
LAST = torch.channels_last


def rand(*shape: int, dtype: Any = torch.float64, grad: bool = False, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    made = torch.randn(*shape, dtype=dtype, generator=generator)
    return made.requires_grad_() if grad else made


def last(x: Any) -> Any:
    """The same numbers with the channels last in memory."""
    return x.detach().movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_(x.requires_grad)


def arguments(name: str, dtype: Any) -> tuple[Any, ...]:
    """Small arguments of each operator, whose tensors require gradients."""
    x, g = rand(2, 4, 5, 6, dtype=dtype, grad=True), rand(2, 6, 3, 6, dtype=dtype, grad=True)
    w, b = rand(6, 2, 3, 3, dtype=dtype, grad=True), rand(6, dtype=dtype, grad=True)
    words = "s2x1 p1 g2"
    z, v = rand(1, 2, 6, dtype=dtype, grad=True), rand(4, 3, 2, 2, dtype=dtype, grad=True)
    h = rand(1, 3, 4, dtype=dtype, grad=True)
    indices = torch.tensor([[[0, 2], [1, 3]]]).to(
        torch.int32 if dtype == torch.float32 else torch.int64
    )
    p = rand(1, 2, 2, dtype=dtype, grad=True)
    return {
        "conv": (x, w, b, words),
        "conv_input_grad": (g, w, [2, 4, 5, 6], words, False),
        "conv_weight_grad": (x, g, [6, 2, 3, 3], words, True),
        "conv_transpose": (rand(2, 6, 3, 4, dtype=dtype, grad=True), w, None, "s2 o1x0 g2"),
        "conv_local": (z, v, rand(4, 3, dtype=dtype, grad=True), "d2"),
        "conv_local_input_grad": (h, v, [1, 2, 6], "d2", True),
        "conv_local_weight_grad": (z, h, [4, 3, 2, 2], "d2", False),
        "conv_local_transpose": (h, v, None, "d2 flip"),
        "max_pool": (x, "k3x2 s2 p1x0"),
        "max_pool_with_indices": (x, "k3x2 s2 p1x0"),
        "max_pool_grad": (p, indices, [1, 2, 4], "k2", False),
        "avg_pool": (x, "k3x2 s2 p1x0 inside ceil"),
        "avg_pool_grad": (p, [1, 2, 4], "k2", True),
        "total": (x, [0, 2, 3]),
    }[name]


@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str) -> None:
    operator, quick = getattr(ops, name).default, ("test_schema", "test_faketensor")
    args = arguments(name, torch.float64)
    assert set(torch.library.opcheck(operator, args).values()) == {"SUCCESS"}
    first = last(args[0]) if args[0].ndim > 2 else args[0]
    torch.library.opcheck(operator, (first, *args[1:]), test_utils=quick)
    torch.library.opcheck(operator, arguments(name, torch.float32), test_utils=quick)


@pytest.mark.parametrize("name", ["conv", "conv_transpose", "max_pool", "avg_pool"])
def test_opcheck_of_odd_layouts(name: str) -> None:
    """Steps, transposes, stretched axes, an empty batch, a sample that has no batch of its own."""
    args = arguments(name, torch.float64)
    x, rest = args[0].detach(), args[1:]
    wide = torch.cat([x, x], 3)
    odd = [
        wide[..., ::2],
        x.transpose(2, 3).contiguous().transpose(2, 3),
        x[:1].expand(3, -1, -1, -1),
        x[:0],
        x[0].unsqueeze(0),
        last(x)[:, :, 1:],
    ]
    want = {id(each): each.contiguous() for each in odd}
    operator = getattr(ops, name).default
    for each in odd:
        torch.library.opcheck(
            operator, (each, *rest), test_utils=("test_schema", "test_faketensor")
        )
        assert torch.allclose(operator(each, *rest), operator(want[id(each)], *rest))


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
        *(torch.int32, torch.int64, torch.complex64, torch.complex128),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", ["first", "last"])
def test_bits_are_those_of_the_functions_on_arrays(dtype: Any, channels: str) -> None:
    """Also of 16 bits, where NumPy has no bfloat16 of its own."""
    if dtype in (torch.int32, torch.int64):
        x, w, b = (torch.arange(n) % 7 - 3 for n in (2 * 4 * 6 * 7, 6 * 2 * 9, 6))
        x, w, b = (
            t.to(dtype).reshape(s) for t, s in ((x, (2, 4, 6, 7)), (w, (6, 2, 3, 3)), (b, 6))
        )
    else:
        x, w, b = rand(2, 4, 6, 7, dtype=dtype), rand(6, 2, 3, 3, dtype=dtype), rand(6, dtype=dtype)
    if channels == "last":
        x = last(x)
    y = ft.conv2d(x, w, b, (2, 1), 1, 1, 2)
    assert y.stride(1) == (1 if channels == "last" else y.shape[2] * y.shape[3])
    if dtype == torch.bfloat16:
        wide = ft.conv2d(x.float(), w.float(), b.float(), (2, 1), 1, 1, 2)
        assert torch.equal(y, wide.bfloat16())
        return
    want = faltung.conv(x.numpy(), w.numpy(), b.numpy(), stride=(2, 1), padding=1, groups=2)
    assert y.numpy().tobytes() == np.ascontiguousarray(want).tobytes() or np.array_equal(y, want)


def test_bits_do_not_depend_on_threads_or_batch() -> None:
    x, w, b = (
        rand(*s, dtype=torch.float32, grad=True) for s in ((4, 32, 24, 24), (64, 32, 3, 3), (64,))
    )
    before, seen = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y = ft.conv2d(x, w, b, padding=1)
            grads = torch.autograd.grad(ft.max_pool2d(y, 2).square().sum(), (x, w, b))
            seen.add(b"".join(t.detach().numpy().tobytes() for t in (y, *grads)))
    finally:
        torch.set_num_threads(before)
    assert len(seen) == 1
    assert torch.equal(ft.conv2d(x[2:3], w, b, padding=1)[0], y[2])


def test_threads_are_pytorchs() -> None:
    """``torch.set_num_threads`` is what counts for regions that begin now."""
    if found() is None:
        pytest.skip("PyTorch uses no OpenMP library that is known")
    from faltung.torch import calls

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert calls.threads_to_use() == 1
    finally:
        torch.set_num_threads(before)


def test_tensors_with_channels_last_are_used_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernels are given the addresses of the tensors, and no step before them copies any."""
    from faltung.torch import calls

    x, w = last(rand(2, 16, 12, 12, dtype=torch.float32)), rand(16, 16, 3, 3, dtype=torch.float32)
    run, seen = calls.Call.run, []

    def watched(self: Any, *addresses: int) -> None:
        seen.append((self, addresses))
        run(self, *addresses)

    monkeypatch.setattr(calls.Call, "run", watched)
    y = ft.conv2d(x, w, padding=1, precision="strict")
    ((call, addresses),) = seen
    assert addresses[:3] == (x.data_ptr(), w.data_ptr(), y.data_ptr())
    assert y.is_contiguous(memory_format=LAST)
    # What is borrowed are the packed weights, not a map.
    assert call.borrowed <= w.numel() * 4 + 64


def test_a_result_follows_the_layout_of_input_or_weight() -> None:
    x, w = rand(2, 3, 8, 8), rand(4, 3, 3, 3)
    assert ft.conv2d(x, w).is_contiguous()
    assert ft.conv2d(last(x), w).is_contiguous(memory_format=LAST)
    assert ft.conv2d(x, last(w)).is_contiguous(memory_format=LAST)  # as in PyTorch
    sequence = ft.conv1d(rand(2, 9, 5).transpose(1, 2), rand(4, 5, 3))
    assert sequence.stride() == (28, 1, 4)
    one = ft.conv2d(last(x)[0], w)
    assert one.stride(0) == 1


def test_conjugates_and_negatives_are_read_as_what_they_are() -> None:
    x, w = rand(1, 2, 5, 5, dtype=torch.complex128), rand(3, 2, 3, 3, dtype=torch.complex128)
    assert x.conj().is_conj() and x.conj().imag.is_neg()
    assert torch.allclose(ft.conv2d(x.conj(), w), F.conv2d(x.conj().resolve_conj(), w))
    assert torch.allclose(ft.conv2d(x, w.conj()), F.conv2d(x, w.conj().resolve_conj()))
    real = w.real.contiguous()
    assert torch.allclose(ft.conv2d(x.conj().imag, real), F.conv2d(-x.imag, real))


def test_an_unaligned_tensor_is_copied() -> None:
    raw = torch.zeros(4 * 25 + 4, dtype=torch.uint8)
    x = torch.frombuffer(memoryview(raw.numpy())[1:101], dtype=torch.float32).reshape(1, 1, 5, 5)
    x.copy_(rand(1, 1, 5, 5))
    assert x.data_ptr() % 4
    w = rand(2, 1, 3, 3, dtype=torch.float32)
    assert torch.equal(ft.conv2d(x, w), ft.conv2d(x.clone(), w))
    assert torch.equal(ft.max_pool2d(x, 2), F.max_pool2d(x.clone(), 2))


def test_meta_tensors_have_a_shape() -> None:
    x, w = torch.zeros(2, 4, 9, 9, device="meta"), torch.zeros(6, 4, 3, 3, device="meta")
    assert ft.conv2d(x, w, stride=2).shape == (2, 6, 4, 4)
    assert ft.max_pool2d(x, 3).shape == (2, 4, 3, 3)
    with pytest.raises(faltung.FaltungError, match="its second entry must be channels_in"):
        ft.conv2d(x[:, :3], w)


REFUSED = {
    "sparse": (lambda x, w: ft.conv2d(x.to_sparse(), w), "must be strided; pass x.to_dense"),
    "mkldnn": (lambda x, w: ft.conv2d(x.float().to_mkldnn(), w.float()), "must be strided"),
    "nested": (
        lambda x, w: ft.conv2d(torch.nested.nested_tensor([x[0], x[1]]), w),
        "must be a plain one",
    ),
    "bool": (lambda x, w: ft.conv2d(x > 0, w > 0), "x.dtype=torch.bool: must be one of float32"),
    "two dtypes": (lambda x, w: ft.conv2d(x.float(), w), "must be torch.float32, as x; convert"),
    "bias": (lambda x, w: ft.conv2d(x, w, w[:, 0, 0, 0].float()), "must be torch.float64, as x"),
    "shape of bias": (lambda x, w: ft.conv2d(x, w, x[0, 0, 0, :3]), "one for each output channel"),
    "array": (lambda x, w: ft.conv2d(x.numpy(), w), "must be a torch.Tensor"),
    "array as weight": (lambda x, w: ft.conv2d(x, w.numpy()), "weight=ndarray: must be a torch"),
    "rank": (lambda x, w: ft.conv1d(x, w), "conv1d needs 3 dimensions; conv takes any rank"),
    "axes": (lambda x, w: ft.conv2d(x[0, 0], w), "or 3 without the batch"),
    "true": (lambda x, w: ft.conv2d(x, w, None, True), "stride=True: must be an int"),
    "name": (lambda x, w: ft.conv2d(x, w, padding="sam"), "must be numbers or one of valid, same"),
    "mode": (lambda x, w: ft.conv2d(x, w, padding_mode="wrap"), "must be one of zeros, reflect"),
    "method": (lambda x, w: ft.conv2d(x, w, method="winnograd"), "method="),
    "integer pool": (lambda x, w: ft.max_pool2d(x.long(), 2), "convert it with x.float"),
    "complex pool": (lambda x, w: ft.avg_pool2d(x + 0j, 2), "must be float32 or float64"),
    "pool of array": (lambda x, w: ft.avg_pool2d(x.numpy(), 2), "must be a torch.Tensor"),
    "local of 16 bits": (
        lambda x, w: ft.conv_local(x.half(), w.half()[None, None]),
        "must be one of float32, float64",
    ),
    "words": (lambda x, w: ops.conv(x, w, None, "p1 q2"), "'q2' means nothing"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_one_line(what: str) -> None:
    call, message = REFUSED[what]
    with pytest.raises(faltung.FaltungError, match=message) as caught:
        call(rand(2, 4, 6, 6), rand(6, 4, 3, 3))
    assert "\n" not in str(caught.value)


def test_options_are_told_from_their_equals() -> None:
    """1, 1.0 and True are equal, and what one of them gave is remembered."""
    x, w = rand(1, 1, 4, 4), rand(1, 1, 3, 3)
    ft.conv2d(x, w, None, 1, 1)
    for wrong in (1.0, True):
        with pytest.raises(faltung.FaltungError, match="must be an int"):
            ft.conv2d(x, w, None, wrong, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: Any) -> None:
    x, w, b = (rand(*s, dtype=torch.float32, grad=True) for s in ((1, 4, 8, 8), (6, 4, 3, 3), (6,)))
    with torch.autocast("cpu", dtype=dtype):
        y = ft.conv2d(x, w, b)
        assert y.dtype == dtype and ft.conv2d(x.double(), w.double()).dtype == torch.float64
        z = ft.conv_local(y[:, :, :2, :2], rand(1, 1, 3, 6, 2, 2, dtype=torch.float32))
        assert z.dtype == torch.float32
        assert ft.max_pool2d(y, 2).dtype == dtype
    y.float().sum().backward()
    assert x.grad.dtype == w.grad.dtype == b.grad.dtype == torch.float32
    want = ft.conv2d(x.to(dtype), w.to(dtype), b.to(dtype))
    assert torch.equal(y, want)
    with torch.autocast("cpu", enabled=False):
        assert ft.conv2d(x, w).dtype == torch.float32


def test_narrow_numbers_take_a_bias_of_float32() -> None:
    x, w = rand(1, 2, 5, 5, dtype=torch.bfloat16), rand(3, 2, 3, 3, dtype=torch.bfloat16)
    b = rand(3, dtype=torch.float32, grad=True)
    y = ft.conv2d(x, w, b)
    assert torch.equal(y, ft.conv2d(x.float(), w.float(), b).bfloat16())
    y.float().sum().backward()
    assert torch.equal(b.grad, torch.full((3,), 9.0))


def test_modes_see_the_operators() -> None:
    """Nothing is computed behind the back of who asks what is called."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Names(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    x = rand(1, 2, 5, 5, grad=True)
    with Names():
        ft.max_pool2d(ft.conv2d(x, rand(2, 2, 3, 3)), 2).sum().backward()
    assert [n for n in names if n.startswith("faltung")] == [
        "faltung.conv.default",
        "faltung.max_pool_with_indices.default",
        "faltung.max_pool_grad.default",
        "faltung.conv_input_grad.default",
    ]
