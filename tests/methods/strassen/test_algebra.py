"""The products are those of matrices, for any number of levels."""

from typing import Any

import numpy as np
import pytest

from faltung.methods.strassen.algebra import LEFT, PRODUCTS, RIGHT, operands, results


class Numbers:
    """In the place of vectors of code: what would be added is added."""

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def sub(self, a: Any, b: Any) -> Any:
        return a - b


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_products(levels: int) -> None:
    size, rng, v = 2**levels, np.random.default_rng(0), Numbers()
    a, b = rng.integers(-9, 10, (2, size, size, 3, 3))
    left = operands(v, LEFT, [list(row) for row in a])  # type: ignore[arg-type]
    right = operands(v, RIGHT, [list(row) for row in b])  # type: ignore[arg-type]
    assert len(left) == len(right) == PRODUCTS**levels
    made = results(v, [x @ y for x, y in zip(left, right, strict=True)])  # type: ignore[arg-type]
    want = np.einsum("ikpq,kjqr->ijpr", a, b)
    np.testing.assert_array_equal(np.array(made), want)
