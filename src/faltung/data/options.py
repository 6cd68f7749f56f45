"""The options for opening data, the same for every reader."""

from faltung.data.layout import LAYOUTS, Layout
from faltung.data.like import Like
from faltung.data.names import class_list
from faltung.data.source import AXES, SampleKind
from faltung.data.targets import TARGET_KINDS, TargetKind
from faltung.geometry.check import integer, integers, one_of, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class Options:
    """The options of ``open_source``, checked; None where nothing was given."""

    strict: bool = False
    kind: SampleKind | None = None
    size: int | tuple[int, ...] | None = None
    channels: int | Layout | None = None
    classes: tuple[str, ...] | None = None
    x: str | None = None
    y: str | None = None
    targets: TargetKind | None = None
    like: Like | None = None
    label: str | None = None
    frames: int | None = None
    words: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.strict, bool):
            raise FaltungTypeError(f"strict={show(self.strict)}: must be True or False")
        if self.kind is not None:
            one_of("kind", self.kind, AXES)
        if self.size is not None:
            one = integer(self.size)
            size = one if one is not None else integers("size", self.size)
            if min((size,) if isinstance(size, int) else size, default=0) < 1:
                raise FaltungError(f"size={show(self.size)}: must be at least 1 along every axis")
            object.__setattr__(self, "size", size)
        if isinstance(self.channels, str):
            if self.channels not in LAYOUTS:
                raise FaltungError(
                    f"channels={show(self.channels)}: must be a number, first or last"
                )
        elif self.channels is not None:
            object.__setattr__(self, "channels", whole("channels", self.channels, 1))
        for name, what in (("x", "an array"), ("y", "an array"), ("label", "a column")):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise FaltungTypeError(f"{name}={show(value)}: must be the name of {what}")
        if self.frames is not None:
            object.__setattr__(self, "frames", whole("frames", self.frames, 1))
        if self.targets is not None:
            one_of("targets", self.targets, TARGET_KINDS)
        if self.classes is not None:
            object.__setattr__(self, "classes", class_list(self.classes))

    @property
    def count(self) -> int | None:
        """How many channels are wanted, if that was said."""
        return self.channels if isinstance(self.channels, int) else None

    def space(self, rank: int) -> tuple[int, ...] | None:
        """``size`` as one number for each of ``rank`` axes. ValueError."""
        if self.size is None:
            return None
        space = (self.size,) * rank if isinstance(self.size, int) else self.size
        if len(space) != rank:
            raise FaltungError(f"size={space}: must be one number or {rank}")
        return space
