"""What it means: naive float64 NumPy, the oracle for everything below."""

from faltung.reference.conv import (
    conv,
    conv_input_grad,
    conv_transpose,
    conv_weight_grad,
    fold,
    pad,
)
from faltung.reference.embedding import embed, embed_grad
from faltung.reference.local import (
    dense_from_conv,
    dense_from_local,
    local,
    local_bias_grad,
    local_from_conv,
    local_input_grad,
    local_weight_grad,
)
from faltung.reference.pool import average_pool, average_pool_grad, max_pool, max_pool_grad
from faltung.reference.reduce import arg, cumulative, reduced, top_k, top_k_grad
from faltung.reference.softmax import (
    CrossEntropy,
    cross_entropy,
    log_softmax,
    soft_cross_entropy,
    softmax,
)

__all__ = [
    "CrossEntropy",
    "arg",
    "average_pool",
    "average_pool_grad",
    "conv",
    "conv_input_grad",
    "conv_transpose",
    "conv_weight_grad",
    "cross_entropy",
    "cumulative",
    "dense_from_conv",
    "dense_from_local",
    "embed",
    "embed_grad",
    "fold",
    "local",
    "local_bias_grad",
    "local_from_conv",
    "local_input_grad",
    "local_weight_grad",
    "log_softmax",
    "max_pool",
    "max_pool_grad",
    "pad",
    "reduced",
    "soft_cross_entropy",
    "softmax",
    "top_k",
    "top_k_grad",
]
