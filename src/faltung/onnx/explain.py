"""What runs where, in words: the compiled parts of a model, and what is between them."""

from collections import Counter
from collections.abc import Sequence

from faltung.onnx import host
from faltung.onnx.gaps import node, title
from faltung.onnx.parts import Record, Routine
from faltung.onnx.read import Body, Call
from faltung.program.bands import described
from faltung.program.explained import in_integers


def explained(routine: Routine, where: str) -> str:
    """The parts of the last run, in their order."""
    lines = [f"{where}:"]
    lines += _parts(routine, "  ", 0)
    return "\n".join(lines)


def on_host(done: Sequence[tuple[Call, str]]) -> str:
    """One line for the nodes on the host: how many of which, and why."""
    return f"on the host, {_nodes(len(done))}: {'; '.join(_rows(done))}"


def _parts(routine: Routine, indent: str, depth: int) -> list[str]:
    lines: list[str] = []
    records = routine.records
    if not any(record.host or record.part for record in records):
        return [f"{indent}nothing is computed"]
    number = 0
    for record in records:
        number += record.part is not None and bool(record.part.graph or record.part.said)
        lines += _record(routine, record, number, indent, depth)
    return lines


def _record(routine: Routine, record: Record, number: int, indent: str, depth: int) -> list[str]:
    lines = []
    if record.host:
        lines.append(f"{indent}on the host, {_nodes(len(record.host))}:")
        lines += [f"{indent}  {row}" for row in _rows(record.host)]
        for call, _ in record.host:
            body = call.attributes.get("body")
            if call.op in host.LOOPS and isinstance(body, Body) and depth < 4:
                lines.append(f"{indent}  body of {title(call)} {node(call)}, compiled once:")
                lines += _parts(routine.engine.routine(body), indent + "    ", depth + 1)
    part = record.part
    if part is not None and (part.graph is not None or part.said):
        what = "compiled" if part.graph is not None else "settled by the sizes"
        counts = ", ".join(f"{n} {op}" for op, n in Counter(map(title, part.said)).most_common())
        lines.append(f"{indent}part {number}, {what}, {_nodes(len(part.said))}: {counts}")
        if part.graph is not None:
            lines[-1] += f" (a graph of {_nodes(len(part.graph.nodes))})"
        program = record.program
        if program is not None and program.compiled is not None:
            inference = program.compiled.inference
            lines += [f"{indent}  {line}" for line in in_integers(inference)]
            lowered = inference.assembly.lowered
            found = [described(made.chain) for made in lowered if made.chain is not None]
            lines += [f"{indent}  chain {line}" for line in found]
    return lines


def _rows(done: Sequence[tuple[Call, str]]) -> list[str]:
    counts = Counter((title(call), reason) for call, reason in done)
    first = {(title(call), reason): node(call) for call, reason in reversed(done)}
    return [
        f"{op}{f', {times} times' if times > 1 else ''} (node {first[op, reason]}): {reason}"
        for (op, reason), times in counts.most_common()
    ]


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"
