"""Every reader against files that are cut short and changed at random: right, or a ValueError."""

import gzip
import io
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.hostile import idx, nifti
from data.ramp import FILES
from grid import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from faltung.data import pictures, pillow, volumes
from faltung.data.folder import Broken
from faltung.data.idx import read_idx
from faltung.data.options import Options
from faltung.data.tables import open_table, read_lines
from faltung.geometry.errors import FaltungError

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (24, 20, 3), np.uint8)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    more = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    images = pytest.importorskip("PIL.Image")
    images.init()
    if kind not in images.SAVE:
        pytest.skip(f"Pillow was built without {kind}")
    images.fromarray(X).save(file, kind, **more)
    return file.getvalue()


def tiff(kind: str) -> bytes:
    file, how = io.BytesIO(), {"photometric": "minisblack"}
    if kind == "packed":
        pytest.importorskip("imagecodecs")
    more: dict[str, dict[str, Any]] = {
        "colour": {"photometric": "rgb"},
        "packed": {"compression": "lzw", "predictor": True},
        "tiles": {"tile": (16, 16)},
        "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "OME": {"ome": True, "metadata": {"axes": "CYX"}},
    }
    values = np.moveaxis(X, -1, 0) if kind in ("ImageJ", "OME") else X
    stored = values.astype(np.uint16) * 200
    pytest.importorskip("tifffile").imwrite(file, stored, **how | more[kind])
    return file.getvalue()


def look(path: Path) -> None:
    """As opening a folder does, and then reading from it: what was examined can be decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        facts = pictures.examine(path, "a", Options())
        shape = (facts.channels, *facts.space)
        got = pictures.decode(path, "a", shape=shape, fit=False, white=facts.white)
        assert got.shape == shape


def scan(path: Path) -> None:
    shape = volumes.examine(path, "a", Options()).shape
    assert volumes.decode(path, "a", shape=shape, fit=False).shape == shape


def table(path: Path) -> None:
    """To predict from, and to train on."""
    like = {"kind": "series", "shape": (1, 2), "fit": False}
    with suppress(FaltungError):
        read_lines(path, "a", **like)  # type: ignore[arg-type]
    open_table(path, Options())


TS = b"#x\n@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n1,2:3,?:a\n5:6:b\n"
ARFF = (
    b"%x\n@relation 'r s'\n@attribute \"a b\" real\n@attribute b numeric\n"
    b"@attribute c {x,'y z'}\n@data\n1,2,x\n{0 3,2 'y z'}\n"
)
RELATION = (
    b"@relation r\n@attribute a relational\n@attribute b real\n@attribute c real\n@end a\n"
    b"@attribute d {x,y}\n@data\n'1,2\\n3,4',x\n\"5,6\\n7,?\",y\n"
)
TABLE = b"label,a,b\ncat,1,2\ndog,3.5,-4e2\n"
CASES: dict[str, tuple[Callable[[], bytes], str, Callable[[Path], object]]] = {
    **{
        kind: (lambda kind=kind: encoded(kind), "a", look)  # type: ignore[misc]
        for kind in pillow.FORMATS
    },
    **{
        f"TIFF {kind}": (lambda kind=kind: tiff(kind), "a", look)  # type: ignore[misc]
        for kind in ("colour", "packed", "tiles", "ImageJ", "OME")
    },
    "PPM, 16 bits": (lambda: b"P6 20 24 999\n" + X.astype(">u2").tobytes(), "a", look),
    "PNG, 16 bits": (lambda: (FILES / "netpbm-alpha.png").read_bytes(), "a", look),
    "JPEG 2000, 12 bits": (lambda: (FILES / "openjpeg-12-bits.jp2").read_bytes(), "a", look),
    "AVIF, 12 bits": (lambda: (FILES / "libavif-12-bits.avif").read_bytes(), "a", look),
    "IDX": (lambda: idx(X), "a", lambda path: read_idx(path, "a")),
    "IDX packed": (lambda: gzip.compress(idx(X)), "a", lambda path: read_idx(path, "a")),
    "NIfTI": (lambda: nifti((5, 6, 4), bytes(480)), "a.nii", scan),
    "NIfTI colours": (lambda: nifti((5, 6, 4), bytes(360), code=128), "a.nii", scan),
    "NIfTI packed": (lambda: gzip.compress(nifti((5, 6, 4), bytes(480))), "a.nii.gz", scan),
    "CSV": (lambda: TABLE, "a.csv", table),
    "CSV packed": (lambda: gzip.compress(TABLE), "a.csv.gz", table),
    "lines": (lambda: b"cat\t1\t2\ndog\t3.5\t-4e2\n", "a.tsv", table),
    "TS": (lambda: TS, "a.ts", table),
    "ARFF": (lambda: ARFF, "a.arff", table),
    "ARFF of a relation": (lambda: RELATION, "a.arff", table),
}


@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
@examples(2, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_anywhere(case: str, tmp_path: Path, data: st.DataObject) -> None:
    make, name, read = CASES[case]
    raw = bytearray(make())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    try:
        read(path)
    except Broken:
        pass
    except ValueError as error:
        assert str(error).startswith("a") and str(error).isprintable()
