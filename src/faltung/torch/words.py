"""The options of an operator as one short text: "s2 p1 g4", as in ``faltung.parse``.

An operator of PyTorch takes tensors and a text in a third of the time that it takes with lists of
numbers, and in an exported program the text can be read. ``conv_words`` and ``pool_words`` write
it, from arguments that they check; ``Conv.read`` and ``Pool.read`` read it.

k3 k3x5     the window of a pooling; kall: as large as the input
s p d g m:  as in ``faltung.parse``, and flip
o1 o1x0     output padding, of a transposed convolution
strict      plain sums of products only
by:fft      the method
tune=1      measure which method is the fastest; tune=0: do not
ceil        round the size of the output up
inside      a mean does not count padding
"""

import re
from collections.abc import Callable
from functools import lru_cache
from operator import index, is_
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from faltung.geometry.check import PerAxis, is_sequence, per_axis, show, truth, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import NAMES, Padding, PaddingMode, modes, numbers
from faltung.geometry.text import NUMBERS, OPTIONS, one_or_all, options, sort

if TYPE_CHECKING:
    from faltung.plan.choose import Policy

_CONV = {
    **OPTIONS,
    "output_padding": re.compile(f"o({NUMBERS})"),
    "precision": re.compile("(strict)"),
    "method": re.compile("by:([a-z0-9_]+)"),
    "tune": re.compile("tune=([01])"),
}
_POOL = {
    **{name: OPTIONS[name] for name in ("stride", "padding", "dilation")},
    "kernel": re.compile(f"k({NUMBERS}|all)"),
    "ceil": re.compile("(ceil)"),
    "inside": re.compile("(inside)"),
}


class Conv(NamedTuple):
    """What a text says of a convolution; names as of ``faltung.conv_transpose``."""

    stride: PerAxis
    padding: Padding
    dilation: PerAxis
    groups: int
    padding_mode: PaddingMode
    flip: bool
    output_padding: PerAxis
    precision: str
    method: str
    tune: bool | None

    @staticmethod
    @lru_cache(1024)
    def read(text: str) -> "Conv":
        """The options that the words say. ValueError: words that mean nothing."""
        found = sort(text, _CONV)
        return Conv(
            **options(found),
            output_padding=one_or_all(found.get("output_padding", "0")),
            precision=found.get("precision", "fast"),
            method=found.get("method", "auto"),
            tune={"0": False, "1": True, None: None}[found.get("tune")],
        )

    def geometry(self) -> dict[str, Any]:
        """The arguments of ``conv_spec`` besides shapes and dtype."""
        return dict(zip(self._fields[:6], self[:6], strict=True))

    def policy(self) -> "Policy":
        """How the method is chosen; FALTUNG_TUNE where nothing is said."""
        # Here, because that loads all methods: layers are made without.
        from faltung.plan.choose import policy_of
        from faltung.plan.tune import wanted

        return policy_of(self.precision, self.method, wanted() if self.tune is None else self.tune)

    def words(self, rank: int) -> str:
        """The text again."""
        return conv_words(rank, *self)


class Pool(NamedTuple):
    """What a text says of a pooling; names as of ``pool_spec``. ``kernel`` None: all of it."""

    kernel: PerAxis | None
    stride: PerAxis | None
    padding: Padding
    dilation: PerAxis
    ceil: bool
    count_padding: bool

    @staticmethod
    @lru_cache(1024)
    def read(text: str) -> "Pool":
        """The options that the words say. ValueError: words that mean nothing."""
        found = sort(text, _POOL)
        kernel = found.get("kernel", "all")
        known = options(found)
        return Pool(
            None if kernel == "all" else one_or_all(kernel),
            known["stride"] if "stride" in found else None,
            known["padding"],
            known["dilation"],
            "ceil" in found,
            "inside" not in found,
        )


# From arguments to text ---------------------------------------------------------------------------

_known: dict[Any, tuple[tuple[Any, ...], str]] = {}
KEPT = 4096


def remembered(write: Callable[..., str], rank: int, given: tuple[Any, ...]) -> str:
    """``write(rank, *given)``, looked up where it was asked before. Not in what ``torch.compile``
    traces, which may not depend on what else has been called.
    """
    if torch.compiler.is_compiling():
        return write(rank, *[_plain(value) for value in given])
    try:
        found = _known.get((rank, given))
        # 1, 1.0 and True are equal, and not all legal.
        if found is not None and (all(map(is_, found[0], given)) or repr(found[0]) == repr(given)):
            return found[1]
        text = write(rank, *given)
        if len(_known) >= KEPT:
            _known.clear()
        _known[rank, given] = given, text
    except TypeError as error:  # an option that cannot be hashed: a list, a symbolic number
        if isinstance(error, FaltungTypeError):
            raise
        text = write(rank, *given)
    return text


def conv_words(
    rank: int,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    output_padding: PerAxis = 0,
    precision: str = "fast",
    method: str = "auto",
    tune: bool | None = None,
) -> str:
    """The text of a convolution of this rank. TypeError, ValueError: options that none has."""
    names = modes(padding_mode, rank)
    if precision != "fast" or method != "auto" or tune is not None:
        Conv(1, 0, 1, 1, "zeros", False, 0, precision, method, tune).policy()
    words = [
        _axes("s", "stride", stride, rank, 1, "1"),
        _padding(padding, rank),
        _axes("d", "dilation", dilation, rank, 1, "1"),
        _word("g", whole("groups", groups, 1), 1),
        _axes("o", "output_padding", output_padding, rank, 0, "0"),
    ]
    if any(name != "zeros" for name in names):
        words.append("m:" + ",".join(names if len(set(names)) > 1 else names[:1]))
    if truth("flip", flip):
        words.append("flip")
    if precision != "fast":
        words.append(precision)
    if method != "auto":
        words.append(f"by:{method}")
    if tune is not None:
        words.append("tune=1" if tune else "tune=0")
    return " ".join([word for word in words if word])


def pool_words(
    rank: int,
    kernel: PerAxis | None,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    count_padding: bool = True,
) -> str:
    """The text of a pooling of this rank; ``kernel`` None: of all positions. TypeError, ValueError:
    options that none has.
    """
    words = ["kall" if kernel is None else _axes("k", "kernel", kernel, rank, 1, "")]
    if stride is not None and stride != ():  # both mean the kernel to PyTorch
        words.append(_axes("s", "stride", stride, rank, 1, ""))
    words += [_padding(padding, rank), _axes("d", "dilation", dilation, rank, 1, "1")]
    if truth("ceil", ceil):
        words.append("ceil")
    if not truth("count_padding", count_padding):
        words.append("inside")
    return " ".join([word for word in words if word])


def _plain(value: Any) -> Any:
    """Symbolic numbers as what they are this time: other options are another program."""
    if isinstance(value, (tuple, list)):
        return tuple([_plain(entry) for entry in value])
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        return value
    return index(value)


def _word(letter: str, number: int, default: int) -> str:
    return "" if number == default else f"{letter}{index(number)}"


def _axes(letter: str, name: str, value: PerAxis, rank: int, least: int, default: str) -> str:
    each = [str(index(n)) for n in per_axis(name, _one(value), rank, least)]
    folded = each[0] if len(set(each)) == 1 else "x".join(each)
    return "" if folded == default else letter + folded


def _one(value: Any) -> Any:
    """A sequence of one number, which PyTorch takes for all axes, as the number."""
    return value[0] if is_sequence(value) and len(value) == 1 else value


def _padding(padding: Any, rank: int) -> str:
    if is_sequence(padding) and len(padding) == 1 and rank > 1 and not is_sequence(padding[0]):
        padding = padding[0]
    entries = list(padding) if is_sequence(padding) else [padding] * rank
    if len(entries) != rank:
        raise FaltungError(
            f"padding={show(padding)}: must have one entry for each of the {rank} spatial axes"
        )
    each = []
    for entry in entries:
        if isinstance(entry, str) and entry in NAMES:
            each.append(entry)
        else:
            lo, hi = numbers(entry, padding)
            each.append(str(lo) if lo == hi else f"({lo},{hi})")
    if len(set(each)) == 1 and "(" not in each[0]:
        each = each[:1]
    return "" if each == ["0"] or each == ["valid"] else "p" + "x".join(each)
