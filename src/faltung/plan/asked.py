"""Plans of convolutions of contiguous arrays, to be looked at."""

from dataclasses import replace

from faltung.geometry.check import show, truth
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungTypeError
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad
from faltung.plan.choose import policy_of
from faltung.plan.plan import Plan
from faltung.plan.words import MethodName, Precision


def plan_forward(
    spec: ConvSpec,
    *,
    channels_last: bool = False,
    machine: Machine | None = None,
    precision: Precision = "fast",
    method: MethodName = "auto",
) -> Plan:
    """Plan a convolution of contiguous arrays.

    Parameters
    ----------
    spec
        The convolution.
    channels_last
        Whether the channels of the feature maps are their last axis in memory: (N, *space, C)
        instead of (N, C, *space).
    machine
        The processor to plan for; by default the one that kernels are compiled for.
    precision
        "fast", or "strict" for plain sums of products, without Winograd or Fourier transforms.
    method
        "auto", or the name of the method to use.

    Returns
    -------
    Plan
        Print it to see the methods, their prices and the steps.

    Raises
    ------
    ValueError
        The method does not exist or does not apply.

    Examples
    --------
    >>> import faltung
    >>> faltung.plan_forward(faltung.parse("n1 c64>64 56x56 k3 p1")).direction
    'forward'
    """
    _check(spec, channels_last, machine)
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
    """Plan the input gradient of a convolution of contiguous arrays.

    Parameters
    ----------
    spec
        The convolution whose gradient is computed.
    channels_last
        Whether the channels of the feature maps are their last axis in memory: (N, *space, C)
        instead of (N, C, *space).
    machine
        The processor to plan for; by default the one that kernels are compiled for.
    precision
        "fast", or "strict" for plain sums of products, without Winograd or Fourier transforms.
    method
        "auto", or the name of the method to use.
    packs
        Whether the weights are packed at every call, as in ``conv_input_grad``, or once, as in a
        network.

    Returns
    -------
    Plan
        Print it to see the methods, their prices and the steps.

    Raises
    ------
    ValueError
        The method does not exist or does not apply.

    Examples
    --------
    >>> import faltung
    >>> faltung.plan_input_grad(faltung.parse("n1 c64>64 56x56 k3 p1")).direction
    'input_grad'
    """
    _check(spec, channels_last, machine, packs)
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
    """Plan the weight gradient of a convolution of contiguous arrays.

    Parameters
    ----------
    spec
        The convolution whose gradient is computed.
    channels_last
        Whether the channels of the feature maps are their last axis in memory: (N, *space, C)
        instead of (N, C, *space).
    machine
        The processor to plan for; by default the one that kernels are compiled for.
    precision
        "fast", or "strict" for plain sums of products, without Winograd or Fourier transforms.
    method
        "auto", or the name of the method to use.

    Returns
    -------
    Plan
        Print it to see the methods, their prices and the steps.

    Raises
    ------
    ValueError
        The method does not exist or does not apply.

    Examples
    --------
    >>> import faltung
    >>> faltung.plan_weight_grad(faltung.parse("n1 c64>64 56x56 k3 p1")).direction
    'weight_grad'
    """
    _check(spec, channels_last, machine)
    x, grad = (contiguous(shape, channels_last) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    return build_weight_grad(
        spec, x, grad, w, machine=machine or current(), policy=policy_of(precision, method)
    )


def _check(
    spec: ConvSpec, channels_last: bool, machine: Machine | None, packs: bool = False
) -> None:
    """TypeError: no convolution, no machine."""
    if not isinstance(machine, Machine | None):
        raise FaltungTypeError(f"machine={show(machine)}: must be a Machine")
    if not isinstance(spec, ConvSpec):
        raise FaltungTypeError(f"spec={show(spec)}: must be a ConvSpec, as parse makes of a text")
    truth("channels_last", channels_last)
    truth("packs", packs)
