"""`faltung quiz`: from a pipe, to its end or before, and what it prints for teachers."""

import io
import json

import pytest

from faltung.cli.main import main
from faltung.explore.questions import questions


def quiz(monkeypatch: pytest.MonkeyPatch, typed: str, *words: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return main(["quiz", *words])


def test_all_right(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typed = "".join(f"{each.said}\n" for each in questions(2, 9))
    assert quiz(monkeypatch, typed, "--seed=2", "--count=9") == 0
    shown = capsys.readouterr().out
    assert shown.count("Right.") == 9 and shown.endswith("\n9 of 9 right\n")
    assert max(map(len, shown.splitlines())) <= 80


def test_wrong_unreadable_given_up_and_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quiz(monkeypatch, "999\nperhaps\n\n", "--topic=size", "--count=4") == 0
    shown = capsys.readouterr().out
    first, second = (each.said for each in list(questions(0, 4, ["size"]))[:2])
    assert f"No: {first}\n" in shown and f"The answer is {second}\n" in shown
    assert "Type a number, or nothing to see the answer." in shown
    assert shown.endswith("\n0 of 2 right\n")


def test_nothing_to_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quiz(monkeypatch, "") == 0
    assert capsys.readouterr().out.endswith("\nno question was answered\n")


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def press(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("faltung.cli.quiz._typed", press)
    assert main(["quiz"]) == 130
    assert "no question was answered" in capsys.readouterr().err


def test_for_teachers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quiz", "--show", "--count=8", "--level=3"]) == 0
    shown = capsys.readouterr().out
    for each in questions(0, 8, level=3):
        assert f"\n   {each.said}\n" in shown
    assert main(["quiz", "--json", "--count=8", "--level=3"]) == 0
    rows = json.loads(capsys.readouterr().out)["questions"]
    assert [row["why"] for row in rows] == [each.why for each in questions(0, 8, level=3)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--topic=sizes", "--topic sizes: must be one of size, padding"),
        ("--level=4", "--level 4: must be one of 1, 2, 3"),
        ("--count=0", "--count 0: must be at least 1"),
        ("--seed=-1", "--seed -1: must be at least 0"),
    ],
)
def test_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main(["quiz", words]) == 2
    except SystemExit as end:
        assert end.code == 2
    assert said in capsys.readouterr().err.replace("=", " ")
