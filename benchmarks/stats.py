"""Ratios, means and groups over rows. A ratio above 1 means that we are faster."""

from collections.abc import Callable, Iterable, Sequence
from math import exp, log
from statistics import median

from benchmarks.peers import OURS
from benchmarks.results import Row
from faltung.geometry.conv import ConvSpec

TORCH = ("torch", "torch-nhwc")
TORCH_ALL = (*TORCH, "torch-compile")


def geometric_mean(values: Iterable[float]) -> float | None:
    """The geometric mean; None without values."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else None


def best(row: Row, peers: Iterable[str]) -> tuple[str, int] | None:
    """The fastest of ``peers`` on a row and its nanoseconds; None if none was timed."""
    times = [(ns, peer) for peer in peers if (ns := row.ns(peer)) is not None]
    return (min(times)[1], min(times)[0]) if times else None


def rivals(row: Row) -> list[str]:
    """All peers of a row that are not ours."""
    return [peer for peer in row.outcomes if peer not in OURS]


def ratio(row: Row, ours: str, peers: Iterable[str]) -> float | None:
    """The time of the fastest of ``peers`` divided by ours; None if either is missing."""
    mine, other = row.ns(ours), best(row, peers)
    return None if mine is None or other is None else other[1] / mine


def memory_ratio(row: Row, ours: str, peers: Iterable[str]) -> float | None:
    """The least memory of ``peers`` divided by ours; None if either is missing."""
    found = {name: cost.peak_bytes for name, cost in row.costs.items() if cost.peak_bytes}
    others = [found[peer] for peer in peers if peer in found]
    return min(others) / found[ours] if others and ours in found else None


def ratios(rows: Sequence[Row], ours: str, peers: Sequence[str] | None = None) -> list[float]:
    """The ratios that exist; ``peers`` None means every rival."""
    found = (ratio(row, ours, rivals(row) if peers is None else peers) for row in rows)
    return [value for value in found if value is not None]


def round_spread(rows: Sequence[Row]) -> float | None:
    """The spread of rounds, slowest over fastest minus 1: the median over rows and peers.

    Only peers with at least two rounds count; None without any.
    """
    found = [
        max(outcome.rounds_ns) / min(outcome.rounds_ns) - 1
        for row in rows
        for outcome in row.outcomes.values()
        if len(outcome.rounds_ns) > 1
    ]
    return median(found) if found else None


def losses(rows: Sequence[Row], ours: str = OURS[0]) -> list[tuple[Row, str, float]]:
    """Rows on which a rival is faster, as (row, fastest rival, ratio), worst first."""
    lost = []
    for row in rows:
        rival, value = best(row, rivals(row)), ratio(row, ours, rivals(row))
        if rival is not None and value is not None and value < 1:
            lost.append((row, rival[0], value))
    return sorted(lost, key=lambda loss: loss[2])


# --- groups of rows ---


def depthwise(spec: ConvSpec) -> bool:
    return 1 < spec.groups == spec.channels_in


def signal(spec: ConvSpec) -> bool:
    return spec.channels_in == spec.channels_out == 1


def dense(spec: ConvSpec, channels: int = 32) -> bool:
    """Whether there is one group, with at least ``channels`` channels in and out."""
    return spec.groups == 1 and min(spec.channels_in, spec.channels_out) >= channels


def single(spec: ConvSpec) -> bool:
    return spec.dtype == "float32"


GROUPS: tuple[tuple[str, Callable[[ConvSpec], bool]], ...] = (
    ("dense, 32 channels and more", lambda s: single(s) and dense(s)),
    ("of these: kernel 1", lambda s: single(s) and dense(s) and s.taps == 1),
    ("of these: rank 2, kernel 3", lambda s: single(s) and dense(s) and s.kernel == (3, 3)),
    (
        "dense, fewer channels",
        lambda s: single(s) and s.groups == 1 and not dense(s) and not signal(s),
    ),
    ("depthwise", lambda s: single(s) and depthwise(s)),
    ("grouped", lambda s: single(s) and s.groups > 1 and not depthwise(s)),
    ("one channel: signals, grey images", lambda s: single(s) and signal(s)),
    ("rank 1", lambda s: single(s) and s.rank == 1),
    ("rank 3", lambda s: single(s) and s.rank == 3),
    ("float64", lambda s: not single(s)),
    ("all", lambda s: True),
)
