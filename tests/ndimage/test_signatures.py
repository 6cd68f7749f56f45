"""Names, defaults and kinds of arguments are SciPy's."""

import inspect

import pytest

from faltung import ndimage

scipy_ndimage = pytest.importorskip("scipy.ndimage")
pytest.importorskip("scipy", minversion="1.17")


@pytest.mark.parametrize("name", ndimage.__all__)
def test_signature(name: str) -> None:
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
        for function in (getattr(ndimage, name), getattr(scipy_ndimage, name))
    )
    assert ours == theirs
