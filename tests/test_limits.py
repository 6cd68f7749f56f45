"""Limits of time: the factor, and that no test has one without it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# What a limit without the factor looks like.
BARE = re.compile(
    r"timeout=\d|\.wait\(\d|\.communicate\(\d|\balarm\(\d"
    r"|(monotonic|perf_counter)\(\) \+ [1-9]\d*\b"
    r"|(perf_counter|monotonic|process_time)\(\) - \w+ < \d"
)


@pytest.mark.parametrize(("text", "seconds"), [("", 3), (" ", 3), ("20", 60), ("0.5", 1.5)])
def test_the_factor_is_from_the_environment(text: str, seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from limits import limit; print(limit(3))"],
        env=os.environ | {"FALTUNG_TESTS_SLOWER": text, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == seconds


def test_every_limit_takes_the_factor() -> None:
    bare = [
        f"{path.relative_to(TESTS)}:{number}: {line.strip()}"
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if BARE.search(line)
    ]
    assert bare == [], "write limit(SECONDS), from tests/limits.py"
