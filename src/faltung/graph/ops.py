"""The operations of a network, as data: what each computes. How it is done is in ``program``.

Shapes leave out the batch. A map is (C, *space). Specs have batch 1; the program sets it. Weights
are (C_out, C_in // groups, *kernel), biases (C_out,).
"""

from dataclasses import dataclass

from faltung.geometry.conv import ConvSpec
from faltung.geometry.expr import Expr
from faltung.geometry.grid import Sampling
from faltung.geometry.pool import PoolSpec
from faltung.geometry.resample import Table


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
class Resample:
    """x -> y: along each axis that has a table, output i is the sum of weight * x[index] over the
    taps of row i (``geometry/resample.py``): other sizes, crops, flips, gathers, paddings.

    tables: for each axis of the shape, the channels first. fill: what an element is for which the
    row of one of the tables is empty.
    """

    tables: tuple[Table | None, ...]
    fill: float = 0.0

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
    | Resample
    | GridSample
    | GridSampleInput
    | GridSampleGrid
    | Embed
    | EmbedGrad
    | CrossEntropy
    | Softmax
)
