"""``faltung quiz``: exercises about convolutions, with answers that are checked and explained."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from faltung.cli.line import line

if TYPE_CHECKING:
    from faltung.explore.questions import Question

HELP = """\
Each question wants a number, some numbers, or yes or no; then comes the right
answer and how to find it. An empty line passes, q ends the quiz.

topics: size, flip, padding, window, stride, parameters, ladder, cost, field

The same seed asks the same questions, so a class can compare its scores, and
--show prints them with the answers, for whoever teaches.

examples:
  faltung quiz
  faltung quiz --level 2 --topic padding --topic stride
  faltung quiz --seed 7 --count 20 --show
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``quiz``."""
    parser.epilog = HELP
    parser.add_argument(
        "--count", type=int, default=9, metavar="N", help="how many questions (default: 9)"
    )
    parser.add_argument(
        "--level", type=int, default=1, metavar="L", help="1, 2 or 3: how hard (default: 1)"
    )
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME", help="ask about this; repeatable"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="which questions (default: others each time)"
    )
    parser.add_argument("--show", action="store_true", help="print questions and answers")
    parser.add_argument("--json", action="store_true", help="print them as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Ask, or print."""
    from faltung.explore.questions import questions

    seed = arguments.seed
    if seed is None:
        import random

        seed = random.randrange(1000)
    asked = questions(
        arguments.count, seed=seed, level=arguments.level, topics=tuple(arguments.topic)
    )
    if arguments.json:
        print(json.dumps({"seed": seed, "questions": [_row(each) for each in asked]}, indent=2))
    elif arguments.show:
        for number, each in enumerate(asked, 1):
            print(f"{number}. {each.text}\n   {each.said}  ({each.why})")
    else:
        _ask(asked, seed, arguments.level)
    return 0


def _row(one: "Question") -> dict[str, object]:
    answer = one.answer if isinstance(one.answer, bool) else list(one.answer)
    return {
        "topic": one.topic,
        "text": one.text,
        "answer": answer,
        "why": one.why,
        "line": one.line,
    }


def _ask(asked: Sequence["Question"], seed: int, level: int) -> None:
    right = answered = 0
    for number, one in enumerate(asked, 1):
        print(f"\n{number} of {len(asked)}  {one.text}")
        said = _answer(one)
        if said is None:
            break
        answered += 1
        good = one.right(said) if said else False
        right += bool(good)
        verdict = "Right" if good else f"The answer is {one.said}"
        print(f"{verdict}: {one.why}.")
        if not good:
            print(f'See it: faltung see "{one.line}"')
    print(f"\n{right} of {answered} right. The same questions: --seed {seed} --level {level}")


def _answer(one: "Question") -> str | None:
    """What is typed, asked for again until it is an answer; "" to pass, None at the end."""
    while True:
        print(f"({one.form}) ", end="", flush=True)
        typed = sys.stdin.readline()
        if not typed or typed.strip().lower() in ("q", "quit", "exit"):
            if not sys.stdin.isatty():
                print()
            return None
        said = typed.strip()
        if not said or one.right(said) is not None:
            return said
        print(f"{line(said)[:60]}: must be {one.form}; an empty line passes, q ends the quiz")
