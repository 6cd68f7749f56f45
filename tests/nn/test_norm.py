"""Normalisation where its numbers are out of proportion."""

import numpy as np
import pytest
from graph import interpreter

from faltung import nn
from faltung.nn import build


@pytest.mark.parametrize("size", [8, 9, 10**9])
def test_response_norm_over_more_channels_than_there_are(size: int) -> None:
    graph = build(nn.LocalResponseNorm(size, alpha=float(size)), (4, 2))
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    want = x / (1 + (x * x).sum(1, keepdims=True)) ** 0.75
    np.testing.assert_allclose(interpreter.run(graph, {}, x), want, rtol=1e-12)
