"""Questions: the answers hold in arrays, and what is typed is read."""

from math import prod
from random import Random

import numpy as np
import pytest

import faltung
from faltung.explore.questions import LEVELS, STATEMENTS, TOPICS, Question, questions


def test_answers_hold_in_arrays() -> None:
    """What follows from geometry is what the convolution itself does."""
    for level in LEVELS:
        for question in questions(level, 40, level=level):
            if not question.spec:
                continue
            spec = faltung.parse(question.spec)
            assert str(spec) == question.spec
            answer = question.answer
            w = np.zeros(spec.weight_shape, np.float32)
            if question.topic == "size":
                assert answer == spec.output
            elif question.topic == "padding":
                assert (answer,) == spec.padding and spec.output == spec.size
            elif question.topic == "stride" and isinstance(answer, bool):
                assert answer == (spec.size[0] % spec.stride[0] == 0)
            elif question.topic == "stride":
                assert answer == (-(-spec.size[0] // spec.stride[0]),) == spec.output
            elif question.topic == "parameters":
                bias = spec.channels_out if "with a bias" in question.text else 0
                assert answer == (prod(w.shape) + bias,)


def test_reads_is_a_row_of_the_matrix() -> None:
    for seed in range(30):
        question = TOPICS["reads"].make(Random(seed), 1 + seed % 3)
        assert isinstance(question.answer, tuple)
        spec = faltung.parse(question.spec)
        (output,) = (int(n) for n in question.text.split("does output ")[1].split()[:1])
        matrix = faltung.conv_to_dense(
            np.ones(spec.weight_shape, np.float32),
            spec.input_shape[1:],
            stride=spec.stride,
            padding=spec.padding,
            dilation=spec.dilation,
        )
        inside = [i for i in question.answer if 0 <= i < spec.size[0]]
        assert np.flatnonzero(matrix[output]).tolist() == inside


def test_flip_is_numpys() -> None:
    for seed in range(30):
        question = TOPICS["flip"].make(Random(seed), 1 + seed % 3)
        x, w = (
            [int(n) for n in question.text.split(f"{name} = [")[1].split("]")[0].split(",")]
            for name in "xw"
        )
        turned = "convolution of mathematics" in question.text
        assert turned == question.spec.endswith("flip")
        want = np.convolve(x, w, "valid") if turned else np.correlate(x, w, "valid")
        assert question.answer == tuple(want.tolist())


def test_a_seed_is_a_list() -> None:
    first = list(questions(3, 24))
    assert first == list(questions(3, 24)) != list(questions(4, 24))
    assert [each.level for each in first] == [1] * 8 + [2] * 8 + [3] * 8
    assert [each.topic for each in first[:8]] == list(TOPICS)
    assert len({each.text for each in questions(0, 60)}) == 60
    many = list(questions(0, 20, ["truth"], 1))  # more than there are
    assert len(many) == 20 and {each.level for each in many} == {1}
    assert {row[0] for row in STATEMENTS} == set(LEVELS)


@pytest.mark.parametrize(
    ("typed", "read"),
    [("3", (3,)), ("3 4", (3, 4)), ("(3, 4)", (3, 4)), (" -1;2 ", (-1, 2)), ("1 and 2", (1, 2)),
     ("", None), ("three", None), ("3.5", None), ("9" * 40, None), ("3 x", (3,))],
)  # fmt: skip
def test_what_is_typed(typed: str, read: tuple[int, ...] | None) -> None:
    assert Question("size", 1, "?", (0,), "because").read(typed) == read


def test_truth_is_read() -> None:
    question = Question("truth", 1, "?", False, "because")
    said = [question.read(each) for each in ("No", "false", "t", "YES", "1", "")]
    assert said == [False, False, True, True, None, None]
    assert question.said == "false" and question.form == "true or false"


@pytest.mark.parametrize("wrong", [{"count": 0}, {"level": 4}, {"topics": ["sizes"]}, {"seed": -1}])
def test_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(count|level|topic|seed)="):
        questions(**{"seed": 0, "count": 3, **wrong})  # type: ignore[arg-type]
