"""Pooling with channels first compiles for machines that are not here."""

from itertools import product

import pytest

from faltung.jit.compile import object_code
from faltung.machine.table import row
from faltung.methods.pool.planes_kernel import PlanesKernel, ScatterKernel


@pytest.mark.parametrize("name", ["avx512", "neon"])
def test_compiles_elsewhere(name: str) -> None:
    machine = row(name)
    kinds = [("max", 1, 1), ("max_index", 2, 1), ("mean", 0, 1), ("mean", 1, 2), ("mean", 1, 0)]
    for dtype, (kind, stride, spread) in product(("float32", "float64"), kinds):
        assert object_code(PlanesKernel(dtype, kind, stride, 3, spread), machine)
    assert object_code(ScatterKernel("float32"), machine)
