"""Exercises about convolutions: made from a seed, answered by the geometry that everything uses.

A question is about one problem on one line, as ``faltung see`` takes it, so that whoever got it
wrong can look at it move. No answer is stored: each follows from ``geometry/``.
"""

import re
from collections.abc import Callable, Sequence
from random import Random

from faltung.geometry.axis import Axis
from faltung.geometry.check import one_of, show, whole
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.field import receptive_field
from faltung.geometry.record import dataclass
from faltung.geometry.text import parse

LEVELS = (1, 2, 3)
YES, NO = ("y", "yes", "true", "right"), ("n", "no", "false", "wrong")


@dataclass(frozen=True)
class Question:
    """One exercise.

    Attributes
    ----------
    topic : str
        A key of ``TOPICS``.
    text : str
        What is asked.
    answer : bool or tuple of int
        Yes or no, or whole numbers in this order.
    why : str
        How one finds it.
    line : str
        The problem as ``faltung see`` takes it.
    """

    topic: str
    text: str
    answer: bool | tuple[int, ...]
    why: str
    line: str

    def right(self, said: str) -> bool | None:
        """Whether what somebody said is right; None where it is no answer to this question."""
        word = said.strip().lower().rstrip(".")
        if isinstance(self.answer, bool):
            return self.answer if word in YES else not self.answer if word in NO else None
        if not re.fullmatch(r"[\s\d,;()x-]+", word):
            return None
        numbers = tuple(map(int, re.findall(r"(?<!\d)-?\d{1,18}(?!\d)", word)))
        return numbers == self.answer if len(numbers) == len(self.answer) else None

    @property
    def form(self) -> str:
        """What an answer looks like."""
        if isinstance(self.answer, bool):
            return "yes or no"
        count = len(self.answer)
        return "a number" if count == 1 else f"{count} numbers, as in {', '.join('12345'[:count])}"

    @property
    def said(self) -> str:
        """The answer as one writes it."""
        if isinstance(self.answer, bool):
            return "yes" if self.answer else "no"
        return ", ".join(map(str, self.answer))


def questions(
    count: int = 10, *, seed: int = 0, level: int = 1, topics: Sequence[str] = ()
) -> list[Question]:
    """Exercises, no two the same where that is possible.

    Parameters
    ----------
    count : int
        How many, at least 1.
    seed : int
        The same seed makes the same exercises.
    level : {1, 2, 3}
        1: stride and padding; 2: also dilation, groups, even kernels; 3: two axes that differ.
    topics : sequence of str
        Keys of ``TOPICS``, asked in turn; by default all of them.

    Returns
    -------
    list of Question
        In the order in which they are to be asked.

    Raises
    ------
    ValueError
        A count, seed, level or topic that there is not.

    Examples
    --------
    >>> one = questions(1, seed=3, topics=["size"])[0]
    >>> one.right(one.said)
    True
    """
    whole("count", count, 1)
    whole("seed", seed, 0)
    if level not in LEVELS:
        raise FaltungError(f"level={show(level)}: must be 1, 2 or 3")
    for topic in topics:
        one_of("topic", topic, tuple(TOPICS))
    chosen = list(topics or TOPICS)
    made: list[Question] = []
    for number in range(count):
        topic = chosen[number % len(chosen)]
        found = None
        for attempt in range(20):
            random = Random(f"{seed} {level} {topic} {number} {attempt}")
            found = TOPICS[topic].make(random, level)
            if all(found.text != each.text for each in made):
                break
        assert found is not None
        made.append(found)
    return made


# Problems -----------------------------------------------------------------------------------------


def _axis(random: Random, level: int) -> str:
    """The words of one axis: size, kernel, stride, dilation, padding."""
    kernel = random.choice((2, 3, 4, 5) if level > 1 else (3, 5))
    dilation = random.choice((1, 2, 3)) if level > 1 else 1
    stride = random.choice((1, 2, 3))
    lo = random.randrange(0, kernel)
    hi = lo if level == 1 else random.randrange(0, kernel)
    size = random.randrange(dilation * (kernel - 1) + 1, 16)
    return f"{size} {kernel} {stride} {dilation} {lo} {hi}"


def _problem(random: Random, level: int, channels: str = "c1>1") -> ConvSpec:
    axes = [_axis(random, level).split() for _ in range(2 if level > 2 else 1)]
    size, kernel, stride, dilation = ("x".join(part) for part in list(zip(*axes, strict=True))[:4])
    padding = "x".join(f"({axis[4]},{axis[5]})" for axis in axes)
    return parse(f"{channels} {size} k{kernel} s{stride} d{dilation} p{padding}")


def _said(axis: Axis) -> str:
    """An axis in words, without what is usual."""
    parts = [f"kernel {axis.kernel}", f"stride {axis.stride}" * (axis.stride > 1)]
    parts.append(f"dilation {axis.dilation}" * (axis.dilation > 1))
    if axis.lo == axis.hi:
        parts.append(f"padding {axis.lo} on both sides" * (axis.lo > 0))
    else:
        parts.append(f"padding {axis.lo} before and {axis.hi} after")
    return f"input of {axis.size}, " + ", ".join(part for part in parts if part)


def _each(spec: ConvSpec) -> str:
    if spec.rank == 1:
        return f"An {_said(spec.axes[0])}."
    return " ".join(f"Axis {i}: {_said(axis)}." for i, axis in enumerate(spec.axes))


def _formula(axis: Axis) -> str:
    return (
        f"floor(({axis.size} - {axis.dilation}*({axis.kernel} - 1) - 1 + {axis.lo} + {axis.hi})"
        f" / {axis.stride}) + 1 = {axis.output}"
    )


# Topics -------------------------------------------------------------------------------------------


def _size(random: Random, level: int) -> Question:
    spec = _problem(random, level)
    each = "" if spec.rank == 1 else " along each axis"
    why = "; ".join(map(_formula, spec.axes))
    text = f"{_each(spec)} How many outputs are there{each}?"
    return Question("size", text, spec.output, why, str(spec))


def _padding(random: Random, level: int) -> Question:
    kernel = random.choice((2, 4, 6, 8) if level > 1 else (2, 3, 4, 5, 6, 7, 9, 11))
    dilation = random.choice((1, 2)) if level > 2 else 1
    size = random.randrange(12, 20)
    spec = parse(f"c1>1 {size} k{kernel} d{dilation} psame")
    axis = spec.axes[0]
    more = f" and dilation {dilation}" if dilation > 1 else ""
    total = axis.extent - 1
    return Question(
        "padding",
        f'padding="same" for a kernel of {kernel}{more}: how many entries before, and after?',
        (axis.lo, axis.hi),
        f"p = d(h-1) = {total} in all: floor(p/2) = {axis.lo} before, ceil(p/2) = {axis.hi} after",
        str(spec),
    )


def _stride(random: Random, level: int) -> Question:
    stride = random.randrange(2, 4 + level)
    kernel = random.choice((3, 5))
    size = random.randrange(stride + 4, 30)
    spec = parse(f"c1>1 {size} k{kernel} s{stride} psame")
    shortcut, output = size // stride, spec.output[0]
    return Question(
        "stride",
        f'An axis of {size}, padding="same", stride {stride}: has the output floor(H/s) = '
        f"{shortcut} entries?",
        shortcut == output,
        f"it has ceil(H/s) = {output}"
        + (": both agree, for the stride divides the size" if shortcut == output else ""),
        str(spec),
    )


def _parameters(random: Random, level: int) -> Question:
    groups = random.choice((1, 2, 4)) if level > 1 else 1
    before, after = (4 * random.randrange(1, 9) for _ in range(2))
    kernel = random.choice((1, 3, 5))
    spec = parse(f"c{before}>{after} 16x16 k{kernel} p{kernel // 2} g{groups}")
    bias = random.random() < 0.5
    count = spec.weight_parameters + (spec.bias_parameters if bias else 0)
    more = f" in {groups} groups" if groups > 1 else ""
    return Question(
        "parameters",
        f"A convolution from {before} to {after} channels{more}, kernel {kernel}x{kernel}, "
        f"{'with' if bias else 'without'} bias: how many parameters?",
        (count,),
        f"{after} * ({before} / {groups}) * {kernel} * {kernel}"
        + (f" + {after}" if bias else "")
        + f" = {count}; the size of the picture does not matter",
        str(spec),
    )


def _cost(random: Random, level: int) -> Question:
    before, after = (2 ** random.randrange(0, 3 + level) for _ in range(2))
    size, stride = 2 * random.randrange(4, 9), random.choice((1, 2))
    spec = parse(f"c{before}>{after} {size}x{size} k3 s{stride} p1")
    out = spec.output[0]
    return Question(
        "cost",
        f"{before} to {after} channels, {size}x{size}, kernel 3x3, padding 1, stride {stride}: how "
        "many multiply-adds for one picture, those with padding included?",
        (spec.macs,),
        f"{out} * {out} outputs of {after} channels, each a sum of {before} * 3 * 3 products: "
        f"{spec.macs}",
        str(spec),
    )


def _field(random: Random, level: int) -> Question:
    layers = [
        (random.choice((3, 5)), random.choice((1, 2)), random.choice((1, 2)) if level > 1 else 1)
        for _ in range(1 + level)
    ]
    size, chain = 64, []
    for kernel, stride, dilation in layers:
        axis = parse(f"c1>1 {size} k{kernel} s{stride} d{dilation} psame").axes[0]
        chain.append(axis)
        size = axis.output
    field = receptive_field(chain)
    said = ", then ".join(
        f"kernel {k}" + (f", stride {s}" if s > 1 else "") + (f", dilation {d}" if d > 1 else "")
        for k, s, d in layers
    )
    terms, jump = ["1"], 1
    for axis in chain:
        terms.append(f"{axis.extent - 1}*{jump}")
        jump *= axis.stride
    return Question(
        "field",
        f"Layers one after another: {said}. How many inputs does one unit of the last one see, "
        "along this axis, from the first to the last?",
        (field.size,),
        f"{' + '.join(terms)} = {field.size}: each layer adds (extent - 1) times the strides "
        "before it",
        str(parse(f"c1>1 64 k{layers[0][0]} s{layers[0][1]} d{layers[0][2]} psame")),
    )


def _window(random: Random, level: int) -> Question:
    spec = _problem(random, min(level, 2))
    axis = spec.axes[0]
    output = random.randrange(axis.output)
    first, stop = axis.input_range(output, output + 1)
    return Question(
        "window",
        f"An {_said(axis)}. Which input does tap 0 of output {output} read, and which does the "
        "last tap? (Inputs count from 0; padding before them has negative numbers.)",
        (first, stop - 1),
        f"output o reads o*s + k*d - lo: {output}*{axis.stride} - {axis.lo} = {first}, and "
        f"{axis.extent - 1} later {stop - 1}",
        str(spec),
    )


def _flip(random: Random, level: int) -> Question:
    length = 2 if level == 1 else 3
    x = [random.randrange(1, 5) for _ in range(length + 1)]
    w = [random.randrange(-2, 4) for _ in range(length)]
    true = random.random() < 0.5
    taps = w[::-1] if true else w
    answer = tuple(
        sum(a * b for a, b in zip(x[o : o + length], taps, strict=True))
        for o in range(len(x) - length + 1)
    )
    name = "true convolution" if true else "cross-correlation"
    first = " + ".join(f"{a}*{b}" for a, b in zip(x, taps, strict=False))
    return Question(
        "flip",
        f"The {name} of {x} with the kernel {w}, without padding: what are its values?",
        answer,
        (f"the kernel is turned over to {taps}; " if true else "the kernel stays as it is; ")
        + f"the first is {first} = {answer[0]}",
        f"n1 c1>1 {len(x)} k{length}" + " flip" * true,
    )


def _ladder(random: Random, level: int) -> Question:
    kernel = random.choice((3, 5))
    size = kernel + random.randrange(2, 7)
    spec = parse(
        f"c1>1 {size}x{size} k{kernel} psame" if level > 1 else f"c1>1 {size} k{kernel} psame"
    )
    ladder = spec.ladder()
    shape, taps = ("x".join(map(str, part)) for part in (spec.size, spec.kernel))
    return Question(
        "ladder",
        f"From {shape} to {shape}, one channel, no bias: how many weights has a dense layer, "
        f"how many a local one with a kernel of {taps} for every output, and how many a "
        "convolution?",
        (ladder.dense, ladder.local, ladder.conv),
        f"dense: inputs * outputs = {ladder.dense}; local: outputs * kernel = {ladder.local}; "
        f"convolution: the kernel alone = {ladder.conv}",
        str(spec),
    )


@dataclass(frozen=True)
class Topic:
    """A kind of exercise. says: what it is about."""

    says: str
    make: Callable[[Random, int], Question]


TOPICS = {
    "size": Topic("how many outputs", _size),
    "flip": Topic("cross-correlation and true convolution", _flip),
    "padding": Topic("who pads which side", _padding),
    "window": Topic("which inputs an output reads", _window),
    "stride": Topic("where floor(H/s) fails", _stride),
    "parameters": Topic("parameters, with groups and bias", _parameters),
    "ladder": Topic("dense, local, convolution", _ladder),
    "cost": Topic("multiply-adds", _cost),
    "field": Topic("receptive fields", _field),
}
