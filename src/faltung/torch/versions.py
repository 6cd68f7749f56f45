"""The versions of PyTorch that were tested."""

import re
import warnings

import torch

# The first and the last, as (major, minor).
TESTED = ((2, 13), (2, 13))

_told: set[str] = set()


def untested(version: str | None = None) -> str:
    """Why this PyTorch is not used by our compiler; empty if it is one that was tested.

    Examples
    --------
    >>> untested("1.0.0")
    'PyTorch 1.0.0: tested with 2.13 alone, so everything runs in eager; install torch 2.13'
    """
    version = torch.__version__ if version is None else version
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and TESTED[0] <= (int(found[1]), int(found[2])) <= TESTED[1]:
        return ""
    low, high = (".".join(map(str, each)) for each in TESTED)
    span = f"{low} alone" if low == high else f"{low} to {high}"
    return (
        f"PyTorch {version}: tested with {span}, so everything runs in eager; install torch {high}"
    )


def warn_once(text: str) -> None:
    """A warning that is given once in a process."""
    if text not in _told:
        _told.add(text)
        warnings.warn(text, stacklevel=3)
