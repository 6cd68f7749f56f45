"""Questions about convolutions, drawn by a seed; the answers are computed by ``geometry``.

A topic is a row of ``TOPICS``: a function of a generator and a level that makes one question.
Levels: 1 small numbers, odd kernels; 2 even kernels, larger strides; 3 dilation and groups.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from faltung.geometry.axis import Axis
from faltung.geometry.check import one_of, whole
from faltung.geometry.conv import ConvSpec, conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.field import receptive_field
from faltung.geometry.padding import pads
from faltung.geometry.record import dataclass

LEVELS = (1, 2, 3)
YES = ("y", "yes", "t", "true", "right")
NO = ("n", "no", "f", "false", "wrong")
NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Question:
    """One question. ``answer``: whole numbers, or whether a statement is true; ``why``: how one
    finds it; ``spec``: the line of text that the explorer shows, empty where there is none.
    """

    topic: str
    level: int
    text: str
    answer: tuple[int, ...] | bool
    why: str
    spec: str = ""

    @property
    def said(self) -> str:
        """The answer as one writes it."""
        if isinstance(self.answer, bool):
            return "true" if self.answer else "false"
        return " ".join(map(str, self.answer))

    @property
    def form(self) -> str:
        """What to type."""
        if isinstance(self.answer, bool):
            return "true or false"
        many = len(self.answer)
        return "a number" if many == 1 else "the numbers, in order"

    def read(self, typed: str) -> tuple[int, ...] | bool | None:
        """An answer as it was typed; None if it is none."""
        if isinstance(self.answer, bool):
            word = typed.strip().lower()
            return True if word in YES else False if word in NO else None
        words = re.split(r"[\s,;x()\[\]]+", typed.strip().lower().replace("and", " "))
        found = [word for word in words if word]
        if not found or not all(NUMBER.fullmatch(word) for word in found):
            return None
        return tuple(map(int, found))


class Topic(NamedTuple):
    """``says``: what it is about."""

    says: str
    make: Callable[[Random, int], Question]


def _size(random: Random, level: int) -> Question:
    size, kernel = random.randint(6, 14 * level), random.choice((3, 5) if level == 1 else (2, 4, 7))
    stride = random.choice((1, 2)) if level == 1 else random.randint(2, 4)
    dilation = random.randint(2, 3) if level == 3 else 1
    lo = random.randint(0, kernel // 2)
    hi = lo if level == 1 else random.randint(0, kernel // 2)
    size = max(size, dilation * (kernel - 1) + 1)
    axis = Axis(size, kernel, stride, dilation, lo, hi)
    padding = f"{lo} on each side" if lo == hi else f"{lo} before and {hi} after"
    spread = f", dilation {dilation}" if dilation > 1 else ""
    text = (
        f"An axis of {size} entries, kernel {kernel}, stride {stride}{spread}, padding {padding}. "
        "How many outputs?"
    )
    why = (
        f"floor((H - d(h-1) - 1 + p) / s) + 1 = floor(({size} - {dilation * (kernel - 1)} - 1 + "
        f"{lo + hi}) / {stride}) + 1 = {axis.output}"
    )
    return Question("size", level, text, (axis.output,), why, _line(axis))


def _line(*axes: Axis) -> str:
    """One channel to one along these axes, as a line of text."""
    return str(ConvSpec(axes, 1, 1))


def _padding(random: Random, level: int) -> Question:
    kernel = random.choice((3, 5, 7) if level == 1 else (2, 4, 6))
    dilation = random.randint(2, 3) if level == 3 else 1
    size, extent = random.randint(16, 32), dilation * (kernel - 1) + 1
    ((lo, hi),) = pads("same", sizes=[size], kernel=[kernel], stride=[1], dilation=[dilation])
    spread = f" and dilation {dilation}" if dilation > 1 else ""
    text = (
        f"Kernel {kernel}{spread}, stride 1, and the output is to be as long as the input. With "
        "the smaller half before: how much padding before, and how much after?"
    )
    p = extent - 1
    why = f"p = d(h-1) = {p} in all: floor({p}/2) = {lo} before, ceil({p}/2) = {hi} after"
    return Question(
        "padding", level, text, (lo, hi), why, _line(Axis(size, kernel, 1, dilation, lo, hi))
    )


def _stride(random: Random, level: int) -> Question:
    stride = random.randint(2, 2 + level)
    size = stride * random.randint(4, 6 * level) + random.randint(0, stride - 1)
    kernel = random.choice((3, 5) if level == 1 else (2, 3, 4, 6))
    ((lo, hi),) = pads("same", sizes=[size], kernel=[kernel], stride=[stride], dilation=[1])
    axis = Axis(size, kernel, stride, 1, lo, hi)
    if level == 1 or random.random() < 0.5:
        text = (
            f"{size} entries, kernel {kernel}, padding h - 1 = {kernel - 1} in all, stride "
            f"{stride}. How many outputs?"
        )
        why = f"with p = h - 1 it is ceil(H/s) = ceil({size} / {stride}) = {axis.output}"
        return Question("stride", level, text, (axis.output,), why, _line(axis))
    holds = size // stride == axis.output
    text = (
        f"True or false: {size} entries, kernel {kernel}, padding h - 1, stride {stride} give "
        f"floor(H/s) = {size // stride} outputs."
    )
    because = (
        f"{stride} divides {size}, so floor and ceil are the same"
        if holds
        else f"it is ceil(H/s) = {axis.output}; floor(H/s) holds only where s divides H"
    )
    return Question("stride", level, text, holds, because, _line(axis))


def _parameters(random: Random, level: int) -> Question:
    groups = random.choice((2, 4)) if level == 3 else 1
    unit = groups if level > 1 else 1
    c_in, c_out = unit * random.randint(1, 4 * level), unit * random.randint(2, 8 * level)
    kernel, size = random.choice((1, 3, 5)), random.randint(8, 16)
    spec = conv_spec(
        (1, c_in, size, size),
        (c_out, c_in // groups, kernel, kernel),
        padding="same",
        groups=groups,
    )
    bias = level > 1
    grouped = f" in {groups} groups" if groups > 1 else ""
    text = (
        f"A {kernel}x{kernel} convolution from {c_in} to {c_out} channels{grouped}, "
        f"{'with' if bias else 'without'} a bias, on a picture of {size}x{size}. How many "
        "parameters?"
    )
    total = spec.weight_parameters + bias * spec.bias_parameters
    each = f"{c_in // groups}*" if groups == 1 else f"({c_in}/{groups})*"
    why = (
        f"C_out * C_in/g * k * k{' + C_out' * bias} = {c_out}*{each}{kernel}*{kernel}"
        f"{f' + {c_out}' * bias} = {total}; the size of the picture does not matter"
    )
    return Question("parameters", level, text, (total,), why, str(spec))


def _field(random: Random, level: int) -> Question:
    size, words, steps = 97, [], []
    jump, chain = 1, list[Axis]()
    for _ in range(level + 1):
        kernel = random.choice((2, 3, 5))
        stride = random.choice((1, 2)) if level > 1 or not chain else 1
        dilation = random.choice((1, 2)) if level == 3 else 1
        axis = Axis(size, kernel, stride, dilation)
        chain.append(axis)
        size = axis.output
        steps.append(f"{axis.extent - 1}*{jump}")
        jump *= stride
        words.append(f"kernel {kernel}, stride {stride}" + f", dilation {dilation}" * (level == 3))
    field = receptive_field(chain)
    text = (
        f"Layers in a row: {'; '.join(words)}. How many inputs does one output see, from the first "
        "to the last?"
    )
    why = (
        "1 and, for each layer, d(h-1) times the strides before it: "
        f"1 + {' + '.join(steps)} = {field.size}"
    )
    return Question("field", level, text, (field.size,), why)


def _reads(random: Random, level: int) -> Question:
    kernel = random.choice((2, 3, 4))
    stride = random.randint(1, level + 1)
    dilation = random.randint(2, 3) if level == 3 else 1
    lo = random.randint(0, kernel - 1)
    axis = Axis(random.randint(14, 20), kernel, stride, dilation, lo, lo)
    output = random.randrange(1, axis.output)
    first = output * stride - lo
    reads = tuple(first + k * dilation for k in range(kernel))
    spread = f", dilation {dilation}" if dilation > 1 else ""
    text = (
        f"{axis.size} entries, kernel {kernel}, stride {stride}{spread}, padding {lo} before. "
        f"Which positions does output {output} read? Count from 0; padding is below 0 or from "
        f"{axis.size} on."
    )
    why = (
        f"tap k of output o reads o*s + k*d - p_lo = {output}*{stride} + k*{dilation} - {lo}: "
        f"{', '.join(map(str, reads))}"
    )
    return Question("reads", level, text, reads, why, _line(axis))


def _flip(random: Random, level: int) -> Question:
    taps = 2 if level == 1 else 3
    x = [random.randint(0, 3 * level) for _ in range(taps + level)]
    w = random.sample(range(-level + 1, 4 + level), taps)  # no two alike: the order matters
    if w == w[::-1]:
        w[0] += 1
    turned = random.random() < 0.5
    kernel = w[::-1] if turned else w
    outputs = [
        sum(a * b for a, b in zip(x[o : o + taps], kernel, strict=True))
        for o in range(len(x) - taps + 1)
    ]
    kind = "convolution of mathematics" if turned else "cross-correlation (the Conv1d of networks)"
    text = f"x = {x}, w = {w}, no padding. The {kind} of x with w?"
    terms = " + ".join(f"{a}*{b}" for a, b in zip(x, kernel, strict=False))
    how = (
        f"turn the kernel over, to {kernel}, and slide it"
        if turned
        else "slide the kernel as it is"
    )
    why = f"{how}: the first is {terms} = {outputs[0]}"
    spec = str(conv_spec((1, 1, len(x)), (1, 1, taps), flip=turned))
    return Question("flip", level, text, tuple(outputs), why, spec)


# Level, statement, whether it is true, and why.
STATEMENTS: Sequence[tuple[int, str, bool, str]] = (
    (1, "A convolution has fewer parameters on a smaller picture.", False,
     "its kernel is the same at every position; only the number of outputs changes"),
    (1, "A locally connected layer shares its weights between positions.", False,
     "it is local, but each position has a kernel of its own; sharing makes it a convolution"),
    (1, "If the input moves by one, the output of a convolution with stride 1 and circular padding "
     "moves by one.", True, "that is translation equivariance; nothing leaves at an edge here"),
    (1, "What deep learning calls convolution is the cross-correlation of mathematics.", True,
     "the kernel is not turned over; a learned kernel comes out turned over instead"),
    (2, "Cross-correlation is commutative.", False,
     "convolution is; exchanging x and w in a cross-correlation turns the result over"),
    (2, "A layer with an even kernel can keep the size with equal padding on both sides.", False,
     "p = h - 1 is odd then, so one side must have one more"),
    (2, "With stride 2, padding='same' always gives floor(H/2) outputs.", False,
     "it gives ceil(H/2); the two differ for odd H"),
    (2, "floor((H-h+p+s)/s) and floor((H-h+p)/s) + 1 are the same for all whole numbers.", True,
     "s/s is 1, and a whole number may be moved out of a floor"),
    (2, "A 1x1 convolution cannot mix positions.", True,
     "it reads one position; it mixes channels"),
    (3, "Two 3x3 convolutions in a row see as much as one 5x5.", True,
     "1 + 2 + 2 = 5 along each axis"),
    (3, "On a map of the globe, circular padding suits latitude as well as longitude.", False,
     "beyond a pole lies the other side of the same pole, not the other pole"),
    (3, "Dilation 2 doubles the parameters of a convolution.", False,
     "the taps are further apart; their number does not change"),
    (3, "A depthwise convolution has as many groups as channels.", True,
     "each channel is convolved on its own"),
)  # fmt: skip


def _truth(random: Random, level: int) -> Question:
    _, text, holds, why = random.choice([row for row in STATEMENTS if row[0] == level])
    return Question("truth", level, f"True or false: {text}", holds, why)


TOPICS = {
    "size": Topic("how many outputs there are", _size),
    "padding": Topic("what keeps the size, and which side gets more", _padding),
    "stride": Topic("ceil(H/s), and where floor(H/s) fails", _stride),
    "parameters": Topic("how many numbers are learned", _parameters),
    "field": Topic("how far a unit sees through several layers", _field),
    "reads": Topic("which inputs an output reads", _reads),
    "flip": Topic("cross-correlation and convolution, by hand", _flip),
    "truth": Topic("true or false, with the reason", _truth),
}


def questions(
    seed: int, count: int, topics: Sequence[str] = (), level: int | None = None
) -> Iterator[Question]:
    """``count`` questions, no two alike as far as that can be.

    ``topics``: rows of ``TOPICS``, by default all in turn. ``level``: one of ``LEVELS``; by default
    it rises along the way. ValueError: another topic or level, or a count below 1.
    """
    for topic in topics:
        one_of("topic", topic, tuple(TOPICS))
    if level is not None and level not in LEVELS:
        raise FaltungError(f"level={level!r}: must be 1, 2 or 3")
    whole("seed", seed, 0)
    whole("count", count, 1)
    return _drawn(Random(seed), count, list(topics) or list(TOPICS), level)


def _drawn(random: Random, count: int, names: list[str], level: int | None) -> Iterator[Question]:
    asked: set[str] = set()
    for number in range(count):
        at = level or LEVELS[number * len(LEVELS) // count]
        make = TOPICS[names[number % len(names)]].make
        found = make(random, at)
        for _ in range(50):  # a topic may have no more questions than were asked
            if found.text not in asked:
                break
            found = make(random, at)
        asked.add(found.text)
        yield found
