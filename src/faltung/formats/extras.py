"""What comes with an extra and is not installed: one error that says how to get it."""


def missing(module: str, extra: str) -> ImportError:
    """The error to raise where ``import module`` failed: it names the extra that brings it."""
    return ImportError(f'{module}: not installed; pip install "faltung[{extra}]"', name=module)
