"""The numbers in tests/data/files/pictures, by a formula, and where these files are."""

from math import prod
from pathlib import Path

import numpy as np

FILES = Path(__file__).parent / "files" / "pictures"


def ramp(*shape: int, bits: int = 16) -> np.ndarray:
    """The upper bits of multiples of 2654435761 (D. Knuth's multiplicative hash) modulo 2^32."""
    numbers = np.arange(1, prod(shape) + 1, dtype=np.uint64)
    kept = (numbers * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(32 - bits)
    return kept.astype(np.int64).reshape(shape)
