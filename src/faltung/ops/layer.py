"""``Conv``: a convolution whose weight is packed once and used many times."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.check import PerAxis, per_axis, truth, whole
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding, PaddingMode, modes
from faltung.jit.target import current
from faltung.methods.base.step import Step
from faltung.ops.arguments import OTHERS, Array, address, array, elements, mapped, result
from faltung.ops.call_cache import Calls, Inputs, Prepared
from faltung.ops.options import Geometry, bias_fits, parameters, spec_of
from faltung.ops.run import built, forget, policy_of
from faltung.plan.binding import layout
from faltung.plan.build import build_forward
from faltung.plan.choose import AUTO, Policy
from faltung.plan.plan import Plan
from faltung.plan.words import MethodName, Precision
from faltung.runtime.buffers import Bytes, aligned
from faltung.runtime.threads import threads_to_use

# Layouts of the input for which one layer keeps a plan.
KEPT = 64


class Conv:
    """A convolution whose weight is packed once and used many times.

    Weight and bias are copied: later changes to the arrays change nothing here. A layer may be
    called from several threads at once, with inputs of any size; for each layout of its weight that
    those need it keeps one packed copy.

    Parameters
    ----------
    weight : array_like, ``(C_out, C_in // groups, *kernel)``
    bias : array_like, ``(C_out,)``, optional
    stride, padding, dilation, groups, padding_mode, flip, channels_last, precision, method, tune
        As for ``faltung.conv``.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> layer = faltung.Conv(np.ones((8, 3, 3, 3), np.float32), stride=2, padding="same")
    >>> layer(np.ones((1, 3, 32, 32), np.float32)).shape
    (1, 8, 16, 16)
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        flip: bool = False,
        channels_last: bool = False,
        precision: Precision = "fast",
        method: MethodName = "auto",
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
        self._geometry = Geometry(stride, padding, dilation, groups, padding_mode, flip)
        self._channels_last = truth("channels_last", channels_last)
        self._plans: dict[Hashable, tuple[Plan, Bytes]] = {}
        self._packed: dict[Hashable, Bytes] = {}
        self._calls: Calls[Array] = Calls(KEPT)

    @property
    def weight(self) -> Array:
        """``(C_out, C_in // groups, *kernel)``, read-only."""
        view = self._weight.view()
        view.flags.writeable = False
        return view

    @property
    def bias(self) -> Array | None:
        """``(C_out,)``, read-only; None without one."""
        if self._bias is None:
            return None
        view = self._bias.view()
        view.flags.writeable = False
        return view

    def __call__(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """The convolution of ``x``.

        Parameters
        ----------
        x : array_like, ``(N, C_in, *space)`` or ``(C_in, *space)``
            Of the dtype of the weight; with ``channels_last`` the channels are its last axis.
        out : ndarray, optional
            Where to write the result. It must not share memory with ``x``.

        Returns
        -------
        ndarray, ``(N, C_out, *output)``, as ``faltung.conv`` returns it

        Raises
        ------
        TypeError, ValueError, MemoryError
            As ``faltung.conv``.
        """
        return self._calls.run("Conv", self._checked, (x,), (), out)

    def _checked(self, inputs: Inputs, options: tuple[Any, ...], out: Array | None) -> Prepared:
        x, view, spec = self._asked(inputs[0])
        has_batch = x.ndim == view.ndim
        made, target = result(out, spec.output_shape, x.dtype, has_batch, self._channels_last, x=x)
        plan, packed = self._prepared(spec, view, target)
        return Prepared(plan, (view, self._weight, target, self._bias), (x,), made, packed=packed)

    def plan(self, x: ArrayLike) -> Plan:
        """How an input like ``x`` is computed.

        Parameters
        ----------
        x : array_like, ``(N, C_in, *space)`` or ``(C_in, *space)``

        Returns
        -------
        Plan
            ``print`` shows the methods, the steps and the reasons.

        Raises
        ------
        TypeError, ValueError
            As for a call.
        """
        x, view, spec = self._asked(x)
        _, target = result(None, spec.output_shape, x.dtype, True, self._channels_last)
        return self._prepared(spec, view, target)[0]

    def _asked(self, x: ArrayLike) -> tuple[Array, Array, ConvSpec]:
        """The input, it as ``(N, C, *space)``, and the convolution."""
        made = array("x", x, self._weight.dtype, OTHERS)
        view = mapped("x", made, self._weight.ndim - 2, self._channels_last)
        return made, view, spec_of(view.shape, self._weight.shape, made.dtype, self._geometry)

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
            region.run(operands, threads_to_use())
            packed = self._packed.setdefault(key, packed)
        return packed

    def _forget(self) -> None:
        if not forget(self._plans, KEPT):
            return
        used = {id(packed) for _, packed in list(self._plans.values())}
        for name, packed in list(self._packed.items()):
            if id(packed) not in used:
                self._packed.pop(name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        given = self._weight, self._bias, self._geometry, self._channels_last, self._policy
        return _rebuilt, given

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._geometry._asdict().items())
        bias = "without bias" if self._bias is None else "with bias"
        kind = f"{self._weight.shape} {self._weight.dtype} {bias}"
        return f"<Conv {kind}, {given}, channels_last={self._channels_last}>"


def _check(
    weight: Array, stride: PerAxis, dilation: PerAxis, groups: int, padding_mode: PaddingMode
) -> None:
    """All that can be wrong before an input is known."""
    rank = weight.ndim - 2
    if rank < 1 or 0 in weight.shape:
        raise FaltungError(
            f"weight.shape={weight.shape}: must be (C_out, C_in // groups, *kernel), all at least 1"
        )
    per_axis("stride", stride, rank, 1)
    per_axis("dilation", dilation, rank, 1)
    modes(padding_mode, rank)
    if weight.shape[0] % whole("groups", groups, 1):
        raise FaltungError(f"groups={groups}: must divide the output channels, {weight.shape[0]}")


def _rebuilt(
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    channels_last: bool,
    policy: Policy = AUTO,
) -> Conv:
    return Conv(
        weight,
        bias,
        **geometry._asdict(),
        channels_last=channels_last,
        precision=cast(Precision, policy.precision),
        method=cast(MethodName, policy.method),
        tune=policy.tune,
    )


def _same_work(step: Step) -> Hashable:
    """Equal for steps that do the same: tables by their contents."""
    words = (word.tobytes() if isinstance(word, np.ndarray) else word for word in step.arguments)
    return step.recipe, step.items, *words
