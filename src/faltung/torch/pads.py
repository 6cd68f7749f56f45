"""Paddings, from ATen. One before a convolution becomes that of its axes by a pass of graphs."""

from collections.abc import Callable, Sequence

from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_maps import MOST_PADDING, padded
from faltung.torch.arguments import Arguments

MODES = {
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


def _padded(a: Arguments, wholes: Sequence[int], mode: str, fill: float = 0.0) -> Tensor:
    """With pairs of numbers for the last axis, for the one before, and so on. Negative ones take
    entries away: before the others are added, except where these continue the whole axis.
    """
    x, f = a.tensor("self"), a.f
    if wholes and max(wholes) > MOST_PADDING:
        raise Unsaid(f"padding of {max(wholes)} entries")
    pairs = [(0, 0)] * x.rank
    for number in range(len(wholes) // 2):
        pairs[-1 - number] = wholes[2 * number], wholes[2 * number + 1]
    if mode in ("reflect", "replicate"):
        x = padded(f, x, [(max(0, lo), max(0, hi)) for lo, hi in pairs], mode)
        pairs = [(min(0, lo), min(0, hi)) for lo, hi in pairs]
    elif mode == "circular":
        for n, (lo, hi) in zip(x.shape, pairs, strict=True):
            if n + min(0, lo) + min(0, hi) < max(1, lo, hi):  # PyTorch's own result is anything
                raise Unsaid(f"padding={lo, hi}: a circle of fewer entries")
    return padded(f, x, pairs, mode, fill)


def pad(a: Arguments) -> Tensor:
    mode = a.word("mode") if "mode" in a.call.given else "constant"
    if mode not in MODES:
        raise Unsaid(f"mode={mode!r}")
    fill = a.number("value") if a.has("value") else 0.0
    return _padded(a, a.wholes("pad"), MODES[mode], fill)


def always(mode: str, name: str = "padding") -> Callable[[Arguments], Tensor]:
    """A padding of this mode."""
    return lambda a: _padded(a, a.wholes(name), mode)


TABLE = {
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **{f"reflection_pad{rank}d": always("reflect") for rank in (1, 2, 3)},
    **{f"replication_pad{rank}d": always("replicate") for rank in (1, 2, 3)},
    "_pad_circular": always("circular", "pad"),
}
