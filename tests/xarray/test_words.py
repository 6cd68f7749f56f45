"""Words and numbers by the names of dimensions."""

import numpy as np
import pytest

from faltung.geometry.border import Border
from faltung.ndimage.modes import MODES
from faltung.xarray.words import OURS, SCIPYS, TO_OURS, TO_SCIPYS, borders, by_dim, dimensions


def test_words_of_both_worlds() -> None:
    """Every word is taken in both places; only "reflect" has two meanings."""
    for word in {*OURS, *SCIPYS}:
        ours = borders("padding_mode", word, ("x",), "zeros", OURS, TO_OURS)["x"]
        theirs = borders("mode", word, ("x",), "reflect", SCIPYS, TO_SCIPYS)["x"]
        mode = "constant" if ours == "zeros" else ours
        same = [Border(one).sources(range(-9, 14), 5) for one in (mode, MODES[theirs])]
        assert (same[0] == same[1]) == (word != "reflect")


def test_one_entry_for_each_dimension() -> None:
    dims = ("lat", "lon")
    assert by_dim("stride", 2, dims, 1) == {"lat": 2, "lon": 2}
    assert by_dim("stride", (2, 3), dims, 1) == {"lat": 2, "lon": 3}
    assert by_dim("stride", np.array([2, 3]), dims, 1) == {"lat": 2, "lon": 3}
    assert by_dim("stride", {"lon": 3}, dims, 1) == {"lat": 1, "lon": 3}
    mixed = borders("mode", {"lon": "wrap"}, dims, "reflect", SCIPYS, TO_SCIPYS)
    assert mixed == {"lat": "reflect", "lon": "wrap"}


def test_names() -> None:
    assert dimensions("lat") == ("lat",) and dimensions(["lat", "lon"]) == ("lat", "lon")
    assert dimensions(3) == (3,)  # any name that can be looked up
    with pytest.raises(ValueError, match="at least one"):
        dimensions(())
