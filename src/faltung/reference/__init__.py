"""What it MEANS: naive float64 NumPy, the oracle of everything below."""

from faltung.reference.conv import (
    conv,
    conv_input_grad,
    conv_transpose,
    conv_weight_grad,
    fold,
    pad,
)
from faltung.reference.local import (
    dense_from_conv,
    dense_from_local,
    local,
    local_bias_grad,
    local_from_conv,
    local_input_grad,
    local_weight_grad,
)

__all__ = [
    "conv",
    "conv_input_grad",
    "conv_transpose",
    "conv_weight_grad",
    "dense_from_conv",
    "dense_from_local",
    "fold",
    "local",
    "local_bias_grad",
    "local_from_conv",
    "local_input_grad",
    "local_weight_grad",
    "pad",
]
