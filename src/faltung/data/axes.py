"""What the pages of a TIFF are: channels, depth or times, as ImageJ, OME and tifffile write it.

Sources: ImageJ's ``TiffEncoder.java`` for its description, the OME-TIFF specification
(ome-model, 6.x) for the XML. Texts are claims: their sizes must come to the number of pages.
"""

import json
import re
from math import prod
from typing import Any
from xml.etree import ElementTree

from faltung.data.folder import Broken
from faltung.geometry.record import dataclass

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


def claimed_pages(text: bytes, page: int) -> int:
    """How many pages of ``page`` numbers there are if all of them lie in a single strip, as ImageJ
    and tifffile may write them.
    """
    if text.startswith(b"ImageJ="):
        found = re.search(rb"^images=(\d{1,9})\s*$", text, re.MULTILINE)
        return int(found.group(1)) if found else 1
    said = _json(text)
    shape = said.get("shape") if said.get("truncated") else None
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        return 1
    return max(prod(shape) // max(page, 1), 1)


def page_axes(text: bytes, pages: int) -> Axes:
    """The axes of so many pages. Broken: an OME file that does not fit its pages."""
    found = None
    if len(text) <= MAX_TEXT_BYTES:
        if text.startswith(b"ImageJ="):
            found = _imagej(text)
        elif b"<OME" in text[:4096] and text.endswith(b"OME>"):
            found = _ome(text, pages)
        else:
            found = _shaped(text)
    if found is None or prod(found.sizes) != pages:
        found = Axes(PAGES, (pages,))
    kept = [i for i, size in enumerate(found.sizes) if size > 1]
    names, sizes = "".join(found.names[i] for i in kept), tuple(found.sizes[i] for i in kept)
    return Axes(names, sizes, found.order)


def _imagej(text: bytes) -> Axes | None:
    """``frames``, ``slices`` and ``channels`` of a hyperstack; of a plain stack, its slices."""
    pairs = dict(re.findall(rb"^(\w+)=(\d{1,9})\s*$", text, re.MULTILINE))
    sizes = tuple(max(int(pairs.get(key, 1)), 1) for key in (b"frames", b"slices", b"channels"))
    return Axes("TZC", sizes)


def _shaped(text: bytes) -> Axes | None:
    """tifffile's ``{"shape": [...], "axes": "..."}``: the axes before the page's own two."""
    said = _json(text)
    axes, shape = said.get("axes"), said.get("shape")
    if not isinstance(axes, str) or not isinstance(shape, list) or len(axes) != len(shape):
        return None
    if not all(type(size) is int and size > 0 for size in shape):
        return None
    place = axes.find("YX")
    names = "".join(name if name in "CZT" else PAGES for name in axes[: max(place, 0)])
    return Axes(names, tuple(shape[: max(place, 0)]))


def _json(text: bytes) -> dict[str, Any]:
    """A description that is JSON, or nothing."""
    if not text.startswith(b"{") or len(text) > MAX_TEXT_BYTES:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


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
    if sorted(names) != ["C", "T", "Z"] or min(sizes) < 1:
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
    if prod(sizes) != pages:
        raise Broken(f"has OME metadata of {prod(sizes)} pages, but {pages}")
    if not any(one.attrib for one in blocks):
        return None
    order, left = [-1] * pages, pages
    known = {"IFD", "PlaneCount", *(f"First{name}" for name in names)}
    for one in blocks:
        said = {key: int(value) for key, value in one.attrib.items() if key in known}
        plane = 0
        for name, size in zip(names, sizes, strict=True):
            plane = plane * size + said.get(f"First{name}", 0)
        first = said.get("IFD", 0)
        count = said.get("PlaneCount", 1 if "IFD" in said else pages)
        if min(plane, first, count) < 0 or max(plane, first) + count > pages:
            raise Broken("has OME metadata of pages that are not there")
        left -= count
        if left < 0:
            break
        order[plane : plane + count] = range(first, first + count)
    if left or sorted(order) != list(range(pages)):
        raise Broken("has OME metadata that do not name each page once")
    return None if order == list(range(pages)) else tuple(order)
