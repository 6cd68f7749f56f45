"""A correlation in the forms in which the policy looks at it."""

from dataclasses import dataclass, replace
from functools import cached_property

from faltung.methods.base.correlation import Correlation
from faltung.methods.base.simplify import essential, over_samples, simplified


@dataclass(frozen=True)
class Question:
    """One problem, ``c`` as it was asked, and what is the same problem.

    bias: there is one for each output channel. weight_grad: the gradient for the weight is asked
    for, whose entries are all written, also those of taps that read zeros alone.
    """

    c: Correlation
    bias: bool = False
    weight_grad: bool = False

    @cached_property
    def essential(self) -> Correlation:
        """As transforms take it: as simple as it can be whatever the strides and the batch."""
        return essential(self.c, every_tap=self.weight_grad)

    @cached_property
    def simplified(self) -> Correlation:
        """As sums take it: with as few axes and as long channels as its strides allow."""
        return simplified(self.c, bias=self.bias, every_tap=self.weight_grad)

    @cached_property
    def over_samples(self) -> Correlation | None:
        """As sums may take it too: samples are the last axis. None where there is one sample."""
        return over_samples(self.simplified)

    @cached_property
    def canonical(self) -> "Question":
        """About contiguous arrays with channels last and, but for the gradient for the weight, one
        sample: layouts, epilogues and samples have no part in it.
        """
        batch = self.c.batch if self.weight_grad else 1
        return Question(_contiguous(self.essential, batch), weight_grad=self.weight_grad)

    def form(self, transform: bool) -> Correlation:
        """As a transform, or a sum, takes it."""
        return self.essential if transform else self.simplified


def _contiguous(c: Correlation, batch: int) -> Correlation:
    x, out = c.groups * c.channels_in, c.groups * c.channels_out
    windows, taps = [], x * c.channels_out
    for window in reversed(c.windows):
        axis = window.axis
        offsets = tuple(k * taps for k in range(axis.kernel))
        windows.append(replace(window, x=x, out=out, taps=offsets, aux=()))
        x, out, taps = x * axis.size, out * axis.output, taps * axis.kernel
    return replace(
        c,
        batch=batch,
        windows=tuple(reversed(windows)),
        x=(x, c.channels_in, 1),
        out=(out, c.channels_out, 1),
        w=(c.channels_in * c.channels_out, 1, c.channels_out),
        x_base=0,
        out_base=0,
        epilogue=None,
        aux=(),
        aux_base=(),
    )
