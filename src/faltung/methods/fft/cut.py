"""How an array is cut for transforms: into boxes, and these, as one axis, into blocks.

A kernel over an array of several axes is one with gaps over one long axis, and what a block loses
is the extent of that: ``rows - 1`` whole rows. So long rows want long blocks, which leave the
caches. A box is as long as the array in its first axis, and in the others as narrow as is best: a
block of it is nearly a square.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod

from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.addresses import pitches
from faltung.methods.base.correlation import Window
from faltung.methods.fft.tables import shortest

# Complex numbers of the longest transform.
MAX_LENGTH = 1 << 22
# Elements of a cache line, the smaller ones.
LINE_ELEMENTS = 16


@dataclass(frozen=True, slots=True)
class Cut:
    """``length`` of a transform, of which ``valid`` entries of the one axis are kept; ``each``
    blocks of each of ``boxes`` boxes; ``outputs`` of a box along each axis, and its ``widths``:
    entries along each axis.
    """

    length: int
    valid: int
    each: int
    boxes: int
    outputs: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """Of a sample and channel."""
        return self.boxes * self.each

    @property
    def pairs(self) -> int:
        return -(-self.blocks // 2)

    @property
    def rows(self) -> float:
        """Rows of a block."""
        return self.length / self.widths[-1]

    @property
    def title(self) -> str:
        """For a person: ``4,096, 3,381 kept``, and where the array is in boxes their outputs."""
        boxes = "" if self.boxes == 1 else f", in boxes of {'x'.join(map(str, self.outputs))}"
        return f"{self.length:,}, {self.valid:,} kept{boxes}"


@dataclass(frozen=True, slots=True)
class BoxAxis:
    """Of an axis: padded entries from ``first`` on, ``width`` of them (there may be none at the
    end), and the ``count`` outputs from ``start`` on.
    """

    window: Window
    first: int
    width: int
    start: int
    count: int


Box = tuple[BoxAxis, ...]
# What a cut depends on, for each axis: entries with the padding, extent, stride, outputs.
Sizes = tuple[tuple[int, int, int, int], ...]


def sizes(windows: Sequence[Window]) -> Sizes:
    axes = [w.axis for w in windows]
    return tuple((a.padded, a.extent, a.stride, a.output) for a in axes)


def boxes(windows: Sequence[Window], made: Cut) -> Iterator[Box]:
    """All boxes, the last axis fastest."""
    axes = []
    for window, count, width in zip(windows, made.outputs, made.widths, strict=True):
        a = window.axis
        starts = range(0, a.output, count)
        axes.append(
            [BoxAxis(window, s * a.stride, width, s, min(count, a.output - s)) for s in starts]
        )
    yield from product(*axes)


@lru_cache(maxsize=1024)
def cuts(machine: Machine, dtype: str, of: Sizes) -> tuple[Cut, ...]:
    """Every length that is worth a price, with the boxes that leave the fewest entries to
    transform.
    """
    found = []
    length = shortest(machine, dtype)
    while length <= MAX_LENGTH:
        made = min(of_length(length, of), key=_entries, default=None)
        if made is not None:
            found.append(made)
            if made.blocks == 1:
                break
        length *= 2
    return tuple(found)


def _entries(cut: Cut) -> float:
    """What is compared among cuts of one length: blocks, more where they are not whole rows."""
    whole = len(cut.widths) > 1 and cut.length % cut.widths[-1] == 0
    return cut.blocks * (1.0 if whole else 1.08)


def of_length(length: int, of: Sizes) -> Iterator[Cut]:
    """All cuts for transforms of a length."""
    choices = [_choices(number, size) for number, size in enumerate(of)]
    for chosen in product(*choices):
        counts, widths = (tuple(along) for along in zip(*chosen, strict=True))
        steps = pitches(widths)
        reach = 1 + sum((size[1] - 1) * pitch for size, pitch in zip(of, steps, strict=True))
        valid = length - reach + 1
        if valid <= 0:
            continue
        wanted, width = (counts[-1] - 1) * of[-1][2] + 1, widths[-1]
        if len(of) > 1 and valid >= wanted + 3 * width:  # whole rows
            valid = ((valid - wanted) // width + 1) * width
        elif valid > 4 * LINE_ELEMENTS:  # segments out then begin on cache lines
            valid -= valid % LINE_ELEMENTS
        along = zip(counts, of, steps, strict=True)
        reach = 1 + sum((n - 1) * size[2] * pitch for n, size, pitch in along)
        many = prod(-(-size[3] // n) for n, size in zip(counts, of, strict=True))
        yield Cut(length, valid, -(-reach // valid), many, counts, widths)


def _choices(number: int, of: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """Outputs of a box along an axis, and its entries; all of the first."""
    padded, extent, stride, output = of
    made = [(output, padded)]
    if number == 0:
        return made
    width = 2 * LINE_ELEMENTS
    while width < 2 * padded:
        most = (width - extent) // stride + 1
        if most > 0:
            # Boxes of nearly one size, rows out of whole vectors.
            count = -(-output // -(-output // most))
            made.append((min(most, output, -(-count // LINE_ELEMENTS) * LINE_ELEMENTS), width))
        width *= 2
    return made
