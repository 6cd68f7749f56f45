"""Exercises: their answers are those of the arrays themselves."""

import re

import numpy as np
import pytest

import faltung
from faltung.explore.questions import LEVELS, TOPICS, Question, questions
from faltung.geometry.errors import FaltungError

EVERY = [pytest.param(topic, level, id=f"{topic} {level}") for topic in TOPICS for level in LEVELS]


@pytest.mark.parametrize(("topic", "level"), EVERY)
def test_answers_are_those_of_arrays(topic: str, level: int) -> None:
    asked = questions(12, seed=5, level=level, topics=[topic])
    assert len({one.text for one in asked}) >= 4
    for one in asked:
        assert one.right(one.said) is True
        spec = faltung.parse(one.line)
        if topic in FOUND:
            assert FOUND[topic](one, spec) == one.answer, one.text


def _numbers(text: str) -> list[int]:
    return [int(word) for word in re.findall(r"-?\d+", text)]


def _outputs(spec: faltung.ConvSpec) -> np.ndarray:
    x, w = np.zeros(spec.input_shape), np.zeros(spec.weight_shape)
    options = {"stride": spec.stride, "padding": spec.padding, "dilation": spec.dilation}
    return faltung.conv(x, w, **options)


def _window(one: Question, spec: faltung.ConvSpec) -> tuple[int, int]:
    """The first and the last entry of the padded array with which an output changes."""
    axis = spec.axes[0]
    output = int(re.search(r"output (\d+)", one.text)[1])  # type: ignore[index]
    ones = np.ones((1, 1, axis.kernel))
    given = np.eye(axis.padded)[:, np.newaxis]
    made = faltung.conv(given, ones, stride=axis.stride, dilation=axis.dilation)
    read = np.flatnonzero(made[:, 0, output]) - axis.lo
    return int(read[0]), int(read[-1])


def _flip(one: Question, spec: faltung.ConvSpec) -> tuple[int, ...]:
    x, w = (np.array(_numbers(part)) for part in re.findall(r"\[(.*?)\]", one.text))
    made = np.convolve(x, w, "valid") if spec.flip else np.correlate(x, w, "valid")
    return tuple(made.tolist())


def _padding(one: Question, spec: faltung.ConvSpec) -> tuple[int, int]:
    axis = spec.axes[0]
    assert axis.output == axis.size
    p = axis.extent - 1
    return p // 2, -(-p // 2)


FOUND = {
    "size": lambda one, spec: _outputs(spec).shape[2:],
    "window": _window,
    "flip": _flip,
    "padding": _padding,
    "stride": lambda one, spec: _outputs(spec).shape[2] == spec.size[0] // spec.stride[0],
    "parameters": lambda one, spec: (
        np.zeros(spec.weight_shape).size + ("with bias" in one.text) * spec.channels_out,
    ),
    "ladder": lambda one, spec: (
        np.prod(spec.size) ** 2,
        np.prod(spec.size) * np.prod(spec.kernel),
        np.prod(spec.kernel),
    ),
    "cost": lambda one, spec: (_outputs(spec).size * np.prod(spec.weight_shape[1:]),),
}


def test_receptive_fields_by_what_changes() -> None:
    for one in questions(8, seed=2, level=3, topics=["field"]):
        x = np.zeros((129, 1, 129))
        np.einsum("iji->ij", x)[:, 0] = 1  # one entry in each sample
        for kernel, more in re.findall(r"kernel (\d)((?:, \w+ \d)*)", one.text):
            options = {word: int(number) for word, number in re.findall(r"(\w+) (\d)", more)}
            x = faltung.conv(x, np.ones((1, 1, int(kernel))), padding="same", **options)
        read = np.flatnonzero(x[:, 0, x.shape[2] // 2])
        assert (read[-1] - read[0] + 1,) == one.answer, one.text


def test_the_same_seed_asks_the_same() -> None:
    assert questions(20, seed=4, level=2) == questions(20, seed=4, level=2)
    assert questions(20, seed=4, level=2) != questions(20, seed=5, level=2)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("1, 2", True),
        ("1 2", True),
        ("(1,2)", True),
        ("2, 1", False),
        ("1", None),
        ("1, 2, 3", None),
        ("one, two", None),
        ("1, " + "9" * 5000, None),
        ("", None),
    ],
)
def test_what_is_an_answer(said: str, right: bool | None) -> None:
    assert Question("size", "?", (1, 2), "", "").right(said) is right


@pytest.mark.parametrize(("said", "right"), [("YES", True), ("n", False), ("1", None)])
def test_yes_or_no(said: str, right: bool | None) -> None:
    assert Question("stride", "?", True, "", "").right(said) is right


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 0}, "count=0: must be at least 1"),
        ({"level": 4}, "level=4: must be 1, 2 or 3"),
        ({"topics": ["siz"]}, "topic='siz': must be one of size, .*; did you mean size"),
    ],
)
def test_what_there_is_not(given: dict[str, object], message: str) -> None:
    with pytest.raises(FaltungError, match=message):
        questions(**given)  # type: ignore[arg-type]
