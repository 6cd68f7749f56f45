"""Weights as products: what is claimed to be lost is lost, and nothing at full rank."""

from collections.abc import Iterator

import numpy as np
import pytest

from faltung.compress.factors import CP, Array, Form, Split, Tucker, forms, grid, left_vectors

SHAPES = [
    (1, 9, 7),
    (3, 4, 5),
    (1, 8, 6, 1),
    (1, 6, 8, 3),
    (2, 6, 4, 3, 3),
    (1, 5, 6, 3, 1, 2),
    (4, 1, 1, 3, 5),
    (1, 4, 3, 2, 3, 2),
]


def weight(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def product(factors: tuple[Array, ...]) -> Array:
    """The weight that stages have together."""
    made, *rest = factors
    for each in rest:
        groups = len(made)
        if len(each) != groups:  # depthwise: a channel is a group
            made = made * each.reshape(groups, -1, 1, *each.shape[3:])
        else:
            made = (each[:, :, :, None] * made[:, None]).sum(2)
    return made


def every() -> Iterator[tuple[Array, Form]]:
    for shape in SHAPES:
        for first in (False, True):
            w = weight(shape)
            for form in forms(w, first):
                yield w, form


def test_what_is_lost_is_what_is_claimed() -> None:
    count = 0
    for w, form in every():
        total = np.square(w).sum()
        for ranks in list(form.ranks())[::3]:
            factors, stages = form.factors(ranks), form.stages(ranks)
            lost = np.square(product(factors) - w).sum() / total
            assert lost <= form.error(ranks) * (1 + 1e-9) + 1e-12, (w.shape, form.name, ranks)
            assert form.least(ranks) <= form.error(ranks) + 1e-12
            if not isinstance(form, Tucker):  # which orthogonal iteration makes better than that
                assert lost == pytest.approx(form.error(ranks), abs=1e-9)
            for stage, factor in zip(stages, factors, strict=True):
                assert factor.shape[:3] == (stage.groups, stage.outs, stage.ins)
                assert factor.size == stage.weights(w.shape[3:])
            count += 1
    assert count > 100


def test_full_rank_loses_nothing() -> None:
    for w, form in every():
        if isinstance(form, Split):
            (most,) = list(form.ranks())[-1]
            assert most == form.most
            np.testing.assert_allclose(product(form.factors((most,))), w, atol=1e-13)


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (17, 17)])
def test_nothing_of_this_rank_is_closer(shape: tuple[int, int]) -> None:
    """Eckart and Young: the squares of the values that are left out are lost, no more, no less."""
    matrix = weight(shape)
    values = np.linalg.svd(matrix, compute_uv=False)
    form = Split(matrix[None], ())
    assert form.name == "svd"
    for rank in range(1, min(shape) + 1):
        wanted = np.square(values[rank:]).sum() / np.square(values).sum()
        assert form.error((rank,)) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_singular_vectors(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a matrix of low rank, and approximately of a large one."""
    for matrix in (weight(shape), weight((shape[0], 3)) @ weight((3, shape[1]), 1)):
        vectors, squares = left_vectors(matrix)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(squares)), atol=1e-12)
        values = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(squares, values**2, atol=1e-10 * values[0] ** 2)
        np.testing.assert_allclose(vectors @ (vectors.T @ matrix), matrix, atol=1e-12)
    monkeypatch.setattr("faltung.compress.factors.EXACT", 100)
    left, right = (np.linalg.qr(weight((size, size), size))[0] for size in (120, 150))
    falling = 0.9 ** np.arange(120)
    vectors, squares = left_vectors((left * falling) @ right[:120])
    assert len(squares) == 60
    np.testing.assert_allclose(squares[:20], falling[:20] ** 2, rtol=1e-3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(60), atol=1e-12)


def test_orthogonal_iteration_comes_closer_than_the_bound() -> None:
    w = weight((1, 10, 9, 3, 3))
    form, ranks = Tucker(w, (), ()), (4, 3)
    lost = np.square(product(form.factors(ranks)) - w).sum() / np.square(w).sum()
    assert lost < form.error(ranks) - 1e-3


@pytest.mark.parametrize("separate", [False, True])
def test_few_products_are_found_again(separate: bool) -> None:
    """A weight that is a sum of three products is one after the search, too."""
    parts = [weight((size, 3), size) for size in (7, 6, 3, 4)]
    taps = parts[2:] if separate else [weight((12, 3), 5)]
    letters = "ab" if separate else "k"
    words = f"or,ir,{','.join(f'{letter}r' for letter in letters)}->oi{letters}"
    w = np.einsum(words, *parts[:2], *taps).reshape(1, 7, 6, 3, 4)
    form = CP(w, (), (), separate, [Split(w, ()), Split(w, (0,))])
    assert form.error((3,)) < 1e-5
    np.testing.assert_allclose(product(form.factors((3,))), w, atol=2e-2)
    assert form.least((3,)) < 1e-12 < form.least((2,)) <= form.error((2,))


def test_a_weight_of_zeros_loses_nothing() -> None:
    w = np.zeros((1, 4, 3, 3, 3))
    for form in forms(w, True):
        for ranks in list(form.ranks())[:2]:
            assert form.error(ranks) == 0
            assert not product(form.factors(ranks)).any()


def test_which_forms_there_are() -> None:
    names = [form.name for form in forms(weight((1, 8, 8, 3, 3)), True)]
    assert names == [
        *("1x1 + 3x3", "3x1 + 1x3", "1x3 + 3x1", "3x3 + 1x1"),
        *("tucker", "cp", "cp, an axis each"),
    ]
    assert [form.name for form in forms(weight((1, 8, 8, 1, 1)), True)] == ["svd"]
    assert len(forms(weight((1, 8, 8, 3, 3, 3)), True)) == 8 + 3
    assert len(forms(weight((8, 1, 1, 3, 3)), True)) == 4  # depthwise: nothing between channels


def test_ranks() -> None:
    assert grid(6) == [1, 2, 3, 4, 5, 6]
    assert grid(64) == [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64]
    assert all(rank % 8 == 0 for rank in grid(512)[3:]) and len(grid(512)) < 30
