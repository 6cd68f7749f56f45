"""The kernels of recurrences against their definition: every option, any size, any pitch."""

from typing import Any

import numpy as np
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide
from recurrences import numbers, specs

from faltung.geometry.recurrent import RecurrentSpec
from faltung.graph.recurrent import alike, only
from faltung.machine.table import GENERIC, ROWS, Machine
from faltung.methods.base.step import Matrix, Operand, Work, waiting
from faltung.methods.recurrent.recurrent import (
    Direction,
    Lengths,
    Rows,
    Weight,
    recurrence,
    recurrence_grad,
)
from faltung.reference import recurrent as definition

Array = np.ndarray
Found = list[dict[str, Array]]
seeds = st.integers(0, 2**32 - 1)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def named(machine: str) -> Machine:
    return next(row for row in (*ROWS, GENERIC) if row.name == machine)


class Arrays:
    """Arrays by name, and how a direction names them."""

    def __init__(self, dtype: str, pitch: int, allocate: Allocate) -> None:
        self.dtype, self.pitch, self.allocate = np.dtype(dtype), pitch, allocate
        self.found: dict[str, Array] = {}

    def put(self, name: str, array: Array) -> Operand:
        made = self.allocate(array.size * self.dtype.itemsize).view(self.dtype)
        made[:] = array.astype(self.dtype).ravel()
        self.found[name] = made
        return Operand(name)

    def map(self, name: str, array: Array) -> Matrix:
        pitch = array.shape[1] + self.pitch
        self.found[name] = as_map(array.astype(self.dtype), pitch, self.allocate)
        return Matrix(Operand(name), pitch)

    def blank(self, name: str, rows: int, channels: int) -> Matrix:
        pitch = channels + self.pitch
        self.found[name] = blank(rows, channels, pitch, self.dtype, self.allocate)
        return Matrix(Operand(name), pitch)

    def weights(self, own: dict[str, Array], d: int) -> list[Weight]:
        """Rows are outputs; in memory they are the columns, as programs keep them."""
        return [
            Weight(self.put(f"{name}{d}", own[name].T), 1, len(own[name]))
            for name in ("w", "w2")
            if name in own
        ]

    def lengths(self, own: dict[str, Array], kind: str) -> Lengths | None:
        if "lengths" not in own:
            return None
        given = own["lengths"].astype(np.int64 if kind == "int" else self.dtype)
        self.found["lengths"] = self.allocate(given.nbytes).view(given.dtype)
        self.found["lengths"][:] = given
        return Lengths(Operand("lengths"), kind, len(given))


def steps(work: Work) -> Work:
    """With a barrier between packing and walking, as programs have."""
    work.steps = [waiting(step, True) for step in work.steps]
    return work


def forward(
    spec: RecurrentSpec,
    given: Found,
    dtype: str,
    machine: Machine,
    *,
    pitch: int = 0,
    threads: int = 2,
    kind: str = "int",
    allocate: Allocate = anywhere,
) -> Found:
    samples, size = len(given[0]["x"]), spec.hidden
    arrays, directions = Arrays(dtype, pitch, allocate), []
    rows, apart = samples * spec.steps, spec.cell(0).apart is not None
    channels = {"y": size, "before": size, "sums": (len(spec.gates) + apart) * size}
    channels |= {"cells": size} if spec.is_lstm else {}
    states = ("h", "c")[: 1 + spec.is_lstm]
    for d, own in enumerate(given):
        matrices = {"x": arrays.map(f"x{d}", own["x"])}
        matrices |= {n: arrays.blank(f"{n}{d}", rows, count) for n, count in channels.items()}
        matrices |= {n: arrays.blank(f"{n}{d}", samples, size) for n in states}
        vectors = {n: arrays.put(f"{n}{d}", own[n]) for n in ("bias", "peepholes") if n in own}
        first = {
            n: Rows(arrays.map(f"first {n}{d}", own[n]), len(own[n])) for n in states if n in own
        }
        directions.append(Direction(arrays.weights(own, d), matrices, vectors, first))
    work, lengths = Work(), arrays.lengths(given[0], kind)
    options: dict[str, Any] = {"samples": samples, "lengths": lengths, "kept": True}
    recurrence(spec, work, directions, **options, dtype=dtype, machine=machine)
    run(steps(work), machine, arrays.found, threads, allocate)
    names = (*channels, *states)
    for d in range(len(given)):
        for name in names:
            assert np.isnan(between(arrays.found[f"{name}{d}"])).all(), name
    return [
        {
            name: from_map(
                arrays.found[f"{name}{d}"],
                (samples, size) if name in states else (samples, channels[name], spec.steps),
            )
            for name in names
        }
        for d in range(len(given))
    ]


def backward(
    spec: RecurrentSpec,
    given: Found,
    kept: Found,
    shown: Found,
    dtype: str,
    machine: Machine,
    *,
    pitch: int = 0,
    threads: int = 2,
    kind: str = "int",
    allocate: Allocate = anywhere,
) -> Found:
    samples, size = len(given[0]["x"]), spec.hidden
    arrays, directions = Arrays(dtype, pitch, allocate), []
    gates = len(spec.gates) * size
    maps = ("x", "products")[: 1 + (spec.cell(0).apart is not None)]
    states = ("h", "c")[: 1 + spec.is_lstm]
    for d, own in enumerate(given):
        reads = {n: kept[d][n] for n in ("sums", "before", "cells") if n in kept[d]}
        reads |= {f"grad_{n}": array for n, array in shown[d].items()}
        matrices = {n: arrays.map(f"{n}{d}", array) for n, array in reads.items()}
        matrices |= {n: arrays.blank(f"{n}{d}", samples * spec.steps, gates) for n in maps}
        matrices |= {n: arrays.blank(f"{n}{d}", samples, size) for n in states}
        vectors = {n: arrays.put(f"{n}{d}", own[n]) for n in ("peepholes",) if n in own}
        directions.append(Direction(arrays.weights(own, d), matrices, vectors))
    work, lengths = Work(), arrays.lengths(given[0], kind)
    options: dict[str, Any] = {"samples": samples, "lengths": lengths, "given": tuple(shown[0])}
    recurrence_grad(spec, work, directions, **options, dtype=dtype, machine=machine)
    run(steps(work), machine, arrays.found, threads, allocate)
    return [
        {
            name: from_map(
                arrays.found[f"{name}{d}"],
                (samples, size) if name in states else (samples, gates, spec.steps),
            )
            for name in (*maps, *states)
        }
        for d in range(len(given))
    ]


def walked(spec: RecurrentSpec, d: int, own: dict[str, Array]) -> definition.Walked:
    given = dict(own)
    weights = [given.pop(name) for name in ("w", "w2") if name in given]
    return definition.recurrence(spec, d, given.pop("x"), weights, **given)


def close(got: Array, want: Array, tolerance: float) -> None:
    np.testing.assert_allclose(
        got, want, rtol=0, atol=tolerance * (1 + np.abs(want).max(initial=0))
    )


def narrow(given: Found, dtype: str) -> Found:
    """Numbers that fit into a dtype, in float64."""
    return [
        {n: a if n == "lengths" else a.astype(dtype).astype(np.float64) for n, a in own.items()}
        for own in given
    ]


def check(
    spec: RecurrentSpec,
    samples: int,
    seed: int,
    dtype: str,
    machine: Machine,
    shows: str = "yhc",
    **more: Any,
) -> None:
    """Directions whose formulas are equal walk together: results, what is kept, and gradients."""
    tolerance = TOLERANCE[dtype]
    every = narrow(numbers(spec, samples, seed), dtype)
    for together in alike(spec.activations):
        part, given = only(spec, together), [every[d] for d in together]
        got = forward(part, given, dtype, machine, **more)
        found = [walked(part, d, own) for d, own in enumerate(given)]
        for one, want in zip(got, found, strict=True):
            for name, array in one.items():
                close(array, getattr(want, name), tolerance)
        rng = np.random.default_rng(seed)
        states = {name for name in shows if name != "c" or part.is_lstm}
        shown = narrow(
            [
                {name: rng.normal(size=getattr(want, name).shape) for name in sorted(states)}
                for want in found
            ],
            dtype,
        )
        kept = [{n: a for n, a in w._asdict().items() if a is not None} for w in found]
        back = backward(part, given, kept, shown, dtype, machine, **more)
        for d, (own, want) in enumerate(zip(given, found, strict=True)):
            weights = [own[name] for name in ("w", "w2") if name in own]
            others = {name: own[name] for name in ("peepholes", "lengths") if name in own}
            slope = definition.recurrence_grad(part, d, want, weights, **shown[d], **others)
            for name, array in back[d].items():
                close(array, getattr(slope, name), 10 * tolerance)


# In float32 a number may come to lie on the other side of a corner than in float64.
problems = st.one_of(
    st.tuples(specs(), st.just("float64")), st.tuples(specs(smooth=True), st.just("float32"))
)


@given(
    problems,
    st.integers(1, 9),
    seeds,
    st.sampled_from(["wide", *MACHINES]),
    st.sampled_from(["y", "h", "yh", "yhc"]),
    st.integers(0, 3),
    st.sampled_from(["int", "float"]),
)
def test_any_layer(
    problem: tuple[RecurrentSpec, str],
    samples: int,
    seed: int,
    machine: str,
    shows: str,
    pitch: int,
    kind: str,
) -> None:
    spec, dtype = problem
    row = wide() if machine == "wide" else named(machine)
    check(spec, samples, seed, dtype, row, shows, pitch=pitch, kind=kind)


LAYERS = {
    "lstm": RecurrentSpec("lstm", 5, 37, (False, True), recurrent_bias=True, lengths=True),
    "lstm with peepholes": RecurrentSpec(
        "lstm", 4, 16, (True,), peepholes=True, initial_h=True, initial_c=True, clip=0.8
    ),
    "gru": RecurrentSpec("gru", 5, 24, (False, True), linear_before_reset=True, lengths=True),
    "gru that resets first": RecurrentSpec("gru", 4, 19, (True,), initial_h=True),
    "rnn": RecurrentSpec("rnn", 6, 3, (False, True), recurrent_bias=True),
    "a unit and a step": RecurrentSpec("lstm", 1, 1),
    "wide": RecurrentSpec("lstm", 2, 150),
}


@grid(name=LAYERS, samples=[1, 2, 5, 13], dtype=["float32", "float64"], machine=MACHINES, every=8)
def test_layers_of_all_sizes(name: str, samples: int, dtype: str, machine: Machine) -> None:
    check(LAYERS[name], samples, 3, dtype, machine)


@grid(name=LAYERS, dtype=["float32", "float64"], every=4)
def test_bits_depend_on_nothing_else(name: str, dtype: str) -> None:
    """Neither on threads nor on the other samples."""
    spec = LAYERS[name]
    given = narrow(numbers(spec, 11, 5), dtype)

    def every(found: Found, threads: int) -> list[bytes]:
        got = forward(spec, found, dtype, wide(), threads=threads)
        shown = [{"y": own["y"], "h": own["h"]} for own in got]
        back = backward(spec, found, got, shown, dtype, wide(), threads=threads)
        return [array[2:4].tobytes() for own in (*got, *back) for array in own.values()]

    per_sample = ("x", "h", "c", "lengths")
    few = [{n: a[:4] if n in per_sample else a for n, a in own.items()} for own in given]
    assert every(given, 1) == every(given, 2) == every(given, 3) == every(few, 2)


def test_first_states_that_samples_share() -> None:
    spec = RecurrentSpec("lstm", 3, 20, initial_h=True, initial_c=True)
    (own,) = numbers(spec, 6, 7)
    own |= {"h": own["h"][:2], "c": own["c"][:1]}
    (got,) = forward(spec, [own], "float64", wide())
    want = walked(spec, 0, own)
    close(got["y"], want.y, 1e-12)
    close(got["c"], want.c, 1e-12)


def test_lengths_that_are_none() -> None:
    """Below zero there is no step, and beyond the last one there is no other."""
    spec = RecurrentSpec("gru", 3, 5, (True,), lengths=True)
    given = numbers(spec, 4, 7)
    for kind, lengths in (("int", [-7, 0, 3, 2**62]), ("float", [-np.inf, 0.9, 3.5, 1e30])):
        given[0]["lengths"] = np.array(lengths)
        (got,) = forward(spec, given, "float64", wide(), kind=kind)
        given[0]["lengths"] = np.array([0, 0, 3, 3])
        close(got["y"], walked(spec, 0, given[0]).y, 1e-12)
    given[0]["lengths"] = np.full(4, np.nan)
    (got,) = forward(spec, given, "float64", wide(), kind="float")
    assert not got["y"].any()


@between_fences(name=LAYERS, dtype=["float32", "float64"], samples=[1, 5], every=6)
def test_between_fences(name: str, dtype: str, samples: int, side: str, machine: Machine) -> None:
    def allocate(n_bytes: int) -> Array:
        return fenced(n_bytes, side == "after")

    check(LAYERS[name], samples, 3, dtype, machine, pitch=1, allocate=allocate)
