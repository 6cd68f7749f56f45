"""Text as lines: packed, in other encodings, with other separators; what is no text at all."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from faltung.data import limits, text_lines
from faltung.data.files import Like, read_files
from faltung.data.open import open_source

TEXT = "label,a,b\nx,1.5,2\nz,3,4\n"


def saved(folder: Path, data: str | bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder / name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (TEXT, "a.csv"),
        (TEXT.replace(",", "\t"), "a.tsv"),
        (TEXT.replace(",", "\t"), "a.csv"),
        (TEXT.replace(",", ";"), "A.CSV"),
        (TEXT.replace(",", "  "), "a.txt"),
        (TEXT.replace(",", " "), "a.csv"),
        (TEXT.replace(",", " , "), "a.csv"),
        (TEXT.replace("\n", "\r\n"), "a.csv"),
        (TEXT.replace("\n", "\r"), "a.csv"),
        ("\ufeff" + TEXT, "a.csv"),
        ('"label","a","b"\n"x","1.5","2"\n"z","3","4"\n', "a.csv"),
        ('"la""bel;",a,label\n"1.5",2,x\n3,4,z\n', "a.csv"),
        ("sep=;\r\n" + TEXT.replace(",", ";"), "a.csv"),
        ("# by hand\n" + TEXT, "a.csv"),
        (gzip.compress(TEXT.encode(), mtime=0), "a.csv.gz"),
        (gzip.compress(("\ufeff" + TEXT.replace(",", "\t")).encode(), mtime=0), "a.TSV.GZ"),
        (gzip.compress(TEXT.encode(), mtime=0), "a.csv"),
    ],
)
def test_the_same_in_other_ways(data: str | bytes, name: str, tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, data, name))
    assert source.classes == ("x", "z")
    assert source.read([0, 1]).tolist() == [[[1.5, 2]], [[3, 4]]]
    got, _ = read_files([tmp_path / name], Like("series", (1, 2)))
    assert got.tolist() == [[[1.5, 2]], [[3, 4]]]


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (TEXT.encode("utf-16"), "a.csv", "is UTF-16: save it as UTF-8"),
        (TEXT.encode("utf-16-be"), "a.csv", "is UTF-16 or not text: save it as UTF-8"),
        ("größe,1,2\n".encode("latin-1"), "a.csv", "cannot be read as UTF-8 (byte 0xf6): save it"),
        ("  <!DOCTYPE html><html>", "a.csv", "is an HTML page, so the download failed: get the"),
        (b"PK\x03\x04rest", "a.csv", "is a zip archive, not text: save it as CSV"),
        (b"PAR1\x15\x04", "a.txt", "is a Parquet file, not text: save it as CSV"),
        (TEXT, "a.csv.gz", "begins with b'labe', so it is not gzipped"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "a.csv.gz", "cannot be read, "),
        ("label,a\nx,1_000\n", "a.csv", "line 2: '1_000' is not a number"),
        ("label,a\nx,0x10\n", "a.csv", "line 2: '0x10' is not a number"),
        ('label,a\n"x\ny",1\nz,many\n', "a.csv", "line 4: 'many' is not a number"),
    ],
)
def test_refusals(data: str | bytes, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"{name}: {message}")):
        open_source(saved(tmp_path, data, name))


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 1 << 20)
    path = saved(tmp_path, gzip.compress(b"x," + b"1," * (1 << 20) + b"1\n", mtime=0), "a.csv.gz")
    with pytest.raises(ValueError, match=r"^a\.csv\.gz: .*decompression bomb"):
        open_source(path)


def test_many_short_lines_of_a_packed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes hundreds of bytes of memory, and next to none of the file."""
    monkeypatch.setattr(text_lines, "FREE_UNPACKED_BYTES", 1 << 20)
    path = saved(tmp_path, gzip.compress(b"1,2\n" * 5_000, mtime=0), "a.csv.gz")
    with pytest.raises(ValueError, match=r"^a\.csv\.gz: would take more than .* of memory"):
        open_source(path)
    saved(tmp_path, b"1,2\n" * 5_000)
    assert len(open_source(tmp_path / "a.csv")) == 5_000


def test_thousands_of_columns(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((3, 5000))
    names = ",".join(f"c{i}" for i in range(5000))
    rows = [",".join([*map(repr, row.tolist()), "xyz"[i]]) for i, row in enumerate(x)]
    source = open_source(saved(tmp_path, "\n".join([names + ",label", *rows])), kind="table")
    np.testing.assert_array_equal(source.read([0, 1, 2]), x.astype(np.float32))


def test_numbers_are_read_to_the_last_bit(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 40)) * 10.0 ** np.arange(-20, 20)
    lines = [",".join([f"c{i}", *map(repr, row.tolist())]) for i, row in enumerate(x)]
    for text in ("\n".join(lines), "\n".join(lines).replace(",c", ", c").replace("e-0", "E-")):
        got = open_source(saved(tmp_path, text)).read([0, 1])
        np.testing.assert_array_equal(got[:, 0], x.astype(np.float32))
