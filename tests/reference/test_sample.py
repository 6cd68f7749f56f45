"""Sampling at points against PyTorch, and its gradients against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional
from samplings import numbers, specs

from faltung.geometry.sample import SampleSpec
from faltung.reference.sample import sample, sample_input_grad, sample_points_grad

torch = optional("torch")
seeds = st.integers(0, 2**32 - 1)
TORCH = {"zeros": "zeros", "replicate": "border", "symmetric": "reflection"}


@given(specs(smooth=True), seeds)
def test_gradients_are_slopes(spec: SampleSpec, seed: int) -> None:
    own = numbers(spec, 2, 2 * spec.groups, seed)
    grad = own.pop("grad")
    mask = own.get("mask")
    made = {"x": sample_input_grad(spec, grad, own["points"], mask)}
    made["points"], made["mask"] = sample_points_grad(spec, grad, **own)
    rng = np.random.default_rng(seed)
    for name, array in own.items():
        d = rng.normal(size=array.shape)
        up, down = (
            (grad * sample(spec, **{**own, name: array + s * d})).sum() for s in (1e-6, -1e-6)
        )
        slope = (up - down) / 2e-6
        assert abs((made[name] * d).sum() - slope) < 1e-5 * (1 + np.abs(made[name]).sum()), name


@pytest.mark.parametrize("outside", sorted(TORCH))
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_grid_samples_are_those_of_pytorch(mode: str, outside: str) -> None:
    rng = np.random.default_rng(3)
    x, grid = rng.normal(size=(2, 3, 4, 5)), rng.uniform(-1.8, 1.8, (2, 6, 7, 2))
    spec = SampleSpec((4, 5), (6, 7), mode, outside, backwards=True)
    points = np.moveaxis(((grid + 1) * np.array([5, 4]) - 1) / 2, -1, 1)
    names = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}
    want = torch.nn.functional.grid_sample(
        torch.tensor(x), torch.tensor(grid), names[mode], TORCH[outside], align_corners=False
    )
    np.testing.assert_allclose(sample(spec, x, points), want.numpy(), atol=1e-12)
