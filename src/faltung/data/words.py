"""What was understood of data, in one line: the first of every run."""

from faltung.data.names import listing
from faltung.data.source import Source, is_stored, layout_in

NAMES = {
    "picture": ("sample", "samples"),
    "series": ("series", "series"),
    "volume": ("volume", "volumes"),
    "text": ("text", "texts"),
    "table": ("row", "rows"),
}
MAX_COLUMNS = 6  # names of columns that are shown


def in_words(source: Source, *, own: bool = True) -> str:
    """Data in one line. ``own``: whether the part is held out that the data say.

    >>> from faltung.data import open_source
    >>> in_words(open_source("digits"))
    '1,797 samples, 1 channel, 8x8, values 0..16 -> /16; 10 classes'
    """
    clips = getattr(source, "frames", None) is not None
    names = ("clip", "clips") if clips else NAMES[source.kind]
    parts = [_count(len(source), *names), *_shape(source)]
    units = str(source.units) if is_stored(source) and source.kind != "text" else ""
    if units:
        parts.append(units)
    rest = [_targets(source)]
    held = getattr(source, "held", None)
    if held is not None and own:
        rest.append(f"{len(held):,} held out as the data say")
    if source.skipped:
        rest.append(f"{len(source.skipped):,} skipped")
    return "; ".join([", ".join(parts), *rest])


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _shape(source: Source) -> list[str]:
    if source.kind == "text":
        return [f"{source.shape[0]} tokens each"]
    if source.kind == "table":
        columns = getattr(source, "columns", None)
        named = f" ({listing(columns, MAX_COLUMNS)})" if columns else ""
        return [_count(source.shape[0], "column", "columns") + named]
    channels, space = source.shape[0], source.shape[1:]
    last = " (last in the file)" if layout_in(source) == "last" else ""
    length = f"length {space[0]}" if len(space) == 1 else "x".join(map(str, space))
    return [_count(channels, "channel", "channels") + last, length]


def _targets(source: Source) -> str:
    label = getattr(source, "label", None)
    column = f" (column {label})" if label is not None else ""
    if source.classes is not None:
        each = " at every position" if source.targets.ndim > 1 else ""
        return _count(len(source.classes), "class", "classes") + each + column
    several = getattr(source, "label_names", None)
    if several is not None:
        return _count(len(several), "label", "labels") + " of each sample, 0 or 1"
    if not source.targets.size:
        return "no targets"
    return _count(source.targets.shape[1], "number", "numbers") + " to estimate" + column
