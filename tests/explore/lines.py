"""Lines of text for the explorer and for Python, and what Python says of each."""

import json
import random
import zlib
from collections.abc import Sequence
from typing import Any

from faltung.geometry.axis import MODES, Axis
from faltung.geometry.conv import DTYPE_WORDS, ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.field import Field
from faltung.geometry.padding import NAMES
from faltung.geometry.text import parse
from faltung.geometry.words import MODES_ELSEWHERE

# Lines in one digest.
CHUNK = 100
STRANGE = (
    "same",
    "k",
    "3x",
    "c3",
    "m:",
    "p(1)",
    "flop",
    "n-1",
    "'",
    '"',
    "q\\",
    "é",
    "\x7f",
    "k3 k3",
)
MISSPELT = ("circulr", "zeroes", "grid_wrap", "refelct", "same", "x", "repl", "mirror", "z-")


def line(draw: random.Random) -> str:
    """One line: most mean a convolution, one in a few does not."""
    rank = draw.choice((1, 1, 2, 2, 2, 3, 3, 4))
    few = draw.random() < 0.5  # axes that are alike

    def numbers(low: int, high: int) -> str:
        count = rank if draw.random() > 0.02 else rank + 1
        each = [str(draw.randint(low, high)) for _ in range(1 if few else count)]
        return "x".join(each)

    def entry() -> str:
        kind = draw.random()
        if kind < 0.35:
            return str(draw.randint(0, 4))
        if kind < 0.65:
            return f"({draw.randint(0, 4)},{draw.randint(0, 4)})"
        return draw.choice(sorted(NAMES))

    def mode() -> str:
        words = sorted(MODES_ELSEWHERE) + list(MISSPELT)
        return draw.choice(MODES) if draw.random() > 0.04 else draw.choice(words)

    groups = draw.choice((1, 1, 1, 2, 3, 4))
    wide = groups if draw.random() > 0.03 else 1
    least = 0 if draw.random() < 0.02 else 1
    words = [
        "x".join(str(draw.randint(least, draw.choice((6, 20, 300)))) for _ in range(rank)),
        f"c{wide * draw.randint(least, 4)}>{wide * draw.randint(least, 4)}",
        f"k{numbers(least, draw.choice((3, 3, 7)))}",
        f"n{draw.randint(0, 9)}" if draw.random() < 0.8 else "",
        f"s{numbers(least, 4)}" if draw.random() < 0.6 else "",
        f"d{numbers(least, 3)}" if draw.random() < 0.4 else "",
        f"g{groups}" if groups > 1 or draw.random() < 0.1 else "",
        draw.choice(list(DTYPE_WORDS.values())) if draw.random() < 0.2 else "",
        "flip" if draw.random() < 0.2 else "",
    ]
    if draw.random() < 0.7:
        words.append("p" + "x".join(entry() for _ in range(1 if few else rank)))
    if draw.random() < 0.5:
        words.append("m:" + ",".join(mode() for _ in range(1 if draw.random() < 0.5 else rank)))
    if draw.random() < 0.02:
        words.pop(draw.randrange(len(words)))
    if draw.random() < 0.02:
        words.append(draw.choice((*STRANGE, *words)))
    words = [word for word in words if word]
    if draw.random() < 0.3:
        draw.shuffle(words)
    return draw.choice((" ", " ", " ", "  ", "\t")).join(words)


def lines(count: int, seed: int = 0) -> list[str]:
    """The same lines for the same seed."""
    draw = random.Random(seed)
    return [line(draw) for _ in range(count)]


def evaluated(text: str) -> Any:
    """What ``evaluated`` in explorer/src/hook.ts says of a line, said by Python."""
    try:
        spec = parse(text)
    except FaltungError as error:
        return str(error)
    rungs = spec.ladder()
    counts = (spec.macs, spec.bytes_moved, rungs.dense, rungs.local, rungs.conv)
    return [str(spec), [_axis(axis) for axis in spec.axes], [str(count) for count in counts]]


def _axis(axis: Axis) -> list[Any]:
    o, end = axis.output >> 1, axis.size + axis.hi
    field = Field(3, 2, 1.5).through(axis)
    back = Field(3, 2 * axis.stride, 1.5).back(axis)
    found = [
        [axis.size, axis.kernel, axis.stride, axis.dilation, axis.lo, axis.hi, axis.mode],
        [axis.extent, axis.output, axis.unread],
        [
            axis.source(i)
            for i in (-axis.lo, -1, 0, axis.size - 1, axis.size, end - 1)
            if -axis.lo <= i < end
        ],
        [*axis.valid_taps(0), *axis.valid_taps(o), *axis.valid_taps(axis.output - 1)],
        [*axis.input_range(o, axis.output), *axis.input_range(1, 1)],
        [field.size, field.jump, _short(field.start), *field.interval(o)],
        [back.size, back.jump, _short(back.start), *back.interval(1)],
    ]
    if axis.output <= 8 and axis.kernel <= 8:
        found.append(
            [
                axis.source(o * axis.stride + k * axis.dilation - axis.lo)
                for o in range(axis.output)
                for k in range(axis.kernel)
            ]
        )
    return found


def _short(number: float) -> float:
    """As JavaScript writes it: whole numbers without a point."""
    return int(number) if number == int(number) else number


def written(text: str) -> str:
    """The same as JSON, as a browser writes it."""
    return json.dumps(evaluated(text), separators=(",", ":"), ensure_ascii=False)


def digest(texts: Sequence[str]) -> list[int]:
    """One number for each ``CHUNK`` lines."""
    return [
        zlib.crc32("".join(map(written, texts[i : i + CHUNK])).encode())
        for i in range(0, len(texts), CHUNK)
    ]


def problem(draw: random.Random) -> ConvSpec:
    """A convolution small enough to be computed in a moment."""
    while True:
        try:
            spec = parse(line(draw))
        except FaltungError:
            continue
        if spec.rank <= 3 and 0 < spec.batch < 3 and spec.macs < 60_000:
            return spec
