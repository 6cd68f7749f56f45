"""What others call paddings and their modes: the home of the words that errors translate.

Every word means one of ours. Both worlds have "reflect" and mean different borders by it, so it is
in no table: each keeps its own meaning where it is at home.
"""

from collections.abc import Iterable

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

# Modes by the words of others, in lower case: what we call them, and whose word it is.
MODE_WORDS = {
    "constant": ("zeros", "NumPy's"),
    "grid-constant": ("zeros", "SciPy's"),
    "fill": ("zeros", "SciPy's"),
    "zero": ("zeros", "MATLAB's"),
    "border_constant": ("zeros", "OpenCV's"),
    "nearest": ("replicate", "SciPy's"),
    "edge": ("replicate", "NumPy's"),
    "clamp": ("replicate", "Halide's"),
    "border_replicate": ("replicate", "OpenCV's"),
    "mirror": ("reflect", "SciPy's"),
    "reflect_101": ("reflect", "OpenCV's"),
    "reflect101": ("reflect", "OpenCV's"),
    "border_reflect_101": ("reflect", "OpenCV's"),
    "border_reflect101": ("reflect", "OpenCV's"),
    "border_default": ("reflect", "OpenCV's"),
    "symm": ("symmetric", "SciPy's"),
    "grid-mirror": ("symmetric", "SciPy's"),
    "border_reflect": ("symmetric", "OpenCV's"),
    "wrap": ("circular", "SciPy's"),
    "grid-wrap": ("circular", "SciPy's"),
    "periodic": ("circular", "Dask's"),
    "border_wrap": ("circular", "OpenCV's"),
}

# Paddings by the words of others, in lower case, and what to write instead.
PADDING_WORDS = {
    "half": "use padding='same'",
    "full": "use padding=kernel - 1 on both sides",
    "notset": "use numbers, as ONNX does there",
    "none": "use padding='valid'",
}


def mode_of(name: object, given: object, choices: Iterable[str]) -> str:
    """``name``, a padding mode among ``choices``. ValueError: none, with ours where it is a word of
    others. ``given``: the whole argument, for the message.
    """
    listed = tuple(choices)
    if isinstance(name, str) and name in listed:
        return name
    raise FaltungError(
        f"padding_mode={show(given)}: must be one of {', '.join(listed)}{_as_mode(name, listed)}"
    )


def _as_mode(name: object, choices: tuple[str, ...]) -> str:
    if not isinstance(name, str):
        return ""
    word = name.lower()
    if word in choices:
        return f"; {show(name)} is {word!r}"
    if word in MODE_WORDS:
        ours, whose = MODE_WORDS[word]
        return f"; {whose} {show(name)} is {ours!r}"
    if word in ("same", "valid", "causal", "same_upper", "same_lower"):
        return f"; use padding={word!r}"
    return ""


def padding_hint(word: str, names: Iterable[str], modes: Iterable[str]) -> str:
    """What to write instead of a padding that is none of ``names``: the end of a message, or
    nothing. ``modes``: our padding modes.
    """
    low = word.lower()
    if low == "same":  # what TensorFlow does with a stride
        return "; use padding='same' (with a stride, TensorFlow's is padding='same_upper')"
    if low in names:
        return f"; use padding={low!r}"
    if low in PADDING_WORDS:
        return f"; {PADDING_WORDS[low]}"
    if low in modes or low in MODE_WORDS:
        ours = low if low in modes else MODE_WORDS[low][0]
        return f"; use padding_mode={ours!r}"
    return ""
