"""What the first bytes of a file say it is, for messages about files that cannot be read.

Most files that cannot be read are whole, and something else than their name says: a page of a
server in place of a download, a pointer that Git LFS left, a format with another suffix.
"""

import codecs
import re
from pathlib import Path

from faltung.data.names import printable

HEAD_BYTES = 4096
FTYP_BYTES = 64  # in which the brands lie of any file of ISO/IEC 14496-12 that programs write
# Brands of HEIF (ISO/IEC 23008-12, B.4), with HEVC: single pictures and sequences.
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
# Says neither which codec nor which extension.
GENERAL = (b"mif1", b"msf1")
AVIF = (b"avif", b"avis")

# What a file begins with, and what it then is.
_BEGINS = (
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS; `git lfs pull` gets the file"),
    (b"/annex/objects/", "a pointer of git-annex; `git annex get` gets the file"),
    (b"\x1f\x8b", "packed by gzip"),
    (b"BZh", "packed by bzip2"),
    (b"\xfd7zXZ\0", "packed by xz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"PK\3\4", "a zip archive"),
    (b"PK\5\6", "an empty zip archive"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"CDF\1", "a NetCDF file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a BigTIFF picture"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document (Thumbs.db is one)"),
    (b"Bud1", "what macOS leaves in folders (.DS_Store)"),
    (b"\0\0\0\1Bud1", "what macOS leaves in folders (.DS_Store)"),
    (b"\0\5\x16\7", "what macOS leaves beside files (AppleDouble)"),
    (b"{\\rtf", "an RTF document"),
    (b"\x80\2", "a pickle, which is never loaded"),
    (b"\x80\3", "a pickle, which is never loaded"),
    (b"\x80\4", "a pickle, which is never loaded"),
    (b"\x80\5", "a pickle, which is never loaded"),
)
_HTML = re.compile(rb"<!doctype html|<html|<head|<body|<title", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>\s*(.{1,80}?)\s*</title>", re.IGNORECASE | re.DOTALL)


# What files of a suffix are: nobody needs to be told.
_OWN = {
    ".npy": "a NumPy array",
    ".npz": "a zip archive",
    ".gz": "packed by gzip",
    ".png": "a PNG picture",
    ".jpg": "a JPEG picture",
    ".jpeg": "a JPEG picture",
    ".gif": "a GIF picture",
    ".bmp": "a BMP picture",
    ".tif": "a TIFF picture",
    ".tiff": "a TIFF picture",
    ".webp": "a WebP picture",
    ".avif": "a picture in AVIF",
    ".heic": "a picture in HEIC",
    ".heif": "a picture in HEIC",
    ".mp4": "a video",
    ".mov": "a video",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
}


def it_is(path: Path) -> str:
    """ "; it is an HTML page" at the end of a message, if the file is not what its name says."""
    what = looks_like(path)
    own = _OWN.get(path.suffix.lower())
    return "" if what is None or (own and what.startswith(own)) else f"; it is {what}"


def looks_like(path: Path) -> str | None:
    """What a file is by its first bytes, in words that follow "it is"; None if they say nothing."""
    try:
        with path.open("rb") as file:
            return _of(file.read(HEAD_BYTES), path)
    except (OSError, ValueError):
        return None


def brand(head: bytes) -> str | None:
    """ "HEIC" or "AVIF", if a file that begins so is one."""
    if head[4:8] != b"ftyp":
        return None
    length = min(max(int.from_bytes(head[:4], "big"), 12), FTYP_BYTES)
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, length - 3, 4))]
    for name, known in (("AVIF", AVIF), ("HEIC", HEIC), ("HEIC", GENERAL)):
        if any(each in known for each in brands):
            return name
    return None


def _of(head: bytes, path: Path) -> str | None:
    if not head:
        return "empty"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _HTML.match(text) or (text[:1] == b"<" and _HTML.search(text)):
        title = _TITLE.search(text)
        named = f" ('{printable(title[1].decode('utf-8', 'replace'))}')" if title else ""
        return f"an HTML page{named}, so the download failed"
    if text.startswith((b"<?xml", b"<svg", b"<Error")):
        return "XML"
    for start, what in _BEGINS:
        if head.startswith(start):
            return what
    if head[:4] == b"RIFF":
        return "a WebP picture" if head[8:12] == b"WEBP" else "a RIFF file (sound or video)"
    if head[4:8] == b"ftyp":
        picture = brand(head)
        return "a video (MP4 or MOV)" if picture is None else f"a picture in {picture}"
    if not head.strip(b"\0"):
        return "nothing but zeros at its start, so the copy is not whole"
    if text[:1] in (b"{", b"[") and _is_text(head):
        return "JSON"
    return "text" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Whether these are characters, perhaps with the last one cut off."""
    if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return False
    return True
