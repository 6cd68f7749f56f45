"""Einsums of foreign tensors against NumPy, wherever their axes lie in memory."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from graph.foreign_runs import built, meant, run
from graph.test_differentiate import slopes
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import maximum
from faltung.graph.differentiate import differentiate
from faltung.graph.foreign import Foreign, Tensor
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import sliced
from faltung.graph.foreign_products import Operand, einsum
from faltung.graph.foreign_reduce import softmax
from faltung.graph.fuse import fused
from faltung.graph.ops import Contract, Elementwise, Permute, View

FORMS = [
    *("ij,jk->ik", "ij,kj->ki", "bhld,bhmd->bhlm", "bhlm,bhmd->blhd", "abc,abd->dc"),
    *("ij,j->i", "i,i->", "i,j->ji", "ijk,k->ji", "ab,bc,cd->ad", "ab,ac,ad->bcd"),
    *("ab,ab->ba", "ab,b->ab", "ab,ba->a", "abc,cab->b", "a,b->ab", "ab,ab->", "abc,ac->cab"),
    *("ij->i", "ii->i", "ii->", "iij->j", "ij,ij,ij->i", "abij,bj->ai"),
]
SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "h": 2, "i": 4, "j": 3, "k": 5, "l": 3, "m": 6}


def numbers(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def arrays_of(form: str, sizes: dict[str, int] | None = None) -> list[np.ndarray]:
    words = form.split("->")[0].split(",")
    every = SIZES | (sizes or {})
    return [numbers([every[c] for c in word], i) for i, word in enumerate(words)]


def einsum_of(form: str, f: Foreign, *operands: Operand) -> Tensor:
    words, out = form.split("->")
    return einsum(f, operands, words.split(","), out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_maps", [False, True])
def test_forms(form: str, as_maps: bool) -> None:
    arrays = arrays_of(form)
    want = np.einsum(form, *(a.astype(np.float64) for a in arrays))

    def build(f: Foreign, *x: Tensor) -> Tensor:
        return einsum_of(form, f, *x)

    np.testing.assert_allclose(meant(arrays, build, as_maps), want, atol=1e-5)
    got = run(arrays, build, as_maps)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("form", [form for form in FORMS if "," in form])
@pytest.mark.parametrize("number", [0, 1])
def test_constants(form: str, number: int) -> None:
    arrays = arrays_of(form)
    fixed = arrays.pop(number)

    def build(f: Foreign, *x: Tensor) -> Tensor:
        given: list[Operand] = list(x)
        given.insert(number, fixed)
        return einsum_of(form, f, *given)

    every = [a.astype(np.float64) for a in arrays]
    every.insert(number, fixed)
    np.testing.assert_allclose(run(arrays, build), np.einsum(form, *every), atol=1e-4)


@given(st.data())
@settings(max_examples=40)
def test_any_order_of_axes(data: st.DataObject) -> None:
    """Transposed, split and merged operands, of which parts are taken, are read as they lie."""
    form = data.draw(st.sampled_from(["bhld,bhmd->bhlm", "ij,jk->ik", "abij,bj->ai"]))
    arrays = arrays_of(form, {"d": 6, "j": 4})
    moves = [data.draw(st.permutations(range(a.ndim))) for a in arrays]
    grown = data.draw(st.booleans())
    stored = []
    for a, move in zip(arrays, moves, strict=True):
        laid = a.transpose(move)
        # With something before it along its last axis in memory, which is sliced off again.
        stored.append(np.concatenate([laid[..., :1], laid], -1) if grown else laid)

    def build(f: Foreign, *x: Tensor) -> Tensor:
        seen = []
        for tensor, move in zip(x, moves, strict=True):
            if grown:
                last = tensor.rank - 1
                tensor = sliced(f, tensor, last, 1, tensor.shape[last] - 1)
            seen.append(tensor.transposed(np.argsort(move)))
        return einsum_of(form, f, *seen)

    want = np.einsum(form, *(a.astype(np.float64) for a in arrays))
    np.testing.assert_allclose(run(stored, build), want, atol=1e-4)


def test_splits_that_do_not_divide_each_other() -> None:
    """2 x 3 in one operand and 3 x 2 in the other: one of them is copied."""
    a, b = numbers((2, 3, 5)), numbers((3, 2, 7), 1)

    def build(f: Foreign, x: Tensor, y: Tensor) -> Tensor:
        x = f.reshaped(x.transposed((1, 0, 2)), (6, 5))
        y = f.reshaped(y.transposed((1, 0, 2)), (6, 7))
        return einsum(f, [x, y], ["ki", "kj"], "ij")

    left = a.transpose(1, 0, 2).reshape(6, 5).astype(np.float64)
    right = b.transpose(1, 0, 2).reshape(6, 7)
    np.testing.assert_allclose(run([a, b], build), left.T @ right, atol=1e-5)


def test_a_transpose_is_a_view() -> None:
    _, (x,), y = built([numbers((2, 3))], lambda f, x: einsum(f, [x], ["ij"], "ji"))
    assert y.value == x.value
    assert y.shape == (3, 2)


@pytest.mark.parametrize("form", ["ab,ab->ba", "ab,b->ab", "a,b->ab", "ab,ba->a", "ab,ab->"])
def test_products_of_elements_are_formulas(form: str) -> None:
    def build(f: Foreign, *x: Tensor) -> Tensor:
        return einsum_of(form, f, *x)

    f, _, y = built(arrays_of(form), build)
    assert not any(isinstance(node.op, Contract) for node in f.graph([y.value]).nodes)


def test_nothing_is_moved() -> None:
    """Heads in the channels, in transposes and reshapes: one product and no copy."""

    def build(f: Foreign, x: Tensor, y: Tensor) -> Tensor:
        q, k = (f.reshaped(t, (2, 7, 3, 4)).transposed((0, 2, 1, 3)) for t in (x, y))
        return einsum(f, [q, k], ["bhld", "bhmd"], "bhlm")

    f, _, y = built([numbers((2, 7, 12))] * 2, build)
    ops = [type(node.op) for node in f.graph([y.value]).nodes]
    assert ops.count(Contract) == 1
    assert not {Permute, View} & set(ops)


@pytest.mark.parametrize(
    ("shapes", "words", "says"),
    [
        (((2, 3), (4, 5)), ("ij", "jk"), "must be the same"),
        (((2, 3), (3,)), ("ij", "jk"), "must have 2 axes"),
    ],
)
def test_what_does_not_fit(
    shapes: Sequence[Sequence[int]], words: tuple[str, str], says: str
) -> None:
    f = Foreign("float32")
    x, y = (f.input(tuple(shape), "float32") for shape in shapes)
    with pytest.raises(FaltungError, match=says):
        einsum(f, [x, y], words, "ik")


@pytest.mark.parametrize(
    ("form", "extra", "whole"),
    [
        ("ij,jk->ik", (5,), True),
        ("ij,jk->ki", (5, 1), True),
        ("bhld,bhmd->bhlm", (1, 1, 6), True),
        ("bhld,bhmd->bhlm", (3, 2, 3, 6), True),
        ("bhld,bhmd->bhlm", (2, 1, 1), False),
        ("bhld,bhmd->bhlm", (3, 1, 3, 1), False),
    ],
)
@pytest.mark.parametrize("fixed", [False, True])
def test_formulas_become_epilogues(
    form: str, extra: tuple[int, ...], whole: bool, fixed: bool
) -> None:
    """Where the result is looked at as the product has it; a constant has no samples."""
    whole = whole and not (fixed and extra == (3, 2, 3, 6))
    arrays = [*arrays_of(form), numbers(extra, 7)]
    constant = arrays.pop() if fixed else None

    def build(f: Foreign, x: Tensor, y: Tensor, *more: Operand) -> Tensor:
        made = einsum_of(form, f, x, y)
        other = more[0] if constant is None else constant
        return formula(f, lambda a, b: maximum(a * 0.5 + b, 0.1), made, other)

    np.testing.assert_allclose(run(arrays, build), meant(arrays, build), atol=1e-5)
    f, _, y = built(arrays, build)
    nodes = fused(f.graph([y.value]).nodes, {y.value.name})
    assert any(isinstance(node.op, Elementwise) for node in nodes) != whole


def test_attention_of_another_program_can_be_trained() -> None:
    """Differentiated through views and products, against differences."""
    f = Foreign("float64")
    x = f.reshaped(f.input((1, 10, 6), "float64"), (2, 5, 6))
    w = numbers((6, 18), 1)
    every = einsum(f, [x, w], ["blc", "cd"], "bld")
    parts = [
        f.reshaped(sliced(f, every, 2, 6 * i, 6), (2, 5, 2, 3)).transposed((0, 2, 1, 3))
        for i in range(3)
    ]
    scores = einsum(f, parts[:2], ["bhld", "bhmd"], "bhlm")
    scores = formula(f, lambda a, b: a * 0.6 + b, scores, numbers((2, 5, 5), 2))
    made = einsum(f, [softmax(f, scores, [3]), parts[2]], ["bhlm", "bhmd"], "blhd")
    graph = replace(f.graph([f.straightened(made).value]), training=True)
    assert graph.input.samples == 1
    slopes(differentiate(graph, "mse"), samples=1)
