"""``faltung quiz``: questions about convolutions, their answers, and why."""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from faltung.cli.ending import stopped, when_stopped

if TYPE_CHECKING:
    from faltung.explore.questions import Question

HELP = """\
Sizes, padding, strides, parameters, receptive fields, what an output reads, the
flip, and statements that may be true. Each answer is explained, and the line of
text below it shows the case in `faltung see`. The same seed gives the same
questions. An empty line gives up a question; Ctrl-D or Ctrl-C ends, with the
score so far. Answers are also read from a pipe, one a line.

topics:
{topics}

examples:
  faltung quiz
  faltung quiz --topic padding --topic stride --level 2
  faltung quiz --seed 7 --count 20 --show      # for teachers: with the answers
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``quiz``."""
    from faltung.explore.questions import LEVELS, TOPICS

    rows = (f"  {name:<12}{topic.says}" for name, topic in TOPICS.items())
    parser.epilog = HELP.format(topics="\n".join(rows))
    parser.add_argument("--count", type=int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument(
        "--topic",
        action="append",
        choices=tuple(TOPICS),
        metavar="NAME",
        help="of one topic; may be repeated (default: all in turn)",
    )
    parser.add_argument(
        "--level",
        type=int,
        choices=tuple(map(str, LEVELS)),
        metavar="N",
        help="1, 2 or 3 (default: rising from 1 to 3)",
    )
    parser.add_argument("--show", action="store_true", help="ask nothing: print all answers")
    parser.add_argument("--json", action="store_true", help="print one JSON object; asks nothing")


def run(arguments: argparse.Namespace) -> int:
    """Ask, or show; 130 after Ctrl-C."""
    from faltung.explore.questions import questions

    found = list(questions(arguments.seed, arguments.count, arguments.topic or (), arguments.level))
    if arguments.json:
        rows = [
            {
                "topic": each.topic,
                "level": each.level,
                "question": each.text,
                "answer": each.answer,
                "why": each.why,
                "spec": each.spec or None,
            }
            for each in found
        ]
        print(json.dumps({"seed": arguments.seed, "questions": rows}, indent=2))
        return 0
    if arguments.show:
        for number, question in enumerate(found, 1):
            print("\n".join((*_asked(number, len(found), question), f"   {question.said}")))
            print("\n".join((*_explained(question), "")))
        return 0
    return _ask(found)


def _ask(found: list["Question"]) -> int:
    """All questions, until the answers end."""
    right, told = 0, 0
    when_stopped(lambda: _score(right, told))
    try:
        for number, question in enumerate(found, 1):
            print("\n".join(_asked(number, len(found), question)))
            given = _answer(question)
            told += 1
            if given == question.answer:
                right += 1
                print("Right.")
            else:
                print(f"{'The answer is' if given is None else 'No:'} {question.said}")
            print("\n".join((*_explained(question), "")), flush=True)
    except EOFError:
        print()
    except KeyboardInterrupt:
        return stopped()
    print(_score(right, told))
    return 0


def _answer(question: "Question") -> tuple[int, ...] | bool | None:
    """What is typed, asked for again until it can be read; None for an empty line."""
    while True:
        typed = _typed("> ")
        if not typed.strip():
            return None
        given = question.read(typed)
        if given is not None:
            return given
        print(f"Type {question.form}, or nothing to see the answer.")


def _typed(prompt: str) -> str:
    """A line of the standard input; a prompt only for a terminal. EOFError: there is none."""
    if sys.stdin is None:
        raise EOFError
    if sys.stdin.isatty():
        return input(prompt)
    typed = sys.stdin.readline()
    if not typed:
        raise EOFError
    print(prompt + typed.rstrip("\n"))
    return typed


def _wrapped(text: str, indent: str = "   ") -> Iterable[str]:
    from textwrap import wrap

    return wrap(text, 79, initial_indent=indent, subsequent_indent="   ", break_on_hyphens=False)


def _asked(number: int, count: int, question: "Question") -> Iterable[str]:
    yield f"{number} of {count}, {question.topic}, level {question.level}"
    yield from _wrapped(question.text)


def _explained(question: "Question") -> Iterable[str]:
    why = question.why
    if len(first := why.split()[0]) > 1 and first.isalpha():  # a word, not a formula
        why = why[0].upper() + why[1:]
    yield from _wrapped(f"{why}.")
    if question.spec:
        yield f'   faltung see "{question.spec}"'


def _score(right: int, told: int) -> str:
    if not told:
        return "no question was answered"
    return f"{right} of {told} right"
