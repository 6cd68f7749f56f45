"""ONNX's own backend cases: each passed, unsupported with the reason, or wrong.

All of them, as the table in docs/onnx.md: ``python tests/onnx_suite.py`` (some minutes). Cases that
need a download are left out.
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
                np.testing.assert_allclose(got, want, rtol=rtol, atol=case.atol)
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


def main() -> int:
    wrong = 0
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
        print(kind, dict(counts))
        for reason, times in reasons.most_common():
            print("   ", times, reason)
        wrong += counts["wrong"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
