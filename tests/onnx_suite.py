"""ONNX's own backend cases: each passed, unsupported with the reason, or wrong.

All of them: ``python tests/onnx_suite.py`` (some minutes); with ``--write`` the tables of
docs/onnx.md are written too. Cases that need a download are left out.
"""

import glob
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("simple", "pytorch-converted", "pytorch-operator", "node")

# Where zeros are expected as another algorithm has them, with rounding errors of 2e-7 beside
# numbers of 45: what is closer to zero is right too.
NOISE = {"test_dft_inverse": 1e-6, "test_dft_inverse_opset19": 1e-6}


@cache
def cases(kind: str) -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, about the infinities of the cases
        return [c for c in load_model_tests(kind=kind) if c.model is not None or c.model_dir]


def outcome(case: Any) -> str:
    """ "passed", or why it is not supported. AssertionError: wrong."""
    from faltung.geometry.errors import UnsupportedError
    from faltung.onnx import load

    try:
        model = load(_file(case))
        for inputs, outputs in _sets(case):
            inputs, outputs = list(map(_plain, inputs)), list(map(_plain, outputs))
            if not all(isinstance(x, np.ndarray | np.generic) for x in inputs):
                return "inputs that are no tensors"
            names = [port.name for port in model.inputs]
            made = model.run(dict(zip(names, inputs, strict=True)), exact=True)
            for got, want in zip(made, outputs, strict=True):
                if isinstance(want, list):  # of which only the numbers are told
                    want = np.array(want, got.dtype)
                assert got.dtype == np.asarray(want).dtype, case.name
                assert got.shape == np.shape(want), case.name
                rtol = case.rtol
                if (
                    got.dtype.name == "bfloat16"
                ):  # as ONNX's own runner: two units in the last place
                    rtol = max(rtol, 2**-6)
                if got.dtype.kind == "V":  # of ml_dtypes
                    got, want = got.astype(np.float64), want.astype(np.float64)
                atol = max(case.atol, NOISE.get(case.name, 0))
                np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
    except UnsupportedError as error:
        return str(error)
    return "passed"


def _file(case: Any) -> bytes:
    if case.model_dir is None:
        return bytes(case.model.SerializeToString())
    return (Path(case.model_dir) / "model.onnx").read_bytes()


def _plain(x: Any) -> Any:
    """An array, also of what a case has as the file's own tensor."""
    import onnx
    from onnx import numpy_helper

    return numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x


def _sets(case: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    if case.model_dir is None:
        yield from case.data_sets
        return
    for folder in sorted(glob.glob(f"{case.model_dir}/test_data_set_*")):
        yield _arrays(folder, "input"), _arrays(folder, "output")


def _arrays(folder: str, kind: str) -> list[Any]:
    import onnx
    from onnx import numpy_helper

    found = []
    for number in range(len(glob.glob(f"{folder}/{kind}_*.pb"))):
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString(Path(folder, f"{kind}_{number}.pb").read_bytes())
            found.append(numpy_helper.to_array(tensor))
        except Exception:  # a sequence: no tensor
            found.append(None)
    return found


def _short(reason: str) -> str:
    """The first operator that is named, or the whole."""
    rest = reason.partition("not supported yet")[2]
    name = rest.removeprefix(", so nothing was run").removeprefix(": ").partition(",")[0]
    return name if rest and not rest.startswith("which") and name else reason


# What the reasons have in common, for the table of docs/onnx.md: words of them, and what it says.
GROUPS = {
    "type str|TfIdf|StringNormalizer|LabelEncoder": "strings",
    "sequence|optional|Sequence|Optional": "sequences and optional values",
    "ai.onnx.preview.training": "gradients and optimizers in a file",
    "ai.onnx.ml": "trees and tables of ai.onnx.ml",
    "Random|Bernoulli|Multinomial|Dropout": "random numbers",
    "DFT|STFT": "Fourier transforms",
    "ImageDecoder": "pictures in a file of a picture",
}


def _grouped(reason: str) -> str:
    for words, name in GROUPS.items():
        if any(word in reason for word in words.split("|")):
            return name
    return f"`{reason.rpartition('.')[2]}`"


def main() -> int:
    """Count; with ``--write`` also the tables of docs/onnx.md."""
    wrong = 0
    rows, groups = [], Counter[str]()
    for kind in KINDS:
        counts: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for case in cases(kind):
            try:
                found = outcome(case)
            except Exception as error:  # whatever it is, the case is not right
                counts["wrong"] += 1
                print("WRONG", case.name, " ".join(str(error).split())[:300])
                continue
            counts["passed" if found == "passed" else "unsupported"] += 1
            if found != "passed":
                reasons[_short(found)] += 1
                groups[_grouped(_short(found))] += 1
        print(kind, dict(counts))
        for reason, times in reasons.most_common():
            print("   ", times, reason)
        wrong += counts["wrong"]
        numbers = (counts[word] for word in ("passed", "unsupported", "wrong"))
        rows.append(f"| {kind} | {' | '.join(f'{n:,}' for n in numbers)} |")
    if "--write" in sys.argv:
        _write(rows, groups)
    return 1 if wrong else 0


def _write(rows: list[str], groups: Counter[str]) -> None:
    """The tables, between the two marks in docs/onnx.md."""
    lines = ["| cases | passed | not supported | wrong |", "|---|---|---|---|", *rows, ""]
    lines += ["| cases not supported | because of |", "|---|---|"]
    lines += [f"| {times} | {name} |" for name, times in groups.most_common()]
    page = Path(__file__).parent.parent / "docs" / "onnx.md"
    before, begin, rest = page.read_text("utf-8").partition("<!-- onnx_suite -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    table = "\n".join(lines)
    page.write_text(f"{before}{begin}\n{table}\n\n{end}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
