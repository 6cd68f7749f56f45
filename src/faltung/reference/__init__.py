"""What it MEANS: naive float64 NumPy, the oracle of everything below."""

from faltung.reference.conv import (
    conv,
    conv_input_grad,
    conv_transpose,
    conv_weight_grad,
    fold,
    pad,
)

__all__ = ["conv", "conv_input_grad", "conv_transpose", "conv_weight_grad", "fold", "pad"]
