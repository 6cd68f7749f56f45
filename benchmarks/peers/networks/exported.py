"""A network as ONNX, by our own exporter: what the runtimes for inference are given."""

import tempfile
from pathlib import Path

from benchmarks.network_problem import NetworkProblem
from benchmarks.peers import library


def exported(problem: NetworkProblem) -> bytes:
    """The file's bytes; input (N, C, *space), output (N, classes)."""
    library("onnx")
    export = library("faltung.formats.onnx_export").export_onnx
    with tempfile.TemporaryDirectory(prefix="faltung-bench-") as folder:
        path = Path(folder) / "network.onnx"
        export(problem.spec.graph(), problem.parameters, path)
        return path.read_bytes()
