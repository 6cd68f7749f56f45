"""Small models in which the batch is merged, parted and moved, as exporters spell layers out."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_models import made, node, numbers

from faltung.onnx import OnnxModel, load

Array = Any
# What a model is made of: its net, and the name of its input.
Build = Callable[["Net", str], str]


class Net:
    """A file in the making; arrays become constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, kind: str, *inputs: str | Array, count: int = 1, **attributes: Any) -> Any:
        """The name of a node's result, or of several."""
        words = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        names = [f"v{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(node(kind, " ".join(words), " ".join(names), **attributes))
        return names[0] if count == 1 else names

    def weight(self, *shape: int) -> Array:
        """Random numbers; others for each constant."""
        scale = np.sqrt(np.prod(shape[1:])) if len(shape) > 2 else np.sqrt(shape[0])
        return (numbers(*shape, seed=len(self.constants)) / scale).astype(np.float32)

    def seen(self, x: str, *shape: int) -> str:
        return str(self.op("Reshape", x, np.array(shape, np.int64)))

    def turned(self, x: str, *perm: int) -> str:
        return str(self.op("Transpose", x, perm=perm))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        y = self.op("MatMul", x, self.weight(inputs, outputs))
        return str(self.op("Add", y, self.weight(outputs)))

    def conv(self, x: str, inputs: int, outputs: int, size: int = 1) -> str:
        pad = size // 2
        w = self.weight(outputs, inputs, size, size)
        return str(self.op("Conv", x, w, self.weight(outputs), pads=[pad] * 4))

    def mean(self, x: str, *axes: int, keep: bool = True, kind: str = "Mean") -> str:
        axes_ = np.array(axes, np.int64)
        return str(self.op(f"Reduce{kind}", x, axes_, keepdims=int(keep)))

    def norm(self, x: str, channels: int) -> str:
        gain = 1 + self.weight(channels)
        return str(self.op("LayerNormalization", x, gain, self.weight(channels), axis=-1))

    def file(self, shape: tuple[int, ...], y: str) -> bytes:
        return made(self.nodes, {"x": ("N", *shape)}, [y], self.constants)


def number(value: float) -> Array:
    return np.array(value, np.float32)


# Attention ----------------------------------------------------------------------------------------


def heads(net: Net, x: str, c: int, length: int, count: int, how: str, steps: Build) -> str:
    """Attention of (batch, length, c). how: in which way q, k and v are made of one product."""
    d = c // count
    qkv = net.linear(x, c, 3 * c)
    if how == "split":  # (batch, length, 3, heads, d)
        parts = net.turned(net.seen(qkv, -1, length, 3, count, d), 2, 0, 3, 1, 4)
        q, k, v = (net.op("Gather", parts, np.array(i, np.int64), axis=0) for i in range(3))
    elif how == "chunk":  # (batch, heads, length, 3 d)
        wide = net.turned(net.seen(qkv, -1, length, count, 3 * d), 0, 2, 1, 3)
        q, k, v = net.op("Split", wide, np.array([d, d, d], np.int64), axis=3, count=3)
    else:  # three products
        q, k, v = (
            net.turned(net.seen(net.linear(x, c, c), -1, length, count, d), 0, 2, 1, 3)
            for _ in range(3)
        )
    scores = net.op("MatMul", net.op("Mul", q, number(0.4)), net.turned(k, 0, 1, 3, 2))
    likely = net.op("Softmax", steps(net, scores), axis=-1)
    y = net.turned(net.op("MatMul", likely, v), 0, 2, 1, 3)
    return net.linear(net.seen(y, -1, length, c), c, c)


def attention(count: int, how: str, bias: bool = False) -> Build:
    def steps(net: Net, x: str) -> str:
        return str(net.op("Add", x, net.weight(1, count, 6, 6))) if bias else x

    return lambda net, x: heads(net, net.norm(x, 12), 12, 6, count, how, steps)


def windows(kind: str, across: int, count: int, how: str, *, masked: bool = False) -> Build:
    """Attention within windows of a map (8, 4 across, 4 across), or across them ("grid")."""
    side = 4 * across

    def steps(net: Net, scores: str) -> str:
        scores = net.op("Add", scores, net.weight(1, count, 16, 16))
        if not masked:
            return str(scores)
        several = across * across
        hidden = np.where(numbers(1, several, 1, 16, 16) > 0.5, -100, 0).astype(np.float32)
        parts = net.seen(scores, -1, several, count, 16, 16)
        return net.seen(str(net.op("Add", parts, hidden)), -1, count, 16, 16)

    def build(net: Net, x: str) -> str:
        y = net.turned(net.conv(x, 8, 8), 0, 2, 3, 1)
        normed = net.norm(y, 8)
        if kind == "grid":
            split, order = (-1, 4, across, 4, across, 8), (0, 2, 4, 1, 3, 5)
            back = (0, 3, 1, 4, 2, 5)
        else:
            split, order = (-1, across, 4, across, 4, 8), (0, 1, 3, 2, 4, 5)
            back = order
        parts = net.seen(net.turned(net.seen(normed, *split), *order), -1, 16, 8)
        made_ = heads(net, parts, 8, 16, count, how, steps)
        whole = net.turned(net.seen(made_, -1, across, across, 4, 4, 8), *back)
        y = str(net.op("Add", y, net.seen(whole, -1, side, side, 8)))
        return net.conv(net.turned(y, 0, 3, 1, 2), 8, 8, 3)

    return build


def length_first(net: Net, x: str) -> str:
    """As ``torch.nn.MultiheadAttention`` spells it: (length, batch, c), batch and heads merged."""
    y = net.turned(x, 1, 0, 2)
    parts = [net.linear(y, 12, 12) for _ in range(3)]
    q, k, v = (net.turned(net.seen(part, 6, -1, 4), 1, 0, 2) for part in parts)
    scores = net.op("MatMul", q, net.turned(k, 0, 2, 1))
    likely = net.op("Softmax", net.op("Mul", scores, number(0.5)), axis=-1)
    y = net.turned(net.op("MatMul", likely, v), 1, 0, 2)
    y = net.linear(net.seen(y, -1, 12), 12, 12)
    return net.turned(net.seen(y, 6, -1, 12), 1, 0, 2)


def one_query(net: Net, x: str) -> str:
    """A class token that reads all others."""
    first = net.op("Slice", x, *(np.array([i], np.int64) for i in (0, 1, 1)))
    q = net.turned(net.seen(net.linear(first, 12, 12), -1, 1, 3, 4), 0, 2, 1, 3)
    k = net.turned(net.seen(net.linear(x, 12, 12), -1, 6, 3, 4), 0, 2, 3, 1)
    v = net.turned(net.seen(net.linear(x, 12, 12), -1, 6, 3, 4), 0, 2, 1, 3)
    likely = net.op("Softmax", net.op("MatMul", q, k), axis=-1)
    y = net.turned(net.op("MatMul", likely, v), 0, 2, 1, 3)
    return net.linear(net.seen(y, -1, 1, 12), 12, 12)


def of_channels(net: Net, x: str) -> str:
    """Attention across channels (XCiT): q and k of length 1, a temperature for each head."""
    qkv = net.turned(net.seen(net.linear(x, 12, 36), -1, 6, 3, 3, 4), 2, 0, 3, 4, 1)
    q, k, v = (net.op("Gather", qkv, np.array(i, np.int64), axis=0) for i in range(3))

    def unit(part: str) -> str:
        size = net.op("ReduceL2", part, np.array([-1], np.int64), keepdims=1)
        return str(net.op("Div", part, net.op("Max", size, number(1e-6))))

    scores = net.op("MatMul", unit(q), net.turned(unit(k), 0, 1, 3, 2))
    likely = net.op("Softmax", net.op("Mul", scores, net.weight(3, 1, 1)), axis=-1)
    y = net.turned(net.op("MatMul", likely, v), 0, 3, 1, 2)
    return net.linear(net.seen(y, -1, 6, 12), 12, 12)


def linear_attention(net: Net, x: str) -> str:
    """Products without a softmax over positions (EfficientViT)."""
    flat = net.seen(net.conv(x, 8, 24), -1, 2, 12, 64)
    parts = net.op("Split", flat, np.array([4, 4, 4], np.int64), axis=2, count=3)
    q, k = (net.op("Relu", part) for part in parts[:2])
    ones = net.op("Pad", parts[2], np.array([0, 0, 0, 0, 0, 0, 1, 0], np.int64), number(1))
    kv = net.op("MatMul", ones, net.turned(k, 0, 1, 3, 2))
    y = net.op("MatMul", kv, q)
    top = net.op("Slice", y, *(np.array([i], np.int64) for i in (0, 4, 2)))
    low = net.op("Slice", y, *(np.array([i], np.int64) for i in (4, 5, 2)))
    y = net.op("Div", top, net.op("Add", low, number(1e-2)))
    return net.conv(net.seen(str(y), -1, 8, 8, 8), 8, 8)


def context(net: Net, x: str) -> str:
    """A global context (GCNet): the mean of positions by a softmax, added to all of them."""
    scores = net.seen(net.conv(x, 8, 1), -1, 1, 64)
    likely = net.op("Unsqueeze", net.op("Softmax", scores, axis=2), np.array([3], np.int64))
    flat = net.op("Unsqueeze", net.seen(x, -1, 8, 64), np.array([1], np.int64))
    found = net.seen(str(net.op("MatMul", flat, likely)), -1, 8, 1, 1)
    y = net.op("Relu", net.conv(found, 8, 4))
    return str(net.op("Add", x, net.conv(str(y), 4, 8)))


# Reductions and norms -----------------------------------------------------------------------------


def reduction(kind: str, *axes: int, turned: tuple[int, ...] = ()) -> Build:
    def build(net: Net, x: str) -> str:
        y = net.op("Mul", net.conv(x, 8, 8), number(1.5))
        y = net.turned(y, *turned) if turned else y
        return str(net.op("Sub", y, net.mean(y, *axes, kind=kind)))

    return build


def in_windows(kind: str, *axes: int) -> Build:
    """Over axes of (batch windows, 16, 8)."""

    def build(net: Net, x: str) -> str:
        y = net.turned(net.seen(net.conv(x, 8, 8), -1, 8, 2, 4, 2, 4), 0, 2, 4, 3, 5, 1)
        y = net.seen(y, -1, 16, 8)
        y = net.op("Mul", net.op("Sub", y, net.mean(y, *axes, kind=kind)), number(3))
        return str(net.op("Exp", net.mean(str(y), *axes, kind="L2")))

    return build


def spelled(order: tuple[int, ...], axis: int, scale: tuple[int, ...]) -> Build:
    """A layer normalisation in steps, along an axis of a map in this order."""

    def build(net: Net, x: str) -> str:
        y = net.turned(net.conv(x, 8, 8), *order)
        away = net.op("Sub", y, net.mean(y, axis))
        variance = net.mean(net.op("Mul", away, away), axis)
        root = net.op("Sqrt", net.op("Add", variance, number(1e-5)))
        y = net.op("Mul", net.op("Div", away, root), 1 + net.weight(*scale))
        return str(net.op("Add", y, net.weight(*scale)))

    return build


def groups(net: Net, x: str) -> str:
    """Group normalisation, by an instance normalisation of groups."""
    y = net.seen(net.conv(x, 8, 8), -1, 2, 256)
    y = net.op("InstanceNormalization", y, np.ones(2, np.float32), np.zeros(2, np.float32))
    y = net.seen(y, -1, 8, 8, 8)
    y = net.op("Mul", y, 1 + net.weight(8, 1, 1))
    return str(net.op("Relu", net.op("Add", y, net.weight(8, 1, 1))))


def response(net: Net, x: str) -> str:
    """Global response normalisation (ConvNeXt V2), channels last."""
    y = net.linear(net.turned(x, 0, 2, 3, 1), 8, 8)
    size = net.mean(y, 1, 2, kind="L2")
    share = net.op("Div", size, net.op("Add", net.mean(size, -1), number(1e-6)))
    y2 = net.op("Add", net.op("Mul", net.op("Mul", y, share), net.weight(8)), net.weight(8))
    return net.linear(str(net.op("Add", y2, y)), 8, 8)


def softmax(axis: int, *shape: int) -> Build:
    def build(net: Net, x: str) -> str:
        y = net.seen(net.conv(x, 8, 8), *shape) if shape else net.conv(x, 8, 8)
        return str(net.op("Mul", net.op("Softmax", y, axis=axis), y))

    return build


# Gates, joins, products ---------------------------------------------------------------------------


def gate(pool: str) -> Build:
    """Squeeze-and-excitation before a 1x1 convolution."""

    def build(net: Net, x: str) -> str:
        y = net.op("Relu", net.conv(x, 8, 8, 3))
        small = net.op("GlobalAveragePool", y) if pool == "pool" else net.mean(y, 2, 3)
        small = net.conv(str(net.op("Relu", net.conv(small, 8, 2))), 2, 8)
        return net.conv(str(net.op("Mul", y, net.op("Sigmoid", small))), 8, 4)

    return build


def repeated(net: Net, x: str) -> str:
    """Constants for positions, repeated for each sample as ``expand`` does."""
    y = net.seen(net.conv(x, 8, 8), -1, 8, 64)
    sizes = net.op("Concat", net.op("Shape", x, start=0, end=1), np.array([8, 64]), axis=0)
    places = net.op("Expand", net.weight(1, 8, 64), sizes)
    y = net.op("Add", net.op("Mul", y, number(0.7)), net.op("Mul", places, net.weight(8, 1)))
    return str(net.op("Div", y, net.mean(str(y), 2, kind="L2")))


def gate_of_rows(net: Net, x: str) -> str:
    """Rows times a gate for each channel of a sample, before a linear layer."""
    y = net.turned(net.seen(x, -1, 8, 64), 0, 2, 1)
    small = net.op("Sigmoid", net.linear(net.mean(y, 1), 8, 8))
    return net.linear(str(net.op("Mul", y, small)), 8, 4)


def gate_along_channels(net: Net, x: str) -> str:
    """Efficient channel attention: a convolution along the channels of a mean."""
    y = net.conv(x, 8, 8)
    line = net.seen(net.mean(y, 2, 3), -1, 1, 8)
    line = net.op("Conv", line, net.weight(1, 1, 3), pads=[1, 1])
    return str(net.op("Mul", y, net.seen(str(net.op("Sigmoid", line)), -1, 8, 1, 1)))


def selective(net: Net, x: str) -> str:
    """Two paths, and a softmax between them for each channel."""
    paths = [net.op("Relu", net.conv(x, 8, 8, size)) for size in (1, 3)]
    both = net.op("Concat", *(net.seen(p, -1, 1, 8, 8, 8) for p in paths), axis=1)
    total = net.mean(net.mean(both, 1, keep=False, kind="Sum"), 2, 3)
    weights = net.seen(net.conv(net.conv(total, 8, 4), 4, 16), -1, 2, 8, 1, 1)
    made_ = net.op("Mul", both, net.op("Softmax", weights, axis=1))
    return net.mean(str(made_), 1, keep=False, kind="Sum")


def token(net: Net, x: str) -> str:
    """A token and positions joined to patches; the token is what comes out."""
    y = net.turned(net.seen(net.conv(x, 8, 8), -1, 8, 64), 0, 2, 1)
    first = net.op("Slice", y, *(np.array([i], np.int64) for i in (0, 1, 1)))
    first = net.op("Add", net.op("Mul", first, number(0)), net.weight(1, 1, 8))
    y = net.op("Add", net.op("Concat", first, y, axis=1), net.weight(1, 65, 8))
    y = net.op("Add", y, net.linear(net.norm(y, 8), 8, 8))
    y = net.op("Gather", net.norm(str(y), 8), np.array(0, np.int64), axis=1)
    return net.linear(y, 8, 5)


def mixer(net: Net, x: str) -> str:
    """Products along positions, then along channels."""
    y = net.turned(net.seen(x, -1, 8, 64), 0, 2, 1)
    inner = net.linear(net.turned(net.norm(y, 8), 0, 2, 1), 64, 32)
    inner = net.linear(str(net.op("Relu", inner)), 32, 64)
    y = net.op("Add", y, net.turned(inner, 0, 2, 1))
    y = net.op("Add", y, net.linear(net.norm(y, 8), 8, 8))
    return net.mean(str(y), 1, keep=False)


def spatial_gate(net: Net, x: str) -> str:
    """Half of the channels times a product of the other half along positions (gMLP)."""
    y = net.linear(net.turned(net.seen(x, -1, 8, 64), 0, 2, 1), 8, 16)
    u, v = net.op("Split", y, np.array([8, 8], np.int64), axis=2, count=2)
    v = net.linear(net.turned(net.norm(v, 8), 0, 2, 1), 64, 64)
    return net.linear(str(net.op("Mul", u, net.turned(v, 0, 2, 1))), 8, 8)


def shuffled(net: Net, x: str) -> str:
    y = net.turned(net.seen(net.conv(x, 8, 8), -1, 2, 4, 8, 8), 0, 2, 1, 3, 4)
    return net.conv(net.seen(y, -1, 8, 8, 8), 8, 8, 3)


def frames(net: Net, x: str) -> str:
    """A clip (batch, frames, c, ...) whose frames are pictures of a batch, then a mean of them."""
    y = net.op("Relu", net.conv(net.seen(x, -1, 2, 8, 8), 2, 8, 3))
    y = net.seen(net.mean(str(y), 2, 3), -1, 4, 8)
    return net.linear(net.mean(y, 1, keep=False), 8, 3)


def rolled(net: Net, x: str) -> str:
    """Windows of a map that was rolled by half a window, as in Swin."""
    y = net.turned(x, 0, 2, 3, 1)
    for axis in (1, 2):
        low = net.op("Slice", y, *(np.array([i], np.int64) for i in (0, 2, axis)))
        high = net.op("Slice", y, *(np.array([i], np.int64) for i in (2, 8, axis)))
        y = net.op("Concat", high, low, axis=axis)
    y = net.turned(net.seen(str(y), -1, 2, 4, 2, 4, 8), 0, 1, 3, 2, 4, 5)
    return net.linear(net.norm(net.seen(y, -1, 16, 8), 8), 8, 8)


def outer(net: Net, x: str) -> str:
    """Every channel with every other: bilinear pooling."""
    y = net.seen(net.conv(x, 8, 8), -1, 8, 64)
    return net.mean(str(net.op("MatMul", y, net.turned(y, 0, 2, 1))), 2)


def einsums(net: Net, x: str) -> str:
    y = net.seen(net.conv(x, 8, 8), -1, 2, 4, 64)
    scores = net.op("Einsum", y, y, equation="bhcl,bhdl->bhcd")
    return str(net.op("Einsum", net.op("Softmax", scores, axis=-1), y, equation="bhcd,bhdl->blhc"))


def recurrent(net: Net, x: str) -> str:
    """A bidirectional layer, length first."""
    y = net.turned(x, 1, 0, 2)
    w, r = net.weight(2, 12, 12), net.weight(2, 12, 3)
    y = net.op("LSTM", y, w, r, hidden_size=3, direction="bidirectional", count=3)[0]
    y = net.seen(net.turned(y, 2, 0, 1, 3), -1, 6, 6)
    return net.linear(y, 6, 4)


def flattened(net: Net, x: str) -> str:
    y = net.op("MaxPool", net.op("Relu", net.conv(x, 8, 8, 3)), kernel_shape=[2, 2], strides=[2, 2])
    y = net.op("Relu", net.linear(str(net.op("Flatten", y)), 128, 32))
    return net.linear(y, 32, 5)


def patches_merged(net: Net, x: str) -> str:
    """Every second position of a map beside the others as channels, and a norm."""
    y = net.turned(net.conv(x, 8, 8), 0, 2, 3, 1)
    parts = []
    for row in (0, 1):
        for column in (0, 1):
            half = y
            for axis, start in ((1, row), (2, column)):
                ends = (np.array([i], np.int64) for i in (start, 8, axis, 2))
                half = net.op("Slice", half, *ends)
            parts.append(half)
    y = net.seen(str(net.op("Concat", *parts, axis=-1)), -1, 16, 32)
    return net.linear(net.norm(y, 32), 32, 16)


MAP, ROWS = (8, 8, 8), (6, 12)
CASES: dict[str, tuple[tuple[int, ...], Build]] = {
    **{
        f"attention {count} {how}{' bias' if bias else ''}": (ROWS, attention(count, how, bias))
        for count in (1, 3)
        for how in ("split", "chunk", "apart")
        for bias in (False, True)
    },
    **{
        f"{kind} {across} {count} {how}": (
            (8, 4 * across, 4 * across),
            windows(kind, across, count, how),
        )
        for kind in ("windows", "grid")
        for across, count in ((1, 1), (1, 2), (2, 1), (2, 2))
        for how in ("split", "chunk", "apart")
    },
    "windows masked": (MAP, windows("windows", 2, 2, "split", masked=True)),
    "grid masked": (MAP, windows("grid", 2, 2, "chunk", masked=True)),
    "length first": (ROWS, length_first),
    "one query": (ROWS, one_query),
    "of channels": (ROWS, of_channels),
    "linear attention": (MAP, linear_attention),
    "context": (MAP, context),
    **{
        f"{kind} {axes} {turned}": (MAP, reduction(kind, *axes, turned=turned))
        for kind in ("Mean", "Max", "L2", "LogSumExp")
        for axes, turned in (
            ((2, 3), ()),
            ((1,), ()),
            ((3,), ()),
            ((1, 3), ()),
            ((1, 2, 3), ()),
            ((3,), (0, 2, 3, 1)),
            ((1,), (0, 2, 3, 1)),
        )
    },
    **{
        f"windows {kind} {axes}": (MAP, in_windows(kind, *axes))
        for kind in ("Mean", "Sum", "Max")
        for axes in ((1,), (2,), (1, 2))
    },
    "spelled first": (MAP, spelled((0, 1, 2, 3), 1, (8, 1, 1))),
    "spelled last": (MAP, spelled((0, 2, 3, 1), 3, (8,))),
    "spelled turned": (MAP, spelled((0, 3, 1, 2), 1, (8, 1, 1))),
    "groups": (MAP, groups),
    "response": (MAP, response),
    "softmax channels": (MAP, softmax(1)),
    "softmax last": (MAP, softmax(3)),
    "softmax positions": (MAP, softmax(2, -1, 8, 64)),
    "softmax all": (MAP, softmax(1, -1, 512)),
    "softmax merged": (MAP, softmax(1, -1, 64)),
    "gate pool": (MAP, gate("pool")),
    "gate mean": (MAP, gate("mean")),
    "repeated": (MAP, repeated),
    "gate of rows": (MAP, gate_of_rows),
    "gate along channels": (MAP, gate_along_channels),
    "selective": (MAP, selective),
    "token": (MAP, token),
    "mixer": (MAP, mixer),
    "spatial gate": (MAP, spatial_gate),
    "shuffled": (MAP, shuffled),
    "frames": ((4, 2, 8, 8), frames),
    "rolled": (MAP, rolled),
    "outer": (MAP, outer),
    "einsums": (MAP, einsums),
    "recurrent": (ROWS, recurrent),
    "flattened": (MAP, flattened),
    "patches merged": (MAP, patches_merged),
}


# What only looks at numbers, or moves them.
MOVES = ("View", "Permute")


def kinds(model: OnnxModel) -> list[Counter[str]]:
    """What the compiled parts of the last run consist of, but for moves."""
    runs = [r.program.compiled.inference for r in model._main.records if r.program is not None]
    names = [[type(node.op).__name__ for node in each.nodes] for each in runs]
    return [Counter(n for n in each if n not in MOVES) for each in names]


def differences(data: bytes, x: Array, in_front: Callable[[Array], Array] = lambda y: y) -> str:
    """What of the first sample depends on its batch. in_front: puts the samples in front."""
    model, found = load(data), []
    for batch in range(1, len(x) + 1):
        (y,) = model.run({"x": x[:batch]})
        y = in_front(y)
        found.append((y[: len(y) // batch], kinds(model)))
    (alone, how), *others = found
    for number, (y, made_of) in enumerate(others, 2):
        if made_of != how:
            less, more = sum(how, Counter()), sum(made_of, Counter())
            return f"alone {dict(less - more)}, in a batch of {number} {dict(more - less)}"
        if not np.array_equal(y, alone, equal_nan=True):
            return f"other bits in a batch of {number}"
    return ""
