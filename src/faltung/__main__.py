"""`python -m faltung` is `faltung`."""

import sys


def start() -> int:
    """Run the command that was typed; returns the exit status, 130 also for an early Ctrl-C."""
    try:
        from faltung.cli.main import main

        return main()
    except KeyboardInterrupt:  # before main could notice it
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(start())
