"""The sizes of an ``Attention``, from its values."""

from collections.abc import Sequence

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.ops import Attention
from faltung.graph.value import Value


@dataclass(frozen=True, slots=True)
class Attended:
    """``length``, ``channels``: of a head in q and k, and in v (0 where there is none)."""

    samples: int
    queries: int
    keys: int
    length: int
    channels: int


def attended(op: Attention, inputs: Sequence[Value]) -> Attended:
    """ValueError: channels that heads do not divide; values that do not fit each other, or a mask
    that does not broadcast.
    """
    q, k, *rest = inputs
    v = None if op.weights else rest.pop(0)
    if op.heads % op.kv_heads:
        raise FaltungError(f"heads={op.heads}: must be a multiple of kv_heads={op.kv_heads}")
    for value, heads in ((q, op.heads), (k, op.kv_heads), (v, op.kv_heads)):
        if value is not None and value.channels % heads:
            raise FaltungError(
                f"{value.name}: {value.channels} channels cannot be divided into {heads} heads"
            )
    made = Attended(
        q.samples,
        q.positions,
        k.positions,
        q.channels // op.heads,
        0 if v is None else v.channels // op.kv_heads,
    )
    if k.channels // op.kv_heads != made.length:
        raise FaltungError(
            f"{k.name}: heads of {k.channels // op.kv_heads} channels, must have {made.length}"
        )
    for value in (k,) if v is None else (k, v):
        if value.samples != q.samples or value.positions != made.keys:
            raise FaltungError(
                f"{value.name}: {value.samples} samples of {value.positions} positions, must have "
                f"{q.samples} of {made.keys}"
            )
    for mask in rest:
        sizes = (made.keys, op.heads, made.queries)
        fits = len(mask.shape) == 3 and not made.samples % mask.samples
        if not fits or any(a not in (1, b) for a, b in zip(mask.shape, sizes, strict=True)):
            raise FaltungError(
                f"{mask.name}: {mask.samples} of {mask.shape} must broadcast to {made.samples} of "
                f"{sizes}"
            )
    return made
