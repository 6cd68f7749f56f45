"""Other sizes, parts, selections, pads and places, in their settings, against ONNX Runtime."""

from typing import Any

import numpy as np
import pytest
from grid import grid
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.geometry.interpolate import COORDINATES, ROUNDINGS
from faltung.onnx import load

runtime = optional("onnxruntime")
I64 = np.int64


def one(
    op: str,
    shape: tuple[int, ...],
    constants: dict[str, Any] | None = None,
    *,
    opset: int = 19,
    outputs: str = "y",
    inputs: str | None = None,
    **attributes: Any,
) -> list[Any]:
    """A node of an input and constants."""
    runtime.InferenceSession  # noqa: B018 - skips where it is not installed
    names = " ".join(["x", *(constants or {})]) if inputs is None else inputs
    calls = [node(op, names, outputs, **attributes)]
    data = made(calls, {"x": shape}, outputs.split(), constants, opset=opset)
    return agree(data, {"x": numbers(*shape)})


def whole(**lists: list[int]) -> dict[str, Any]:
    return {name: np.array(values, I64) for name, values in lists.items()}


# Other sizes --------------------------------------------------------------------------------------

# ONNX Runtime has no antialiasing without a resize of two axes, and no cubic of one.
PLAIN = [c for c in COORDINATES if c not in ("tf_crop_and_resize", "half_pixel_symmetric")]


@grid(
    mode=["nearest", "linear", "cubic"],
    coordinates=PLAIN,
    rounding=ROUNDINGS,
    scales=[(2.0, 2.0), (1.5, 0.6), (0.5, 3.0)],
    every=3,
)
def test_scales(mode: str, coordinates: str, rounding: str, scales: tuple[float, ...]) -> None:
    one(
        "Resize",
        (2, 3, 6, 5),
        {"s": np.array([1, 1, *scales], np.float32)},
        inputs="x - s",
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )


@grid(
    mode=["nearest", "linear", "cubic"],
    coordinates=PLAIN,
    sizes=[(12, 10), (7, 11), (3, 2), (1, 1)],
    every=2,
)
def test_sizes(mode: str, coordinates: str, sizes: tuple[int, int]) -> None:
    how = {"mode": mode, "coordinate_transformation_mode": coordinates}
    one("Resize", (2, 3, 6, 5), whole(s=[2, 3, *sizes]), inputs="x - - s", **how)
    one("Resize", (2, 3, 6, 5), whole(s=list(sizes)), inputs="x - - s", axes=[2, 3], **how)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [(3, 2), (12, 9), (4, 5)])
@pytest.mark.parametrize("exclude", [0, 1])
def test_antialiased(mode: str, sizes: tuple[int, int], exclude: int) -> None:
    how = {"mode": mode, "antialias": 1, "exclude_outside": exclude}
    one("Resize", (2, 3, 9, 8), whole(s=[2, 3, *sizes]), inputs="x - - s", **how)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_policies(policy: str) -> None:
    how = {"keep_aspect_ratio_policy": policy, "axes": [2, 3]}
    one("Resize", (1, 1, 6, 5), whole(s=[7, 8]), inputs="x - - s", **how)


def test_outside_and_other_weights() -> None:
    more = {"exclude_outside": 1, "cubic_coeff_a": -0.5}
    one("Resize", (1, 2, 6, 5), whole(s=[1, 2, 9, 4]), inputs="x - - s", mode="cubic", **more)
    constants = whole(s=[1, 2, 7, 6]) | {
        "roi": np.array([0, 0, -0.3, 0.2, 1, 1, 0.9, 1.3], np.float32)
    }
    how = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5}
    for mode in ("nearest", "linear"):
        one("Resize", (1, 2, 6, 5), constants, inputs="x roi - s", mode=mode, **how)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_dialects(mode: str) -> None:
    scales = {"s": np.array([1, 1, 2.0, 3.0], np.float32)}
    one("Upsample", (1, 2, 3, 4), opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode=mode)
    one("Upsample", (1, 2, 3, 4), scales, opset=9, mode=mode)
    one("Resize", (1, 2, 3, 4), scales, opset=10, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_other_ranks(mode: str) -> None:
    one("Resize", (2, 7), whole(s=[3, 11]), inputs="x - - s", mode="nearest")
    one("Resize", (2, 3, 4, 5, 3), whole(s=[2, 3, 8, 5, 9]), inputs="x - - s", mode=mode)
    one("Resize", (2, 4, 5, 3), whole(s=[2, 8, 9, 3]), inputs="x - - s", mode=mode)


REFUSED = {
    "scales or sizes: must be 4 numbers": ("x - s", {"s": np.ones(3, np.float32)}, {}),
    "must be above 0": ("x - s", {"s": np.zeros(4, np.float32)}, {}),
    "sizes=0: must be at least 1": ("x - - s", whole(s=[1, 2, 0, 3]), {}),
    "mode='lanczos': must be one of": ("x - - s", whole(s=[1, 2, 3, 3]), {"mode": "lanczos"}),
    "roi is missing": (
        "x - - s",
        whole(s=[1, 2, 3, 3]),
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
    ),
    "keep_aspect_ratio_policy='wide'": (
        "x - - s",
        whole(s=[1, 2, 3, 3]),
        {"keep_aspect_ratio_policy": "wide"},
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_resizes_that_are_none(text: str) -> None:
    names, constants, attributes = REFUSED[text]
    call = node("Resize", names, "y", **attributes)
    data = made([call], {"x": (1, 2, 3, 4)}, ["y"], constants, opset=19)
    with pytest.raises(ValueError, match=text):
        load(data)(numbers(1, 2, 3, 4))


# Parts and selections -----------------------------------------------------------------------------


def test_parts_with_steps() -> None:
    for starts, ends, axes, steps in (
        ([-1], [-100], [2], [-1]),
        ([5, -1], [0, 0], [3, 1], [-2, -2]),
        ([1, 0, 0], [100, 100, 2], [3, 2, 0], [2, 3, 1]),
        ([3], [0], [2], [-3]),
    ):
        one("Slice", (2, 3, 6, 7), whole(s=starts, e=ends, a=axes, t=steps))


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_selections(axis: int) -> None:
    size = (2, 3, 6, 7)[axis]
    chosen = np.random.default_rng(axis).integers(-size, size, (3, 5))
    one("Gather", (2, 3, 6, 7), {"i": chosen}, axis=axis)
    one("Gather", (2, 3, 6, 7), {"i": np.array(-1)}, axis=axis)


def test_selections_of_elements() -> None:
    rng = np.random.default_rng(3)
    one("GatherElements", (2, 3, 6), {"i": rng.integers(-6, 6, (2, 2, 9))}, axis=2)
    one("GatherElements", (2, 3, 6), {"i": rng.integers(0, 2, (5, 3, 4))}, axis=0)
    one("GatherND", (2, 3, 6), {"i": rng.integers(0, 2, (4, 2))})
    one("GatherND", (2, 3, 6), {"i": rng.integers(0, 2, (4, 3))})
    one("GatherND", (2, 3, 6, 2), {"i": rng.integers(-2, 2, (2, 3, 5, 1))}, batch_dims=2)
    one("GatherND", (2, 3, 6, 2), {"i": rng.integers(0, 2, (2, 5, 2))}, batch_dims=1)


@pytest.mark.parametrize("how", ["none", "add"])
def test_scatters(how: str) -> None:
    rng = np.random.default_rng(3)
    places = np.stack([rng.permutation(6)[:4] for _ in range(6)]).reshape(2, 3, 4)
    more = {"reduction": how} if how != "none" else {}
    constants = {"i": places, "u": numbers(2, 3, 4, seed=2)}
    one("ScatterElements", (2, 3, 6), constants, axis=2, **more)
    rows = rng.permutation(12)[:5]
    pairs = np.stack([rows // 6, rows % 6], 1)
    one("ScatterND", (2, 6, 5), {"i": pairs, "u": numbers(5, 5, seed=2)}, **more)
    if how == "add":
        many = {"i": np.zeros((2, 3, 4), I64), "u": numbers(2, 3, 4, seed=2)}
        one("ScatterElements", (2, 3, 6), many, axis=2, **more)


def test_zeros_keep_their_sign_beside_what_is_scattered() -> None:
    data = made(
        [node("ScatterElements", "x i u", "y", axis=0)],
        {"x": (4,)},
        ["y"],
        {"i": np.array([1, 2]), "u": np.array([-0.0, np.nan], np.float32)},
    )
    got = load(data)(np.array([-0.0, 1, 2, np.inf], np.float32))
    np.testing.assert_array_equal(got, np.array([-0.0, -0.0, np.nan, np.inf], np.float32))
    assert np.signbit(got[:2]).all()


def test_repetitions_and_masks() -> None:
    one("Tile", (2, 3, 4), whole(r=[2, 1, 300]))
    for upper in (0, 1):
        for k in (-2, 0, 1, 9):
            one("Trilu", (2, 4, 5), {"k": np.array(k)}, upper=upper)
    one("Trilu", (3, 4))
    one("Compress", (2, 3, 4), {"c": np.array([True, False, True])}, axis=1)
    one("Compress", (2, 3), {"c": np.array([True, False, True, True])})
    one("ReverseSequence", (4, 3, 2), whole(n=[4, 1, 3]))
    one("ReverseSequence", (3, 4, 2), whole(n=[4, 1, 0]), batch_axis=0, time_axis=1)


# Pads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize(
    "pads",
    [[0, 0, 1, 2, 0, 0, 3, 1], [0, 1, 2, 0, 1, 0, 0, 4], [1, 0, 0, 0, 1, 0, 0, 0]],
)
def test_pads(mode: str, pads: list[int]) -> None:
    one("Pad", (2, 3, 5, 6), whole(p=pads), mode=mode)


def test_pads_with_numbers_and_crops() -> None:
    fill = {"p": np.array([0, 0, -1, 2, 0, 0, 3, -2]), "v": np.array(1.5, np.float32)}
    one("Pad", (2, 3, 5, 6), fill)
    infinite = {"p": np.array([0, 0, 1, 0, 0, 0, 0, 3]), "v": np.array(-np.inf, np.float32)}
    one("Pad", (2, 3, 5, 6), infinite)
    one("Pad", (2, 3, 5, 6), whole(p=[1, 2, 3, 4], a=[-1, 1]), inputs="x p - a", mode="edge")
    one("CenterCropPad", (2, 5, 8), whole(s=[4, 8, 5]))
    one("CenterCropPad", (2, 5, 8), whole(s=[7, 3]), axes=[1, 2])


def test_blocks_put_back() -> None:
    shape = {"image_shape": [5, 5], "block_shape": [1, 5]}
    one("Col2Im", (1, 5, 5), whole(i=shape["image_shape"], b=shape["block_shape"]))
    more = {"strides": [2, 2], "pads": [1, 0, 1, 1], "dilations": [1, 2]}
    one("Col2Im", (2, 18, 9), whole(i=[5, 8], b=[3, 3]), **more)


# Places -------------------------------------------------------------------------------------------


@grid(
    mode=["linear", "nearest", "cubic"],
    padding=["zeros", "border", "reflection"],
    corners=[0, 1],
    every=1,
)
def test_grids(mode: str, padding: str, corners: int) -> None:
    how = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    places = np.random.default_rng(1).uniform(-1.8, 1.8, (2, 4, 3, 2)).astype(np.float32)
    call = node("GridSample", "x g", "y", **how)
    data = made([call], {"x": (2, 3, 5, 6), "g": (2, 4, 3, 2)}, ["y"], opset=20)
    agree(data, {"x": numbers(2, 3, 5, 6), "g": places})
    one("GridSample", (2, 3, 5, 6), {"g": places}, opset=20, **how)


def test_grids_of_affine_maps() -> None:
    for size, shape in (([2, 3, 4, 5], (2, 2, 3)), ([1, 2, 3, 2, 4], (1, 3, 4))):
        for corners in (0, 1):
            one("AffineGrid", shape, whole(s=size), opset=20, align_corners=corners)


def by_definition(data: bytes, inputs: dict[str, Any]) -> None:
    """Against ONNX's evaluator, where the runtime has no such operator."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    wide = {name: array.astype(np.float64) for name, array in inputs.items()}
    (want,) = ReferenceEvaluator(onnx.load_from_string(data)).run(None, wide)
    (got,) = load(data).run(inputs, exact=True)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(
    ("groups", "parts", "attributes", "output"),
    [
        (1, 1, {}, (3, 4)),
        (2, 2, {"strides": [2, 1], "pads": [1, 0, 1, 2]}, (3, 6)),
        (1, 4, {"dilations": [2, 1], "pads": [1, 1, 0, 1]}, (2, 6)),
    ],
)
def test_deformable_convolutions(
    groups: int, parts: int, attributes: dict[str, Any], output: tuple[int, int]
) -> None:
    pytest.importorskip("onnx")
    constants = {"w": numbers(6, 4 // groups, 3, 3), "b": numbers(6, seed=1)}
    inputs = {
        "x": numbers(2, 4, 5, 6),
        "o": numbers(2, 18 * parts, *output, seed=2) * 2,
        "m": numbers(2, 9 * parts, *output, seed=3),
    }
    shapes = {name: array.shape for name, array in inputs.items()}
    for names in ("x w o b m", "x w o"):
        how = {"group": groups, "offset_group": parts, **attributes}
        call = node("DeformConv", names, "y", **how)
        read = {name: shapes[name] for name in names.split() if name in shapes}
        data = made([call], read, ["y"], constants, opset=19)
        by_definition(data, {name: inputs[name] for name in read})


@pytest.mark.parametrize("half", [True, False])
def test_regions(half: bool) -> None:
    rois = np.array([[0, 0, 5, 4], [1.5, 2, 3, 9], [-3, -2, 2, 1], [4, 3, 4, 3]], np.float32)
    how = {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.8}
    mode = "half_pixel" if half else "output_half_pixel"
    call = node("RoiAlign", "x r b", "y", coordinate_transformation_mode=mode, **how)
    for pictures, chosen in ((2, [0, 1, 1, 0]), (1, [0, 0, 0, 0])):
        shapes = {"x": (pictures, 3, 6, 7), "r": (4, 4)}
        data = made([call], shapes, ["y"], {"b": np.array(chosen)}, opset=16)
        agree(data, {"x": numbers(pictures, 3, 6, 7), "r": rois})
