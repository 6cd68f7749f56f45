"""Words and numbers by the names of dimensions; the words for borders of both worlds."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from faltung.geometry.axis import MODES
from faltung.geometry.check import is_sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import NAMES
from faltung.ndimage.modes import ELSEWHERE
from faltung.ndimage.modes import MODES as SCIPY

Dims = tuple[Hashable, ...]

# The words of ``faltung.conv`` and of SciPy for borders, and those of each in the other's place.
# Both have "reflect", and mean different borders by it: so it has its own meaning in either place.
OURS: tuple[str, ...] = MODES
SCIPYS = tuple(SCIPY)
TO_OURS = {
    word: "zeros" if mode == "constant" else mode
    for word, mode in SCIPY.items()
    if word not in OURS
}
TO_SCIPYS = {word: ELSEWHERE[word] for word in OURS if word in ELSEWHERE}


def dimensions(dim: Hashable | Iterable[Hashable]) -> Dims:
    """The argument ``dim``: one name, or several. ValueError: one that is there twice."""
    names = tuple(dim) if isinstance(dim, Iterable) and not isinstance(dim, str) else (dim,)
    if not names:
        raise FaltungError("dim=(): must name at least one dimension")
    if len(set(names)) < len(names):
        raise FaltungError(f"dim={show(dim)}: must name every dimension once")
    return names


def by_dim(name: str, value: Any, dims: Dims, default: Any) -> dict[Hashable, Any]:
    """One entry for each dimension: from a mapping (``default`` for what it leaves out), from a
    sequence in the order of ``dims``, or the same for all.
    """
    if isinstance(value, Mapping):
        unknown = [key for key in value if key not in dims]
        if unknown:
            raise FaltungError(
                f"{name}={show(value)}: {unknown[0]!r} is not among the dimensions of dim, "
                f"{', '.join(map(repr, dims))}"
            )
        return {dim: value.get(dim, default) for dim in dims}
    if not is_sequence(value):
        return dict.fromkeys(dims, value)
    if len(value) != len(dims):
        raise FaltungError(
            f"{name}={show(value)}: must have an entry for each of {', '.join(map(repr, dims))}; "
            f"a dictionary by dimension says which is which"
        )
    return dict(zip(dims, value, strict=True))


def borders(
    name: str, value: Any, dims: Dims, default: str, own: Sequence[str], others: Mapping[str, str]
) -> dict[Hashable, str]:
    """The border of each dimension in words of ``own``; ``others`` says them in theirs."""
    found = by_dim(name, value, dims, default)
    for dim, word in found.items():
        if not isinstance(word, str):
            raise FaltungTypeError(f"{name}={show(value)}: must be a word, or one by dimension")
        if word not in own and word not in others:
            raise FaltungError(f"{name}={show(value)}: {_instead(name, word, own, others)}")
        found[dim] = word if word in own else others[word]
    return found


def _instead(name: str, word: str, own: Sequence[str], others: Mapping[str, str]) -> str:
    """What to say in the place of an unknown word for a border."""
    lower = word.lower()
    if lower in NAMES:
        return f"padding={lower!r} says how much is padded, {name} what stands there"
    theirs = ELSEWHERE.get(lower, lower)
    known = theirs if theirs in own else others.get(theirs)
    if known is not None:
        return f"that is {known!r} here"
    return f"must be one of {', '.join(dict.fromkeys([*own, *others]))}"
