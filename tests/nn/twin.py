"""Networks of `faltung.nn` run by PyTorch: an oracle that shares nothing but the descriptions.

Layers take their parameters in the order in which a graph has them, which is that of the layers.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from optional import optional

from faltung import nn
from faltung.geometry.check import per_axis
from faltung.geometry.padding import modes, pads
from faltung.graph.value import Graph

torch, F = optional("torch"), optional("torch.nn.functional")
Tensor = Any
TORCH_MODE = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


def run(net: nn.Layer, graph: Graph, parameters: Mapping[str, Any], x: Any) -> np.ndarray:
    """The output of ``net`` in float64, with the parameters of its graph."""
    return outputs(net, graph, parameters, x)[0].numpy()


def outputs(
    net: nn.Layer, graph: Graph, parameters: Mapping[str, Any], x: Any
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """(output, outputs of the auxiliary heads, the parameters as tensors)."""
    tensors = {
        p.name: torch.tensor(np.array(parameters[p.name])).double() for p in graph.parameters
    }
    for p in graph.parameters:
        tensors[p.name].requires_grad_(p.trained and graph.training)
    numbers = torch.tensor(np.array(x))
    walk = Walk(iter(tensors.values()), graph.training)
    with torch.set_grad_enabled(graph.training):
        made = walk(net, numbers if graph.input.kind == "int" else numbers.double())
    assert next(walk.parameters, None) is None
    return made, walk.heads, tensors


class Walk:
    """One pass through a network."""

    def __init__(self, parameters: Iterator[Tensor], training: bool) -> None:
        self.parameters = parameters
        self.training = training
        self.heads: list[Tensor] = []
        self.grid: float | None = None

    def __call__(self, layer: nn.Layer, x: Tensor) -> Tensor:
        return STEPS[type(layer)](self, layer, x)

    def take(self, count: int) -> list[Tensor | None]:
        return [next(self.parameters) for _ in range(count)]

    def weights(self, bias: bool) -> list[Tensor | None]:
        return self.take(2) if bias else [*self.take(1), None]


def padded(layer: Any, x: Tensor, kernel: tuple[int, ...], value: float = 0.0) -> Tensor:
    """``x`` with the padding of a layer around it; each axis by its mode."""
    rank = len(kernel)
    pairs = pads(
        layer.padding,
        sizes=x.shape[2:],
        kernel=kernel,
        stride=per_axis("stride", layer.stride or kernel, rank, 1),
        dilation=per_axis("dilation", getattr(layer, "dilation", 1), rank, 1),
    )
    for axis, (pair, mode) in enumerate(
        zip(pairs, modes(getattr(layer, "padding_mode", "zeros"), rank), strict=True)
    ):
        # PyTorch pads with a mode the last axes alone: bring the axis to the end.
        moved = x.movedim(2 + axis, -1)
        flat = moved.reshape(1, -1, moved.shape[-1])
        options = {"value": value} if mode == "zeros" else {}
        done = F.pad(flat, pair, TORCH_MODE[mode], **options)
        x = done.reshape(*moved.shape[:-1], -1).movedim(-1, 2 + axis)
    return x


def rank_of(x: Tensor) -> int:
    return x.ndim - 2


def kernel_of(layer: Any, x: Tensor) -> tuple[int, ...]:
    return per_axis("kernel", layer.kernel, rank_of(x), 1)


def on_grid(x: Tensor, scale: Tensor, zero: int, low: int, high: int) -> Tensor:
    """The gradient of a clip, half a level beyond either end."""
    levels = (x / scale).round().clamp(low - zero, high - zero)
    smooth = x.clamp(min=(low - zero - 0.5) * scale, max=(high - zero + 0.5) * scale)
    return smooth + ((levels * scale).float().double() - smooth).detach()


def on_grids(walk: Walk, layer: Any, x: Tensor, axis: int = 0) -> list[Tensor | None]:
    """Weight and bias of a layer, on grids where it has bits and its input lies on one."""
    (weight,) = walk.take(1)
    if layer.bits is None:
        return [weight, *(walk.take(1) if layer.bias else [None])]
    (scale,) = walk.take(1)
    wide = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    top = 2 ** (layer.bits - 1) - 1
    weight = on_grid(weight, wide, 0, -top, top)
    (bias,) = walk.take(1) if layer.bias else [None]
    if bias is not None and walk.grid is not None and not axis:
        bias = on_grid(bias, scale * walk.grid, 0, -(2**31), 2**31)
    return [weight, bias]


def quantise(walk: Walk, layer: nn.Quantise, x: Tensor) -> Tensor:
    walk.grid = layer.scale  # of all that follows, in the networks of the table
    scale = torch.tensor(layer.scale).double()
    return on_grid(x, scale, layer.zero, layer.low, layer.high)


def conv(walk: Walk, layer: nn.Conv, x: Tensor) -> Tensor:
    weight, bias = on_grids(walk, layer, x)
    if layer.flip:
        weight = weight.flip(*range(2, weight.ndim))
    function = (F.conv1d, F.conv2d, F.conv3d)[rank_of(x) - 1]
    x = padded(layer, x, kernel_of(layer, x))
    return function(x, weight, bias, layer.stride, 0, layer.dilation, layer.groups)


def transpose(walk: Walk, layer: nn.ConvTranspose, x: Tensor) -> Tensor:
    weight, bias = on_grids(walk, layer, x, axis=1)
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank_of(x) - 1]
    made = function(x, weight, None, layer.stride, 0, 0, layer.groups, layer.dilation)
    # Padding cuts the ends, the output padding adds to the last one; PyTorch's has no pairs.
    kernel, rank = kernel_of(layer, x), rank_of(x)
    strides = per_axis("stride", layer.stride, rank, 1)
    extra = per_axis("output_padding", layer.output_padding, rank, 0)
    dilations = per_axis("dilation", layer.dilation, rank, 1)
    sizes = [size * s for size, s in zip(x.shape[2:], strides, strict=True)]
    pairs = pads(layer.padding, sizes=sizes, kernel=kernel, stride=strides, dilation=dilations)
    cut = [(-lo, more - hi) for (lo, hi), more in zip(pairs, extra, strict=True)]
    made = F.pad(made, [number for pair in reversed(cut) for number in pair])
    return made if bias is None else made + bias.reshape(-1, *(1,) * rank)


def local(walk: Walk, layer: nn.Local, x: Tensor) -> Tensor:
    """By cutting out every window."""
    weight, bias = walk.weights(layer.bias)
    kernel, rank = kernel_of(layer, x), rank_of(x)
    stride, dilation = (per_axis("", v, rank, 1) for v in (layer.stride, layer.dilation))
    x = padded(layer, x, kernel)
    output = weight.shape[:rank]
    made = x.new_zeros(len(x), layer.channels, *output)
    for o in np.ndindex(*output):
        window = [
            slice(at * s, at * s + d * (k - 1) + 1, d)
            for at, s, d, k in zip(o, stride, dilation, kernel, strict=True)
        ]
        cut = x[(slice(None), slice(None), *window)]
        made[(slice(None), slice(None), *o)] = cut.flatten(1) @ weight[o].flatten(1).T
    return made if bias is None else made + bias.movedim(-1, 0)


def linear(walk: Walk, layer: nn.Linear, x: Tensor) -> Tensor:
    weight, bias = on_grids(walk, layer, x)
    return F.linear(x.flatten(1), weight, bias)


def max_pool(walk: Walk, layer: nn.MaxPool, x: Tensor) -> Tensor:
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank_of(x) - 1]
    x = padded(layer, x, kernel_of(layer, x), -np.inf)
    return function(x, layer.kernel, layer.stride, 0, layer.dilation, layer.ceil)


def average_pool(walk: Walk, layer: nn.AvgPool, x: Tensor) -> Tensor:
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank_of(x) - 1]
    return function(x, layer.kernel, layer.stride, layer.padding, layer.ceil, layer.count_padding)


def global_average(walk: Walk, layer: nn.GlobalAvgPool, x: Tensor) -> Tensor:
    return x.flatten(2).mean(2)


def upsample(walk: Walk, layer: nn.Upsample, x: Tensor) -> Tensor:
    rank = rank_of(x)
    mode = ("linear", "bilinear", "trilinear")[rank - 1] if layer.mode == "linear" else layer.mode
    linear = "linear" in mode or "cubic" in mode
    size = None if layer.size is None else per_axis("size", layer.size, rank, 1)
    corners = layer.align_corners if linear else None
    how = {"align_corners": corners, "antialias": layer.antialias}
    return F.interpolate(x, size, layer.scale, mode, **how)


def pad(walk: Walk, layer: nn.Pad, x: Tensor) -> Tensor:
    entries = layer.padding if isinstance(layer.padding, tuple) else (layer.padding,) * rank_of(x)
    pairs = [each if isinstance(each, tuple) else (each, each) for each in entries]
    numbers = [number for pair in reversed(pairs) for number in pair]
    mode = TORCH_MODE[layer.mode]
    return F.pad(x, numbers, mode, *([layer.value] if mode == "constant" else []))


def adaptive_average(walk: Walk, layer: nn.AdaptiveAvgPool, x: Tensor) -> Tensor:
    function = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[rank_of(x) - 1]
    return function(x, layer.size)


def adaptive_maximum(walk: Walk, layer: nn.AdaptiveMaxPool, x: Tensor) -> Tensor:
    function = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[rank_of(x) - 1]
    return function(x, layer.size)


def blur(walk: Walk, layer: nn.Blur, x: Tensor) -> Tensor:
    """Of two axes: a convolution of each channel."""
    row = torch.tensor(np.poly([-1.0] * (layer.taps - 1))).double()
    kernel = torch.outer(row, row) / row.sum() ** 2
    lo, hi = (layer.taps - 1) // 2, layer.taps // 2
    wide = F.pad(x, (lo, hi, lo, hi), layer.mode)
    weight = kernel.expand(x.shape[1], 1, -1, -1)
    return F.conv2d(wide, weight, stride=layer.stride, groups=x.shape[1])


def shuffle(walk: Walk, layer: nn.PixelShuffle, x: Tensor) -> Tensor:
    """Of one axis as of two, the first of which has one entry."""
    if rank_of(x) == 2:
        return F.pixel_shuffle(x, layer.factor)
    n, channels, length = x.shape
    r = layer.factor
    return x.reshape(n, channels // r, r, length).transpose(2, 3).reshape(n, channels // r, -1)


def unshuffle(walk: Walk, layer: nn.PixelUnshuffle, x: Tensor) -> Tensor:
    if rank_of(x) == 2:
        return F.pixel_unshuffle(x, layer.factor)
    r, (n, channels, d, h, w) = layer.factor, x.shape
    parts = x.reshape(n, channels, d // r, r, h // r, r, w // r, r)
    return parts.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, -1, d // r, h // r, w // r)


def batch_norm(walk: Walk, layer: nn.BatchNorm, x: Tensor) -> Tensor:
    gain, shift, mean, variance = walk.take(4)
    mean, variance = mean.detach(), variance.detach()
    return F.batch_norm(x, mean, variance, gain, shift, walk.training, layer.momentum, layer.eps)


def group_norm(walk: Walk, layer: nn.GroupNorm, x: Tensor) -> Tensor:
    gain, shift = walk.take(2)
    return F.group_norm(x, layer.groups, gain, shift, layer.eps)


def layer_norm(walk: Walk, layer: nn.LayerNorm, x: Tensor) -> Tensor:
    gain, shift = walk.take(2)
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], gain, shift, layer.eps).movedim(-1, 1)


def attention(walk: Walk, layer: nn.Attention, x: Tensor) -> Tensor:
    """By ``scaled_dot_product_attention`` over heads (N, H, L, D)."""
    weight, bias = walk.weights(layer.bias)
    kept = (weight.shape[0] - weight.shape[1]) // 2
    rows = F.linear(x.flatten(2).mT, weight.flatten(1), bias).split([x.shape[1], kept, kept], -1)
    length = x.shape[1] // layer.heads
    q, k, v = (part.unflatten(-1, (-1, length)).transpose(1, 2) for part in rows)
    shared = {"enable_gqa": True} if layer.kv_heads not in (None, layer.heads) else {}
    made = F.scaled_dot_product_attention(q, k, v, is_causal=layer.causal, **shared)
    weight, bias = walk.weights(layer.bias)
    made = F.linear(made.transpose(1, 2).flatten(2), weight.flatten(1), bias)
    return made.mT.reshape(x.shape)


def response_norm(walk: Walk, layer: nn.LocalResponseNorm, x: Tensor) -> Tensor:
    x3 = x if x.ndim > 2 else x[..., None]
    return F.local_response_norm(x3, layer.size, layer.alpha, layer.beta, layer.k).reshape(x.shape)


def dropout(walk: Walk, layer: nn.Dropout, x: Tensor) -> Tensor:
    assert not walk.training or layer.rate == 0, "its random numbers are others"
    return x


def embedding(walk: Walk, layer: nn.Embedding, x: Tensor) -> Tensor:
    (table,) = walk.take(1)
    return F.embedding(x, table, layer.padding_index).movedim(-1, 1)


def recurrent(walk: Walk, layer: Any, x: Tensor) -> Tensor:
    """PyTorch's own layers, called as functions of the parameters."""
    more = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    kind = getattr(torch.nn, type(layer).__name__)
    module = kind(
        x.shape[1],
        layer.hidden,
        layer.layers,
        bias=layer.bias,
        batch_first=True,
        bidirectional=layer.bidirectional,
        **more,
    ).double()
    names = [name for name, _ in module.named_parameters()]
    given = dict(zip(names, walk.take(len(names)), strict=True))
    y, state = torch.func.functional_call(module, given, (x.movedim(1, -1),))
    if not layer.last:
        return y.movedim(-1, 1)
    h = state[0] if isinstance(layer, nn.LSTM) else state
    ends = h[-1 - layer.bidirectional :]
    return ends.movedim(0, 1).flatten(1)


def sequential(walk: Walk, layer: nn.Sequential, x: Tensor) -> Tensor:
    for part in layer.layers:
        x = walk(part, x)
    return x


def parallel(walk: Walk, layer: nn.Parallel, x: Tensor) -> Tensor:
    return torch.cat([walk(branch, x) for branch in layer.branches], dim=1)


def residual(walk: Walk, layer: nn.Residual, x: Tensor) -> Tensor:
    body = walk(layer.body, x)
    return body + (x if layer.shortcut is None else walk(layer.shortcut, x))


def squeeze_excite(walk: Walk, layer: nn.SqueezeExcite, x: Tensor) -> Tensor:
    gate = F.linear(x.flatten(2).mean(2), *walk.take(2))
    gate = F.linear(walk(layer.activation, gate), *walk.take(2))
    return x * walk(layer.gate, gate).reshape(*x.shape[:2], *(1,) * rank_of(x))


def layer_scale(walk: Walk, layer: nn.LayerScale, x: Tensor) -> Tensor:
    (scale,) = walk.take(1)
    return x * scale.reshape(-1, *(1,) * rank_of(x))


def picked(walk: Walk, layer: nn.Channels, x: Tensor) -> Tensor:
    return x[:, layer.start : None if layer.count is None else layer.start + layer.count]


def shuffle_channels(walk: Walk, layer: nn.ChannelShuffle, x: Tensor) -> Tensor:
    return x.unflatten(1, (layer.groups, -1)).transpose(1, 2).flatten(1, 2)


def class_token(walk: Walk, layer: nn.ClassToken, x: Tensor) -> Tensor:
    (token,) = walk.take(1)
    return torch.cat([token.reshape(1, -1, 1).expand(len(x), -1, 1), x.flatten(2)], dim=2)


def patches(walk: Walk, layer: nn.Patches, x: Tensor) -> Tensor:
    """Each part of the map alone, put where it came from; all with the same parameters."""
    rank = rank_of(x)
    size = per_axis("size", layer.size, rank, 1)
    places = [
        (..., *(slice(i, None, p) for i, p in zip(at, size, strict=True)))
        for at in np.ndindex(*size)
    ]
    whole = torch.cat([x[place] for place in places])
    made = walk(layer.body, whole).unflatten(0, (len(places), len(x)))
    out = made.new_zeros(len(x), made.shape[2], *x.shape[2:])
    for place, part in zip(places, made, strict=True):
        out[place] = part
    return out


def wired(walk: Walk, layer: nn.Wired, x: Tensor) -> Tensor:
    known = {"input": x}
    for part in layer.layers:
        if isinstance(part, nn.Read):
            read = [known[name] for name in part.sources]
            if part.along == "channels":
                x = torch.cat(read, dim=1)
            else:
                x = read[0] if len(read) == 1 else torch.cat([r.flatten(2) for r in read], dim=2)
        x = known[part.name or ""] = walk(part, x)
    return x


def auxiliary(walk: Walk, layer: nn.Auxiliary, x: Tensor) -> Tensor:
    if walk.training:
        walk.heads.append(walk(layer.head, x))
    return x


def flatten(walk: Walk, layer: nn.Flatten, x: Tensor) -> Tensor:
    return x.reshape(len(x), prod(x.shape[1:]))


Step = Callable[[Walk, Any, Tensor], Tensor]


def plain(function: str, *names: str) -> Step:
    """An activation by its name, and what it takes from the layer."""
    return lambda walk, layer, x: getattr(F, function)(x, **{n: getattr(layer, n) for n in names})


STEPS: dict[type, Step] = {
    nn.Conv: conv,
    nn.Quantise: quantise,
    nn.ConvTranspose: transpose,
    nn.Local: local,
    nn.Linear: linear,
    nn.MaxPool: max_pool,
    nn.AvgPool: average_pool,
    nn.GlobalAvgPool: global_average,
    nn.Upsample: upsample,
    nn.Pad: pad,
    nn.AdaptiveAvgPool: adaptive_average,
    nn.AdaptiveMaxPool: adaptive_maximum,
    nn.Blur: blur,
    nn.PixelShuffle: shuffle,
    nn.PixelUnshuffle: unshuffle,
    nn.BatchNorm: batch_norm,
    nn.Attention: attention,
    nn.GroupNorm: group_norm,
    nn.LayerNorm: layer_norm,
    nn.LocalResponseNorm: response_norm,
    nn.Dropout: dropout,
    nn.Embedding: embedding,
    nn.LSTM: recurrent,
    nn.GRU: recurrent,
    nn.RNN: recurrent,
    nn.Sequential: sequential,
    nn.Parallel: parallel,
    nn.Residual: residual,
    nn.Identity: lambda walk, layer, x: x,
    nn.Auxiliary: auxiliary,
    nn.SqueezeExcite: squeeze_excite,
    nn.LayerScale: layer_scale,
    nn.Channels: picked,
    nn.ChannelShuffle: shuffle_channels,
    nn.ClassToken: class_token,
    nn.PositionEmbedding: lambda walk, layer, x: x + walk.take(1)[0],
    nn.Position: lambda walk, layer, x: x.flatten(2)[:, :, layer.index],
    nn.Patches: patches,
    nn.Wired: wired,
    nn.Read: lambda walk, layer, x: walk(layer.layer, x),
    nn.StochasticDepth: dropout,
    nn.Flatten: flatten,
    nn.ReLU: plain("relu"),
    nn.ReLU6: plain("relu6"),
    nn.LeakyReLU: lambda walk, layer, x: F.leaky_relu(x, layer.slope),
    nn.ELU: plain("elu", "alpha"),
    nn.Sigmoid: plain("sigmoid"),
    nn.Tanh: plain("tanh"),
    nn.SiLU: plain("silu"),
    nn.GELU: plain("gelu", "approximate"),
    nn.Softplus: plain("softplus"),
    nn.HardSigmoid: plain("hardsigmoid"),
    nn.HardSwish: plain("hardswish"),
    nn.Formula: plain("mish"),
    nn.Softmax: lambda walk, layer, x: x.softmax(1),
}
