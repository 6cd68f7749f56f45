"""From files to arrays for training: sources, readers, augmentation, batches."""

from faltung.data.augment import Augment
from faltung.data.files import Like, read_files
from faltung.data.open import open_source
from faltung.data.source import ArraySource, Source, split
from faltung.data.standard import Standard, standardise

__all__ = [
    "ArraySource",
    "Augment",
    "Like",
    "Source",
    "Standard",
    "open_source",
    "read_files",
    "split",
    "standardise",
]
