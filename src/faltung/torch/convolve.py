"""Convolutions and their transposes, from ATen."""

from faltung.geometry.conv import conv_spec
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.ops import Convolve
from faltung.graph.value import Value
from faltung.torch.arguments import Arguments


def weight(a: Arguments, name: str, inner: Shape | None = None) -> Value:
    """A weight (out, in, *kernel), where it lies, or as it is computed."""
    leaf = a.leaf(name)
    if leaf is None:
        w = a.tensor(name)
        return a.f.map(w, (), range(1, w.rank), (0,))
    array = leaf.array if inner is None else leaf.array.reshape(inner)
    return a.f.parameter("weight", array, inner=array.shape, order=(*range(2, array.ndim), 1, 0))


def conv(a: Arguments) -> Tensor:
    x, f = a.floats("input"), a.f
    w = a["weight"]
    rank = len(w.shape) - 2
    if x.rank != rank + 2:
        raise Unsaid("a convolution without a batch")
    padding = a["padding"]
    if padding in ("valid", "same"):
        raise Unsaid(f"padding={padding!r}")
    pairs = tuple((n, n) for n in a.wholes("padding", rank))
    spec = conv_spec(
        (1, *x.shape[1:]),
        tuple(w.shape),
        stride=a.wholes("stride", rank),
        padding=pairs,
        dilation=a.wholes("dilation", rank),
        groups=a.whole("groups"),
        dtype=f.dtype,
    )
    operands = [f.map(x), weight(a, "weight")]
    bias = a.has("bias")
    if bias:
        operands.append(f.parameter("bias", a["bias"].array))
    made = f.node(Convolve(spec, bias), operands, (w.shape[0], *spec.output), x.shape[0])
    return f.of_map(made, x.dtype)


TABLE = {"conv1d": conv, "conv2d": conv, "conv3d": conv}
