"""From files to arrays for training: sources, readers, augmentation, batches."""

from faltung.data.augment import Augment
from faltung.data.files import read_files
from faltung.data.like import Like
from faltung.data.open import open_source
from faltung.data.source import ArraySource, Source, split
from faltung.data.standard import Standard, standardise
from faltung.data.units import Units

__all__ = [
    "ArraySource",
    "Augment",
    "Like",
    "Source",
    "Standard",
    "Units",
    "open_source",
    "read_files",
    "split",
    "standardise",
]
