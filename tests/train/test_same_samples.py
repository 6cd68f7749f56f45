"""The same samples, written in every way in which they can be written, get the same predictions.

A tiny run is trained on each kind of data. Then its samples are written again: in another dtype,
another range, another layout, another format, under another name. Where the values are the same,
the predictions have the same bits; where the range differs, they agree to rounding.
"""

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from runs import shapes

from faltung.cli.main import main
from faltung.data import ArraySource, open_source
from faltung.train.model import Model
from faltung.train.run_model import load_model

Array = npt.NDArray[np.generic]
COUNT = 12
NAMES = "abcdefghijkl"


def levels() -> tuple[Array, Array]:
    """Pictures (12, 8, 8) of whole numbers from 0 to 255, and their labels."""
    x, y = shapes(COUNT)
    x = x[:, 0] - x.min()
    return np.rint(x / x.max() * 255).astype(np.int64), y


X, Y = levels()
assert X.max() == 255


def npz(path: Path, x: Array, **more: Array) -> Path:
    np.savez(path, **{"x": x, "y": Y, **more})
    return path


def idx(path: Path, code: int, dtype: str, x: Array, labels: str = ">i4") -> Path:
    """IDX, from its definition: magic number, sizes, values; all big-endian."""
    head = struct.pack(">HBB", 0, code, x.ndim) + struct.pack(f">{x.ndim}I", *x.shape)
    pictures = path / "train-images-idx3-ubyte.gz"
    pictures.write_bytes(gzip.compress(head + x.astype(dtype).tobytes()))
    head = struct.pack(">HBBI", 0, 12 if labels == ">i4" else 8, 1, len(Y))
    (path / "train-labels-idx1-int").write_bytes(head + Y.astype(labels).tobytes())
    return pictures


def png(folder: Path, x: Array, dtype: str = "u1") -> Path:
    """A folder of grey pictures, a class a folder."""
    for name, picture, label in zip(NAMES, x, Y, strict=True):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.astype(dtype)).save(folder / str(label) / f"{name}.png")
    return folder


# What a run is trained on, and whether its values are those of X (else X / 255, or X * 257).
TRAINED: dict[str, tuple[Callable[[Path], Path], float]] = {
    "uint8": (lambda at: npz(at / "t.npz", X.astype("u1")), 1),
    "int64": (lambda at: npz(at / "t.npz", X), 1),
    "float32": (lambda at: npz(at / "t.npz", X.astype("f4")), 1),
    "uint16": (lambda at: npz(at / "t.npz", X.astype("u2")), 1),
    "fractions": (lambda at: npz(at / "t.npz", (X / 255).astype("f4")), 1 / 255),
    "16 bits": (lambda at: npz(at / "t.npz", X.astype("u2") * 257), 257),
    "channels last": (lambda at: npz(at / "t.npz", X[..., np.newaxis].astype(">f8")), 1),
    "idx of int16": (lambda at: idx(at, 11, ">i2", X), 1),
    "png": (lambda at: png(at / "png", X), 1),
    "png of 16 bits": (lambda at: png(at / "deep", X * 257, "u2"), 257),
}


@pytest.fixture(scope="module", params=TRAINED)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("run")
    make, times = TRAINED[request.param]
    words = ["train", str(make(at)), "--epochs=1", "--net=lenet5", "--kind=picture"]
    assert main([*words, f"--out={at / 'run'}"]) == 0
    (at / "times").write_text(repr(times))
    return at / "run"


def predicted(
    run: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> npt.NDArray[np.float64]:
    """The probabilities (n, classes) that the command line prints."""
    capsys.readouterr()
    assert main(["predict", str(run), *map(str, files), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    return np.array([[float(cell) for cell in line.split(",")[2:]] for line in lines])


def test_pictures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = float((run.parent / "times").read_text())
    stored = X * times if times > 1 else X
    wanted = predicted(run, [npz(tmp_path / "w.npz", stored)], capsys)
    assert len(wanted) == COUNT and np.ptp(wanted) > 1e-3
    # The same values in other dtypes, layouts and files: the same bits.
    arrays = {
        "int32": stored.astype("i4"),
        "int64 big-endian": stored.astype(">i8"),
        "float64": stored.astype("f8"),
        "float32 by columns": np.asfortranarray(stored.astype("f4")),
        "channels first": stored[:, np.newaxis].astype("u2"),
        "channels last": stored[..., np.newaxis].astype("f4"),
        **({"uint8": stored.astype("u1")} if times <= 1 else {}),
    }
    for name, array in arrays.items():
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(predicted(run, [tmp_path / "a.npy"], capsys), wanted, name)
    for code, dtype in ((12, ">i4"), (13, ">f4"), (14, ">f8")):
        got = predicted(run, [idx(tmp_path, code, dtype, stored)], capsys)
        np.testing.assert_array_equal(got, wanted, dtype)
    # Files whose format says what white is, and other ranges: the same picture.
    files = sorted((png(tmp_path / "8", X)).rglob("*.png"), key=lambda path: path.stem)
    deep = sorted((png(tmp_path / "16", X * 257, "u2")).rglob("*.png"), key=lambda p: p.stem)
    np.testing.assert_allclose(predicted(run, files, capsys), wanted, atol=2e-6)
    np.testing.assert_allclose(predicted(run, deep, capsys), wanted, atol=2e-6)
    np.save(tmp_path / "a.npy", (X / 255).astype("f4"))
    np.testing.assert_allclose(predicted(run, [tmp_path / "a.npy"], capsys), wanted, atol=2e-6)
    if times <= 1:
        np.save(tmp_path / "a.npy", X * 257)
        got = predicted(run, [tmp_path / "a.npy"], capsys)
        np.testing.assert_allclose(got, wanted, atol=2e-6)


def tiff(path: Path, x: Array, **more: object) -> None:
    pytest.importorskip("tifffile").imwrite(path, x, **{"photometric": "minisblack", **more})


def colour(x: Array) -> Array:
    return np.repeat(x[..., np.newaxis], 3, axis=-1)


# How a picture of 8 bits is written in other formats, by other libraries, without loss.
FORMATS: dict[str, Callable[[Path, Array], object]] = {
    "a.tif": lambda path, x: tiff(path, x.astype("u1")),
    "min-is-white.tif": lambda path, x: tiff(path, (255 - x).astype("u1"), photometric=0),
    "deep.tif": lambda path, x: tiff(path, (x * 257).astype("u2")),
    "deep-min-is-white.tif": lambda path, x: tiff(
        path, (65535 - x * 257).astype(">u2"), photometric=0, byteorder=">"
    ),
    "deep-colour.tif": lambda path, x: tiff(
        path, colour(x * 257).transpose(2, 0, 1).astype("u2"), photometric=2, planarconfig=2
    ),
    "fractions.tif": lambda path, x: tiff(path, (x / 255).astype("f4")),
    "deep.pgm": lambda path, x: path.write_bytes(
        b"P5 8 8 65535\n" + (x * 257).astype(">u2").tobytes()
    ),
    "white-is-4080.ppm": lambda path, x: path.write_bytes(
        b"P6 8 8 4080\n" + colour(x * 16).astype(">u2").tobytes()
    ),
    "a.jp2": lambda path, x: Image.fromarray(x.astype("u1")).save(path, irreversible=False),
    "a.webp": lambda path, x: Image.fromarray(colour(x.astype("u1"))).save(path, lossless=True),
    "deep-colour.png": lambda path, x: path.write_bytes(
        pytest.importorskip("imagecodecs").png_encode(colour(x * 257).astype("u2"))
    ),
}


def test_every_format_of_pictures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted((png(tmp_path / "8", X)).rglob("*.png"), key=lambda path: path.stem)[:3]
    wanted = predicted(run, files, capsys)
    for name, write in FORMATS.items():
        written = [tmp_path / f"{i}-{name}" for i in range(3)]
        for path, x in zip(written, X, strict=False):
            write(path, x)
        got = predicted(run, written, capsys)
        np.testing.assert_allclose(got, wanted, atol=2e-6, err_msg=name)


def test_evaluation_and_python_agree(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = float((run.parent / "times").read_text())
    stored = X * times if times > 1 else X
    said = set()
    for data in (
        npz(tmp_path / "a.npz", stored.astype("f8")),
        npz(tmp_path / "b.npz", stored.astype("u2"), y=np.eye(2, dtype="u1")[Y]),
        npz(tmp_path / "c.npz", stored[..., np.newaxis], y=Y.astype("f4")),
        png(tmp_path / "png", X),
    ):
        capsys.readouterr()
        assert main(["evaluate", str(run), str(data)]) == 0
        # Behind them: that some of these are the data of the run, and what of them it held out.
        said.add(capsys.readouterr().out.partition("\n\n")[0].rstrip())
    assert len(said) == 1
    model, _ = load_model(run)
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    wanted = again.predict(open_source(tmp_path / "a.npz", kind="picture"))
    np.testing.assert_array_equal(again.predict(stored), wanted)
    np.testing.assert_array_equal(again.predict(stored[3].astype("f4")), wanted[3])
    np.testing.assert_allclose(again.predict(open_source(png(tmp_path / "q", X))).sum(1), 1, 1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float32", "float64", ">i4"])
def test_fit_on_a_source_or_on_an_array(dtype: str) -> None:
    from faltung import nn

    def fresh() -> Model:
        return Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 8, 8))

    x = X[:, np.newaxis].astype(dtype)
    source = ArraySource(X[:, np.newaxis].astype("u1"), Y)
    one, other = fresh(), fresh()
    one.fit(source, epochs=1, show=False)
    np.testing.assert_array_equal(one.predict(x), one.predict(source))
    assert one.evaluate(x, Y) == one.evaluate(source)
    np.testing.assert_allclose(one.predict(source.read(range(COUNT))), one.predict(x), atol=1e-6)
    other.fit(x, Y, epochs=1, show=False)
    np.testing.assert_array_equal(other.predict(source), other.predict(X))
    assert other.evaluate(source) == other.evaluate(X, Y)
    np.testing.assert_allclose(other.predict(source), one.predict(source), atol=1e-5)
    with pytest.warns(RuntimeWarning, match=r"^x: values 0\.\.1, but the network was trained on 0"):
        one.predict((x > 200).astype(dtype))
    # A sample alone is what it is among others, also if nothing in it is bright.
    dark = np.zeros((1, 8, 8), dtype)
    together = one.predict(np.concatenate([x, dark[np.newaxis]]))
    np.testing.assert_array_equal(one.predict(dark), together[-1])


@pytest.mark.parametrize("kind", ["series", "picture"])
def test_channels_that_may_lie_anywhere(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where first and last both fit, channels lie where they lay in training: also for a model that
    is loaded from a file, and for a run that starts from this one.
    """
    x = np.random.default_rng(0).standard_normal((12, *(8,) * (2 if kind == "series" else 3)))
    data, run = npz(tmp_path / "d.npz", x), tmp_path / "run"
    words = ["train", str(data), "--epochs=1"]
    net = ["--net=tcn", "--set=channels=2"] if kind == "series" else ["--net=lenet5"]
    assert main([*words, f"--kind={kind}", "--channels=last", *net, f"--out={run}"]) == 0
    wanted = predicted(run, [data], capsys).astype("f4")
    assert main(["export", str(run), str(tmp_path / "m.safetensors")]) == 0
    model = Model.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(model.predict(x), wanted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), wanted)
    like = load_model(run)[0]
    like.layout = "first"
    assert not np.array_equal(like.predict(x), wanted)
    for number, start in enumerate((run, tmp_path / "m.safetensors")):
        out = tmp_path / f"on{number}"
        assert main([*words, f"--from={start}", f"--out={out}"]) == 0
        assert load_model(out)[0].layout == "last"
    assert (predicted(tmp_path / "on0", [data], capsys) != wanted).any()
    np.testing.assert_array_equal(
        predicted(tmp_path / "on0", [data], capsys), predicted(tmp_path / "on1", [data], capsys)
    )
    fitted = Model(like.net, x.shape[:0:-1])
    fitted.fit(open_source(data, kind=kind, channels="last"), epochs=1, show=False)  # type: ignore[arg-type]
    assert fitted.layout == "last"


# Other kinds --------------------------------------------------------------------------------------


def trained(at: Path, data: Path, *words: str) -> Path:
    assert main(["train", str(data), "--epochs=1", *words, f"--out={at / 'run'}"]) == 0
    return at / "run"


def nifti(path: Path, x: Array, slope: float = 1.0, inter: float = 0.0) -> Path:
    """A volume (x, y, z) as it was before ``x = stored * slope + inter``, by nibabel."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(x, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def test_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers of their own unit: as they are, in every dtype and order of axes."""
    x = np.rint(np.random.default_rng(0).standard_normal((COUNT, 3, 40)) * 100).astype(np.int64)
    run = trained(tmp_path, npz(tmp_path / "a.npz", x.swapaxes(1, 2).astype("f8")))
    wanted = predicted(run, [npz(tmp_path / "w.npz", x)], capsys)
    for dtype in ("i2", ">i2", "i4", "i8", "f4", ">f4", "f8"):
        for array in (x, x.swapaxes(1, 2), np.asfortranarray(x)):
            np.save(tmp_path / "a.npy", array.astype(dtype))
            np.testing.assert_array_equal(predicted(run, [tmp_path / "a.npy"], capsys), wanted)
    model, _ = load_model(run)
    np.testing.assert_array_equal(model.predict(x.astype("f4")), model.predict(x.swapaxes(1, 2)))


def test_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NIfTI files of every type and scaling, and arrays of the same numbers."""
    x = np.random.default_rng(0).integers(0, 200, (COUNT, 6, 5, 7))
    for name, volume, label in zip(NAMES, x, Y, strict=True):
        nifti(tmp_path / "data" / str(label) / f"{name}.nii.gz", volume.astype("i2"))
    run = trained(tmp_path, tmp_path / "data", "--net=resnet3d18", "--set=width=0.0625")
    wanted = predicted(run, [npz(tmp_path / "w.npz", x[:, np.newaxis])], capsys)
    for dtype in ("u1", "i2", "i4", "f4", "f8"):
        files = [
            nifti(tmp_path / f"{n}.nii", v.astype(dtype)) for n, v in zip(NAMES, x, strict=True)
        ]
        np.testing.assert_array_equal(predicted(run, files, capsys), wanted, dtype)
    halves = [
        nifti(tmp_path / f"{n}.nii", (2 * v - 6).astype("i2"), 0.5, 3)
        for n, v in zip(NAMES, x, strict=True)
    ]
    np.testing.assert_array_equal(predicted(run, halves, capsys), wanted)


def test_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a token means is its number: in every dtype of whole numbers."""
    x = np.random.default_rng(0).integers(0, 20, (COUNT, 12))
    run = trained(tmp_path, npz(tmp_path / "a.npz", x.astype("u1"), kind=np.array("text")))
    wanted = predicted(run, [npz(tmp_path / "w.npz", x)], capsys)
    for dtype in ("i1", "u2", ">i4", "i8", "u8"):
        np.save(tmp_path / "a.npy", x.astype(dtype))
        np.testing.assert_array_equal(predicted(run, [tmp_path / "a.npy"], capsys), wanted, dtype)
    model, _ = load_model(run)
    np.testing.assert_array_equal(model.predict(x.astype("u1")), model.predict(x))
