"""``Conv``: a convolution whose weights are packed once and used many times."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import PerAxis, per_axis, truth, whole
from faltung.geometry.conv import ConvSpec
from faltung.geometry.padding import Padding, PaddingMode, modes
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.step import Step
from faltung.ops.arguments import OTHERS, Array, address, array, elements, mapped, result
from faltung.ops.options import Options, bias_fits, parameters, spec_of
from faltung.ops.run import built, policy_of, run, scratch_bytes
from faltung.plan.binding import Region, layout
from faltung.plan.build import build_forward
from faltung.plan.choose import AUTO, Method, Policy, Precision
from faltung.plan.plan import Plan
from faltung.runtime.buffers import Bytes, aligned, workspace
from faltung.runtime.threads import get_threads

# Layouts of the input for which one layer keeps a plan.
KEPT = 64


@dataclass(frozen=True, slots=True)
class _Call:
    """All that a call does with arrays of one layout but for where they lie: checked, planned and
    looked up once, because that takes longer than a small convolution.

    ``shape``: of the result; ``w``, ``bias``, ``kept``: addresses of what the layer holds, and
    ``machine`` and ``packed``, which must live as long.
    """

    shape: tuple[int, ...]
    plan: Plan
    region: Region
    scratch: int
    w: int
    bias: int
    kept: int
    packed: Bytes
    machine: Machine

    def run(self, x: Array, out: Array) -> None:
        operands = address(x), self.w, address(out), self.bias, self.kept
        threads = self.plan.threads(get_threads())
        if not self.scratch:
            self.region.run((*operands, 0), threads)
            return
        with workspace.borrow(self.scratch) as block:
            self.region.run((*operands, block.address), threads)


class Conv:
    """``conv`` with its weights packed: ``layer = Conv(weight, bias, stride=2); y = layer(x)``.

    Arguments as ``conv``. Weight and bias are copied: later changes to the arrays change nothing
    here. A layer may be called from several threads at once, with inputs of any size; for each
    layout of its weights that those need it keeps one packed copy.
    """

    def __init__(
        self,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
        channels_last: bool = False,
        precision: Precision = "fast",
        method: Method = "auto",
        tune: bool | None = None,
    ) -> None:
        self._policy = policy_of(precision, method, tune)
        held = array("weight", weight, None, OTHERS).copy()
        _check(held, stride, dilation, groups, padding_mode)
        held, self._bias = parameters(held, held, bias)
        if self._bias is not None:
            self._bias = self._bias.copy()
        bias_fits(self._bias, held.shape[0])
        self._weight = held
        self._options = Options(stride, padding, dilation, groups, padding_mode, flip)
        self._channels_last = truth("channels_last", channels_last)
        self._plans: dict[Hashable, tuple[Plan, Bytes]] = {}
        self._packed: dict[Hashable, Bytes] = {}
        self._calls: dict[Hashable, _Call] = {}

    @property
    def weight(self) -> Array:
        """(C_out, C_in // groups, *kernel), read-only."""
        view = self._weight.view()
        view.flags.writeable = False
        return view

    @property
    def bias(self) -> Array | None:
        """(C_out,), read-only; None without one."""
        if self._bias is None:
            return None
        view = self._bias.view()
        view.flags.writeable = False
        return view

    def __call__(self, x: npt.ArrayLike, *, out: Array | None = None) -> Array:
        """The convolution of ``x``; shapes, ``out`` and errors as ``conv``."""
        key = _layout(x, out)
        call = self._calls.get(key) if key is not None else None
        if call is not None and call.machine is current():
            made = np.empty(call.shape, self._weight.dtype) if out is None else out
            call.run(x, made)  # type: ignore[arg-type]
            return made
        x, view, spec = self._asked(x)
        has_batch = x.ndim == view.ndim
        made, target = result(out, spec.output_shape, x.dtype, has_batch, self._channels_last, x=x)
        plan, packed = self._prepared(spec, view, target)
        run(plan, view, self._weight, target, self._bias, address(packed))
        if key is not None:
            self._remember(key, made, plan, packed)
        return made

    def _remember(self, key: Hashable, made: Array, plan: Plan, packed: Bytes) -> None:
        """What the next call with arrays like these need not find out again."""
        for old in list(self._calls)[: max(0, len(self._calls) + 1 - KEPT)]:
            self._calls.pop(old, None)
        self._calls[key] = _Call(
            made.shape,
            plan,
            plan.region("run"),
            scratch_bytes(plan.work, kept=True)[1],
            address(self._weight),
            address(self._bias),
            address(packed),
            packed,
            current(),
        )

    def plan(self, x: npt.ArrayLike) -> Plan:
        """How an input like ``x`` is computed; print it."""
        x, view, spec = self._asked(x)
        _, target = result(None, spec.output_shape, x.dtype, True, self._channels_last)
        return self._prepared(spec, view, target)[0]

    def _asked(self, x: npt.ArrayLike) -> tuple[Array, Array, ConvSpec]:
        """The input, it as (N, C, *space), and the convolution."""
        made = array("x", x, self._weight.dtype, OTHERS)
        view = mapped("x", made, self._weight.ndim - 2, self._channels_last)
        return made, view, spec_of(view.shape, self._weight.shape, made.dtype, self._options)

    def _prepared(self, spec: ConvSpec, x: Array, out: Array) -> tuple[Plan, Bytes]:
        """The plan for these layouts and the weights packed for it, made at the first call."""
        machine = current()
        layouts = elements(x), elements(self._weight), elements(out)
        key = spec, *layouts, machine
        found = self._plans.get(key)
        if found is None:
            bias, policy = self._bias is not None, self._policy
            plan = built(build_forward, spec, layouts, policy, bias=bias)
            # Without a lock, which a fork could leave closed: the work may be done twice.
            found = self._plans.setdefault(key, (plan, self._pack(plan)))
            self._forget()
        return found

    def _pack(self, plan: Plan) -> Bytes:
        """The packed weights of ``plan``, shared by all plans that pack them alike."""
        key = plan.machine, *map(_same_work, plan.work.prepare)
        packed = self._packed.get(key)
        if packed is None:
            packed = aligned(layout(plan.work.kept)[1])
            region = plan.region("prepare")
            operands = 0, address(self._weight), 0, address(self._bias), address(packed), 0
            region.run(operands, get_threads())
            packed = self._packed.setdefault(key, packed)
        return packed

    def _forget(self) -> None:
        old = list(self._plans)[: max(0, len(self._plans) - KEPT)]
        if not old:
            return
        for key in old:
            self._plans.pop(key, None)
        used = {id(packed) for _, packed in list(self._plans.values())}
        for name, packed in list(self._packed.items()):
            if id(packed) not in used:
                self._packed.pop(name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        given = self._weight, self._bias, self._options, self._channels_last, self._policy
        return _rebuilt, given

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._options._asdict().items())
        bias = "without bias" if self._bias is None else "with bias"
        kind = f"{self._weight.shape} {self._weight.dtype} {bias}"
        return f"<Conv {kind}, {given}, channels_last={self._channels_last}>"


def _layout(x: npt.ArrayLike, out: Array | None) -> Hashable | None:
    """All of the arrays that checks and plans look at but where they lie; None where that is not
    all there is to say: something else than plain arrays, unaligned, or perhaps overlapping.
    """
    if type(x) is not np.ndarray or not x.flags.aligned:
        return None
    # Complex numbers are aligned to their parts, and may stand apart by odd numbers of these.
    if x.dtype.kind == "c" and any(stride % x.itemsize for stride in x.strides):
        return None
    if out is None:
        return x.shape, x.strides, x.dtype
    if type(out) is not np.ndarray or not out.flags.behaved or np.may_share_memory(x, out):
        return None
    return x.shape, x.strides, x.dtype, out.shape, out.strides, out.dtype


def _check(
    weight: Array, stride: PerAxis, dilation: PerAxis, groups: int, padding_mode: PaddingMode
) -> None:
    """All that can be wrong before an input is known."""
    rank = weight.ndim - 2
    if rank < 1 or 0 in weight.shape:
        raise ValueError(
            f"weight.shape={weight.shape}: must be (C_out, C_in // groups, *kernel), all at least 1"
        )
    per_axis("stride", stride, rank, 1)
    per_axis("dilation", dilation, rank, 1)
    modes(padding_mode, rank)
    if weight.shape[0] % whole("groups", groups, 1):
        raise ValueError(f"groups={groups}: must divide the output channels, {weight.shape[0]}")


def _rebuilt(
    weight: Array,
    bias: Array | None,
    options: Options,
    channels_last: bool,
    policy: Policy = AUTO,
) -> Conv:
    return Conv(
        weight,
        bias,
        **options._asdict(),
        channels_last=channels_last,
        precision=cast(Precision, policy.precision),
        method=cast(Method, policy.method),
        tune=policy.tune,
    )


def _same_work(step: Step) -> Hashable:
    """Equal for steps that do the same: tables by their contents."""
    words = (word.tobytes() if isinstance(word, np.ndarray) else word for word in step.arguments)
    return step.recipe, step.items, *words
