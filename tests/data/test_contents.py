"""What a file is instead: pages, pointers and other formats under the names of data."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.data.contents import it_is, looks_like
from faltung.data.files import Like, read_files
from faltung.data.open import open_source

HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not\nFound</title></head><body>no</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
FOREIGN = {
    "an HTML page ('404 Not\\nFound'), so the download failed": HTML,
    "an HTML page": b"\xef\xbb\xbf \n<HTML>",
    "a pointer of Git LFS": POINTER,
    "JSON": json.dumps({"message": "not found"}).encode(),
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "text": "Bad request, ä\n".encode(),
    "nothing but zeros": bytes(2000),
    "a pickle": b"\x80\x04\x95",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(99),
    "an old Office document": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_first_bytes(what: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(FOREIGN[what])
    said = looks_like(tmp_path / "file")
    assert said is not None and said.startswith(what) and said.isprintable()


def test_what_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(1, 256)))
    assert looks_like(tmp_path / "file") is None
    assert looks_like(tmp_path / "none") is None
    assert looks_like(tmp_path) is None
    cut = "ä" * 4000  # the last character that is read may be half a one
    for start in ("", "x"):
        (tmp_path / "file").write_text(start + cut, "utf-8")
        assert looks_like(tmp_path / "file") == "text"


def test_what_the_name_says_is_not_repeated(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    (tmp_path / "x.csv").write_text("a,1\n")
    assert [it_is(path) for path in tmp_path.iterdir()] == ["", "", ""]
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npy").read_bytes())
    assert it_is(tmp_path / "x.npz") == "; it is a NumPy array (.npy)"


READ = ("x.npy", "x.npz", "x.nii.gz", "train-images-idx3-ubyte.gz")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("what", ["an HTML page", "a pointer of Git LFS", "JSON"])
def test_every_reader_says_it(name: str, what: str, tmp_path: Path) -> None:
    pytest.importorskip("nibabel" if ".nii" in name else "PIL")
    (tmp_path / name).write_bytes(FOREIGN[what])
    like = Like("volume", (1, 4, 4, 4)) if ".nii" in name else Like("picture", (1, 8, 8))
    with pytest.raises(ValueError, match=f"^[^\n]*{name}.*; it is {what}"):
        read_files([tmp_path / name], like)


def test_idx_and_npz_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(b"\0\0\x08\1\0\0\0\2\0\1"))
    for name in ("train-images-idx3-ubyte.gz", "data.npz"):
        (tmp_path / name).write_bytes(HTML)
        with pytest.raises(ValueError, match=rf"^{name}: .*; it is an HTML page \('404"):
            open_source(tmp_path / name)
        assert main(["train", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.startswith(f"faltung train: {name}: ")


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(np.zeros((8, 8), np.uint8)).save(file, "PNG")
    for i in range(4):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(file.getvalue())
    (tmp_path / "a/x.png").write_bytes(HTML)
    (tmp_path / "a/y.png").write_bytes(file.getvalue()[:50])
    page, cut = open_source(tmp_path).skipped
    assert page.startswith("a/x.png: ") and "; it is an HTML page" in page
    assert cut.startswith("a/y.png: ") and "it is" not in cut


def test_a_file_that_nothing_reads(tmp_path: Path) -> None:
    (tmp_path / "train.h5").write_bytes(FOREIGN["an HDF5 file"])
    with pytest.raises(ValueError, match=r"is none of: .*; it is an HDF5 file"):
        open_source(tmp_path / "train.h5")
