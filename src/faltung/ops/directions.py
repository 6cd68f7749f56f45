"""The four directions of a convolution, one body each, for shared and for local weights.

A body checks its arrays and finds the plan. ``last``: the channels are the last axis.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from faltung.geometry.check import PerAxis, integers
from faltung.geometry.conv import ConvSpec
from faltung.ops.arguments import OTHERS, Array, array, batched_shape, elements, mapped, result
from faltung.ops.call_cache import Inputs, Prepared
from faltung.ops.constant import Constant
from faltung.ops.options import (
    Geometry,
    bias_fits,
    grad_fits,
    local_rank,
    local_spec,
    local_transposed_spec,
    parameters,
    rank_of,
    spec_of,
    transposed_spec,
)
from faltung.ops.run import planned, planned_local
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad
from faltung.plan.choose import AUTO, Policy
from faltung.plan.local import build_local, build_local_input_grad, build_local_weight_grad
from faltung.plan.plan import Plan

Operands = tuple[Array, Array, Array]


class Weights(NamedTuple):
    """What differs between weights that all positions share and those of a local layer, where each
    position has a kernel and a bias of its own. ``dtypes``: supported besides float32 and float64.
    ``plan``: finds or makes the plan, with the function of ``build`` for the direction.
    """

    local: bool
    dtypes: Sequence[str]
    rank: Callable[[str, tuple[int, ...]], int]
    spec: Callable[..., ConvSpec]
    transposed: Callable[..., ConvSpec]
    plan: Callable[..., Plan]
    build: Mapping[str, Callable[..., Plan]]

    def prepared(
        self,
        direction: str,
        spec: ConvSpec,
        operands: Operands,
        policy: Policy,
        bias: Array | None = None,
    ) -> tuple[Plan, tuple[Array, Array, Array, Array | None]]:
        """The plan, and the arrays that it runs on."""
        x, weight, out = operands
        if self.local and spec.flip:  # the weight as a view, its taps reversed
            backwards: Any = (..., *[slice(None, None, -1)] * spec.rank)
            weight = weight[backwards]
            spec = replace(spec, flip=False)
        build, given = self.build[direction], bias is not None
        return self.plan(build, spec, (x, weight, out), policy, given), (x, weight, out, bias)


def forward(
    weights: Weights,
    inputs: Inputs,
    geometry: Geometry,
    last: bool,
    out: Array | None,
    policy: Policy = AUTO,
    border: Constant | None = None,
) -> Prepared:
    """``inputs``: x, weight and bias."""
    x = array("x", inputs[0], None, weights.dtypes)
    weight, bias = parameters(x, inputs[1], inputs[2])
    rank = weights.rank("weight.shape", weight.shape)
    view = mapped("x", x, rank, last)
    spec = weights.spec(view.shape, weight.shape, x.dtype, geometry)
    bias_fits(bias, spec.channels_out, spec.output if weights.local else ())
    read, has_batch = {"x": x, "weight": weight, "bias": bias}, x.ndim == rank + 2
    made, target = result(out, spec.output_shape, x.dtype, has_batch, last, **read)
    if border is not None:
        view, spec = border.filled(view, spec)
        x = view
    plan = weights.prepared("forward", spec, (view, weight, target), policy, bias)
    return Prepared(*plan, (x, weight, bias), made)


def input_grad(
    weights: Weights,
    inputs: Inputs,
    geometry: Geometry,
    last: bool,
    out: Array | None,
    input_shape: Sequence[int],
    policy: Policy = AUTO,
) -> Prepared:
    """``inputs``: output gradient and weight."""
    grad = array("grad", inputs[0], None, weights.dtypes)
    weight, _ = parameters(grad, inputs[1], None)
    rank = weights.rank("weight.shape", weight.shape)
    shape = batched_shape("input_shape", input_shape, rank, last)
    view = mapped("grad", grad, rank, last)
    spec = weights.spec(shape, weight.shape, grad.dtype, geometry, "input_shape")
    read, has_batch = {"grad": grad, "weight": weight}, len(input_shape) == rank + 2
    grad_fits(grad, view, spec, has_batch, "input_shape")
    made, target = result(out, spec.input_shape, grad.dtype, has_batch, last, **read)
    plan = weights.prepared("input_grad", spec, (view, weight, target), policy)
    return Prepared(*plan, (grad, weight), made)


def weight_grad(
    weights: Weights,
    inputs: Inputs,
    geometry: Geometry,
    last: bool,
    out: Array | None,
    weight_shape: Sequence[int],
    policy: Policy = AUTO,
    border: Constant | None = None,
) -> Prepared:
    """``inputs``: x and output gradient."""
    x = array("x", inputs[0], None, weights.dtypes)
    grad = array("grad", inputs[1], x.dtype, weights.dtypes)
    shape = integers("weight_shape", weight_shape)
    rank = weights.rank("weight_shape", shape)
    view, grads = mapped("x", x, rank, last), mapped("grad", grad, rank, last)
    spec = weights.spec(view.shape, shape, x.dtype, geometry, "x.shape", "weight_shape")
    grad_fits(grad, grads, spec, x.ndim == rank + 2, "x")
    order = memory_order(len(shape), rank) if weights.local and out is None else None
    stored = shape if order is None else tuple(shape[i] for i in order)
    made, _ = result(out, stored, x.dtype, True, False, x=x, grad=grad)
    if order is not None:
        made = made.transpose(np.argsort(order))
    if border is not None:
        view, spec = border.filled(view, spec)
        x = view
    # The result is in the weight's place, the output gradient in that of the output.
    plan = weights.prepared("weight_grad", spec, (view, made, grads), policy)
    return Prepared(*plan, (x, grad), made)


def transpose(
    weights: Weights,
    inputs: Inputs,
    geometry: Geometry,
    last: bool,
    out: Array | None,
    output_padding: PerAxis,
    policy: Policy = AUTO,
) -> Array:
    """The result itself. ``inputs``: x, weight and bias."""
    x = array("x", inputs[0], None, weights.dtypes)
    weight, bias = parameters(x, inputs[1], inputs[2])
    rank = weights.rank("weight.shape", weight.shape)
    view = mapped("x", x, rank, last)
    spec = weights.transposed(view.shape, weight.shape, x.dtype, geometry, output_padding)
    bias_fits(bias, spec.channels_in, spec.size if weights.local else ())
    read, has_batch = {"x": x, "weight": weight, "bias": bias}, x.ndim == rank + 2
    made, target = result(out, spec.input_shape, x.dtype, has_batch, last, **read)
    if weight.dtype.kind == "c":  # the gradient takes the conjugate
        weight = weight.conj()
    # Local gradients take no bias, and borders that are folded back would fold it too.
    later = bias is not None and (weights.local or set(spec.padding_mode) != {"zeros"})
    fused = None if later else bias
    plan = weights.prepared("input_grad", spec, (view, weight, target), policy, fused)
    Prepared(*plan, (x, weight, bias), made).run()
    if bias is not None and later:
        shift = np.moveaxis(bias, -1, 0)
        shift = shift.reshape(*shift.shape, *(1,) * (rank + 1 - shift.ndim))
        np.add(target, shift, out=target, casting="same_kind")
    return made


def memory_order(ndim: int, rank: int) -> list[int]:
    """The axes of a local layer's weight, the outermost in memory first."""
    return [*range(rank), *range(rank + 2, ndim), rank + 1, rank]


def _shared_plan(
    build: Callable[..., Plan], spec: ConvSpec, operands: Operands, policy: Policy, bias: bool
) -> Plan:
    x, second, third = map(elements, operands)
    if build is build_weight_grad:  # it takes the output gradient before its result
        return planned(build, spec, (x, third, second), policy)
    return planned(build, spec, (x, second, third), policy, bias=bias)


def _local_plan(
    build: Callable[..., Plan], spec: ConvSpec, operands: Operands, policy: Policy, bias: bool
) -> Plan:
    return planned_local(build, spec, tuple(map(elements, operands)), bias)


SHARED = Weights(
    local=False,
    dtypes=OTHERS,
    rank=rank_of,
    spec=spec_of,
    transposed=transposed_spec,
    plan=_shared_plan,
    build={
        "forward": build_forward,
        "input_grad": build_input_grad,
        "weight_grad": build_weight_grad,
    },
)
LOCAL = Weights(
    local=True,
    dtypes=(),
    rank=local_rank,
    spec=local_spec,
    transposed=local_transposed_spec,
    plan=_local_plan,
    build={
        "forward": build_local,
        "input_grad": build_local_input_grad,
        "weight_grad": build_local_weight_grad,
    },
)
