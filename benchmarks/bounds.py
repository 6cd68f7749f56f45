"""What bounds a layer: multiply-adds at the peak, or a copy of as many bytes."""

from dataclasses import dataclass
from math import prod

from benchmarks.peers import OURS
from benchmarks.results import Row, Run
from faltung.plan.bandwidth import Bandwidth
from faltung.program.profile_page import Yardsticks

ARITHMETIC = "arithmetic"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The peak and the copies that were measured in a run."""

    measured: Yardsticks

    @property
    def peak(self) -> float:
        return self.measured.peak

    @property
    def text(self) -> str:
        """What was measured, and how the page uses it."""
        return (
            f"{self.measured.text} MB are those of input, weight, bias and output, each once. What "
            "bounds a layer is whatever takes longest of its multiply-adds at that peak, a copy "
            "that reads and writes as many bytes on as many threads, and the start of all threads; "
            "the percentage is how much of our time that is. Arrays stay where the call before "
            "left them, as in a copy again and again: in a cache that is large enough."
        )

    def copy(self, row: Row) -> float:
        """Nanoseconds of a copy of as many bytes."""
        return 1e9 * self.measured.copies.copy(moved(row))

    def of(self, row: Row) -> tuple[str, float]:
        """What bounds a row, and its share of our time. ValueError: we were not timed."""
        ns = row.ns(OURS[0])
        if ns is None:
            raise ValueError(f"row={row.name!r}: must have been timed")
        # Of float64 half as many fit into a vector.
        flops = row.flops * (1 if row.spec.dtype == "float32" else 2)
        return self.measured.bound(ns / 1e9, flops, moved(row))


def bounds(run: Run) -> Bounds | None:
    """Those of a run; None if it did not measure them."""
    if run.peak is None or set(run.copies) != {"sizes", "seconds"}:
        return None
    copies = Bandwidth(tuple(map(int, run.copies["sizes"])), tuple(run.copies["seconds"]))
    return Bounds(Yardsticks(run.threads, run.peak, copies))


def moved(row: Row) -> int:
    """Bytes of input, weight, bias and output of a layer."""
    spec = row.spec
    sizes = [spec.input_shape, spec.weight_shape, spec.output_shape]
    return spec.itemsize * (sum(map(prod, sizes)) + spec.channels_out)
