"""What runs how in a program, in words: chains in bands with their prices, and layers alone."""

from collections import Counter

from faltung.graph.ops import Convolve, ConvolveInteger
from faltung.graph.summary_table import short
from faltung.program.bands import described, why_not
from faltung.program.inference import Inference


def explained(program: Inference) -> str:
    """The chains of a program, and why its other layers are in none."""
    assembly = program.assembly
    nodes = sum(len(made.nodes) for made in assembly.lowered)
    arena = short(assembly.memories["arena"].nbytes, "B")
    lines = [f"{_count(nodes, 'layer')}, batch {program.batch}, {arena} for what is between them"]
    for number, line in enumerate(in_integers(program)):
        lines.append(f"{'│ ' if number else '├─'} {line}")
    for made in assembly.lowered:
        if made.chain is not None:
            lines.append(f"├─ chain {described(made.chain)}")
            steps = made.steps[0].title.split(" | ")
            lines += [f"│    {step}" for step in steps]
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for made in assembly.lowered:
        if made.chain is None:
            reason = why_not(assembly.lowering, made) or NO_GAIN
            reasons[reason] += 1
            first.setdefault(reason, made.node.layer or type(made.node.op).__name__)
    for reason, count in reasons.most_common():
        more = "" if count == 1 else f" and {count - 1} more"
        lines.append(f"├─ alone: {first[reason]}{more}: {reason}")
    lines[-1] = lines[-1].replace("├", "└", 1)
    return "\n".join(lines)


def in_integers(program: Inference) -> list[str]:
    """How many convolutions are of whole numbers, where there are some, and why others are not."""
    whole = [node for node in program.nodes if isinstance(node.op, ConvolveInteger)]
    if not whole and not program.levels:
        return []
    real = [node for node in program.nodes if isinstance(node.op, Convolve)]
    lines = [
        f"in integers: {len(whole)} of {_count(len(whole) + len(real), 'convolution')}; "
        f"{_count(len(program.levels), 'value')} in 8 bits"
    ]
    reasons = Counter(program.reasons.values())
    return lines + [f"  {count} in float32: {reason}" for reason, count in reasons.most_common()]


NO_GAIN = "no chain with its neighbours gains, or several layers read what is between"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
