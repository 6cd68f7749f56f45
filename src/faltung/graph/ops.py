"""The operations of a network, as data: what each computes. How it is done is in ``program``.

Shapes leave out the batch. A map is (C, *space). Specs have batch 1; the program sets it. Weights
are (C_out, C_in // groups, *kernel), biases (C_out,).
"""

from dataclasses import dataclass

from faltung.geometry.conv import ConvSpec
from faltung.geometry.expr import Expr
from faltung.geometry.pool import PoolSpec


@dataclass(frozen=True, slots=True)
class Convolve:
    """x, weight, [bias,] *aux -> y. With ``bias`` it is added; then comes the ``epilogue``.

    epilogue: a formula of the sum (operand 0) and the arrays ``aux`` of the output's shape.
    """

    spec: ConvSpec
    bias: bool = False
    epilogue: Expr | None = None


@dataclass(frozen=True, slots=True)
class ConvolveInput:
    """grad, weight, [bias,] *aux -> the gradient for the input; also the transposed convolution.

    spec: the forward convolution. The rest as in ``Convolve``.
    """

    spec: ConvSpec
    bias: bool = False
    epilogue: Expr | None = None


@dataclass(frozen=True, slots=True)
class ConvolveWeight:
    """x, grad -> the gradient for the weight."""

    spec: ConvSpec


@dataclass(frozen=True, slots=True)
class LocallyConnected:
    """x, weight, [bias] -> y: unshared. weight: (*output, C_out, C_in, *kernel); bias: (*output,
    C_out).
    """

    spec: ConvSpec
    bias: bool = False


@dataclass(frozen=True, slots=True)
class LocallyConnectedInput:
    """grad, weight -> the gradient for the input."""

    spec: ConvSpec


@dataclass(frozen=True, slots=True)
class LocallyConnectedWeight:
    """x, grad -> the gradient for the weight."""

    spec: ConvSpec


@dataclass(frozen=True, slots=True)
class LocallyConnectedBias:
    """grad -> the gradient for the bias, the sum over the batch."""

    spec: ConvSpec


@dataclass(frozen=True, slots=True)
class Contract:
    """a, b, *aux -> out: an einsum of two values. Each of the strings has a letter for each axis.

    The axes are those of memory, (samples, *space, C), or with ``sizes``, pairs of a letter and its
    size, any axes of the same numbers in that order. What ``out`` lacks is summed, in the order of
    ``a``, then of ``b``; a letter that an operand has twice is a diagonal. The batch has no letter:
    it stands in front of every value that has one, and is summed where ``out`` has none.

    Queries (S, L, H, D) times keys (S, M, H, D): a="slhd", b="smhd", out="shlm".

    epilogue: a formula of the sum (operand 0) and of ``aux``: values of the shape of out, or
    vectors for each channel of it.
    """

    a: str
    b: str
    out: str
    sizes: tuple[tuple[str, int], ...] = ()
    epilogue: Expr | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """q, k, v, [mask] -> softmax(scale * q k^T + mask) v, for each of ``heads`` heads of its own.

    In memory q is (samples, *space, heads * D): queries are the positions of a sample, and the
    channels of a head lie together. k, v: the same with keys for positions and ``kv_heads`` heads,
    of which head h reads number h * kv_heads // heads; v may have another D. out: like q, with the
    D of v. mask: of the shape (keys, heads, queries), in memory (samples, heads, queries, keys), or
    with 1 in the place of any of these.

    causal: query i sees keys 0 to i + ``offset``. softcap c: unless it is 0, scores s become c
    tanh(s / c) before the mask is added. A query that sees no key has weights of zero. weights: q,
    k, [mask] -> the softmax itself, of the shape (keys, heads, queries).
    """

    heads: int
    kv_heads: int
    scale: float
    causal: bool = False
    offset: int = 0
    softcap: float = 0.0
    weights: bool = False


@dataclass(frozen=True, slots=True)
class ChannelConv:
    """x -> y, a cross-correlation along the channels, at each position separately: y[c] = sum_k
    weight[k] x[c + k - lo], with zeros outside. Local response normalisation uses it.
    """

    weight: tuple[float, ...]
    lo: int


@dataclass(frozen=True, slots=True)
class Reduction:
    """A sum of a formula: over "channel" (all samples and positions), "sample" (the positions of
    each) or "scalar" (everything). ``mean``: divided by the number of terms.
    """

    expr: Expr
    kind: str
    mean: bool = False


@dataclass(frozen=True, slots=True)
class Elementwise:
    """*operands -> *outputs, *reductions: formulas at every element of a map of ``shape``.

    Operands are maps of that shape, vectors for each sample or for each channel, or numbers. With
    ``batched`` False there is no batch: the map is a vector of channels, or a weight.
    """

    shape: tuple[int, ...]
    outputs: tuple[Expr, ...]
    reductions: tuple[Reduction, ...] = ()
    batched: bool = True


@dataclass(frozen=True, slots=True)
class GroupMean:
    """A map -> a map: at every position the mean over each of ``groups`` groups of channels."""

    groups: int


@dataclass(frozen=True, slots=True)
class Normalise:
    """x, gain, shift, [running mean, running variance] -> y, [mean, rstd]: (x - mean) * rstd * gain
    + shift, rstd = 1 / sqrt(variance + eps).

    over: "batch" (Ioffe and Szegedy 2015: statistics of a channel; with ``training`` those of this
    batch, and the running ones follow with ``momentum``), "group" (Wu and He 2018: of a sample and
    one of ``groups`` groups of channels) or "position" (Ba et al. 2016: of the channels at each
    position).
    """

    over: str
    eps: float
    groups: int = 1
    momentum: float = 0.1
    training: bool = False


@dataclass(frozen=True, slots=True)
class Dropout:
    """x, key -> y: an element is zero with probability ``rate``, else x / (1 - rate)."""

    rate: float


@dataclass(frozen=True, slots=True)
class Pool:
    """x -> y, and with ``indexed`` which tap each maximum came from."""

    spec: PoolSpec
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class PoolGrad:
    """grad, [indices] -> the gradient for the input."""

    spec: PoolSpec


@dataclass(frozen=True, slots=True)
class Concat:
    """*maps -> one map, concatenated along the channels."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A map -> its channels from ``start`` on, as many as the output has."""

    start: int


@dataclass(frozen=True, slots=True)
class FirstPosition:
    """A map -> (C,) without a batch: the first position of the first sample, as a view."""


@dataclass(frozen=True, slots=True)
class ToChannelsLast:
    """A map as users pass it, channels first -> as programs keep it, channels last."""


@dataclass(frozen=True, slots=True)
class Reshape:
    """A map -> the same numbers in the same order with another shape: (C, *space) -> (C', *space').

    The order is that of users: channels first.
    """


@dataclass(frozen=True, slots=True)
class Permute:
    """A map -> its numbers with the axes ``dims`` in another order: output axis i is axis
    ``axes[i]``.

    dims: the numbers of a sample split otherwise, in the order of users. Some of them in front are
    the channels of the input; in the order of the output some in front are its channels.
    """

    dims: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Embed:
    """tokens (L,), table (V, E) -> (E, L)."""

    padding_index: int | None = None


@dataclass(frozen=True, slots=True)
class EmbedGrad:
    """tokens (L,), grad (E, L) -> the gradient for the table."""

    vocabulary: int
    padding_index: int | None = None


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """logits (C, *space), labels (*space), scale, smoothing, [weights (C,)] -> losses (1, *space),
    correct (1, *space), the gradient of ``scale * sum(losses)``. Rows with the label -1 are
    ignored. weights: of the classes; they multiply the targets.
    """


@dataclass(frozen=True, slots=True)
class Softmax:
    """logits -> probabilities along the channels."""


Op = (
    Convolve
    | ConvolveInput
    | ConvolveWeight
    | LocallyConnected
    | LocallyConnectedInput
    | LocallyConnectedWeight
    | LocallyConnectedBias
    | Contract
    | Attention
    | ChannelConv
    | Elementwise
    | GroupMean
    | Normalise
    | Dropout
    | Pool
    | PoolGrad
    | Concat
    | Slice
    | FirstPosition
    | ToChannelsLast
    | Reshape
    | Permute
    | Embed
    | EmbedGrad
    | CrossEntropy
    | Softmax
)
