"""The definition of recurrent layers against laws, and its gradient against differences."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurrences import alone, numbers, specs

from faltung.geometry.expr import operand
from faltung.geometry.recurrent import SQUASH, RecurrentSpec, Squash
from faltung.reference.expr import evaluate
from faltung.reference.recurrent import _SQUASH, Walked, recurrence, recurrence_grad

Array = np.ndarray
seeds = st.integers(0, 2**32 - 1)


def walked(spec: RecurrentSpec, own: dict[str, Array], **other: Any) -> Walked:
    given = {**own, **other}
    weights = [given.pop(name) for name in ("w", "w2") if name in given]
    return recurrence(spec, 0, given.pop("x"), weights, **given)


def first(
    spec: RecurrentSpec, seed: int, samples: int = 2
) -> tuple[RecurrentSpec, dict[str, Array]]:
    """The first direction alone, and what it reads."""
    return alone(spec, 0), numbers(spec, samples, seed)[0]


@given(specs(), seeds)
def test_backwards_is_forwards_of_the_sequence_turned_around(
    spec: RecurrentSpec, seed: int
) -> None:
    spec, own = first(spec, seed)
    own.pop("lengths", None)
    turned = replace(spec, reverse=(not spec.reverse[0],))
    a, b = walked(spec, own), walked(turned, own, x=own["x"][..., ::-1])
    np.testing.assert_array_equal(a.y, b.y[..., ::-1])
    np.testing.assert_array_equal(a.h, b.h)


@given(specs(), seeds, st.data())
def test_a_sequence_goes_on_from_its_state(
    spec: RecurrentSpec, seed: int, data: st.DataObject
) -> None:
    spec, own = first(spec, seed)
    own.pop("lengths", None)
    at = data.draw(st.integers(0, spec.steps))
    whole = walked(replace(spec, reverse=(False,)), own)
    spec = replace(spec, reverse=(False,))
    one = walked(spec, own, x=own["x"][..., :at])
    more = {"h": one.h} | ({} if one.c is None else {"c": one.c})
    two = walked(spec, own, x=own["x"][..., at:], **more)
    np.testing.assert_allclose(np.concatenate([one.y, two.y], -1), whole.y, atol=1e-12)
    np.testing.assert_allclose(two.h, whole.h, atol=1e-12)


@given(specs(), seeds)
def test_short_sequences_are_sequences_of_their_length(spec: RecurrentSpec, seed: int) -> None:
    spec, own = first(replace(spec, lengths=True), seed, samples=3)
    whole = walked(spec, own)
    for sample, length in enumerate(own["lengths"]):
        mine = {
            name: array[sample : sample + 1] if name in ("x", "h", "c") else array
            for name, array in own.items()
            if name != "lengths"
        }
        short = walked(spec, mine, x=mine["x"][..., :length])
        np.testing.assert_allclose(whole.y[sample, :, :length], short.y[0], atol=1e-12)
        np.testing.assert_array_equal(whole.y[sample, :, length:], 0)
        np.testing.assert_allclose(whole.h[sample], short.h[0], atol=1e-12)


def test_a_gru_resets_before_or_after_the_product() -> None:
    """It is the same where the recurrent weight of what is new is diagonal and has no bias."""
    spec = RecurrentSpec("gru", 4, 5)
    (own,) = numbers(spec, 2, 1)
    own["w2"] = np.diag(np.arange(5.0))
    after = dict(own, w=np.concatenate([own["w"], own["w2"]]))
    del after["w2"]
    a, b = walked(spec, own), walked(replace(spec, linear_before_reset=True), after)
    np.testing.assert_allclose(a.y, b.y, atol=1e-12)


@given(specs(smooth=True), seeds)
def test_the_gradient_is_the_slope(spec: RecurrentSpec, seed: int) -> None:
    """Of sums of everything that the layer gives, with random weights, along random directions."""
    spec, own = first(spec, seed)
    rng = np.random.default_rng(seed)
    found = walked(spec, own)
    shown = {"y": rng.normal(size=found.y.shape), "h": rng.normal(size=found.h.shape)}
    if found.c is not None:
        shown["c"] = rng.normal(size=found.c.shape)
    more = {name: own[name] for name in ("peepholes", "lengths") if name in own}
    weights = [own[name] for name in ("w", "w2") if name in own]
    made = recurrence_grad(spec, 0, found, weights, **shown, **more)
    names = {"x": made.x, "h": made.h, "c": made.c, "bias": made.products.sum((0, 2))}
    for name, gradient in names.items():
        if name not in own:
            continue
        d = rng.normal(size=own[name].shape)
        up, down = (walked(spec, own, **{name: own[name] + s * d}) for s in (1e-6, -1e-6))
        slope = sum(
            (weight * (getattr(up, which) - getattr(down, which))).sum() / 2e-6
            for which, weight in shown.items()
        )
        assert abs((gradient * d).sum() - slope) < 1e-5 * (1 + np.abs(gradient).max()), name


@pytest.mark.parametrize("name", sorted(SQUASH))
def test_formulas_of_activations_are_their_definitions(name: str) -> None:
    x = np.linspace(-4, 4, 33)
    for pair in ((0.3, 0.8), (1.5, -0.4)):
        got = evaluate(Squash(name, *pair).of(operand(0)), [x])
        np.testing.assert_allclose(got, _SQUASH[name](x, *pair), atol=1e-14)
