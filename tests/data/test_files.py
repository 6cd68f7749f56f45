"""Files to predict from: read as the training data were."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.hostile import idx

from faltung.data.files import Like, read_files
from faltung.data.open import open_source
from faltung.data.units import Units

RANDOM = np.random.default_rng(0)
PICTURE = Like("picture", (1, 6, 5))


def test_pictures_are_read_as_in_training(two_classes: Path) -> None:
    source = open_source(two_classes)
    paths = [two_classes / name for name in source.names]
    got, names = read_files(paths, PICTURE)
    np.testing.assert_array_equal(got, source.read(range(6)))
    assert names == tuple(map(str, paths))
    fitted, _ = read_files(paths, Like("picture", (3, 4, 4), fit=True))
    want = open_source(two_classes, size=4, channels=3).read(range(6))
    np.testing.assert_array_equal(fitted, want)
    with pytest.raises(ValueError, match=r"a.png: is 6x5, must be 8x8"):
        read_files(paths, Like("picture", (1, 8, 8)))


@pytest.mark.parametrize(
    ("given", "like", "arranged"),
    [
        ((1, 6, 5), (1, 6, 5), (1, 1, 6, 5)),
        ((6, 5), (1, 6, 5), (1, 1, 6, 5)),
        ((4, 6, 5), (1, 6, 5), (4, 1, 6, 5)),
        ((4, 1, 6, 5), (1, 6, 5), (4, 1, 6, 5)),
        ((4, 6, 5, 1), (1, 6, 5), (4, 1, 6, 5)),
        ((6, 5, 3), (3, 6, 5), (1, 3, 6, 5)),
        ((4, 6, 5, 3), (3, 6, 5), (4, 3, 6, 5)),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays(
    suffix: str,
    given: tuple[int, ...],
    like: tuple[int, ...],
    arranged: tuple[int, ...],
    tmp_path: Path,
) -> None:
    x = RANDOM.random(given).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    np.save(path, x) if suffix == "npy" else np.savez(path, x=x, y=[0])
    got, names = read_files([path], Like("picture", like))
    assert got.shape == arranged and sorted(got.ravel()) == sorted(x.ravel())
    assert names == ((str(path),) if arranged[0] == 1 else tuple(f"{path}[{i}]" for i in range(4)))


def test_scale(tmp_path: Path) -> None:
    x = RANDOM.integers(0, 17, (6, 5), np.uint8)
    np.save(tmp_path / "a.npy", x)
    for scale, divisor in ((None, 255), (16, 16)):
        got, _ = read_files([tmp_path / "a.npy"], Like("picture", (1, 6, 5), scale=scale))
        np.testing.assert_array_equal(got[0, 0], x.astype(np.float32) / np.float32(divisor))


def test_idx_and_several_files_together(tmp_path: Path) -> None:
    x = RANDOM.integers(0, 256, (3, 6, 5), np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(x))
    np.save(tmp_path / "a.npy", x[0])
    got, names = read_files([tmp_path / "t10k-images-idx3-ubyte", tmp_path / "a.npy"], PICTURE)
    assert got.shape == (4, 1, 6, 5) and names[2].endswith("ubyte[2]")
    np.testing.assert_array_equal(got[0], got[3])


def test_text_and_volumes(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.arange(12).reshape(2, 6))
    got, _ = read_files([tmp_path / "t.npy"], Like("text", (6,)))
    assert got.dtype == np.int64 and got.shape == (2, 6)
    nibabel = pytest.importorskip("nibabel")
    x = RANDOM.random((4, 5, 6)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(x, np.eye(4)), tmp_path / "v.nii.gz")
    got, _ = read_files([tmp_path / "v.nii.gz"], Like("volume", (1, 4, 5, 6)))
    np.testing.assert_array_equal(got[0, 0], x)


@pytest.mark.parametrize(
    "text", ["1,2,3\n4,5,6\n", "a,1,2,3\nb,4,5,6\n", "x,y,z,label\n1,2,3,a\n4,5,6,b"]
)
def test_lines_with_and_without_labels(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    got, names = read_files([tmp_path / "a.csv"], Like("series", (1, 3)))
    assert got.tolist() == [[[1, 2, 3]], [[4, 5, 6]]]
    assert names[1].endswith("a.csv[1]")
    table, _ = read_files([tmp_path / "a.csv"], Like("table", (3,)))
    assert table.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_lines_of_other_lengths(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\t0\t2\t4\t6\t8\nb\t0\t4\t8\tNaN\tNaN\n")
    got, _ = read_files([tmp_path / "a.tsv"], Like("series", (1, 3), fit=True))
    want = open_source(tmp_path / "a.tsv", size=3).read([0, 1])
    np.testing.assert_array_equal(got, want)
    with pytest.raises(ValueError, match=r"a.tsv: line 2 has 3 values"):
        read_files([tmp_path / "a.tsv"], Like("series", (1, 3)))


def refused(folder: Path) -> list[tuple[str, Like, str]]:
    np.save(folder / "a.npy", np.ones((7, 7)))
    np.save(folder / "nan.npy", np.full((6, 5), np.nan))
    np.save(folder / "huge.npy", np.full((6, 5), 1e300))
    np.save(folder / "none.npy", np.ones((0, 6, 5)))
    np.save(folder / "words.npy", np.full((6, 5), "a"))
    np.savez(folder / "y.npz", y=[1])
    (folder / "bad.png").write_bytes(b"bad")
    (folder / "bad.nii").write_bytes(b"bad")
    (folder / "a.csv").write_text("a,1,2\n")
    return [
        ("a.npy", PICTURE, "has shape (7, 7), must be (1, 6, 5)"),
        ("nan.npy", PICTURE, "contains NaN"),
        ("huge.npy", PICTURE, "contains an infinite value"),
        ("none.npy", PICTURE, "contains no samples"),
        ("words.npy", PICTURE, "is not of real numbers"),
        ("y.npz", PICTURE, "has no array called 'x'"),
        ("bad.png", PICTURE, "is no picture (PNG, JPEG, "),
        ("bad.png", Like("series", (1, 6)), "cannot be read as a series"),
        ("bad.nii", PICTURE, "is a volume, must be a picture"),
        ("bad.nii", Like("volume", (1, 6, 5, 4)), "cannot be read"),
        ("a.csv", PICTURE, "a text file holds series or rows of a table, not pictures"),
        ("a.csv", Like("series", (1, 6)), "line 1 has 2 values, must have 6, as in training"),
        ("a.npy", Like("text", (7,)), "text must be whole numbers"),
        (".", PICTURE, "must be a file"),
    ]


def test_refusals(tmp_path: Path) -> None:
    for name, like, message in refused(tmp_path):
        path = tmp_path / name
        with pytest.raises(ValueError, match=r"^" + re.escape(str(path))) as error:
            read_files([path], like)
        assert message in str(error.value)


def test_pictures_whose_format_says_nothing_of_white(tmp_path: Path) -> None:
    """Floats and signed numbers in a TIFF are taken as those of an array are, or refused."""
    tifffile = pytest.importorskip("tifffile")
    x = RANDOM.integers(0, 256, (6, 5))
    x[0, :2] = 255, 0
    deep = Units(65535, 65535, fixed=True, whole=True)
    for name, units, stored in (
        ("fractions of 16 bits", deep, (x / 255).astype("f4")),
        ("fractions", Units(1, 1, low=0, high=1), (x / 255).astype("f4")),
        ("int16", Units(255, 255, low=0, high=255, whole=True), x.astype("i2")),
    ):
        tifffile.imwrite(tmp_path / "a.tif", stored)
        got, _ = read_files([tmp_path / "a.tif"], Like("picture", (1, 6, 5), units=units))
        np.testing.assert_allclose(got[0, 0], x / 255, atol=1e-6, err_msg=name)
    heights = Units(low=-100, high=3000)
    tifffile.imwrite(tmp_path / "a.tif", (x - 300.5).astype("f4"))
    got, _ = read_files([tmp_path / "a.tif"], Like("picture", (1, 6, 5), units=heights))
    np.testing.assert_array_equal(got[0, 0], x - 300.5)
    with pytest.raises(ValueError, match=r"a.tif: holds numbers -300.5..-45.5, of which none is"):
        read_files([tmp_path / "a.tif"], Like("picture", (1, 6, 5), units=deep))
    for name in ("data/a", "data/b"):
        (tmp_path / name).mkdir(parents=True)
        tifffile.imwrite(tmp_path / name / "a.tif", (x - 300.5).astype("f4"))
    with pytest.raises(ValueError, match=r"^data: holds numbers -300.5..-45.5, of which none is"):
        open_source(tmp_path / "data", like=Like("picture", (1, 6, 5), units=deep))
    tifffile.imwrite(tmp_path / "a.tif", x.astype("u1"))
    with pytest.raises(ValueError, match=r"a.tif: has levels from 0 to 255, and the network was"):
        read_files([tmp_path / "a.tif"], Like("picture", (1, 6, 5), units=heights))


def test_missing_files() -> None:
    with pytest.raises(FileNotFoundError, match=r"^nowhere.png: no such file"):
        read_files(["nowhere.png"], PICTURE)
    with pytest.raises(ValueError, match="name at least one file"):
        read_files([], PICTURE)


@pytest.mark.parametrize(
    ("kind", "shape"), [("film", (1, 2, 3)), ("picture", (6, 5)), ("picture", (1, 0, 5))]
)
def test_like(kind: str, shape: Any) -> None:
    with pytest.raises(ValueError):
        Like(kind, shape)


def test_notes_on_text(tmp_path: Path) -> None:
    """Columns that nobody named, and values far from those of the training."""
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    (tmp_path / "b.csv").write_text("a,b\n100,200\n")
    like = Like("table", (2,), units=Units(low=0, high=5, whole=True), columns=("a", "b"))
    notes: list[str] = []
    read_files([tmp_path / "a.csv", tmp_path / "b.csv"], like, note=notes.append)
    assert [note.split(": ", 1)[1] for note in notes] == [
        "has no header, so its columns are taken in the order of training",
        "values 100..200, but the network was trained on 0..5: is their unit the same?",
    ]
