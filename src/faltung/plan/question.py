"""A correlation in the forms that the policy considers."""

from dataclasses import replace
from functools import cached_property

from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.methods.base.correlation import PLACED_OUTPUTS, Correlation
from faltung.methods.base.simplify import essential, over_samples, simplified


@dataclass(frozen=True)
class Question:
    """The problem ``c`` as posed, and equivalent forms of it.

    ``bias``: whether there is a bias for each output channel. ``weight_grad``: whether the weight
    gradient is computed, all entries of which are written, even for taps that only read zeros.
    """

    c: Correlation
    bias: bool = False
    weight_grad: bool = False

    @cached_property
    def essential(self) -> Correlation:
        """For transforms: as simple as possible independently of strides and batch; what may be a
        part as it is, because an axis of one position may be one of many in another part.
        """
        if self.c.placed:
            return self.c
        return essential(self.c, every_tap=self.weight_grad)

    @cached_property
    def simplified(self) -> Correlation:
        """For direct methods: as few axes and as many channels as the strides allow."""
        return simplified(self.c, bias=self.bias, every_tap=self.weight_grad)

    @cached_property
    def over_samples(self) -> Correlation | None:
        """For direct methods too: samples as the last axis. None where there is one sample."""
        return over_samples(self.simplified)

    @cached_property
    def canonical(self) -> "Question":
        """For contiguous arrays with channels last, without an epilogue.

        It has one sample unless the weight gradient is computed, and axes of the usual size where
        it may be a part.
        """
        batch = self.c.batch if self.weight_grad else 1
        c = _usual(self.c) if self.c.placed else self.essential
        return Question(_contiguous(c, batch), weight_grad=self.weight_grad)

    def form(self, transform: bool) -> Correlation:
        """The form for transforms, or for direct methods."""
        return self.essential if transform else self.simplified


def _usual(c: Correlation) -> Correlation:
    """The same question for axes of the usual size, without padding."""
    windows = []
    for window in c.windows:
        a = window.axis
        size = (PLACED_OUTPUTS - 1) * a.stride + a.extent
        windows.append(replace(window, axis=Axis(size, a.kernel, a.stride, a.dilation)))
    return replace(c, windows=tuple(windows))


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
