"""The words that say how a convolution may be computed."""

from typing import Literal, get_args

Precision = Literal["fast", "strict"]
# As people write it: the names of both tables of ``choose.py``.
MethodName = Literal[
    "auto", "direct", "spatial", "signal", "depthwise", "grouped", "winograd", "fft", "strassen"
]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
