"""``faltung cache``: show or clear the compiled code, plans and measured choices on disk."""

import argparse
from collections.abc import Iterator


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cache``."""
    parser.add_argument("--clear", action="store_true", help="delete everything in the cache")
    parser.add_argument(
        "--choices", action="store_true", help="list the methods that `tune` found fastest"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print where the cache is and what it holds, or clear it."""
    from faltung.jit import cache

    if arguments.clear:
        count = cache.clear()
        print(f"removed {count} file{'s' * (count != 1)}")
    print(cache.status())
    if arguments.choices:
        for line in _choices():
            print(line)
    return 0


def _choices() -> Iterator[str]:
    """One line per choice: the problem, the method, and the times of all methods."""
    from faltung.plan.plan import duration
    from faltung.plan.tune import remembered

    for found in remembered():
        times = sorted(found["us"].items(), key=lambda entry: float(entry[1]))
        words = ", ".join(f"{name} {duration(1e3 * us)}" for name, us in times)
        yield f"  {found['spec']}, {found['direction']}: {found['method']} ({words})"
