"""Formulas of ATen as operations of a graph, against PyTorch: its own samples of each operator."""

import pytest

pytest.importorskip("torch")
import torch
from torch_aten import traced
from torch_opinfo import check_samples

from faltung.torch.region import Region
from faltung.torch.table import TABLE

OPS = """
    abs neg exp expm1 log log1p sqrt tanh sigmoid erf floor ceil trunc sin cos tan asin acos atan
    sinh cosh asinh acosh atanh sign sgn reciprocal square rsqrt exp2 log2 log10 erfc 
    special.entr frac round deg2rad rad2deg sinc logit nan_to_num isnan isinf isposinf isneginf
    isfinite signbit logical_not positive angle
    nn.functional.relu nn.functional.relu6 nn.functional.silu nn.functional.mish
    nn.functional.hardswish nn.functional.hardsigmoid nn.functional.logsigmoid nn.functional.elu
    nn.functional.selu nn.functional.celu nn.functional.leaky_relu nn.functional.threshold
    nn.functional.hardtanh nn.functional.hardshrink nn.functional.softshrink
    nn.functional.softplus nn.functional.gelu nn.functional.glu nn.functional.prelu
    add sub rsub mul div true_divide floor_divide remainder fmod pow float_power hypot copysign
    atan2 heaviside logaddexp logaddexp2 xlogy special.xlog1py ldexp lerp addcmul addcdiv maximum
    minimum fmax fmin clamp clamp_min clamp_max eq ne lt le gt ge isclose logical_and logical_or
    logical_xor where masked_fill __radd__ __rmul__ __rsub__ __rdiv__ __rpow__ __rmod__
    nn.functional.tanhshrink nn.functional.softsign
""".split()


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    # Its results are of float64, always.
    check_samples([op], most=2, dtype=torch.float64 if op == "float_power" else None)


@pytest.mark.parametrize("training", [False, True])
def test_leaves_that_change_are_seen(training: bool) -> None:
    n, mask = torch.tensor([1, 2, 3]), torch.tensor([True, False, True])
    scale, x = torch.tensor(2.0), torch.randn(4, 3)

    def function(x: torch.Tensor, *leaves: torch.Tensor) -> torch.Tensor:
        n, mask, scale = leaves
        return torch.where(mask, x * n, x.clamp(max=0.1)) * scale + (n == 2)

    module = traced(function, x, n, mask, scale)
    names = [node.name for node in module.graph.nodes]
    region = Region(list(module.graph.nodes), names[:1], names[1:4], names[-2:-1])
    x.requires_grad_(training)
    for _ in range(3):
        (y,) = region([x], [n, mask, scale])
        torch.testing.assert_close(y, function(x, n, mask, scale))
        n += 1
        mask.logical_not_()
        scale *= 0.5


# Elementwise operators that are left to PyTorch.
LEFT = {
    "whole numbers": "bitwise_left_shift bitwise_right_shift frexp gcd lcm",
    "bits": "nextafter",
    "results that steer": "equal",
    "special functions": "digamma erfinv i0 igamma igammac lgamma mvlgamma polygamma special_",
    "what only graphs of backward passes have": "_backward",
}


def test_every_elementwise_operator_is_taken_or_named() -> None:
    words = [word for found in LEFT.values() for word in found.split()]
    left = []
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        if name.endswith("_") or not hasattr(packet, "overloads"):
            continue
        overloads = [getattr(packet, o) for o in packet.overloads() if "out" not in o]
        if any(torch.Tag.pointwise in overload.tags for overload in overloads):
            left.append(name)
    left = [op for op in left if op not in TABLE and not any(word in op for word in words)]
    assert not left
