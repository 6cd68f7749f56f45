"""Products and attention by hand, and against PyTorch."""

import numpy as np
from optional import optional

from faltung.reference.attention import attention, weights
from faltung.reference.contract import contract

torch = optional("torch")
RNG = np.random.default_rng(0)


def test_a_product_term_by_term() -> None:
    a, b = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 5, 2))
    sizes = {"i": 2, "j": 3, "k": 4, "l": 5}
    made = contract(("ijk", "kli", "lji"), a, b, sizes)
    for i, j, m in np.ndindex(2, 3, 5):
        want = sum(a[i, j, k] * b[k, m, i] for k in range(4))
        np.testing.assert_allclose(made[m, j, i], want)


def test_what_the_result_lacks_is_summed() -> None:
    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal(4)
    made = contract(("ij", "k", "i"), a, b, {"i": 2, "j": 3, "k": 4})
    np.testing.assert_allclose(made, a.sum(1) * b.sum())


def test_attention_is_that_of_pytorch() -> None:
    q, k, v = (RNG.standard_normal((2, n, h, 4)) for n, h in ((5, 4), (7, 2), (7, 2)))
    mask = RNG.standard_normal((2, 1, 5, 7))
    heads = [torch.tensor(x).transpose(1, 2) for x in (q, k, v)]
    scaled = torch.nn.functional.scaled_dot_product_attention
    want = scaled(*heads, attn_mask=torch.tensor(mask), scale=0.3, enable_gqa=True)
    got = attention(q, k, v, scale=0.3, mask=mask)
    np.testing.assert_allclose(got, want.transpose(1, 2).numpy(), atol=1e-14)


def test_causal_attention() -> None:
    q = RNG.standard_normal((1, 4, 1, 3))
    made = weights(q, q, scale=1.0, causal=True, offset=-1)[0, 0]
    assert not np.triu(made).any()
    np.testing.assert_allclose(made.sum(1), [0, 1, 1, 1])


def test_capped_scores() -> None:
    q, k = RNG.standard_normal((1, 2, 1, 3)), RNG.standard_normal((1, 4, 1, 3))
    scores = 2 * np.tanh(np.einsum("bihd,bjhd->bhij", q, k) * 5 / 2)
    want = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(weights(q, k, scale=5.0, softcap=2.0), want)
