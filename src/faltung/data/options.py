"""The options for opening data, the same for every reader."""

from dataclasses import dataclass
from typing import Any

from faltung.data.names import class_list
from faltung.data.source import AXES, SampleKind
from faltung.geometry.check import integer, integers, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError


@dataclass(frozen=True)
class Options:
    """The options of ``open_source``, checked; None where nothing was given."""

    strict: bool = False
    kind: SampleKind | None = None
    size: int | tuple[int, ...] | None = None
    channels: int | None = None
    classes: tuple[str, ...] | None = None
    targets: str | None = None
    like: Any = None  # a ``Like``
    label: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.strict, bool):
            raise FaltungTypeError(f"strict={show(self.strict)}: must be True or False")
        if self.kind is not None and self.kind not in AXES:
            raise FaltungError(f"kind={show(self.kind)}: must be one of {', '.join(AXES)}")
        if self.size is not None:
            one = integer(self.size)
            size = one if one is not None else integers("size", self.size)
            if min((size,) if isinstance(size, int) else size, default=0) < 1:
                raise FaltungError(f"size={show(self.size)}: must be at least 1 along every axis")
            object.__setattr__(self, "size", size)
        if self.channels is not None:
            object.__setattr__(self, "channels", whole("channels", self.channels, 1))
        if self.classes is not None:
            object.__setattr__(self, "classes", class_list(self.classes))
        if not isinstance(self.label, str | None):
            raise FaltungTypeError(f"label={show(self.label)}: must be the name of a column")

    def space(self, rank: int) -> tuple[int, ...] | None:
        """``size`` as one number for each of ``rank`` axes. ValueError."""
        if self.size is None:
            return None
        space = (self.size,) * rank if isinstance(self.size, int) else self.size
        if len(space) != rank:
            raise FaltungError(f"size={space}: must be one number or {rank}")
        return space
