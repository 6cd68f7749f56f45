"""A network that starts from another: what it takes, what it names, what it refuses."""

import re

import numpy as np
import pytest
from runs import shapes

from faltung import Model, nets, nn
from faltung.train.transfer import digest, with_outputs

X, Y = shapes(40)


def lenet(classes: int, seed: int = 0) -> Model:
    net = nets.get("lenet5", classes=classes, input_shape=(1, 8, 8))
    return Model(net, (1, 8, 8), seed=seed)


def test_what_fits_is_taken_and_the_rest_is_named() -> None:
    old, new = lenet(2), lenet(5, seed=9)
    old.fit(X, Y, epochs=2, show=False)
    own = new.parameters
    assert new.start_from(old) == ("linear3",)
    for name, value in new.parameters.items():
        wanted = own[name] if name.startswith("linear3.") else old.parameters[name]
        np.testing.assert_array_equal(value, wanted)
    assert new.standard == old.standard and new.units == old.units
    assert lenet(2, seed=3).start_from(old) == ()


def test_a_layer_is_taken_whole_or_not_at_all() -> None:
    """The bias of a layer whose weight has another shape stays with it."""
    old = Model(nn.Sequential(nn.Flatten(), nn.Linear(4), nn.ReLU(), nn.Linear(2)), (1, 8, 8))
    wide = nn.Sequential(nn.AvgPool(2), nn.Flatten(), nn.Linear(4), nn.ReLU(), nn.Linear(2))
    new = Model(wide, (1, 8, 8), seed=5)
    own = new.parameters
    old.set_parameters({name: value + 1 for name, value in old.parameters.items()})
    assert new.start_from(old) == ("linear1",)
    assert np.array_equal(new.parameters["linear1.bias"], own["linear1.bias"])
    assert np.array_equal(new.parameters["linear2.bias"], old.parameters["linear2.bias"])


def test_running_statistics_and_another_dtype() -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    old, new = Model(net, (1, 8, 8)), Model(net, (1, 8, 8), dtype="float64")
    old.fit(X, Y, epochs=1, show=False)
    assert new.start_from(old) == ()
    found, want = (model.predict(X, softmax=False) for model in (new, old))
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    assert np.array_equal(
        new.parameters["batchnorm1.running_var"], old.parameters["batchnorm1.running_var"]
    )


def test_what_does_not_go_together() -> None:
    new = lenet(2)
    other = Model(nets.get("lenet5", classes=2, input_shape=(1, 9, 9)), (1, 9, 9))
    message = "other: was trained on samples of shape (1, 9, 9), these are (1, 8, 8): must be the"
    with pytest.raises(ValueError, match=re.escape(message)):
        new.start_from(other)
    alien = Model(nn.Sequential(nn.Flatten(), nn.Linear(3, name="mine")), (1, 8, 8))
    with pytest.raises(ValueError, match="other: has no layer of the same name and shape, its lay"):
        new.start_from(alien)
    with pytest.raises(TypeError, match=r"other='old': must be a Model; Model.load reads one"):
        new.start_from("old")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["lenet5", "resnet18", "googlenet", "mobilenetv2", "unet", "vgg16"]
)
def test_other_outputs(name: str) -> None:
    """As if the network had been made for them; auxiliary classifiers too."""
    shape = (1, 32, 32)
    few, many = (nets.get(name, classes=n, input_shape=shape) for n in (3, 7))
    assert with_outputs(few, 7) == many


def test_outputs_that_cannot_be_changed() -> None:
    assert with_outputs(nn.Sequential(nn.Flatten(), nn.Residual(nn.Linear(3))), 7) is None
    pooled = nn.Sequential(nn.Conv(3, 1), nn.GlobalAvgPool(), nn.Dropout(0.5))
    assert with_outputs(pooled, 7) == nn.Sequential(
        nn.Conv(7, 1), nn.GlobalAvgPool(), nn.Dropout(0.5)
    )


def test_digests() -> None:
    assert digest(lenet(2)) == digest(lenet(2)) != digest(lenet(2, seed=1)) != digest(lenet(3))
