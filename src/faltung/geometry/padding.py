"""Every form of the ``padding`` argument, resolved to (lo, hi) and a mode for each axis.

Names, where an axis has size H, kernel h, stride s and dilation d:

valid        no padding
same         d(h-1) in total, the smaller half before: output size ceil(H/s), for every stride
same_upper   the least that gives ceil(H/s), the smaller half before (ONNX, TensorFlow)
same_lower   the same total, the smaller half after (ONNX)
causal       d(h-1) before and nothing after, on *every* axis: no output reads later input.
             If only one axis is causal, name each: padding=("causal", "same", "same")
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from faltung.geometry.axis import MODES, Mode
from faltung.geometry.check import integer, is_sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.words import MODES_ELSEWHERE, VALUES, meant

PaddingName = Literal["valid", "same", "same_upper", "same_lower", "causal"]
Padding = int | PaddingName | Sequence[int | PaddingName | Sequence[int]]
PaddingMode = Mode | Sequence[Mode]


def _valid(size: int, extent: int, stride: int) -> tuple[int, int]:
    return 0, 0


def _same(size: int, extent: int, stride: int) -> tuple[int, int]:
    return (extent - 1) // 2, extent // 2


def _same_upper(size: int, extent: int, stride: int) -> tuple[int, int]:
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + extent - size)
    return total // 2, total - total // 2


def _same_lower(size: int, extent: int, stride: int) -> tuple[int, int]:
    lo, hi = _same_upper(size, extent, stride)
    return hi, lo


def _causal(size: int, extent: int, stride: int) -> tuple[int, int]:
    return extent - 1, 0


NAMES: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "valid": _valid,
    "same": _same,
    "same_upper": _same_upper,
    "same_lower": _same_lower,
    "causal": _causal,
}


def pads(
    padding: Padding,
    *,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """The padding before and after each axis, (lo, hi), in array entries.

    ``padding``: an int (before and after every axis), a name, or one entry per axis: an int, a
    (lo, hi) pair, or a name. ValueError, TypeError: anything else, or a negative number.
    """
    rank = len(sizes)
    per_axis = is_sequence(padding)
    entries: Sequence[object] = list(padding) if per_axis else [padding] * rank  # type: ignore[arg-type]
    if len(entries) != rank:
        raise FaltungError(
            f"padding={show(padding)}: must have one entry for each of the {rank} spatial axes"
        )
    found = []
    for entry, size, h, s, d in zip(entries, sizes, kernel, stride, dilation, strict=True):
        if isinstance(entry, str) and entry in NAMES:
            found.append(NAMES[entry](size, d * (h - 1) + 1, s))
        else:
            found.append(numbers(entry, padding))
    return tuple(found)


def numbers(entry: object, padding: object) -> tuple[int, int]:
    """An int or a (lo, hi) pair, as a pair; ``padding`` is the whole argument, for the message."""
    if isinstance(entry, str):
        rule = f"padding={show(padding)}: must be numbers or one of {', '.join(NAMES)}"
        raise FaltungError(rule + _meant(entry, "padding", NAMES))
    pair = [integer(item) for item in entry] if is_sequence(entry) else [integer(entry)] * 2  # type: ignore[attr-defined]
    if any(item is None for item in pair):
        raise FaltungTypeError(
            f"padding={show(padding)}: must be an int, a name, or one int or (lo, hi) pair of "
            "ints for each axis"
        )
    numbers = [item for item in pair if item is not None]
    if len(numbers) != 2:
        raise FaltungError(f"padding={show(padding)}: the padding of an axis is an int or (lo, hi)")
    if min(numbers) < 0:
        raise FaltungError(f"padding={show(padding)}: every padding must be at least 0")
    return numbers[0], numbers[1]


def modes(padding_mode: PaddingMode, rank: int) -> tuple[str, ...]:
    """The padding mode of each axis, from one name for all axes or one per axis.

    ValueError: an unknown name, or the wrong number of names. TypeError: not names at all.
    """
    if not isinstance(padding_mode, str) and not is_sequence(padding_mode):
        raise FaltungTypeError(
            f"padding_mode={show(padding_mode)}: must be a name or a sequence of {rank} names"
        )
    names = (padding_mode,) * rank if isinstance(padding_mode, str) else tuple(padding_mode)
    if len(names) != rank:
        raise FaltungError(
            f"padding_mode={show(padding_mode)}: must be one name, or {rank} names, "
            "one for each axis"
        )
    for name in names:
        if not isinstance(name, str) or name not in MODES:
            raise unknown_mode(padding_mode, name, MODES)
    return tuple(str(name) for name in names)


def unknown_mode(given: object, word: object, known: Iterable[str]) -> FaltungError:
    """The error of a padding mode that is none of those known; ``given``: the whole argument."""
    names = tuple(known)
    return FaltungError(
        f"padding_mode={show(given)}: must be one of {', '.join(names)}"
        f"{_meant(word, 'padding_mode', names)}"
    )


def _meant(word: object, argument: str, known: Iterable[str]) -> str:
    """What to say instead, where a word of another library is known; else nothing."""
    lower = word.lower() if isinstance(word, str) else ""
    if lower in NAMES:
        return f"; say padding={lower!r}"
    mode = MODES_ELSEWHERE.get(lower, lower)
    if mode in MODES:
        return f"; say padding_mode={mode!r}"
    return meant(word, known, VALUES[argument])
