"""From nodes to steps: for each operation the method that computes it, over named buffers.

Every step names the buffers that it works on; they get addresses when all of them are known. Each
distinct plan of a convolution is made once.
"""

from collections.abc import Callable

from faltung.graph.ops import (
    ChannelConv,
    Concat,
    Convolve,
    ConvolveInput,
    ConvolveWeight,
    CrossEntropy,
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
    Permute,
    Pool,
    PoolGrad,
    Resample,
    Reshape,
    Slice,
    Softmax,
    ToChannelsLast,
)
from faltung.graph.value import Node
from faltung.methods.base.step import Work
from faltung.plan.plan import Plan
from faltung.program import lower_conv, lower_map, lower_resample
from faltung.program.lowering import Lowered, Lowering


def lower(low: Lowering, node: Node) -> Lowered | None:
    """The steps of a node; None where its result is a view."""
    work = Work()
    made = _LOWER[type(node.op)](low, node, work)
    if isinstance(made, Plan):
        return low.planned(node, made)
    if not work.steps:
        return None
    return low.named(Lowered(node, work.steps, scratch=dict(work.scratch)))


_LOWER: dict[type, Callable[[Lowering, Node, Work], Plan | None]] = {
    Convolve: lower_conv.convolve,
    ConvolveInput: lower_conv.convolve_input,
    ConvolveWeight: lower_conv.convolve_weight,
    ChannelConv: lower_conv.channel_conv,
    LocallyConnected: lower_conv.local_layer,
    LocallyConnectedInput: lower_conv.local_input,
    LocallyConnectedWeight: lower_conv.local_weight,
    LocallyConnectedBias: lower_conv.local_bias,
    Elementwise: lower_map.elementwise_map,
    GroupMean: lower_map.group_mean,
    Softmax: lower_map.softmax_map,
    CrossEntropy: lower_map.cross_entropy,
    Pool: lower_map.pool_map,
    PoolGrad: lower_map.pool_grad,
    Embed: lower_map.embed,
    EmbedGrad: lower_map.embed_grad,
    ToChannelsLast: lower_map.to_channels_last,
    Reshape: lower_map.reshape,
    Permute: lower_map.permute,
    Resample: lower_resample.resample_map,
    GridSample: lower_resample.grid_sample,
    GridSampleInput: lower_resample.grid_sample_input,
    GridSampleGrid: lower_resample.grid_sample_grid,
    Concat: lower_map.concat,
    Slice: lower_map.view,
    FirstPosition: lower_map.view,
}
