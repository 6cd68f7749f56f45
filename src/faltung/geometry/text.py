"""One problem on one line: "n1 c3>64 224x224 k7 s2 p3", and the ``ConvSpec`` that it means.

``str(spec)`` writes the line, ``parse`` reads it.

Words, in any order, each at most once; those in brackets may be left out:

224x224     size of each axis; their number is the rank
c3>64       channels in > out
k7 k3x5     kernel, one number for all axes or one for each
[n1]        batch
[s1] [s1x2] stride                          [d1] [d2x1] dilation
[p0]        padding: p3, p1x2 (one for each axis), p(0,1)x(1,1) (before, after), or a name of
            padding.py: psame, pvalid, psame_upper, psame_lower, pcausal, also psamexvalid
[g1]        groups
[m:zeros]   padding mode, one or one for each axis: m:circular, m:zeros,circular
[f32]       dtype: f64, f16, bf16, i32, i64, c64, c128 (complex)
[flip]      true convolution
"""

import re
from collections.abc import Mapping
from typing import Any

from faltung.geometry.calls import explained
from faltung.geometry.conv import DTYPE_WORDS, ConvSpec, conv_spec
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import NAMES, Padding

FORM = "n1 c3>64 224x224 k7 s2 p3"  # what the error messages show
NUMBERS = r"[0-9]+(?:x[0-9]+)*"
_PAD = rf"(?:[0-9]+|\([0-9]+,[0-9]+\)|{'|'.join(sorted(NAMES, key=len, reverse=True))})"
Patterns = Mapping[str, re.Pattern[str]]
_WORDS: Patterns = {
    "size": re.compile(rf"({NUMBERS})"),
    "channels": re.compile(r"c([0-9]+>[0-9]+)"),
    "kernel": re.compile(rf"k({NUMBERS})"),
    "batch": re.compile(r"n([0-9]+)"),
    "stride": re.compile(rf"s({NUMBERS})"),
    "dilation": re.compile(rf"d({NUMBERS})"),
    "padding": re.compile(rf"p({_PAD}(?:x{_PAD})*)"),
    "groups": re.compile(r"g([0-9]+)"),
    "padding_mode": re.compile(r"m:([a-z_-]+(?:,[a-z_-]+)*)"),
    "dtype": re.compile(f"({'|'.join(DTYPE_WORDS.values())})"),
    "flip": re.compile(r"(flip)"),
}
# Those of them that are no shape and no dtype: what ``options`` reads.
OPTIONS: Patterns = {
    name: _WORDS[name]
    for name in ("stride", "padding", "dilation", "groups", "padding_mode", "flip")
}
_DTYPES = {word: dtype for dtype, word in DTYPE_WORDS.items()}


@explained
def parse(text: str) -> ConvSpec:
    """The problem that one line of text means.

    Parameters
    ----------
    text : str
        Words in any order, such as "n1 c3>64 224x224 k7 s2 p3": batch ``n``, channels ``c`` in and
        out, the size of each axis, kernel ``k``, stride ``s``, padding ``p``, dilation ``d``,
        groups ``g``, padding mode ``m:``, a dtype such as ``f64``, and ``flip``.

    Returns
    -------
    ConvSpec
        ``str`` of it is the same line in its canonical form.

    Raises
    ------
    ValueError
        A word that means nothing, is missing or comes twice, or numbers that make no convolution.
    TypeError
        Not a text.

    Examples
    --------
    >>> import faltung
    >>> spec = faltung.parse("n1 c3>64 224x224 k7 s2 p3")
    >>> spec.output_shape, str(spec)
    ((1, 64, 112, 112), 'n1 c3>64 224x224 k7 s2 p3')
    """
    if not isinstance(text, str):
        raise FaltungTypeError(f"text={text!r}: must be a str such as {FORM!r}")
    found = sort(text)
    for need in ("size", "channels", "kernel"):
        if need not in found:
            raise FaltungError(f"text={text!r}: has no {need}; write it as in {FORM!r}")
    size = _numbers(found["size"])
    c_in, c_out = (int(number) for number in found["channels"].split(">"))
    kernel, groups = _numbers(found["kernel"]), int(found.get("groups", "1"))
    if len(kernel) not in (1, len(size)):
        raise FaltungError(f"kernel={kernel}: must be one int, or {len(size)}, one for each axis")
    if len(kernel) == 1:
        kernel *= len(size)
    if groups < 1 or c_in % groups:
        raise FaltungError(f"groups={groups}: must divide the input channels, {c_in}")
    return conv_spec(
        (int(found.get("batch", "1")), c_in, *size),
        (c_out, c_in // groups, *kernel),
        **options(found),
        dtype=_DTYPES[found.get("dtype", "f32")],
    )


def options(found: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of ``conv_spec`` besides shapes and dtype, from words sorted by ``sort``."""
    names = found.get("padding_mode", "zeros").split(",")  # conv_spec refuses what is no mode
    return {
        "stride": one_or_all(found.get("stride", "1")),
        "padding": _padding(found.get("padding", "0")),
        "dilation": one_or_all(found.get("dilation", "1")),
        "groups": int(found.get("groups", "1")),
        "padding_mode": names[0] if len(names) == 1 else tuple(names),
        "flip": "flip" in found,
    }


def words(text: str) -> dict[str, str]:
    """Every word of a text by what it says, as it was written: the stride of "c1>1 8 k3 s2" is
    "s2". Words that mean nothing are left out.
    """
    return {
        name: word
        for word in text.split()
        for name, pattern in _WORDS.items()
        if pattern.fullmatch(word)
    }


def sort(text: str, patterns: Patterns = _WORDS) -> dict[str, str]:
    """The words of ``text`` by what they say, without their first letters. ``patterns``: for each
    name the words that say it. ValueError: a word that means nothing, or comes twice.
    """
    found: dict[str, str] = {}
    for word in text.split():
        for name, pattern in patterns.items():
            if match := pattern.fullmatch(word):
                if name in found:
                    raise FaltungError(f"text={text!r}: {word!r} gives the {name} twice")
                found[name] = match[1]
                break
        else:
            raise FaltungError(f"text={text!r}: {word!r} means nothing; write as in {FORM!r}")
    return found


def _numbers(word: str) -> tuple[int, ...]:
    return tuple(int(number) for number in word.split("x"))


def one_or_all(word: str) -> int | tuple[int, ...]:
    """One number, or several with an x between them."""
    numbers = _numbers(word)
    return numbers[0] if len(numbers) == 1 else numbers


def _padding(word: str) -> Padding:
    # One entry is for all axes, except a pair: padding.py knows pairs only axis by axis.
    entries = tuple(_pad(entry) for entry in re.findall(_PAD, word))
    only = entries[0]
    return entries if len(entries) > 1 or isinstance(only, tuple) else only


def _pad(entry: str) -> Any:
    if entry in NAMES:
        return entry
    return int(entry) if entry.isdigit() else tuple(map(int, entry.strip("()").split(",")))
