"""How operands of different shapes make one map, and what adds up where one was spread."""

from collections.abc import Sequence

from faltung.graph.ops import SAMPLES, Reduce
from faltung.graph.value import Value


def joint(values: Sequence[Value]) -> Value:
    """What operands make together, as a value without a name: a vector stands at the channels."""
    rank = max(len(value.shape) for value in values)
    wide = [value.shape + (1,) * (rank - len(value.shape)) for value in values if _numbers(value)]
    shape = tuple(max(sizes) for sizes in zip(*wide, strict=True))
    batched = any(value.batched for value in values)
    return Value("", shape, batched, samples=max(value.samples for value in values))


def _numbers(value: Value) -> bool:
    """Whether the shape of a value is that of its numbers."""
    return value.kind not in ("key", "rows")


def spread_over(value: Value, whole: Value) -> Reduce | None:
    """What adds up an array like ``whole`` where ``value`` was broadcast to it; None where it was
    not.
    """
    shape = value.shape + (1,) * (len(whole.shape) - len(value.shape))
    pairs = zip(shape, whole.shape, strict=True)
    axes = tuple(axis for axis, (own, size) in enumerate(pairs) if own != size)
    if value.samples != whole.samples:
        axes = (SAMPLES, *axes)
    batch = whole.batched and not value.batched
    return Reduce(axes, "sum", batch=batch) if axes or batch else None
