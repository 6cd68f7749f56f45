"""``python -m benchmarks NAME``: every file that says so is found by that name."""

import re
from pathlib import Path

from benchmarks import __main__ as commands

FOLDER = Path(commands.__file__).parent


def test_every_command_that_a_file_names_is_there() -> None:
    named = {
        found[1]
        for path in FOLDER.glob("*.py")
        for found in [re.match(r'"""``python -m benchmarks (\w+)``', path.read_text("utf-8"))]
        if found
    }
    assert {"beside", "pytorch"} <= named <= commands.OTHERS.keys()
