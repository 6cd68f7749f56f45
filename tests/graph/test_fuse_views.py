"""Views behind formulas: the same numbers, and the same fusion for one sample as for several."""

import numpy as np
from graph.interpreter import compute

from faltung.geometry.conv import conv_spec
from faltung.geometry.expr import maximum, operand
from faltung.graph.fuse import fused, needed
from faltung.graph.fuse_views import views_last
from faltung.graph.ops import Convolve, Elementwise, View
from faltung.graph.value import Node, Value

A, B = operand(0), operand(1)


def nodes(windows: int) -> tuple[Node, ...]:
    """A convolution of windows, seen as one map, then a scale, a view back, and an activation."""
    spec = conv_spec((1, 3, 4), (5, 3, 1))
    x, w = Value("x", (3, 4), samples=windows), Value("w", (5, 3, 1), batched=False)
    c, flat = Value("c", (5, 4), samples=windows), Value("flat", (5, 4 * windows))
    gain = Value("gain", (5,), batched=False)
    scaled, back = Value("scaled", flat.shape), Value("back", c.shape, samples=windows)
    out, x2 = Value("out", c.shape, samples=windows), Value("x2", c.shape, samples=windows)
    views = windows > 1
    return (
        Node(Convolve(spec), (x, w), (c,)),
        *((Node(View(), (c,), (flat,)),) if views else ()),
        Node(Elementwise(flat.shape, (A * B,)), (flat if views else c, gain), (scaled,)),
        *((Node(View(), (scaled,), (back,)),) if views else ()),
        Node(Elementwise(c.shape, (maximum(A, 0) - B,)), (back if views else scaled, x2), (out,)),
    )


def test_one_window_is_fused_like_several() -> None:
    found = []
    for windows in (1, 3):
        made = fused(needed(views_last(nodes(windows)), {"out"}), {"out"})
        found.append([type(node.op).__name__ for node in made if not isinstance(node.op, View)])
    assert found[0] == found[1] == ["Convolve"]


def test_the_numbers_stay() -> None:
    rng = np.random.default_rng(0)
    known = {"x": rng.standard_normal((3, 3, 4)), "w": rng.standard_normal((5, 3, 1))}
    known["x2"] = rng.standard_normal((3, 5, 4))
    known["gain"] = rng.standard_normal(5)
    plain, moved = dict(known), dict(known)
    compute(nodes(3), plain, 1)
    compute(views_last(nodes(3)), moved, 1)
    assert np.array_equal(plain["out"], moved["out"])


def test_a_vector_for_each_sample_stays_where_it_is() -> None:
    x, seen = Value("x", (5, 4), samples=3), Value("seen", (5, 12))
    gate, out = Value("gate", (5,)), Value("out", (5, 12))
    given = (
        Node(View(), (x,), (seen,)),
        Node(Elementwise(seen.shape, (A * B,)), (seen, gate), (out,)),
    )
    assert views_last(given) == given
