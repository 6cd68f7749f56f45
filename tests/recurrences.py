"""Recurrent layers with every option, drawn by hypothesis, and numbers for what they read."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from faltung.geometry.recurrent import ACTIVATIONS, GATES, NUMBERS, SQUASH, RecurrentSpec, Squash

Array = np.ndarray

# Smooth ones, and steep ones that saturate; slopes of those with corners are tried elsewhere.
squashes = st.sampled_from(sorted(SQUASH)).map(
    lambda name: Squash(name, *(0.7, 0.4)[: NUMBERS.get(name, 0)])
)
SMOOTH = ("tanh", "sigmoid", "affine", "scaledtanh", "softplus")


@st.composite
def specs(draw: st.DrawFn, smooth: bool = False) -> RecurrentSpec:
    """A layer; ``smooth``: whose loss has slopes everywhere."""
    kind = draw(st.sampled_from(sorted(GATES)))
    reverse = draw(st.sampled_from([(False,), (True,), (False, True)]))
    usual = draw(st.booleans())
    choice = squashes.filter(lambda s: s.name in SMOOTH) if smooth else squashes
    each = st.tuples(*[choice] * ACTIVATIONS[kind])
    gru, lstm = kind == "gru", kind == "lstm"
    return RecurrentSpec(
        kind,
        draw(st.integers(1, 6)),
        draw(st.one_of(st.integers(1, 5), st.sampled_from([7, 8, 9, 16, 17, 31, 33, 40]))),
        reverse,
        () if usual else tuple(draw(each) for _ in reverse),
        draw(
            st.sampled_from({"lstm": ["ifgo", "iofg"], "gru": ["rzn", "zrn"], "rnn": ["h"]}[kind])
        ),
        None if smooth else draw(st.sampled_from([None, 0.4])),
        lstm and draw(st.booleans()),
        gru and draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
        lstm and draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
        lstm and draw(st.booleans()),
    )


def alone(spec: RecurrentSpec, direction: int) -> RecurrentSpec:
    """One direction of a layer."""
    return replace(
        spec,
        reverse=spec.reverse[direction : direction + 1],
        activations=spec.activations[direction : direction + 1],
    )


def numbers(spec: RecurrentSpec, samples: int, seed: int) -> list[dict[str, Array]]:
    """What each direction of a recurrence reads, by name; "w" and "w2" are its weights, "x" the
    gates' inputs; "lengths" are those of all.
    """
    rng = np.random.default_rng(seed)
    size, gates = spec.hidden, len(spec.gates)
    lengths = rng.integers(0, spec.steps + 1, samples).astype(np.int64)
    found = []
    for _ in spec.reverse:
        own = {"x": rng.normal(size=(samples, gates * size, spec.steps))}
        for name, count in zip(("w", "w2"), spec.weights, strict=False):
            own[name] = rng.normal(size=(count * size, size)) / np.sqrt(size)
        if spec.recurrent_bias:
            own["bias"] = rng.normal(size=gates * size)
        if spec.peepholes:
            own["peepholes"] = rng.normal(size=3 * size)
        if spec.initial_h:
            own["h"] = rng.normal(size=(samples, size))
        if spec.initial_c:
            own["c"] = rng.normal(size=(samples, size))
        if spec.lengths:
            own["lengths"] = lengths
        found.append(own)
    return found
