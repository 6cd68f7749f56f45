"""IDX files, packed or not, honest or not."""

import gzip
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data.hostile import idx

from faltung.data import limits
from faltung.data.idx import read_idx
from faltung.data.open import open_source

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (12, 5, 7), np.uint8)
Y = np.arange(12, dtype=np.uint8) % 3


def save(folder: Path, stem: str = "train", dot: str = "-", packed: bool = False) -> Path:
    """A pair of files as MNIST names them; the path of the pictures."""
    for what, array in (("images", X), ("labels", Y)):
        name = f"{stem}-{what}{dot}idx{array.ndim}-ubyte" + ".gz" * packed
        data = idx(array)
        (folder / name).write_bytes(gzip.compress(data) if packed else data)
    return folder / (f"{stem}-images{dot}idx3-ubyte" + ".gz" * packed)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("stem", ["train", "t10k", "emnist-letters-train"])
def test_a_pair_by_its_file_and_by_its_folder(
    stem: str, dot: str, packed: bool, tmp_path: Path
) -> None:
    path = save(tmp_path, stem, dot, packed)
    for source in (open_source(path), open_source(tmp_path)):
        assert (source.kind, source.shape) == ("picture", (1, 5, 7))
        np.testing.assert_array_equal(source.targets, Y)
        want = X[3:5, None].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(source.read([3, 4]), want)


def test_the_part_for_training_is_taken(tmp_path: Path) -> None:
    save(tmp_path, "t10k")
    train = save(tmp_path, "train", packed=True)
    train.write_bytes(gzip.compress(idx(X[:6])))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Y[:6])))
    assert len(open_source(tmp_path)) == 6
    assert len(open_source(tmp_path / "t10k-images-idx3-ubyte")) == 12


def test_several_parts_and_none_for_training(tmp_path: Path) -> None:
    save(tmp_path, "a")
    save(tmp_path, "b")
    with pytest.raises(ValueError, match=r"several files of pictures, a-images.*, b-images"):
        open_source(tmp_path)


def test_packed_and_unpacked_side_by_side(tmp_path: Path) -> None:
    save(tmp_path, packed=True)
    save(tmp_path)
    assert len(open_source(tmp_path)) == 12


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_every_type(code: int, dtype: str, tmp_path: Path) -> None:
    array = RANDOM.integers(-100, 100, (3, 4)).astype(dtype)
    (tmp_path / "a").write_bytes(idx(array, code))
    got = read_idx(tmp_path / "a", "a")
    np.testing.assert_array_equal(got, array)
    assert got.dtype == np.dtype(dtype)


def test_colour(tmp_path: Path) -> None:
    path = save(tmp_path)
    colour = path.with_name("train-images-idx4-ubyte")
    colour.write_bytes(idx(RANDOM.integers(0, 256, (12, 5, 7, 3), np.uint8)))
    assert open_source(colour).shape == (3, 5, 7)


LIES = {
    "nothing": b"",
    "two bytes": b"\0\0",
    "another magic": b"\x89PNG" + bytes(100),
    "a type that is none": idx(X, 0x0A),
    "no axes": b"\0\0\x08\0" + bytes(8),
    "two hundred axes": b"\0\0\x08\xc8" + bytes(1000),
    "a header cut off": idx(X)[:10],
    "cut off": idx(X)[:-1],
    "too long": idx(X) + b"\0",
    "another type": idx(X, 0x0E),
    "a thousand million": idx(X, sizes=(1000, 1000, 1000)),
    "all that fits": idx(X, sizes=(0xFFFFFFFF,) * 5),
    "all that fits but one": idx(X, sizes=(0xFFFFFFFF, 0xFFFFFFFF, 0)),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", LIES)
def test_lies(what: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(LIES[what]) if packed else LIES[what])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y))
    tracemalloc.start()
    with pytest.raises(ValueError, match="train-images-idx3-ubyte") as error:
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()
    assert str(error.value).isprintable()


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 1 << 20)  # the real one is slow to write
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((16, 1024, 1024), np.uint8))))
    with pytest.raises(ValueError, match="refused as a decompression bomb"):
        read_idx(path, "a")


def test_a_bomb_behind_a_small_claim(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx(X) + bytes(1 << 27)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a: is longer than the \(12, 5, 7\)"):
        read_idx(path, "a")
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()


@pytest.mark.parametrize("cut", [1, 5, 15, 40])
def test_gzip_cut_off_or_broken(cut: int, tmp_path: Path) -> None:
    packed = gzip.compress(idx(X))
    for data in (packed[:-cut], packed[:20] + b"\xff" * cut + packed[20 + cut :]):
        (tmp_path / "a.gz").write_bytes(data)
        with pytest.raises(ValueError, match=r"^a: "):
            read_idx(tmp_path / "a.gz", "a")


def test_labels_that_are_missing_or_too_few(tmp_path: Path) -> None:
    path = save(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(Y[:11]))
    with pytest.raises(ValueError, match="12 samples have 11 targets"):
        open_source(path)
    labels.unlink()
    message = "its labels, train-labels-idx1-ubyte[.gz], are missing"
    with pytest.raises(ValueError, match=re.escape(message)):
        open_source(path)
    path.rename(tmp_path / "data")
    with pytest.raises(ValueError, match="data: its name should say 'images'"):
        open_source(tmp_path / "data")
