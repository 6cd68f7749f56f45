"""What SciPy calls the borders of an array, and what people call them elsewhere."""

from typing import Any

import numpy as np

from faltung.geometry.axis import MODES as OURS
from faltung.geometry.border import Border
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungRuntimeError, FaltungTypeError
from faltung.geometry.words import MODES_ELSEWHERE as WORDS

# SciPy's names, and those of ``Border``.
MODES = {
    "reflect": "symmetric",
    "constant": "constant",
    "nearest": "replicate",
    "mirror": "reflect",
    "wrap": "circular",
    "grid-mirror": "symmetric",
    "grid-constant": "constant",
    "grid-wrap": "circular",
}
# What ``Border`` calls a mode of ``faltung.conv``.
_BORDERS = {"zeros": "constant"}

# SciPy's name of each of ours; of two names the shorter.
THEIRS = {
    ours: min((name for name, made in MODES.items() if made == ours), key=len)
    for ours in MODES.values()
}
# Words of others for the same, and those of ``faltung.conv``.
ELSEWHERE: dict[str, str] = {
    **{word: THEIRS[_BORDERS.get(ours, ours)] for word, ours in WORDS.items()},
    **{word: THEIRS[_BORDERS.get(word, word)] for word in OURS},
    "same": "constant",
}


def border(mode: object, cval: float) -> Border:
    """The border of a mode by SciPy's name. RuntimeError: another word, which is answered with
    SciPy's.
    """
    if isinstance(mode, str) and mode in MODES:
        ours = MODES[mode]
        return Border(ours, cval if ours == "constant" else 0.0)
    word = mode.lower() if isinstance(mode, str) else None
    other = ELSEWHERE.get(word or "")
    if other is not None:
        zeros = ", with cval=0," if other == "constant" else ""
        raise FaltungRuntimeError(
            f"mode={show(mode)}: in SciPy's words that is mode={other!r}{zeros} and in "
            f"faltung.conv padding_mode={_padding(other)!r}"
        )
    if word in ("valid", "full"):
        raise FaltungRuntimeError(
            f"mode={show(mode)}: the result has the shape of the input; faltung.signal.convolve "
            f"has mode={word!r}, and a mode here is one of {', '.join(MODES)}"
        )
    raise FaltungRuntimeError(f"mode={show(mode)}: must be one of {', '.join(MODES)}")


def _padding(mode: str) -> str:
    """A mode by the name that ``faltung.conv`` has for it."""
    ours = MODES[mode]
    return "zeros" if ours == "constant" else ours


def number(cval: Any) -> float:
    """``cval`` as a float. TypeError: no real number."""
    if isinstance(cval, str | bytes) or np.iscomplexobj(cval):
        raise FaltungTypeError(f"cval={show(cval)}: must be a real number where the input is real")
    try:
        return float(cval)
    except (TypeError, ValueError) as error:
        raise FaltungTypeError(f"cval={show(cval)}: must be a real number ({error})") from None
