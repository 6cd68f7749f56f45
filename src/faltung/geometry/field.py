"""How far a unit sees: receptive field, jump and offset, along one axis of a chain or a network.

Positions are lengths, not indices: array entry i fills the interval [i, i + 1] and has its centre
at i + 0.5. (The usual recursion; see Araujo, Norris, Sim, "Computing Receptive Fields of
Convolutional Neural Networks", Distill 2019.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

from faltung.geometry.axis import Axis


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of a layer see of the input, along one axis, in array entries.

    size: entries from the first that a unit sees to the last; gaps, which dilation or a stride
    larger than the kernel leaves, count. jump: from one unit to the next. start: centre of the
    field of unit 0; below 0.5 * size where padding lies before it. `Field()` is the input itself.
    """

    size: int = 1
    jump: int = 1
    start: float = 0.5

    def interval(self, unit: int) -> tuple[int, int]:
        """Half-open range of input entries that `unit` sees; padding has entries outside 0 .. H."""
        first = int(self.start - self.size / 2) + unit * self.jump
        return first, first + self.size

    def through(self, axis: Axis) -> "Field":
        """The field one layer further on."""
        return Field(
            size=self.size + (axis.extent - 1) * self.jump,
            jump=self.jump * axis.stride,
            start=self.start + ((axis.extent - 1) / 2 - axis.lo) * self.jump,
        )

    def back(self, axis: Axis) -> "Field":
        """The field of what the transpose of ``axis`` makes of these units.

        How many it reads depends on the phase of the stride: this is the smallest that covers all.
        ValueError: units that would come closer together than the entries of the input.
        """
        jump, rest = divmod(self.jump, axis.stride)
        if rest:
            raise ValueError(
                f"stride={axis.stride}: the transpose must divide the jump, {self.jump}"
            )
        # Output o reads the units i with o = i stride - lo + k dilation: with the length of a step
        # of o as unit, up to (o + lo) from its first tap, and extent - 1 below that from its last.
        return Field(
            size=self.size + (axis.extent - 1) * jump,
            jump=jump,
            start=self.start + (axis.lo - (axis.extent - 1) / 2) * jump,
        )


def receptive_field(chain: Iterable[Axis], first: Field | None = None) -> Field:
    """The field of the last layer's units, through the layers of `chain` in order.

    `first`: the field of what the chain reads, for the branch of a network; else the input.
    ValueError: a layer whose input size is not the output size of the layer before.
    """
    field, before = first or Field(), None
    for axis in chain:
        if before is not None and axis.size != before.output:
            raise ValueError(
                f"chain: size={axis.size}: must be the output size of the layer before, "
                f"{before.output}"
            )
        field, before = field.through(axis), axis
    return field


def join(fields: Iterable[Field]) -> Field:
    """The field where branches meet: the smallest interval that covers all of theirs.

    ValueError: no branches, or branches whose jumps differ (their units do not correspond).
    """
    branches = tuple(fields)
    jumps = sorted({field.jump for field in branches})
    if len(jumps) != 1:
        raise ValueError(f"fields: jumps={jumps}: branches that meet must have one and the same")
    starts, stops = zip(*(field.interval(0) for field in branches), strict=True)
    first, stop = min(starts), max(stops)
    return Field(size=stop - first, jump=jumps[0], start=(first + stop) / 2)
