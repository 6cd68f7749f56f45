"""The command that asks."""

import io
import json
import sys

import pytest

from faltung.cli.main import main
from faltung.explore.questions import questions


def asked(monkeypatch: pytest.MonkeyPatch, typed: str, *words: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return main(["quiz", "--seed", "3", *words])


def test_right_wrong_and_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = questions(3, seed=3)
    typed = f"{first.said}\nwhat?\n{'no' if second.said == 'yes' else '77, 88'}\n\n"
    assert asked(monkeypatch, typed, "--count", "3") == 0
    said = capsys.readouterr().out
    assert f"Right: {first.why}" in said
    assert f"what?: must be {second.form}; an empty line passes, q ends the quiz" in said
    assert f"The answer is {second.said}: {second.why}" in said
    assert f'faltung see "{second.line}"' in said and f'faltung see "{first.line}"' not in said
    assert f"The answer is {third.said}" in said
    assert "1 of 3 right. The same questions: --seed 3 --level 1" in said


@pytest.mark.parametrize("typed", ["", "q\n", "Q"])
def test_it_ends_when_nobody_answers(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, typed) == 0
    assert "0 of 0 right" in capsys.readouterr().out


def test_for_teachers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(monkeypatch, "", "--show", "--topic", "padding", "--count", "2") == 0
    for number, one in enumerate(questions(2, seed=3, topics=["padding"]), 1):
        assert f"{number}. {one.text}\n   {one.said}  ({one.why})" in capsys.readouterr().out or (
            number == 2
        )
    assert asked(monkeypatch, "", "--json", "--count", "2") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["text"] for each in found["questions"]] == [q.text for q in questions(2, seed=3)]


def test_topics_are_refused_in_the_words_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quiz", "--topic", "siz"]) == 2
    assert "--topic siz: must be one of size" in capsys.readouterr().err
