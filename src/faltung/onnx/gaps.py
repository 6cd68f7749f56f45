"""What a model lacks: operators that a graph cannot say, in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from faltung.formats.files import shown
from faltung.geometry.errors import UnsupportedError
from faltung.geometry.record import dataclass
from faltung.onnx.read import Body, Call


@dataclass(frozen=True, slots=True)
class Gap:
    """What a graph cannot say yet: an operator, a node, its attributes, and why."""

    op: str
    node: str
    attributes: str
    reason: str
    call: Call | None = field(default=None, compare=False)


def unsupported(where: str, gaps: Sequence[Gap], run: bool = False) -> UnsupportedError:
    """One line that names all gaps, and how often each occurs. run: whether parts have run."""
    count: Counter[tuple[str, str]] = Counter((gap.op, gap.reason) for gap in gaps)
    first = {(gap.op, gap.reason): gap for gap in reversed(gaps)}
    rows = [
        f"{op}, {times} time{'s' * (times > 1)} (node {first[op, reason].node}"
        f"{first[op, reason].attributes}): {reason}"
        for (op, reason), times in count.most_common()
    ]
    what = "not supported yet" if run else "not supported yet, so nothing was run"
    return UnsupportedError(
        f"{where}: {what}: {'; '.join(rows)}; docs/onnx.md lists what is, and "
        'fallback="onnxruntime" runs the rest there'
    )


def title(call: Call) -> str:
    return shown(f"{call.domain}.{call.op}" if call.domain else call.op)[:80]


def node(call: Call) -> str:
    name = call.name or next((f"of {name}" for name in call.outputs if name), "without a name")
    return shown(name.partition("\0")[0])[:120]


def attributes(call: Call) -> str:
    words = [
        f"{name}={value if not isinstance(value, tuple) else list(value[:8])}"
        for name, value in call.attributes.items()
        if isinstance(value, int | float | str | tuple) and not _graphs(value)
    ]
    return shown(f", {', '.join(words)}"[:200]) if words else ""


def _graphs(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, Body) for each in value)
