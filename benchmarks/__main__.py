"""``python -m benchmarks``: see ``run.py``; with the word "choices": see ``choices.py``."""

import sys

from benchmarks import choices
from benchmarks.run import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["choices"]:
        raise SystemExit(choices.main(sys.argv[2:]))
    raise SystemExit(main())
