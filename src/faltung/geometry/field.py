"""Receptive field, jump and offset of a unit, in a chain or where branches meet.

Positions are lengths, not indices: array entry i fills the interval [i, i + 1], and its centre is
i + 0.5. The recursion is that of A. Araujo, W. Norris and J. Sim, "Computing Receptive Fields of
Convolutional Neural Networks", Distill, 2019, https://doi.org/10.23915/distill.00021.
"""

from collections.abc import Iterable

from faltung.geometry.axis import Axis
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of a layer see of the input along one axis. ``Field()`` is the input itself.

    Attributes
    ----------
    size
        Array entries from the first that a unit sees to the last, including the gaps that dilation
        or a stride larger than the kernel leaves.
    jump
        Array entries from the field of one unit to that of the next.
    start
        Centre of the field of unit 0; less than 0.5 * size where there is padding before it.

    Examples
    --------
    >>> field = receptive_field([Axis(32, 3, lo=1, hi=1), Axis(32, 3, stride=2, lo=1, hi=1)])
    >>> field.size, field.jump, field.interval(0)
    (5, 2, (-2, 3))
    """

    size: int = 1
    jump: int = 1
    start: float = 0.5

    def interval(self, unit: int) -> tuple[int, int]:
        """Half-open range of the input entries that ``unit`` sees; padding is outside 0 .. H."""
        first = int(self.start - self.size / 2) + unit * self.jump
        return first, first + self.size

    def through(self, axis: Axis) -> "Field":
        """The field of the units of the next layer, ``axis``."""
        return Field(
            size=self.size + (axis.extent - 1) * self.jump,
            jump=self.jump * axis.stride,
            start=self.start + ((axis.extent - 1) / 2 - axis.lo) * self.jump,
        )

    def back(self, axis: Axis) -> "Field":
        """The field of the units that the transpose of ``axis`` computes from these.

        How many units it reads depends on the phase of the stride; this is the smallest field that
        covers all phases. ValueError: the units would be closer together than input entries.
        """
        jump, rest = divmod(self.jump, axis.stride)
        if rest:
            raise FaltungError(
                f"stride={axis.stride}: must divide the jump, {self.jump}, to be transposed"
            )
        # Output o reads the units i with o = i stride - lo + k dilation: measured in steps of o, at
        # most o + lo (its first tap), and at least extent - 1 less than that (its last).
        return Field(
            size=self.size + (axis.extent - 1) * jump,
            jump=jump,
            start=self.start + (axis.lo - (axis.extent - 1) / 2) * jump,
        )


def receptive_field(chain: Iterable[Axis], first: Field | None = None) -> Field:
    """The receptive field of the last of the layers in ``chain``, along one axis.

    ``first``: the field of what the chain reads, if that is not the input but part of a network.
    ValueError: the input size of a layer is not the output size of the layer before.
    """
    field, before = first or Field(), None
    for axis in chain:
        if before is not None and axis.size != before.output:
            raise FaltungError(
                f"chain: size={axis.size}: must be the output size of the layer before, "
                f"{before.output}"
            )
        field, before = field.through(axis), axis
    return field


def join(fields: Iterable[Field]) -> Field:
    """The field where branches meet: the smallest interval that covers all of their fields.

    ValueError: no branches, or branches with different jumps, whose units do not correspond.
    """
    branches = tuple(fields)
    jumps = sorted({field.jump for field in branches})
    if len(jumps) != 1:
        raise FaltungError(f"fields: jumps={jumps}: branches that meet must have the same jump")
    starts, stops = zip(*(field.interval(0) for field in branches), strict=True)
    first, stop = min(starts), max(stops)
    return Field(size=stop - first, jump=jumps[0], start=(first + stop) / 2)
