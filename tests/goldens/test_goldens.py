"""The oracle for refactoring: plans, programs and the text of kernels are unchanged.

A page in ``pages/`` has a line for each question and a column for each way to ask it
(``record.py``): the chosen methods, a hash of the steps and a hash of the kernels. A change that
keeps all hashes changes no bit and no speed. One that intends to change some records them again and
says why:

    python -m pytest tests/goldens --update

A run checks a sample of the questions, another one every day. ``--exhaustive`` checks all of them,
and ``--questions REGEX`` all that match.
"""

import re
from pathlib import Path

import pytest
from goldens.fingerprint import digest
from goldens.record import pages

FOLDER = Path(__file__).parent / "pages"
# A sample contains one of this many questions.
SHARE = {
    "chosen": 16,
    "layouts": 48,
    "methods": 64,
    "layers": 24,
    "dtypes": 12,
    "pools": 16,
    "local": 16,
    "networks": 12,
    "filters": 4,
}


def _known(page: Path) -> dict[str, list[str]]:
    lines = (line.split(": ") for line in page.read_text().splitlines())
    return {question: answers.split() for question, answers in lines}


@pytest.mark.goldens
@pytest.mark.parametrize("name", pages())
def test_every_kernel_and_every_step_is_what_it_was(
    name: str, request: pytest.FixtureRequest
) -> None:
    page = FOLDER / f"{name}.txt"
    lines = pages()[name]
    if request.config.getoption("--update"):
        found = {question: answer() for question, answer in lines}
        text = (f"{q}: {' '.join(a)}\n" for q, a in found.items() if set(a) != {"-"})
        page.write_text("".join(text))
        return
    known, questions = _known(page), [question for question, _ in lines]
    missing = set(known) - set(questions)
    assert not missing, f"no longer asked: {sorted(missing)}; see --update"
    wanted = request.config.getoption("--questions")
    whole = wanted or request.config.getoption("--exhaustive")
    share = 1 if whole else SHARE[name]
    seed = request.config.getoption("--seed")
    changed = []
    for question, answer in pages()[name]:
        if int(digest(seed, question), 16) % share == 0 and re.search(wanted, question):
            got = answer()
            want = known.get(question, ["-"] * len(got))
            changed += [f"{question}: {w} -> {g}" for w, g in zip(want, got, strict=True) if w != g]
    assert not changed, f"{len(changed)} answers have changed:\n" + "\n".join(changed[:20])
