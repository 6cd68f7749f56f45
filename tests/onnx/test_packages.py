"""Files inside published packages run as in ONNX Runtime, where the packages are there.

Nothing is fetched here: ``tests/onnx_packages.py --fetch FOLDER`` does, and
``FALTUNG_ONNX_PACKAGES=FOLDER`` makes these tests look there.
"""

import pytest
from onnx_packages import FILES, VARIABLE, differences, folders, found, report


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_as_in_onnx_runtime(name: str) -> None:
    path = found(name, folders())
    if path is None:
        pytest.skip(f"{name}: its package is not installed, and not in the folder ${VARIABLE}")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    made = differences(path)
    assert made and max(made.values()) < 1e-4, report(made)
