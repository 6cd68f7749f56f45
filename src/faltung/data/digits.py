"""The data that come with Faltung: 1,797 handwritten digits of 43 writers, 8x8 pixels.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49, CC BY 4.0: the test part, which is
``sklearn.datasets.load_digits`` in scikit-learn. Each pixel counts the dark points (0 to 16) in a
4x4 block of the scanned form.
"""

from importlib.resources import as_file, files

import numpy as np

from faltung.data.npy import read_npz
from faltung.data.source import ArraySource

INK = 16  # the value of an entirely dark pixel


def digits() -> ArraySource:
    """Pictures (1, 8, 8) with values k/16, classes "0" to "9"."""
    with as_file(files("faltung.data").joinpath("digits.npz")) as path:
        found = read_npz(path, "digits", ("x", "y"))
    return ArraySource(
        found["x"],
        found["y"].astype(np.int64),
        classes=tuple("0123456789"),
        scale=INK,
        where="digits: ",
    )
