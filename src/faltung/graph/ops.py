"""The operations of a network, as data: what each computes. How it is done is in ``program``.

Shapes leave out the batch. A map is (C, *space). Specs have batch 1; the program sets it. Weights
are (C_out, C_in // groups, *kernel), biases (C_out,).
"""

from faltung.geometry.conv import ConvSpec
from faltung.geometry.expr import Expr, operand
from faltung.geometry.grid import Sampling
from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import RecurrentSpec
from faltung.geometry.resample import Table
from faltung.graph.ops_integer import ConvolveInteger as ConvolveInteger


@dataclass(frozen=True, slots=True)
class Convolve:
    """x, weight, [bias,] *aux -> y. With ``bias`` it is added; then comes the ``epilogue``.

    epilogue: a formula of the sum (operand 0) and of ``aux``, each of the output's shape or
    broadcast to it, as the operands of ``Elementwise`` are.
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
    """x, weight (*output, C_out, C_in, *kernel), [bias (*output, C_out)] -> y: unshared."""

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
    it stands in front of every value that has one, and is summed where ``out`` has none. Queries
    (S, L, H, D) times keys (S, M, H, D): a="slhd", b="smhd", out="shlm".

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
    """q, k, v, *masks -> softmax(scale * q k^T + masks) v, for each of ``heads`` heads of its own.

    In memory q is (samples, *space, heads * D): queries are the positions of a sample, and the
    channels of a head lie together. k, v: the same with keys for positions and ``kv_heads`` heads,
    of which head h reads number h * kv_heads // heads; v may have another D. out: like q, with the
    D of v. masks: of the shape (keys, heads, queries), in memory (samples, heads, queries, keys),
    or with 1 in the place of any of these; where one has fewer samples, which divide the others, it
    begins again.

    causal: query i sees keys 0 to i + ``offset``. softcap c: unless it is 0, scores s become c
    tanh(s / c) before the mask is added. A query that sees no key has weights of zero. weights: q,
    k, *masks -> the softmax itself, of the shape (keys, heads, queries).
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
    """x -> y: at each position y[c] = sum_k weight[k] x[c + k - lo], with zeros outside."""

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

    An operand is a map of that shape, or one of the same rank that is broadcast along axes of which
    it has 1, a vector of channels (C,), or a number (). It is there for each sample, or as a value
    without a batch once for all of them; where the map has ``samples``, it has as many or 1. With
    ``batched`` False there is no batch: the map is a constant, a vector of channels, or a weight.
    """

    shape: tuple[int, ...]
    outputs: tuple[Expr, ...]
    reductions: tuple[Reduction, ...] = ()
    batched: bool = True


# The formula that leaves its operand as it is; in ``Reduce.axes``: over the maps of a sample.
ITSELF, SAMPLES = operand(0), -1


@dataclass(frozen=True, slots=True)
class Reduce:
    """*operands -> for each formula of ``exprs`` its "sum", "mean", "max", "min", "product" or
    "log_sum_exp" over ``axes`` of the map that the operands make together: 0 is the channels, 1 and
    so on the space. These axes become 1.

    Operands are maps of one rank, which are broadcast along axes of size 1, vectors of channels for
    each sample or for all, or numbers. ``SAMPLES`` among the axes: over ``Value.samples`` as well.
    batch: over samples and batch; the result then has none. finish: what is stored, a formula of
    each result (operand 0). "max" and "min" of what contains a NaN are NaN.
    """

    axes: tuple[int, ...]
    kind: str
    exprs: tuple[Expr, ...] = (ITSELF,)
    batch: bool = False
    finish: Expr = ITSELF


@dataclass(frozen=True, slots=True)
class Arg:
    """A map -> where along an axis (0: channels) the largest or smallest (``kind`` "max", "min")
    entry is, as whole numbers in the dtype of the map; the axis becomes 1. Among equal ones the
    first, or the ``last``; NaN counts as larger and as smaller than all.
    """

    axis: int
    kind: str
    last: bool = False


@dataclass(frozen=True, slots=True)
class Cumulative:
    """A map -> at every entry the "sum" or "product" of those up to it along an axis. exclusive:
    without the entry itself, so that the first is 0 or 1. reverse: from the end.
    """

    axis: int
    kind: str = "sum"
    exclusive: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class TopK:
    """A map -> its ``k`` largest or smallest entries along an axis, in order, and where they are,
    as whole numbers in the dtype of the map: two maps in which the axis has ``k`` entries. Of
    equal ones the first comes first; NaN is larger than everything.
    """

    axis: int
    k: int
    largest: bool = True


@dataclass(frozen=True, slots=True)
class TopKGrad:
    """grad, places of ``TopK`` -> ``size`` zeros along an axis, with each gradient in its place."""

    axis: int
    size: int


@dataclass(frozen=True, slots=True)
class GroupMean:
    """A map -> a map: at every position the mean over each of ``groups`` groups of channels."""

    groups: int


@dataclass(frozen=True, slots=True)
class Normalise:
    """x, gain, shift, [running mean, running variance] -> y, [mean, rstd]: (x - mean) * rstd * gain
    + shift, rstd = 1 / sqrt(variance + eps).

    over: "batch" (Ioffe and Szegedy 2015: statistics of a channel; with ``training`` those of this
    batch, and the running ones, if any, follow with ``momentum``: as updates of the graph, or as
    the last outputs of y, mean, rstd, [mean, variance]), "group" (Wu and He 2018: of a sample and
    one of ``groups`` groups of channels), "position" (Ba et al. 2016: of the channels at each
    position) or "axes" (over these ``axes`` of the map, as in ``Reduce``; gain and shift are spread
    over the map, and the shift, or both, may be missing). centred: False for x * rstd * gain +
    shift with the mean square instead of the variance (Zhang and Sennrich 2019), and no mean.
    """

    over: str
    eps: float
    groups: int = 1
    momentum: float = 0.1
    training: bool = False
    axes: tuple[int, ...] = ()
    centred: bool = True


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
class View:
    """A map -> the same numbers in memory, split otherwise. stops: no gradient passes through."""

    stops: bool = False


@dataclass(frozen=True, slots=True)
class Permute:
    """A map -> its numbers with the axes of memory in another order: output axis i is axis
    ``axes[i]``.

    dims: the sizes of (samples, *space, C), split further; so they are in the new order for the
    output.
    """

    dims: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Resample:
    """x, *aux -> y: along each axis that has a table, output i is the sum of weight * x[index] over
    the taps of row i (``geometry/resample.py``): other sizes, crops, flips, gathers, paddings.

    tables: for each axis of the shape, the channels first. fill: what an element is for which the
    row of one of the tables is empty. epilogue: then a formula of that (operand 0) and of ``aux``:
    maps of the output's shape, vectors of its channels, or numbers. order: of the part of a larger
    map, how the whole is computed: the axes that go together, one after the other, and the most
    taps of a row of each table.
    """

    tables: tuple[Table | None, ...]
    fill: float = 0.0
    epilogue: Expr | None = None
    order: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]] | None = None

    def made(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result."""
        return tuple(
            size if table is None else table.output
            for size, table in zip(shape, self.tables, strict=True)
        )


@dataclass(frozen=True, slots=True)
class GridSample:
    """x (C, *space), grid (rank, *output) -> y (C, *output): the map at the places of the grid, by
    its neighbours (``geometry/grid.py``). Channel 0 of the grid is the coordinate along the last
    axis of space. One of the two may be without a batch: there is one for all samples.
    """

    how: Sampling


@dataclass(frozen=True, slots=True)
class GridSampleInput:
    """grad, grid -> the gradient for the map."""

    how: Sampling


@dataclass(frozen=True, slots=True)
class GridSampleGrid:
    """x, grid, grad -> the gradient for the grid."""

    how: Sampling


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
class ToFloat:
    """Whole numbers (L,) from outside -> the same in the dtype of the network, rounded."""


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """logits (C, *space), labels (*space), scale, smoothing, [weights (C,)] -> losses (1, *space),
    correct (1, *space), the gradient of ``scale * sum(losses)``. Rows with the label -1 are
    ignored. weights: of the classes; they multiply the targets.

    soft: logits, targets (C, *space), scale -> losses, the gradient. The targets are numbers, at
    least 0; rows of zeros are ignored.
    """

    soft: bool = False


@dataclass(frozen=True, slots=True)
class Softmax:
    """logits -> probabilities over ``axes`` (0: channels), or with ``log`` their logarithms."""

    axes: tuple[int, ...] = (0,)
    log: bool = False


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A map whose only axis is time -> y, last state, [last cell]: a recurrent layer.

    inputs: x (C, steps); for each direction the input weight (gates * H, C), the recurrent weight
    (gates * H, H) or its two parts (``RecurrentSpec.weights``), [bias], [recurrent bias] (gates *
    H,), [peepholes] (3 * H,); [lengths, one for each sample], [first state], [first cell], vectors
    of all directions. Outputs: y (directions * H, steps), the states (directions * H,).
    ``reference/recurrent.py`` has the equations.
    """

    layer: RecurrentSpec


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The gates' inputs of each direction -> y, last state, [last cell] of each: what ``Recurrent``
    is after the products of the inputs.

    inputs: for each direction a map (gates * H, steps), the recurrent weight or its two parts,
    [recurrent bias], [peepholes], [first state], [first cell]; then [lengths]. kept: each direction
    has more outputs, which the gradient reads: what the activations read, with a product that stays
    apart after it, and the states that each step found, [and cells].
    """

    layer: RecurrentSpec
    kept: bool = False


@dataclass(frozen=True, slots=True)
class RecurrenceGrad:
    """The gradients of ``Recurrence``, for each direction: for the gates' inputs, [for the products
    that its recurrent weight makes, where these differ], for the first state, [first cell].

    given: which gradients there are, of "y", "h", "c". inputs: for each direction these, what the
    recurrence kept, the recurrent weight or its parts, [peepholes]; then [lengths].
    """

    layer: RecurrentSpec
    given: tuple[str, ...]


Op = (
    Convolve
    | ConvolveInput
    | ConvolveWeight
    | ConvolveInteger
    | LocallyConnected
    | LocallyConnectedInput
    | LocallyConnectedWeight
    | LocallyConnectedBias
    | Contract
    | Attention
    | ChannelConv
    | Elementwise
    | Reduce
    | Arg
    | Cumulative
    | TopK
    | TopKGrad
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
    | View
    | Permute
    | Resample
    | GridSample
    | GridSampleInput
    | GridSampleGrid
    | Embed
    | EmbedGrad
    | ToFloat
    | CrossEntropy
    | Softmax
    | Recurrent
    | Recurrence
    | RecurrenceGrad
)
