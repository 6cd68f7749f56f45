"""``Like``: what the samples of a network are, so that others are read in the same way."""

from faltung.data.layout import Layout, as_layout
from faltung.data.source import AXES, SampleKind
from faltung.data.units import Units
from faltung.geometry.check import integers, one_of, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class Like:
    """The samples that a network was trained on, and that files are read as.

    Parameters
    ----------
    kind : {"picture", "series", "volume", "text", "table"}
        What a sample is.
    shape : tuple of int
        Of one sample, ``(channels, *space)``, ``(length,)`` of text, ``(features,)`` of a table.
    fit : bool
        Whether samples of another size are resized to this one; else they are an error.
    scale : float, optional
        What numbers in arrays are divided by, and white of a picture, where ``units`` do not say.
    units : Units, optional
        What stored numbers mean. By default pictures become 0 to 1, and other numbers stay.
    layout : {"first", "last"}
        Where the channels of arrays lie, if both would fit.
    columns : tuple of str, optional
        The names of the features in a table with a header.
    label : str, optional
        The name of the column of labels in text files.
    x, y : str, optional
        The names of the arrays of samples and targets in ``.npz`` files, if they were chosen.
    frames : int, optional
        Of a clip: samples are volumes of so many frames of videos, or of folders of frames.
    words : tuple of str, optional
        The vocabulary of a network that reads texts; their words are numbered by it.

    Raises
    ------
    ValueError, TypeError
        An invalid kind, shape or layout.
    """

    kind: SampleKind
    shape: tuple[int, ...]
    fit: bool = False
    scale: float | None = None
    units: Units | None = None
    layout: Layout = "first"
    columns: tuple[str, ...] | None = None
    label: str | None = None
    x: str | None = None
    y: str | None = None
    frames: int | None = None
    words: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, AXES)
        shape = integers("shape", self.shape)
        if len(shape) != AXES[self.kind]:
            raise FaltungError(f"shape={shape}: must have {AXES[self.kind]} axes")
        for length in shape:
            whole("shape", length, 1)
        object.__setattr__(self, "shape", shape)
        as_layout("layout", self.layout)
        if self.frames is not None and (
            len(shape) != 4 or whole("frames", self.frames, 1) != shape[1]
        ):
            raise FaltungError(f"frames={self.frames}: must be that of the shape, {shape}")
        if self.units is not None and not isinstance(self.units, Units):
            raise FaltungTypeError(f"units={show(self.units)}: must be Units")

    @property
    def meaning(self) -> Units:
        """``units``, or what they are by default."""
        if self.units is not None:
            return self.units
        if self.kind != "picture":
            return Units(self.scale or 1.0)
        if self.scale is None:
            return Units(white=1.0)
        return Units(self.scale, self.scale, low=0, high=self.scale, whole=self.scale > 1)
