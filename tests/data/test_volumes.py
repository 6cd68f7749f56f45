"""NIfTI files: axes, channels, values, sizes; and headers that lie."""

import gzip
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.hostile import nifti
from optional import optional

from faltung.data import limits
from faltung.data.folder import FileSource
from faltung.data.open import open_source
from faltung.data.source import ArraySource
from faltung.data.volumes import decode

nibabel = optional("nibabel")
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((5, 6, 7)).astype(np.float32)


def save(path: Path, values: np.ndarray, affine: Any = None, kind: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (kind or nibabel.Nifti1Image)(values, np.eye(4) if affine is None else affine)
    nibabel.save(image, path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for i, name in enumerate(["ill/a.nii", "ill/b.nii.gz", "well/c.nii.gz", "well/d.nii"]):
        save(tmp_path / name, X + i)
    return tmp_path


def test_a_folder(scans: Path) -> None:
    source = open_source(scans)
    assert (source.kind, source.shape, source.classes) == ("volume", (1, 5, 6, 7), ("ill", "well"))
    assert source.lazy and source.names[1] == "ill/b.nii.gz"
    np.testing.assert_array_equal(source.read([2, 0]), np.stack([X + 2, X])[:, None])


def test_sizes_by_interpolation(scans: Path) -> None:
    save(scans / "well/e.nii", X[:, :, 1:])
    message = "well/e.nii: is 5x6x6, the first is 5x6x7; pass size="
    with pytest.raises(ValueError, match=re.escape(message)):
        open_source(scans)
    assert open_source(scans, size=4).read(range(5)).shape == (5, 1, 4, 4, 4)
    assert open_source(scans, size=(5, 6, 7)).shape == (1, 5, 6, 7)
    with pytest.raises(ValueError, match=r"size=\(4, 4\): must be one number or 3"):
        open_source(scans, size=(4, 4))


def test_a_fourth_axis_is_channels(scans: Path) -> None:
    four = RANDOM.standard_normal((5, 6, 7, 2)).astype(np.float32)
    path = save(scans / "four/e.nii", four)
    got = decode(path, "e", shape=(2, 5, 6, 7), fit=False)
    np.testing.assert_array_equal(got, np.moveaxis(four, -1, 0))
    with pytest.raises(ValueError, match="has 1 channels, must have 2"):
        open_source(scans)


def test_axes_are_brought_to_one_order(tmp_path: Path) -> None:
    """The same head, stored with its axes in another order and the first one backwards."""
    turned = X[::-1].transpose(2, 0, 1)
    affine = np.zeros((4, 4))
    affine[0, 1], affine[1, 2], affine[2, 0], affine[3, 3] = -1, 1, 1, 1
    save(tmp_path / "a/a.nii", X)
    save(tmp_path / "b/a.nii", np.ascontiguousarray(turned), affine)
    got = open_source(tmp_path).read([0, 1])
    np.testing.assert_array_equal(got[0], got[1])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_types_and_slope(dtype: str, kind: str, tmp_path: Path) -> None:
    values = RANDOM.integers(0, 99, (3, 4, 5)).astype(dtype)
    image = getattr(nibabel, kind)(values, np.eye(4))
    image.header.set_slope_inter(2, 10) if dtype == "int16" else None
    nibabel.save(image, tmp_path / "a.nii")
    want = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj)
    got = decode(tmp_path / "a.nii", "a", shape=(1, 3, 4, 5), fit=False)
    np.testing.assert_allclose(got[0], want, rtol=1e-6)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "an infinite value")])
def test_nan_is_the_fault_of_its_file(value: float, what: str, scans: Path) -> None:
    bad = X.copy()
    bad[1, 1, 1] = value
    path = save(scans / "ill/z.nii", bad)
    source = open_source(scans)
    assert source.skipped == (f"ill/z.nii: contains {what}",) and len(source) == 4
    with pytest.raises(ValueError, match=f"^ill/z.nii: contains {what}$"):
        open_source(scans, strict=True)
    with pytest.raises(ValueError, match=f"^z: contains {what}$"):
        decode(path, "z", shape=(1, 5, 6, 7), fit=False)


@pytest.mark.parametrize(("names", "code"), [("RGB", 128), ("RGBA", 2304)])
def test_colours_are_channels(names: str, code: int, tmp_path: Path) -> None:
    """NIfTI-1's DT_RGB24 and DT_RGBA32: a byte each, and x runs fastest."""
    values = RANDOM.integers(0, 256, (5, 6, 7, len(names)), np.uint8)
    data = values.transpose(2, 1, 0, 3).tobytes()
    for name in ("a/a.nii", "b/b.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(nifti((5, 6, 7), data, code=code))
    want = np.moveaxis(values, -1, 0)
    dtype = np.dtype([(letter, "u1") for letter in names])
    again = nibabel.load(tmp_path / "a/a.nii")
    assert again.get_data_dtype() == dtype
    source = open_source(tmp_path)
    assert isinstance(source, FileSource) and source.units.white == 255
    # without an affine nibabel lets x run from right to left
    np.testing.assert_array_equal(source.stored([0])[0], want[:, ::-1])
    small = open_source(tmp_path, size=3).read([1])
    assert small.shape == (1, len(names), 3, 3, 3) and 0 < small.mean() < 1
    save(tmp_path / "a/z.nii", X)
    with pytest.raises(ValueError, match=r"a/z.nii: has 1 channels"):
        open_source(tmp_path)


def test_a_fifth_axis_is_channels_if_the_fourth_is_one_long(tmp_path: Path) -> None:
    five = RANDOM.standard_normal((5, 6, 7, 1, 3)).astype(np.float32)
    path = save(tmp_path / "a.nii", five)
    got = decode(path, "a", shape=(3, 5, 6, 7), fit=False)
    np.testing.assert_array_equal(got, np.moveaxis(five[:, :, :, 0], -1, 0))
    path = save(tmp_path / "b.nii", RANDOM.standard_normal((5, 6, 7, 2, 3)).astype(np.float32))
    message = "b: has the shape 5x6x7x2x3; volumes are x, y, z and perhaps channels, as a fourth"
    with pytest.raises(ValueError, match=re.escape(message)):
        decode(path, "b", shape=(6, 5, 6, 7), fit=False)


def test_what_is_neither_a_number_nor_a_colour(scans: Path) -> None:
    save(scans / "ill/z.nii", X.astype(np.complex64))
    (line,) = open_source(scans).skipped
    assert line == "ill/z.nii: holds complex64; real numbers and colours (RGB24, RGBA32) are read"


def test_every_file_is_decoded_once(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(scans)
    for path in scans.glob("*/*"):
        path.unlink()
    np.testing.assert_array_equal(source.read([0])[0, 0], X)


BROKEN = {
    "cut off": nifti((5, 6, 7), X.tobytes()[:-1]),
    "no data": nifti((5, 6, 7), b""),
    "a header cut off": nifti((5, 6, 7), b"")[:300],
    "a thousand million": nifti((1000, 1000, 1000), X.tobytes()),
    "most that fits": nifti((32767,) * 3, X.tobytes()),
    "negative": nifti((-5, 6, 7), X.tobytes()),
    "no length": nifti((0, 6, 7), X.tobytes()),
    "two axes": nifti((5, 6), X.tobytes()),
    "five axes": nifti((5, 3, 7, 2, 1, 1), X.tobytes()[:-1]),
    "times and channels": nifti((5, 6, 1, 7, 2), X.tobytes() * 2),
    "complex": nifti((5, 6, 7), X.tobytes() * 2, code=32),
    "colours": nifti((5, 6, 7), X.tobytes(), code=128),
    "no type": nifti((5, 6, 7), X.tobytes(), code=77),
    "data far away": nifti((5, 6, 7), X.tobytes(), offset=1e15),
    "data before": nifti((5, 6, 7), X.tobytes(), offset=-4000),
    "no number": nifti((5, 6, 7), X.tobytes(), offset=float("nan")),
    "no NIfTI": b"hello" * 100,
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_named(what: str, packed: bool, scans: Path) -> None:
    """At the latest when they are read; nothing is allocated for a claim."""
    data = BROKEN[what]
    name = "ill/x.nii" + ".gz" * packed
    (scans / name).write_bytes(gzip.compress(data) if packed else data)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"^{name}: ") as error:
        open_source(scans, strict=True).read(range(5))
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()
    assert str(error.value).isprintable() and len(str(error.value)) < 400


def test_what_its_header_shows_is_skipped(scans: Path) -> None:
    (scans / "ill/x.nii").write_bytes(BROKEN["a thousand million"])
    (scans / "well/notes.txt").write_text("about")
    source = open_source(scans)
    assert len(source) == 4
    assert [line.split(":")[0] for line in source.skipped] == ["ill/x.nii", "well/notes.txt"]


def test_a_bomb(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 1 << 20)
    data = nifti((128, 128, 128), bytes(4 << 21))
    (scans / "ill/x.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(ValueError, match=r"ill/x.nii.gz: .*decompression bomb"):
        open_source(scans)


def test_axes_that_are_nonsense(tmp_path: Path) -> None:
    """Points of no size, on no line: the axes are left as they are."""
    data = bytearray(nifti((5, 6, 7), X.tobytes()))
    struct.pack_into("<h", data, 254, 1)  # the affine is given, and it is all zeros
    path = tmp_path / "a.nii"
    path.write_bytes(data)
    assert not nibabel.load(path).affine[:3].any()
    got = decode(path, "a", shape=(1, 5, 6, 7), fit=False)
    np.testing.assert_array_equal(got[0], X.reshape(7, 6, 5).T)


def test_volumes_in_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.stack([X, X])[:, None], y=[0, 1])
    source = open_source(tmp_path / "a.npz")
    assert source.kind == "volume" and isinstance(source, ArraySource)


def test_without_nibabel(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(ImportError, match=re.escape('pip install "faltung[volumes]"')):
        open_source(scans)
