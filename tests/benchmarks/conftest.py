"""The benchmark lies beside the package, not in it: its folder's parent must be importable."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

for folder in (HERE.parents[1], HERE):  # `benchmarks`, and `small_runs` for the tests
    if str(folder) not in sys.path:
        # After everything else, so that nothing there hides an installed package.
        sys.path.append(str(folder))
