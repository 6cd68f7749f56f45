"""What descriptions say of pages; and texts that lie, which take neither memory nor time."""

import json

import pytest

from faltung.data.axes import Axes, claimed_pages, page_axes
from faltung.data.folder import Broken


def ome(
    more: str = "", order: str = "XYZCT", sizes: str = 'SizeZ="3" SizeC="2" SizeT="1"'
) -> bytes:
    return (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels ID="0" '
        f'DimensionOrder="{order}" SizeX="5" SizeY="6" {sizes}>{more}</Pixels></Image></OME>'
    ).encode()


def test_imagej() -> None:
    text = b"ImageJ=1.53t\nimages=24\nchannels=2\nslices=3\nframes=4\nhyperstack=true\nmin=0.0\n"
    assert page_axes(text, 24) == Axes("TZC", (4, 3, 2))
    assert page_axes(b"ImageJ=1.53t\nimages=7\nslices=7\n", 7) == Axes("Z", (7,))
    assert page_axes(text, 23) == Axes("I", (23,))  # the description is not of these pages
    assert claimed_pages(text, 30) == 24 and claimed_pages(b"images=24", 30) == 1


def test_tifffile() -> None:
    text = json.dumps({"axes": "ZCYX", "shape": [3, 2, 6, 5]}).encode()
    assert page_axes(text, 6) == Axes("ZC", (3, 2))
    assert page_axes(b'{"shape": [6, 6, 5]}', 6) == Axes("I", (6,))
    assert page_axes(json.dumps({"axes": "QYX", "shape": [6, 6, 5]}).encode(), 6) == Axes("I", (6,))
    assert claimed_pages(b'{"shape": [7, 6, 5], "truncated": true}', 30) == 7
    assert claimed_pages(b'{"shape": [7, 6, 5]}', 30) == 1
    for bad in (b"{", b"[1]", b'{"shape": 7, "axes": "ZYX"}', b'{"shape": [-6], "axes": "Z"}'):
        assert page_axes(bad, 6) == Axes("I", (6,)) and claimed_pages(bad, 30) == 1
    assert page_axes(b"{" * 100_000, 6) == Axes("I", (6,))


def test_ome() -> None:
    assert page_axes(ome("<TiffData/>"), 6) == Axes("CZ", (2, 3))
    assert page_axes(ome('<TiffData Note="1"/>', order="XYCZT"), 6) == Axes("ZC", (3, 2))
    colour = '<Channel SamplesPerPixel="2"/><TiffData/>'
    assert page_axes(ome(colour), 3) == Axes("Z", (3,))
    assert page_axes(b"a scan", 6) == Axes("I", (6,))
    assert page_axes(b"", 1) == Axes("", ())


def test_ome_may_name_pages_in_any_order() -> None:
    blocks = "".join(
        f'<TiffData FirstZ="{z}" FirstC="{c}" IFD="{5 - 2 * z - c}" PlaneCount="1"/>'
        for c in range(2)
        for z in range(3)
    )
    found = page_axes(ome(blocks), 6)
    assert found == Axes("CZ", (2, 3), (5, 3, 1, 4, 2, 0))


BROKEN = {
    "fewer pages": (ome('<TiffData IFD="0"/>'), "has OME metadata of 6 pages, but 5"),
    "a page twice": (
        ome('<TiffData IFD="0"/>' * 5), "do not name each page once",
    ),
    "billions of planes": (
        ome('<TiffData IFD="0" PlaneCount="1000000000000"/>'), "of pages that are not there",
    ),
    "a page before the first": (ome('<TiffData IFD="-1"/>'), "of pages that are not there"),
    "no XML": (b"<OME><Image></OME>", "are no XML"),
    "entities": (
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + ome(), "has OME metadata with a document type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_ome_that_does_not_fit(what: str) -> None:
    text, why = BROKEN[what]
    with pytest.raises(Broken, match=why):
        page_axes(text, 5 if what == "fewer pages" else 6)


@pytest.mark.parametrize(
    "text",
    [
        ome(order="XYZ"),
        ome(sizes='SizeZ="x" SizeC="2" SizeT="1"'),
        ome(sizes='SizeZ="0" SizeC="2" SizeT="1"'),
        ome(sizes=""),
        ome('<Channel SamplesPerPixel="5"/>'),
        b"<OME></OME>",
    ],
)
def test_ome_that_says_nothing(text: bytes) -> None:
    assert page_axes(text, 6) == Axes("I", (6,))
