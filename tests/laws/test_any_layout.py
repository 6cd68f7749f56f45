"""Random problems on arrays that lie in memory in any way: permuted, reversed, with gaps.

Every operand has strides of its own, `out` too; what lies between its entries must stay as it was.
"""

import random
from collections.abc import Callable

import numpy as np
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.layouts import options

import faltung
from cases import integers, random_specs
from faltung import reference
from faltung.geometry import ConvSpec, parse

Array = np.ndarray


def scattered(array: Array, rng: random.Random) -> tuple[Array, Array]:
    """The same numbers with strides at random; and the block of memory (else NaN) they lie in."""
    order = rng.sample(range(array.ndim), array.ndim)
    steps = [rng.choice((1, 1, 1, 2, 3)) for _ in order]
    turns = [rng.choice((1, 1, -1)) for _ in order]
    shape = [array.shape[i] * steps[i] for i in order]
    whole = np.full(shape, np.nan, array.dtype)
    view = whole[tuple(slice(None, None, steps[i]) for i in order)]
    view = view[tuple(slice(None, None, turns[i]) for i in order)]
    view = view.transpose(np.argsort(order))
    view[...] = array
    return view, whole


def check(run: Callable[[Array], Array], want: Array, dtype: str, rng: random.Random) -> None:
    """`run(out)` writes `want` to an `out` of any strides, returns it, and writes nothing else."""
    out, whole = scattered(np.full(want.shape, np.nan, dtype), rng)
    assert run(out) is out
    np.testing.assert_array_equal(out, want)
    out[...] = np.nan
    assert np.isnan(whole).all(), "something beside the result was written"


def check_all(spec: ConvSpec, seed: int) -> None:
    rng = random.Random(seed)
    x, w, bias, g = integers(spec, seed=seed % 1000)
    wants = [
        reference.conv(x, w, bias, spec),
        reference.conv_input_grad(g, w, spec),
        reference.conv_weight_grad(x, g, spec),
    ]
    last = rng.random() < 0.5
    given = {**options(spec), "channels_last": last}
    if last:
        x, g, wants[0], wants[1] = (np.moveaxis(a, 1, -1) for a in (x, g, *wants[:2]))
    if spec.batch == 1 and rng.random() < 0.5:
        x, g, wants[0], wants[1] = (a[0] for a in (x, g, *wants[:2]))
    x, w, bias, g = (scattered(a, rng)[0] for a in (x, w, bias, g))
    for array in (x, w, bias, g):
        array.flags.writeable = False
    layer = faltung.Conv(w, bias, **given)
    calls: list[Callable[[Array], Array]] = [
        lambda out: faltung.conv(x, w, bias, out=out, **given),
        lambda out: faltung.conv_input_grad(g, w, x.shape, out=out, **given),
        lambda out: faltung.conv_weight_grad(x, g, w.shape, out=out, **given),
        lambda out: layer(x, out=out),
    ]
    for run, want in zip(calls, [*wants, wants[0]], strict=True):
        check(run, want, spec.dtype, rng)


def test_any_strides_anywhere(machine: object) -> None:
    @given(random_specs(max_macs=100_000), st.integers(0, 2**31))
    def walk(spec: ConvSpec, seed: int) -> None:
        check_all(spec, seed)

    walk()


BROADCAST = [
    "n3 c4>5 8x9 k3 p1",
    "n2 c17>18 6x7 k3 p1 m:circular",
    "n2 c1>1 40 k5 p2",
    "n2 c33>16 5x5 k1",
    "n2 c6>6 7x8 k3 s2 p1 g6",
    "n2 c20>3 9 k3 d2",
]


@grid(text=BROADCAST, dims=["channels", "rows", "all", "batch"], machine=MACHINES)
def test_one_number_may_stand_for_many(text: str, dims: str, machine: object) -> None:
    spec = parse(text)
    x, w, _, g = integers(spec)
    kept = {"channels": (1,), "rows": (2,), "batch": (0,), "all": tuple(range(x.ndim))}[dims]

    def narrow(a: Array) -> Array:
        """The first entry along the axes `kept`, repeated with stride 0."""
        first = a[tuple(slice(0, 1) if i in kept else slice(None) for i in range(a.ndim))]
        return np.broadcast_to(first, a.shape)

    x, w, g = narrow(x), narrow(w), narrow(g)
    given = {**options(spec), "precision": "strict"}  # whole numbers are exact in plain sums
    np.testing.assert_array_equal(faltung.conv(x, w, **given), reference.conv(x, w, None, spec))
    np.testing.assert_array_equal(
        faltung.conv_input_grad(g, w, x.shape, **given), reference.conv_input_grad(g, w, spec)
    )
    np.testing.assert_array_equal(
        faltung.conv_weight_grad(x, g, w.shape, **given), reference.conv_weight_grad(x, g, spec)
    )
