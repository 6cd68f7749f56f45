"""`faltung predict --out`: pictures from disk to disk, in any format; killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limit
from runs import SOURCE, maps, shapes

from faltung import Model
from faltung.cli.main import main
from faltung.train.run_model import load_model

zarr = pytest.importorskip("zarr")
tifffile = pytest.importorskip("tifffile")
Captured = pytest.CaptureFixture[str]
SPACE = 120, 96


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small U-Net for maps of one channel and two classes."""
    folder = tmp_path_factory.mktemp("stored")
    x, y = maps(24)
    np.savez(folder / "maps.npz", x=x, y=y)
    words = ["--net", "unet", "--set", "width=0.125", "--epochs", "1", "--seed", "1"]
    assert main(["train", str(folder / "maps.npz"), "--out", str(folder / "run"), *words]) == 0
    return folder / "run"


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model_of(run_folder: Path) -> Model:
    return load_model(run_folder)[0]


def stored(path: Path, x: np.ndarray, **more: Any) -> Path:
    made = zarr.create_array(path, shape=x.shape, dtype=x.dtype, **{"chunks": (50, 40)} | more)
    made[...] = x
    return path


def predicted(*words: object, status: int = 0) -> None:
    assert main(["predict", *map(str, words)]) == status


def test_classes_and_probabilities_of_a_zarr_array(run_folder: Path, tmp_path: Path) -> None:
    x = picture(*SPACE)
    whole = model_of(run_folder).predict(x)
    source = stored(tmp_path / "x.zarr", x)
    predicted(run_folder, source, "--out", tmp_path / "y.zarr", "--tile", 32)
    made = zarr.open_array(tmp_path / "y.zarr")
    assert made.dtype == np.uint8 and made.chunks == (32, 32)
    np.testing.assert_array_equal(made[:], whole.argmax(0))
    assert made.attrs["faltung"]["classes"] == ["0", "1"]
    predicted(run_folder, source, "--out", tmp_path / "p.zarr", "--probabilities")
    assert zarr.open_array(tmp_path / "p.zarr")[:].tobytes() == whole.tobytes()


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(run_folder: Path, tmp_path: Path, version: int) -> None:
    x = picture(2, 1, 3, *SPACE)
    axes = [{"name": n, "type": "space"} for n in "tczyx"]
    axes[0]["type"], axes[1]["type"] = "time", "channel"
    axes[4]["unit"] = "micrometer"
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=version)
    levels = []
    for level, step in enumerate((1, 2)):
        part = x[..., ::step, ::step]
        made = group.create_array(
            str(level), shape=part.shape, chunks=(1, 1, 1, 50, 40), dtype="f4"
        )
        made[...] = part
        scale = {"type": "scale", "scale": [1.0, 1.0, 4.0, 0.5 * step, 0.25 * step]}
        levels.append({"path": str(level), "coordinateTransformations": [scale]})
    about = {"multiscales": [{"axes": axes, "datasets": levels}]}
    group.attrs.update(about if version == 2 else {"ome": about | {"version": "0.5"}})
    model = model_of(run_folder)
    for level, step in enumerate((1, 2)):
        out = tmp_path / f"y{level}.zarr"
        predicted(run_folder, tmp_path / "x.zarr", "--out", out, "--level", level, "--tile", 48)
        labels = zarr.open_group(out)
        found = labels["0"]
        assert found.shape == x[..., ::step, ::step].shape
        for t, z in ((0, 0), (1, 2)):
            wanted = model.predict(np.ascontiguousarray(x[t, :, z, ::step, ::step])).argmax(0)
            np.testing.assert_array_equal(found[t, 0, z], wanted)
        ome = labels.attrs["ome"]
        (one,) = ome["multiscales"]
        assert one["axes"] == axes
        assert [p["class"] for p in ome["image-label"]["properties"]] == ["0", "1"]
        (scale,) = one["datasets"][0]["coordinateTransformations"]
        assert scale["scale"] == [1.0, 1.0, 4.0, 0.5 * step, 0.25 * step]


@pytest.mark.parametrize("options", [{"tile": (32, 48)}, {"rowsperstrip": 7}])
def test_big_tiff_and_its_levels(run_folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    x = picture(*SPACE)
    with tifffile.TiffWriter(tmp_path / "x.tif", bigtiff=True) as file:
        file.write(x, subifds=1, compression="zlib", **options)
        file.write(x[::2, ::2], subfiletype=1, **options)
    for level, step in enumerate((1, 2)):
        out = tmp_path / f"{level}.zarr"
        predicted(run_folder, tmp_path / "x.tif", "--out", out, "--level", level)
        wanted = model_of(run_folder).predict(np.ascontiguousarray(x[::step, ::step])).argmax(0)
        np.testing.assert_array_equal(zarr.open_array(out)[:], wanted)


def test_pages_of_a_tiff_are_samples(run_folder: Path, tmp_path: Path) -> None:
    x = picture(3, *SPACE)
    tifffile.imwrite(tmp_path / "x.tif", x, imagej=True, metadata={"axes": "TYX"})
    predicted(run_folder, tmp_path / "x.tif", "--out", tmp_path / "y.zarr")
    wanted = model_of(run_folder).predict(x).argmax(1)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "y.zarr")[:], wanted)


def test_a_second_run_finds_nothing_to_do(
    run_folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    source = stored(tmp_path / "x.zarr", picture(*SPACE))
    words = run_folder, source, "--out", tmp_path / "y.zarr", "--tile", 48
    predicted(*words)
    assert "6 of 6 tiles" in capsys.readouterr().out
    predicted(*words)
    assert "0 of 6 tiles" in capsys.readouterr().out
    predicted(*words[:-1], 64, status=2)
    assert "exists and was written by another task" in capsys.readouterr().err
    predicted(*words[:-1], 64, "--overwrite")
    assert "4 of 4 tiles" in capsys.readouterr().out


def test_killed_at_any_time_it_goes_on(run_folder: Path, tmp_path: Path) -> None:
    x = picture(480, 480)
    source, out = stored(tmp_path / "x.zarr", x), tmp_path / "y.zarr"
    command = [sys.executable, "-m", "faltung", "predict", str(run_folder), str(source)]
    command += ["--out", str(out), "--tile", "32"]
    journal, kills = out / ".faltung-regions", 0
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}

    def lines() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    for more in (20, 120, 200):
        child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        began, end = lines(), time.monotonic() + limit(60)
        while child.poll() is None and lines() < began + more and time.monotonic() < end:
            time.sleep(0.002)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait()
    assert kills
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    count = int(done.stdout.split(", ")[1].split()[0])
    assert 0 < count < 225 and "of 225 tiles" in done.stdout
    wanted = model_of(run_folder).predict(x).argmax(0)
    np.testing.assert_array_equal(zarr.open_array(out)[:], wanted)


def test_a_classifier_made_dense(tmp_path: Path) -> None:
    x, y = shapes(24)
    np.savez(tmp_path / "x.npz", x=x, y=y)
    words = ["--net", "lenet5", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["train", str(tmp_path / "x.npz"), *words]) == 0
    source = stored(tmp_path / "x.zarr", picture(60, 70))
    predicted(tmp_path / "run", source, "--out", tmp_path / "y.zarr", status=2)
    predicted(tmp_path / "run", source, "--out", tmp_path / "y.zarr", "--dense")
    wanted = model_of(tmp_path / "run").dense().predict(picture(60, 70)).argmax(0)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "y.zarr")[:], wanted)


def test_where_outputs_are_not_finite(run_folder: Path, tmp_path: Path, capsys: Captured) -> None:
    x = picture(*SPACE)
    x[50, 50] = np.nan
    source = stored(tmp_path / "x.zarr", x)
    predicted(run_folder, source, "--out", tmp_path / "y.zarr", status=1)
    assert "positions the network's output is not finite" in capsys.readouterr().err


def said(capsys: Captured, *words: object) -> str:
    capsys.readouterr()
    predicted(*words, status=2)
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


def test_chunks_that_are_broken(run_folder: Path, tmp_path: Path, capsys: Captured) -> None:
    source, out = stored(tmp_path / "x.zarr", picture(*SPACE)), tmp_path / "y.zarr"
    (source / "c" / "1" / "1").write_bytes(b"no chunk at all")
    assert "a part of it cannot be read" in said(capsys, run_folder, source, "--out", out)
    stored(tmp_path / "z.zarr", picture(*SPACE))
    whole = (tmp_path / "z.zarr" / "c" / "1" / "1").read_bytes()
    (source / "c" / "1" / "1").write_bytes(whole)
    predicted(run_folder, source, "--out", out)
    tifffile.imwrite(tmp_path / "x.tif", picture(*SPACE), tile=(32, 32), compression="zlib")
    data = bytearray((tmp_path / "x.tif").read_bytes())
    data[2000:3000] = bytes(1000)
    (tmp_path / "x.tif").write_bytes(data)
    words = run_folder, tmp_path / "x.tif", "--out", tmp_path / "t.zarr"
    assert "a part of it cannot be read" in said(capsys, *words)


def test_hostile_and_unsuited_files(run_folder: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "y.zarr"

    def refused(path: object, *more: object) -> str:
        text = said(capsys, run_folder, path, "--out", out, *more)
        assert not out.exists()
        return text

    three = stored(
        tmp_path / "c.zarr", picture(3, 64, 64), chunks=(3, 64, 64), dimension_names="cyx"
    )
    assert "has 3 channels, the network reads 1" in refused(three)
    assert "is no Zarr array" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "nothing.zarr").lower()
    (tmp_path / "text.tif").write_text("no")
    assert "is no TIFF" in refused(tmp_path / "text.tif")
    good = stored(tmp_path / "x.zarr", picture(*SPACE))
    assert "level 1: must be from 0 to 0" in refused(good, "--level", 1)
    assert "is for one FILE" in said(capsys, run_folder, good, good, "--out", out)
    group = zarr.create_group(tmp_path / "g.zarr")
    assert "without multiscales" in refused(tmp_path / "g.zarr")
    for place in ("../x.zarr", "/etc", "..\\x"):
        axes = [{"name": "y"}, {"name": "x"}]
        group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": place}]}]}
        assert "must be a place in the folder" in refused(tmp_path / "g.zarr")
    (tmp_path / "g.zarr" / "link").symlink_to(good)
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "link"}]}]}
    assert "leads out of the folder" in refused(tmp_path / "g.zarr")
    text = json.loads((good / "zarr.json").read_text())
    text["shape"] = [1 << 40, 1 << 40]
    (good / "zarr.json").write_text(json.dumps(text))
    assert "must be sizes" in refused(good)
