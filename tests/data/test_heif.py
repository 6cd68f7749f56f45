"""HEIC and AVIF: pictures of phones, and what is said where nothing reads them."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faltung.data import Like, open_source, read_files
from faltung.data.contents import brand, looks_like

# Of HEIC as phones write it, of AVIF, and of a video.
HEADS = {
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "HEIC",
    b"\0\0\0\x18ftypmif1\0\0\0\0heicmif1": "HEIC",
    b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf": "AVIF",
    b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf": "AVIF",
    b"\0\0\0\x18ftypisom\0\0\0\0isommp41": None,
    b"\xff\xff\xff\xffftypqt  ": None,
    b"ftyp": None,
}
Save = Callable[[Path], None]


@pytest.mark.parametrize("head", HEADS)
def test_brands(head: bytes, tmp_path: Path) -> None:
    assert brand(head) == HEADS[head]
    (tmp_path / "a").write_bytes(head + b"\1" * 99)
    if head[4:8] == b"ftyp":
        said = "a video (MP4 or MOV)" if HEADS[head] is None else f"a picture in {HEADS[head]}"
        assert looks_like(tmp_path / "a") == said


def colours(path: Path, number: int = 0, **more: Any) -> Path:
    """A picture whose left half is darker; written without much loss."""
    values = np.full((32, 48, 3), 60 + 10 * number, np.uint8)
    values[:, 24:] = (200, 150, 100)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, quality=95, **more)
    return path


def test_heic_is_trained_on_and_predicted(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    if "HEIF" not in Image.SAVE:
        pytest.skip("this pillow-heif does not write")
    for i in range(4):
        colours(tmp_path / "data" / "ab"[i % 2] / f"{i}.heic", i)
    (tmp_path / "data/a/broken.heic").write_bytes((tmp_path / "data/a/0.heic").read_bytes()[:300])
    Image.OPEN.pop("HEIF")  # as in a process where nobody asked for it
    source = open_source(tmp_path / "data", size=16)
    assert (len(source), source.shape) == (4, (3, 16, 16))
    assert len(source.skipped) == 1 and source.skipped[0].startswith("a/broken.heic: ")
    x = source.read([0])[0]
    np.testing.assert_allclose(x[:, 8, 2] * 255, 60, atol=4)
    np.testing.assert_allclose(x[:, 8, 14] * 255, (200, 150, 100), atol=4)
    again, _ = read_files([tmp_path / "data/a/0.heic"], Like("picture", (3, 16, 16), fit=True))
    assert np.array_equal(again[0], x)


def test_avif_and_a_turned_picture(tmp_path: Path) -> None:
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    path = colours(tmp_path / "a.avif", exif=exif)
    values, _ = read_files([path], Like("picture", (3, 48, 32), units=None))
    np.testing.assert_allclose(values[0, :, 2, 8] * 255, 60, atol=4)


def test_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return plain(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k[-2:] != "IF"})
    for (head, kind), said in zip(
        list(HEADS.items())[1:3],
        (r'needs pillow-heif: pip install "faltung\[heic\]"', r'pip install "pillow>=11.3"'),
        strict=True,
    ):
        (tmp_path / "a.bin").write_bytes(head + b"\0" * 99)
        with pytest.raises(ValueError, match=f"is {kind}, which .*{said}"):
            read_files([tmp_path / "a.bin"], Like("picture", (3, 8, 8)))
