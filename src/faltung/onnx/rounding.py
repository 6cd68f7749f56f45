"""What quantises a tensor of the graph, and takes it back: formulas of real numbers, exactly as on
whole numbers, because float32 holds those of 16 bits. So the layers between stay one program.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import Expr
from faltung.geometry.levels import level, number
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.onnx.arguments import Arguments
from faltung.onnx.quantised import spread
from faltung.onnx.tensors import type_name

Array = npt.NDArray[Any]

_LIMITS = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint4": (0, 15),
    "int4": (-8, 7),
    "uint2": (0, 3),
    "int2": (-2, 1),
}


def _settings(a: Arguments, x: Tensor) -> tuple[Array, Array, str]:
    """Scale and zero point as they are broadcast, and the type of whole numbers."""
    scale = a.inputs[1]
    zero = a.inputs[2] if a.has(2) else np.zeros(1, np.uint8)
    if not isinstance(scale, np.ndarray) or not isinstance(zero, np.ndarray):
        raise Unsaid("a computed scale")
    kinds = (x.dtype if x.dtype not in _LIMITS else "float32", str(scale.dtype), a.f.dtype)
    if kinds != ("float32",) * 3:
        raise Unsaid("quantised numbers of another precision")
    told = a.whole("output_dtype", 0) if a.op == "QuantizeLinear" else 0
    dtype = str(zero.dtype) if a.has(2) or not told else type_name(told)
    if dtype not in _LIMITS:
        raise Unsaid(f"{dtype} numbers")
    attributes = {"axis": a.whole("axis", 1), "block_size": a.whole("block_size", 0)}
    whole = spread(attributes, zero.astype(np.float32), x.shape)
    return spread(attributes, scale, x.shape), whole, dtype


def quantize(a: Arguments) -> Tensor:
    """round(x / scale) + zero point, within the type."""
    x = a.floats(0)
    scale, zero, dtype = _settings(a, x)
    low, high = _LIMITS[dtype]

    def made(x: Expr, s: Expr, z: Expr) -> Expr:
        return level(x, s, z, low, high)

    return formula(a.f, made, x, scale, zero, dtype=dtype)


def dequantize(a: Arguments) -> Tensor:
    """(x - zero point) * scale, of what the graph has quantised."""
    x = a.inputs[0]
    if not isinstance(x, Tensor) or x.value.kind != "float" or x.dtype not in _LIMITS:
        raise Unsaid("quantised numbers")
    scale, zero, _ = _settings(a, x)
    return formula(a.f, number, x, scale, zero, dtype="float32")


TABLE: dict[str, Any] = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize}
