"""The table of layers: every line reads, names are distinct, the core is what it should be."""

import pytest

from benchmarks.layers import LAYERS, Layer
from benchmarks.subjects import select
from faltung.geometry.text import parse


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_text_reads_and_is_canonical(layer: Layer) -> None:
    assert parse(str(layer.spec)) == layer.spec
    assert layer.spec.macs > 0


def test_names_and_problems_are_distinct() -> None:
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
    assert len({layer.spec for layer in LAYERS}) == len(LAYERS)


def test_no_name_breaks_a_table() -> None:
    assert not any(set("|`\n") & set(layer.name) for layer in LAYERS)


def test_every_kind_of_problem_is_there() -> None:
    specs = [layer.spec for layer in LAYERS]
    assert {spec.rank for spec in specs} == {1, 2, 3}
    assert {spec.dtype for spec in specs} == {"float32", "float64"}
    assert any(spec.groups == spec.channels_in > 1 for spec in specs)
    assert any(1 < spec.groups < spec.channels_in for spec in specs)
    assert any(max(spec.dilation) > 8 for spec in specs)
    assert any(axis.lo != axis.hi for spec in specs for axis in spec.axes)


def names(only: str, core: bool = False) -> list[str]:
    return [layer.name for layer in select("layers", only, core)]


def test_select() -> None:
    assert select("layers") == LAYERS
    assert names("SIGNAL K1001") == ["signal k1001", "float64 signal k1001"]
    assert names("signal", core=True) == ["signal k101", "signal k1001"]
    assert names("c64>64 56x56 k3 p1 f64") == ["float64 3x3 64"]
    assert names("no such layer") == []
