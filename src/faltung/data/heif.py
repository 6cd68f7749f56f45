"""HEIC and AVIF, as phones write pictures: told by their brands, and opened by Pillow's plug-ins.

Pillow reads AVIF itself from 11.3 on; HEIC is read by ``pillow-heif``, with libheif, which applies
the orientation and gives 8 bits of 10.
"""

from typing import IO, Any

from faltung.data.contents import FTYP_BYTES, brand
from faltung.data.folder import Broken


def plug_in(file: IO[bytes], image_module: Any) -> None:
    """Make Pillow read the picture in a file, where it is one of these. Broken: what to install."""
    file.seek(0)
    kind = brand(file.read(FTYP_BYTES))
    if kind == "AVIF" and "AVIF" not in image_module.OPEN:
        raise Broken('is AVIF, which Pillow reads from 11.3 on: pip install "pillow>=11.3"')
    if kind != "HEIC" or "HEIF" in image_module.OPEN:
        return
    try:
        import pillow_heif
    except ImportError:
        raise Broken('is HEIC, which needs pillow-heif: pip install "faltung[heic]"') from None
    pillow_heif.register_heif_opener()
