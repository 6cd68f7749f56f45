"""From nodes to steps: for each operation the method that computes it, over named buffers.

Every step names the buffers that it works on; they get addresses when all of them are known. Each
distinct plan of a convolution is made once.
"""

from collections.abc import Callable

from faltung.graph.ops import (
    Arg,
    Attention,
    ChannelConv,
    Concat,
    Contract,
    Convolve,
    ConvolveInput,
    ConvolveInteger,
    ConvolveWeight,
    CrossEntropy,
    Cumulative,
    Elementwise,
    Embed,
    EmbedGrad,
    FirstPosition,
    GridSample,
    GridSampleGrid,
    GridSampleInput,
    GroupMean,
    LocallyConnected,
    LocallyConnectedBias,
    LocallyConnectedInput,
    LocallyConnectedWeight,
    Normalise,
    Permute,
    Pool,
    PoolGrad,
    Recurrence,
    RecurrenceGrad,
    Reduce,
    Resample,
    Reshape,
    Slice,
    Softmax,
    ToChannelsLast,
    ToFloat,
    TopK,
    TopKGrad,
    View,
)
from faltung.graph.value import Node
from faltung.methods.base.step import Work
from faltung.plan.plan import Plan
from faltung.program import (
    lower_contract,
    lower_conv,
    lower_integer,
    lower_map,
    lower_recurrent,
    lower_reduce,
    lower_resample,
)
from faltung.program.lowering import Lowered, Lowering


def lower(low: Lowering, node: Node) -> Lowered | None:
    """The steps of a node; None where its result is a view."""
    work = Work()
    made = _LOWER[type(node.op)](low, node, work)
    if isinstance(made, Plan):
        return low.planned(node, made)
    if not work.steps:
        return None
    own = work.steps, work.prepare, dict(work.kept), dict(work.scratch)
    return low.named(Lowered(node, *own, cycles=work.cycles))


_LOWER: dict[type, Callable[[Lowering, Node, Work], Plan | None]] = {
    Convolve: lower_conv.convolve,
    ConvolveInput: lower_conv.convolve_input,
    ConvolveInteger: lower_integer.convolve_integer,
    ConvolveWeight: lower_conv.convolve_weight,
    ChannelConv: lower_conv.channel_conv,
    LocallyConnected: lower_conv.local_layer,
    LocallyConnectedInput: lower_conv.local_input,
    LocallyConnectedWeight: lower_conv.local_weight,
    LocallyConnectedBias: lower_conv.local_bias,
    Contract: lower_contract.contract_values,
    Attention: lower_contract.attention_values,
    Elementwise: lower_map.elementwise_map,
    Arg: lower_reduce.arg_map,
    Cumulative: lower_reduce.cumulative_map,
    TopK: lower_reduce.top_k_map,
    TopKGrad: lower_reduce.top_k_grad,
    Reduce: lower_reduce.reduce_map,
    Normalise: lower_reduce.normalise_map,
    GroupMean: lower_map.group_mean,
    Softmax: lower_map.softmax_map,
    CrossEntropy: lower_map.cross_entropy,
    Pool: lower_map.pool_map,
    PoolGrad: lower_map.pool_grad,
    Embed: lower_map.embed,
    EmbedGrad: lower_map.embed_grad,
    ToFloat: lower_map.to_float,
    ToChannelsLast: lower_map.to_channels_last,
    Reshape: lower_map.reshape,
    View: lower_map.view,
    Permute: lower_map.permute,
    Resample: lower_resample.resample_map,
    GridSample: lower_resample.grid_sample,
    GridSampleInput: lower_resample.grid_sample_input,
    GridSampleGrid: lower_resample.grid_sample_grid,
    Concat: lower_map.concat,
    Slice: lower_map.nothing,
    FirstPosition: lower_map.nothing,
    Recurrence: lower_recurrent.walk,
    RecurrenceGrad: lower_recurrent.walk_back,
}
