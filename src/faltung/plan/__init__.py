"""Which method, which tiles, and why: plans that print themselves."""

from dataclasses import replace

from faltung.geometry.conv import ConvSpec
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad
from faltung.plan.choose import MethodName, Precision, policy_of
from faltung.plan.plan import Plan

__all__ = ["Plan", "plan_forward", "plan_input_grad", "plan_weight_grad"]


def plan_forward(
    spec: ConvSpec,
    *,
    channels_last: bool = False,
    machine: Machine | None = None,
    precision: Precision = "fast",
    method: MethodName = "auto",
) -> Plan:
    """How a convolution would run on contiguous arrays.

    Parameters
    ----------
    spec : ConvSpec
        The convolution, as ``conv_spec`` and ``parse`` make it.
    channels_last : bool
        Input and output are ``(N, *space, C)`` instead of ``(N, C, *space)``.
    machine : Machine, optional
        The processor; by default this one.
    precision : {"fast", "strict"}
        "strict" computes plain sums of products only, no transforms.
    method : "auto" or the name of a method
        "auto" takes the cheapest.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Another precision; a method that does not exist or does not apply.

    Examples
    --------
    >>> import faltung
    >>> plan = faltung.plan_forward(faltung.parse("c16>32 28x28 k3 p1"))
    >>> print(plan)
    n1 c16>32 28x28 k3 p1  forward  on ...
    """
    x, out = (contiguous(shape, channels_last) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    return build_forward(
        spec,
        x,
        w,
        out,
        bias=True,
        machine=machine or current(),
        policy=policy_of(precision, method),
    )


def plan_input_grad(
    spec: ConvSpec,
    *,
    channels_last: bool = False,
    machine: Machine | None = None,
    precision: Precision = "fast",
    method: MethodName = "auto",
    packs: bool = True,
) -> Plan:
    """How the gradient for the input would run on contiguous arrays.

    Parameters
    ----------
    spec : ConvSpec
        The convolution, as ``conv_spec`` and ``parse`` make it.
    channels_last : bool
        Input and output are ``(N, *space, C)`` instead of ``(N, C, *space)``.
    machine : Machine, optional
        The processor; by default this one.
    precision : {"fast", "strict"}
        "strict" computes plain sums of products only, no transforms.
    method : "auto" or the name of a method
        "auto" takes the cheapest.
    packs : bool
        The weight is packed at every call, as by ``conv_input_grad``; otherwise once, as in a
        network.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Another precision; a method that does not exist or does not apply.

    Examples
    --------
    >>> import faltung
    >>> plan = faltung.plan_input_grad(faltung.parse("c16>32 28x28 k3 p1"))
    >>> print(plan)
    n1 c16>32 28x28 k3 p1  input_grad  on ...
    """
    grad, out = (
        contiguous(shape, channels_last) for shape in (spec.output_shape, spec.input_shape)
    )
    w = contiguous(spec.weight_shape, False)
    return build_input_grad(
        spec,
        grad,
        w,
        out,
        bias=False,
        machine=machine or current(),
        policy=replace(policy_of(precision, method), packs=packs, priced=packs),
    )


def plan_weight_grad(
    spec: ConvSpec,
    *,
    channels_last: bool = False,
    machine: Machine | None = None,
    precision: Precision = "fast",
    method: MethodName = "auto",
) -> Plan:
    """How the gradient for the weight would run on contiguous arrays.

    Parameters
    ----------
    spec : ConvSpec
        The convolution, as ``conv_spec`` and ``parse`` make it.
    channels_last : bool
        Input and output are ``(N, *space, C)`` instead of ``(N, C, *space)``.
    machine : Machine, optional
        The processor; by default this one.
    precision : {"fast", "strict"}
        "strict" computes plain sums of products only, no transforms.
    method : "auto" or the name of a method
        "auto" takes the cheapest.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Another precision; a method that does not exist or does not apply.

    Examples
    --------
    >>> import faltung
    >>> plan = faltung.plan_weight_grad(faltung.parse("c16>32 28x28 k3 p1"))
    >>> print(plan)
    n1 c16>32 28x28 k3 p1  weight_grad  on ...
    """
    x, grad = (contiguous(shape, channels_last) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    return build_weight_grad(
        spec, x, grad, w, machine=machine or current(), policy=policy_of(precision, method)
    )
