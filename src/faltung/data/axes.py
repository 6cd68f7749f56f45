"""What the pages of a TIFF are: channels, depth or times, as ImageJ, OME and tifffile write it.

Sources: ImageJ's ``TiffEncoder.java`` for its description, the OME-TIFF specification
(ome-model, 6.x) for the XML. Texts are claims: their sizes must come to the number of pages.
"""

import json
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from faltung.data.folder import Broken

# A description longer than this is not looked at; OME's has a line for each page.
MAX_TEXT_BYTES = 1 << 24
PAGES = "I"  # an axis of which nothing is known


@dataclass(frozen=True)
class Axes:
    """``names`` of the axes along which pages run, outermost first, and their ``sizes``: "C"
    channels, "Z" depth, "T" times, "I" unknown. ``order``: the pages in this order, if another.
    """

    names: str
    sizes: tuple[int, ...]
    order: tuple[int, ...] | None = None


def claimed_pages(text: bytes) -> int:
    """How many pages ImageJ says there are; it may write them all into a single strip."""
    found = re.search(rb"^images=(\d{1,9})\s*$", text, re.MULTILINE)
    return int(found.group(1)) if found and text.startswith(b"ImageJ=") else 1


def page_axes(text: bytes, pages: int) -> Axes:
    """The axes of so many pages. Broken: an OME file that does not fit its pages."""
    found = None
    if len(text) <= MAX_TEXT_BYTES:
        if text.startswith(b"ImageJ="):
            found = _imagej(text)
        elif text.startswith(b"{"):
            found = _shaped(text)
        elif b"<OME" in text[:4096] and text.endswith(b"OME>"):
            found = _ome(text, pages)
    if found is None or _count(found.sizes) != pages:
        found = Axes(PAGES, (pages,))
    kept = [i for i, size in enumerate(found.sizes) if size > 1]
    names, sizes = "".join(found.names[i] for i in kept), tuple(found.sizes[i] for i in kept)
    return Axes(names, sizes, found.order)


def _count(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= max(size, 0)
    return total


def _imagej(text: bytes) -> Axes | None:
    """``frames``, ``slices`` and ``channels`` of a hyperstack; of a plain stack, its slices."""
    pairs = dict(re.findall(rb"^(\w+)=(\d{1,9})\s*$", text, re.MULTILINE))
    sizes = tuple(int(pairs.get(key, 1)) for key in (b"frames", b"slices", b"channels"))
    return Axes("TZC", sizes)


def _shaped(text: bytes) -> Axes | None:
    """tifffile's ``{"shape": [...], "axes": "..."}``: the axes before the page's own two."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    axes, shape = said.get("axes"), said.get("shape")
    if not isinstance(axes, str) or not isinstance(shape, list) or len(axes) != len(shape):
        return None
    if not all(isinstance(size, int) for size in shape):
        return None
    place = axes.find("YX")
    names = "".join(name if name in "CZT" else PAGES for name in axes[: max(place, 0)])
    return Axes(names, tuple(shape[: max(place, 0)]))


def _ome(text: bytes, pages: int) -> Axes | None:
    """The first image of an OME document, whose pages must all be in this file, once each."""
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise Broken("has OME metadata with a document type, which is not read")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise Broken("has OME metadata that are no XML") from error
    pixels = [one for one in root.iter() if one.tag.endswith("}Pixels") or one.tag == "Pixels"]
    if len(pixels) != 1:
        return None
    try:
        names = pixels[0].attrib["DimensionOrder"][2:][::-1]  # XYZCT: the first runs fastest
        sizes = [int(pixels[0].attrib[f"Size{name}"]) for name in names]
    except (KeyError, ValueError):
        return None
    if sorted(names) != ["C", "T", "Z"]:
        return None
    spread = _samples(pixels[0])
    channels = names.index("C")
    if spread < 1 or sizes[channels] % spread:
        return None
    sizes[channels] //= spread  # samples of one page are in the page
    return Axes(names, tuple(sizes), _order(pixels[0], names, sizes, pages))


def _samples(pixels: ElementTree.Element) -> int:
    """Channels that a single page holds."""
    for one in pixels:
        if one.tag.endswith("Channel"):
            return int(one.attrib.get("SamplesPerPixel", 1))
    return 1


def _order(
    pixels: ElementTree.Element, names: str, sizes: list[int], pages: int
) -> tuple[int, ...] | None:
    """The page of each plane, planes in the order of the axes. Broken: not all are in this file."""
    blocks = [one for one in pixels if one.tag.endswith("TiffData")]
    files = {part.text for one in blocks for part in one if part.tag.endswith("UUID")}
    if len(files) > 1:
        raise Broken("is one of several files of an OME image, which are not joined")
    if _count(tuple(sizes)) != pages:
        raise Broken(f"has OME metadata of {_count(tuple(sizes))} pages, but {pages}")
    if not any(one.attrib for one in blocks):
        return None
    order = [-1] * pages
    for one in blocks:
        said = {key: int(value) for key, value in one.attrib.items()}
        plane = 0
        for name, size in zip(names, sizes, strict=True):
            plane = plane * size + said.get(f"First{name}", 0)
        first = said.get("IFD", 0)
        count = said.get("PlaneCount", 1 if "IFD" in said else pages)
        if not (0 <= plane <= plane + count <= pages and 0 <= first <= first + count <= pages):
            raise Broken("has OME metadata of pages that are not there")
        order[plane : plane + count] = range(first, first + count)
    if sorted(order) != list(range(pages)):
        raise Broken("has OME metadata that do not name each page once")
    return tuple(order)
