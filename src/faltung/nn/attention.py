"""Attention of the positions of a map to each other."""

from __future__ import annotations

from dataclasses import KW_ONLY

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.builder import Builder
from faltung.graph.value import Value
from faltung.nn.conv import Conv
from faltung.nn.layer import Layer


@dataclass(frozen=True, slots=True, repr=False)
class Attention(Layer):
    """Multi-head self-attention: every position of a map reads all of them.

    A 1x1 convolution ``qkv`` gives each position a query, a key and a value, whose channels are
    divided among the heads; each head gives a position the mean of all values, weighted by the
    softmax of the products of its query with the keys, over the root of their channels; another
    1x1 convolution, ``out``, mixes the heads. The channels stay as many as they are. The matrix of
    the weights is not stored at inference.

    Its parameters are ``qkv.weight``, ``qkv.bias``, ``out.weight`` and ``out.bias``: those called
    ``in_proj_weight``, ``in_proj_bias`` and ``out_proj`` in ``torch.nn.MultiheadAttention``, with
    an axis of size 1 for each axis of space. With fewer ``kv_heads`` the rows of ``qkv`` are those
    of all queries, then of all keys, then of all values.

    Parameters
    ----------
    heads : int
        Divides the channels.
    kv_heads : int, optional
        Heads of keys and values, which divide ``heads``: several queries share one.
    bias : bool
        Both convolutions add a bias.
    causal : bool
        A position reads those before it and itself, in the order of memory: for sequences.

    References
    ----------
    A. Vaswani et al., *Attention is all you need*, NeurIPS 2017. J. Ainslie et al., *GQA: training
    generalized multi-query transformer models from multi-head checkpoints*, EMNLP 2023.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Attention(4), (32, 7, 7)).output.shape
    (32, 7, 7)
    """

    heads: int
    _: KW_ONLY
    kv_heads: int | None = None
    bias: bool = True
    causal: bool = False

    def build(self, b: Builder, x: Value) -> Value:
        heads = whole("heads", self.heads, 1)
        kv_heads = heads if self.kv_heads is None else whole("kv_heads", self.kv_heads, 1)
        x = b.settled(x)
        if not x.space:
            raise FaltungError(
                f"Attention {b.current!r} needs a map with positions, got {x.channels} numbers "
                f"{b.after(x)}"
            )
        if x.channels % heads:
            raise FaltungError(
                f"heads={heads}: must divide the {x.channels} channels that Attention "
                f"{b.current!r} gets {b.after(x)}"
            )
        if heads % kv_heads:
            raise FaltungError(f"kv_heads={kv_heads}: must divide the {heads} heads")
        length = x.channels // heads
        kept = kv_heads * length
        every = Conv(x.channels + 2 * kept, 1, bias=self.bias, name="qkv")(b, x)
        parts, start = [], 0
        for channels in (x.channels, kept, kept):
            shape = (channels, *x.space)
            parts.append(b.node(ops.Slice(start), (every,), shape, fields=b.fields(every)))
            start += channels
        op = ops.Attention(heads, kv_heads, length**-0.5, self.causal)
        read = b.node(op, parts, x.shape)
        return Conv(x.channels, 1, bias=self.bias, name="out")(b, read)
