"""Limits of time in tests, with a factor for slow machines.

FALTUNG_TESTS_SLOWER=20 makes every limit twenty times as long: for an emulator, a debugger, or a
computer that others use too.
"""

import os

SLOWER = float(os.environ.get("FALTUNG_TESTS_SLOWER", "").strip() or 1)


def limit(seconds: float) -> float:
    """``seconds`` of a quick machine, on this one."""
    return seconds * SLOWER
