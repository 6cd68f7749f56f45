"""`faltung cache`: how much compiled code is kept on disk, and how to clear it."""

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cache`."""
    parser.add_argument("--clear", action="store_true", help="remove what is kept")


def run(arguments: argparse.Namespace) -> int:
    """Print where the cache is and what it holds, or clear it."""
    from faltung.jit import cache

    if arguments.clear:
        count = cache.clear()
        print(f"removed {count} file{'s' * (count != 1)}")
    print(cache.status())
    return 0
