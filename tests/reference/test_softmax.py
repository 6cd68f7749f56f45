"""Softmax and cross-entropy by their definitions, against SciPy, PyTorch and the slope."""

import numpy as np
import pytest

from faltung.reference.embedding import embed, embed_grad
from faltung.reference.softmax import cross_entropy, log_softmax, softmax


def logits(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape) * 5


def test_agrees_with_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    x = logits(3, 7, 2, 4)
    x[0, 1, 0, 0] = -np.inf
    np.testing.assert_allclose(softmax(x), special.softmax(x, axis=1), rtol=1e-14)
    np.testing.assert_allclose(log_softmax(x), special.log_softmax(x, axis=1), rtol=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_agrees_with_pytorch(smoothing: float) -> None:
    torch = pytest.importorskip("torch")
    x = logits(3, 5, 4)
    labels = np.random.default_rng(1).integers(-1, 5, (3, 4))
    given = torch.from_numpy(x).requires_grad_()
    want = torch.nn.functional.cross_entropy(
        given,
        torch.from_numpy(labels),
        ignore_index=-1,
        label_smoothing=smoothing,
        reduction="none",
    )
    (want.sum() * 0.5).backward()
    got = cross_entropy(x, labels, smoothing=smoothing, scale=0.5)
    np.testing.assert_allclose(got.losses, want.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got.grad, given.grad.numpy(), rtol=1e-12, atol=1e-12)
    right = (x.argmax(axis=1) == labels).astype(float)
    np.testing.assert_array_equal(got.correct, right)


def test_the_gradient_is_the_slope() -> None:
    x, labels, step = logits(2, 4), np.array([3, 0]), 1e-6
    grad = cross_entropy(x, labels, smoothing=0.2).grad
    for c in range(4):
        ahead, behind = x.copy(), x.copy()
        ahead[:, c] += step
        behind[:, c] -= step
        rise = cross_entropy(ahead, labels, smoothing=0.2).losses
        fall = cross_entropy(behind, labels, smoothing=0.2).losses
        np.testing.assert_allclose(grad[:, c], (rise - fall) / (2 * step), atol=1e-8)


def test_ties_and_nan() -> None:
    x = np.array([[1.0, 1.0, 0.0], [0.0, np.nan, 1.0], [-np.inf, 0.0, 0.0]])
    first = cross_entropy(x, np.array([0, 2, 1]))
    assert first.correct.tolist() == [1, 0, 1]
    assert cross_entropy(x, np.array([1, 2, 2])).correct.tolist() == [0, 0, 0]
    assert np.isnan(first.losses[1]) and np.isnan(first.grad[1]).all()
    assert first.grad[2].tolist() == [0, -0.5, 0.5]


def test_embedding_and_its_gradient_are_adjoint() -> None:
    rng = np.random.default_rng(2)
    tokens, table = rng.integers(0, 6, (3, 8)), rng.integers(-4, 5, (6, 5))
    grad = rng.integers(-4, 5, (3, 5, 8))
    picked = embed(tokens, table)
    assert picked.shape == grad.shape
    assert picked[1, :, 2].tolist() == table[tokens[1, 2]].tolist()
    assert (picked * grad).sum() == (embed_grad(tokens, grad, 6) * table).sum()
    assert not embed_grad(tokens, grad, 6, padding_index=tokens[0, 0])[tokens[0, 0]].any()
