"""Formulas of ATen as operations of a graph, against PyTorch: its own samples of each operator."""

import pytest

torch = pytest.importorskip("torch")

from torch_opinfo import check_samples  # noqa: E402

OPS = """
    abs neg exp expm1 log log1p sqrt tanh sigmoid erf floor ceil trunc sin cos tan asin acos atan
    sinh cosh asinh acosh atanh sign sgn reciprocal square rsqrt exp2 log2 log10 erfc 
    special.entr frac round deg2rad rad2deg sinc logit nan_to_num isnan isinf isposinf isneginf
    isfinite signbit logical_not positive
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
GAPS: dict[str, str] = {}


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    check_samples([op], {key: why for key, why in GAPS.items() if key.startswith(op)}, most=2)
