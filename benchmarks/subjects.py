"""The subjects of a run: which rows, how long to measure, and which peers."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.filters import FILTERS as FILTER_ROWS
from benchmarks.layers import LAYERS as LAYER_ROWS
from benchmarks.networks import NETWORKS as NETWORK_ROWS
from benchmarks.networks import STEPS
from benchmarks.pointwise import DEPTHWISE as DEPTHWISE_ROWS
from benchmarks.pointwise import POINTWISE as POINTWISE_ROWS
from benchmarks.protocol import (
    DEPTHWISE,
    FILTERS,
    LAYERS,
    NETWORKS,
    POINTWISE,
    TRAINING,
    WINDOWS,
)
from benchmarks.turns import Entry
from benchmarks.windows import WINDOWS as WINDOW_ROWS


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject. ``slow_peers``: whether peers that take long to compile take part by default.

    ``seconds``: of a round. ``row_cap``, ``build_limit``: as in ``turns.Settings``.
    """

    rows: Sequence[Entry]
    seconds: float
    row_cap: float
    build_limit: float
    slow_peers: bool = False


SUBJECTS: dict[str, Subject] = {
    LAYERS: Subject(LAYER_ROWS, 0.15, 12.0, 90.0),
    POINTWISE: Subject(POINTWISE_ROWS, 0.1, 12.0, 90.0),
    DEPTHWISE: Subject(DEPTHWISE_ROWS, 0.1, 12.0, 90.0),
    NETWORKS: Subject(NETWORK_ROWS, 0.4, 240.0, 150.0, slow_peers=True),
    TRAINING: Subject(STEPS, 0.8, 900.0, 600.0),
    WINDOWS: Subject(WINDOW_ROWS, 0.15, 12.0, 90.0),
    FILTERS: Subject(FILTER_ROWS, 0.3, 12.0, 120.0),
}


def select(subject: str, only: str | None = None, core: bool = False) -> tuple[Entry, ...]:
    """Rows whose name or text contains ``only`` (in any case); with ``core``, only core rows."""
    wanted = (only or "").lower()
    return tuple(
        row
        for row in SUBJECTS[subject].rows
        if (wanted in row.name.lower() or wanted in row.text) and (row.core or not core)
    )
