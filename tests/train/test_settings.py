"""Settings: what they take, what they refuse, and that a file gives them back."""

import re
import tomllib
from typing import Any

import numpy as np
import pytest

from faltung.data.augment import Augment
from faltung.program.optimizer import SGD, AdamW
from faltung.train import defaults
from faltung.train.settings import BEFORE, Settings

USUAL = Settings().as_dict()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(optimizer="sgd", momentum=0.5, nesterov=True, clip=1, decay=0, patience=3),
        Settings(lr=1, loss="mse", schedule="cosine", warmup=0.25, seed=2**40),
        Settings(augment=Augment(shift=1, flip=True, jitter=0.5, fill="edge"), smoothing=0.1),
        Settings(metric="f1", class_weight=(1, 2.5), freeze=("conv1", "3"), sampler="balanced"),
        Settings(class_weight="balanced", lengthened=((6, 138), (9, 200))),
    ],
)
def test_a_file_gives_them_back(settings: Settings) -> None:
    import tomli_w

    text = tomli_w.dumps(settings.as_dict())
    assert Settings.from_dict(tomllib.loads(text)) == settings


def test_scalars_of_numpy_are_numbers() -> None:
    settings = Settings(epochs=np.int64(3), lr=np.float32(0.5), seed=np.uint8(7))  # type: ignore[arg-type]
    assert settings == Settings(epochs=3, lr=0.5, seed=7)
    assert all(
        type(value) in (int, float, str, bool, dict, list) for value in settings.as_dict().values()
    )


def test_weights_and_layers_of_any_sequence() -> None:
    assert Settings(class_weight=np.array([1, 2.5])).class_weight == (1.0, 2.5)  # type: ignore[arg-type]
    assert Settings(freeze=["conv1", 3]).freeze == ("conv1", "3")  # type: ignore[arg-type]
    assert Settings(freeze=2).freeze == ("2",)  # type: ignore[arg-type]


def test_each_optimizer_has_its_rate() -> None:
    assert Settings().rule() == AdamW(decay=1e-4)
    assert Settings(optimizer="sgd").rule() == SGD(0.9, False, decay=1e-4)
    assert Settings(optimizer="sgd", momentum=0).rule() == SGD(0.0, False, decay=1e-4)
    for name, lr in defaults.LR.items():
        assert Settings(optimizer=name).lr_schedule(9).lr == lr  # type: ignore[arg-type]
    assert Settings(lr=7).lr_schedule(9).lr == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be at least 1"),
        ({"epochs": 2.0}, "epochs=2.0: must be an int"),
        ({"batch": "many"}, "batch='many': must be an int"),
        ({"batch": True}, "batch=True: must be an int"),
        ({"seed": -1}, "seed=-1: must be at least 0"),
        ({"patience": 0}, "patience=0: must be at least 1"),
        ({"optimizer": "adam"}, "optimizer='adam': must be one of sgd, adamw"),
        ({"optimizer": ["sgd"]}, "optimizer=['sgd']: must be one of"),
        ({"schedule": "step"}, "schedule='step': must be one of constant, cosine, one_cycle"),
        ({"loss": "l1"}, "loss='l1': must be one of cross_entropy, binary_cross_entropy, mse"),
        ({"lr": 0}, "lr=0: must be above 0 and finite"),
        ({"lr": float("nan")}, "lr=nan: must be above 0 and finite"),
        ({"lr": "fast"}, "lr='fast': must be a number"),
        ({"lr": True}, "lr=True: must be a number"),
        ({"decay": -1}, "decay=-1: must be at least 0 and finite"),
        ({"decay": None}, "decay=None: must be a number"),
        ({"clip": 0.0}, "clip=0.0: must be above 0 and finite"),
        ({"warmup": 1}, "warmup=1: must be at least 0 and below 1"),
        ({"smoothing": 1.5}, "smoothing=1.5: must be at least 0 and below 1"),
        ({"optimizer": "sgd", "momentum": 1}, "momentum=1: must be at least 0 and below 1"),
        ({"nesterov": 1}, "nesterov=1: must be True or False"),
        ({"augment": {"shift": 1}}, "augment={'shift': 1}: must be an Augment"),
        # What would do nothing is not passed over in silence.
        ({"momentum": 0.9}, "momentum=0.9: applies to sgd, not to adamw"),
        ({"nesterov": True}, "nesterov=True: applies to sgd, not to adamw"),
        ({"optimizer": "sgd", "momentum": 0, "nesterov": True}, "needs a momentum above 0"),
        ({"loss": "mse", "smoothing": 0.1}, "smoothing=0.1: applies to labels, not to loss='mse'"),
        (
            {"loss": "mse", "class_weight": "balanced"},
            "class_weight='balanced': applies to labels",
        ),
        ({"loss": "mse", "sampler": "balanced"}, "sampler='balanced': applies to labels, not to"),
        ({"sampler": "random"}, "sampler='random': must be one of shuffled, balanced"),
        (
            {"metric": "f2"},
            "metric='f2': must be one of loss, accuracy, top5, balanced_accuracy",
        ),
        ({"metric": "r2"}, "metric='r2': does not apply to labels; these do: loss, accuracy"),
        ({"loss": "mse", "metric": "f1"}, "metric='f1': does not apply to numbers; these do: loss"),
        ({"class_weight": [1, -1]}, "class_weight: -1: must be at least 0 and finite"),
        ({"class_weight": [0, 0]}, "class_weight=[0, 0]: must not all be 0"),
        ({"class_weight": ["a"]}, "class_weight: 'a': must be a number"),
        ({"class_weight": "even"}, "class_weight='even': must be 'balanced', one number"),
        ({"freeze": 1.5}, "freeze=1.5: must be 'all-but-last', a number of layers or their names"),
        ({"freeze": ""}, "freeze='': must not be empty"),
        ({"metrics": "f1"}, "metrics='f1': must be a list of names"),
        ({"metrics": ["r2"]}, "metrics='r2': does not apply to labels"),
        ({"ema": 1}, "ema=1: must be above 0 and below 1"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"lr": "found"}, "lr='found': must be a number"),
        ({"lengthened": [[3]]}, "lengthened: [3]: must be epochs and step"),
        ({"lengthened": [[3, 9], [4, 8]]}, "steps must be in order"),
    ],
)
def test_refusals(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Settings(**given)


def test_names_that_settings_had_before_are_read() -> None:
    found = Settings(class_weight="balanced").as_dict()
    found["class_weights"] = found.pop("class_weight")
    assert Settings.from_dict(found) == Settings(class_weight="balanced")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"epoch": 3}, "epoch: is not a setting"),
        ({"augment": USUAL["augment"] | {"turn": 3}}, "augment.turn: is not a setting"),
        ({"augment": 3}, "augment=3: must be a table"),
        ({"augment": USUAL["augment"] | {"shift": "far"}}, "shift='far'"),
        ({"clip": "nothing"}, "clip='nothing': must be a number"),
        ({"__class__": 3}, "__class__: is not a setting"),
        ({"lr": [1.0]}, "lr=[1.0]: must be a number"),
    ],
)
def test_files_that_hold_something_else(found: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Settings.from_dict({**USUAL, **found})


def test_older_files_mean_what_they_meant() -> None:
    found = {key: value for key, value in USUAL.items() if key not in BEFORE}
    made = Settings.from_dict(found)
    assert (made.accumulate, made.ema, made.metrics) == (1, None, ())
    assert set(BEFORE) < set(USUAL)


@pytest.mark.parametrize("name", sorted(set(USUAL) - set(BEFORE)))
def test_a_file_says_everything(name: str) -> None:
    found = {key: value for key, value in USUAL.items() if key != name}
    with pytest.raises((TypeError, ValueError), match=name):
        Settings.from_dict(found)


def test_what_a_file_says_depends_on_no_default() -> None:
    assert Settings().resolved().as_dict()["lr"] == 0.003
    found = Settings(optimizer="sgd").resolved().as_dict()
    assert (found["lr"], found["momentum"]) == (0.05, 0.9)


def test_a_run_that_got_another_length() -> None:
    """The rate of each step is that of the length that the run had at the time."""
    settings = Settings(epochs=9, lengthened=((2, 20), (4, 40)))
    found = settings.lr_schedules(10)
    for step in (0, 19, 20, 39, 40, 89):
        epochs = 2 if step < 20 else 4 if step < 40 else 9
        assert found(step) == Settings(epochs=epochs).lr_schedule(10 * epochs)(step)
