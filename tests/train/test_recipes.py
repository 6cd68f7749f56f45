"""Settings by the network and the size of the data, where nobody says others."""

import pytest

from faltung.nets import NETS
from faltung.train import defaults
from faltung.train.recipes import FEW, RECIPES, SMALL_BATCH, of_estimator, recipe, settings_of
from faltung.train.settings import Settings


def test_recipes_are_of_networks_and_are_settings() -> None:
    assert set(RECIPES) <= set(NETS)
    for net in (*RECIPES, "resnet18"):
        made = settings_of(net, 100, {}, tuned=False)
        jitter = made.pop("jitter")
        assert Settings(**made).batch == SMALL_BATCH and jitter >= 0


@pytest.mark.parametrize("net", [*RECIPES, "resnet18"])
@pytest.mark.parametrize("samples", [1, 10, 100, FEW - 1, FEW, 10**4, 10**7])
def test_fewer_samples_more_epochs(net: str, samples: int) -> None:
    least, most = recipe(net).epochs
    made = settings_of(net, samples, {}, tuned=False)
    assert made["batch"] == recipe(net).batch(samples) and least <= made["epochs"] <= most
    steps = made["epochs"] * -(-samples // made["batch"])
    assert made["epochs"] in (least, most) or abs(steps / recipe(net).steps - 1) < 0.2
    more = settings_of(net, 2 * samples + FEW, {}, tuned=False)
    assert more["epochs"] <= made["epochs"]


def test_what_is_given_stays() -> None:
    made = settings_of("convnet", 100, {"epochs": 3, "batch": 5, "lr": 1.0}, tuned=False)
    assert (made["epochs"], made["batch"], made["lr"]) == (3, 5, 1.0)


def test_what_does_not_apply_is_left_out() -> None:
    assert "lr" not in settings_of("convnet", 100, {"optimizer": "sgd"}, tuned=False)
    assert "lr" not in settings_of("convnet", 100, {}, tuned=True)
    assert "smoothing" not in settings_of("convnet", 100, {"loss": "mse"}, tuned=False)
    assert settings_of("resnet18", 10**5, {}, tuned=False)["epochs"] == defaults.EPOCHS


def test_estimators_grow_batches_and_shrink_decay_with_the_samples() -> None:
    for positions, most in ((False, 256), (True, 128)):
        found = of_estimator(positions, own=True)
        assert [found.batch(n) for n in (1, 64 * 48, 10**6)] == [32, 32, most]
        assert found.shrink(1) == 0.5 and found.shrink(10**6) == 0.05
        assert of_estimator(positions, own=False).lr == found.lr / 4  # type: ignore[operator]
