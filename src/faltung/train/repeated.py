"""The command that repeats a run: its data, and every option that differs from the usual."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from faltung.data.augment import Augment
from faltung.train import defaults
from faltung.train.recipes import usual
from faltung.train.settings import NOTHING, Settings

# Options that say how data are read, as a config calls them too.
READING = ("size", "channels", "kind", "x", "y", "label", "frames")
# Of a config's tables, what options say: the origin of weights, and a teacher.
ORIGIN = {"from": "--from", "teacher": "--teacher"}


def command(config: Mapping[str, Any], samples: int) -> str:
    """``faltung train ...``, quoted for a shell. samples: that the run trains on."""
    data, net, train = config["data"], dict(config["net"]), config["train"]
    words = ["faltung", "train", str(data["path"])]
    name = net.pop("name")
    if "from" not in config:
        words += ["--net", name]
        words += [f"--set={key}={_said(value)}" for key, value in net.items() if _short(value)]
    for table, option in ORIGIN.items():
        if table in config:
            words += [option, str(config[table]["path"])]
    words += list(_reading(data))
    words += list(_settings(data["path"], name, train, samples, "from" in config))
    return shlex.join(words)


def _reading(data: Mapping[str, Any]) -> Iterator[str]:
    """How the data are read, where it is said in the config and not found out."""
    for name in READING:
        if name in data and name != "kind":
            yield f"--{name}={_said(data[name], 'x')}"
    held = data.get("held_out")
    if isinstance(held, float) and held != defaults.HELD_OUT:
        yield f"--held-out={held:g}"
    if data.get("strict"):
        yield "--strict"


def _settings(
    path: str, net: str, train: Mapping[str, Any], samples: int, tuned: bool
) -> Iterator[str]:
    """Settings that differ from those of a run that is told nothing."""
    asked = {"optimizer": train["optimizer"], "loss": train["loss"]}
    expected = usual(path, net, samples, asked, tuned)
    made = Settings(**{k: v for k, v in expected.items() if k not in _AUGMENT}).resolved()
    plain = {**made.as_dict(), **asked_defaults()}
    augment = {**Augment().as_dict(), **{k: expected[k] for k in expected if k in _AUGMENT}}
    given = {**train, **train.get("augment", {})}
    for name, value in {**plain, **augment}.items():
        if name in ("augment", "lengthened") or given.get(name, value) == value:
            continue
        yield from _option(name, given[name])


def asked_defaults() -> dict[str, Any]:
    """What the optimizer and the loss are where nobody says."""
    return {"optimizer": defaults.OPTIMIZER, "loss": defaults.LOSS}


def _option(name: str, value: Any) -> Iterator[str]:
    option = f"--{name.replace('_', '-')}"
    if value is True:
        yield option
    elif name == "freeze":
        yield from (f"{option}={each}" for each in value)
    elif name == "scale_targets":
        yield f"{option}=no"
    elif value is not False and value != NOTHING.get(name):
        yield f"{option}={_said(value)}"


def _said(value: Any, between: str = ",") -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return between.join(map(_said, value))
    return str(value)


def _short(value: Any) -> bool:
    """Whether an option of a network is one that people give, and no vocabulary."""
    return not isinstance(value, list | tuple) or len(value) < 20


_AUGMENT = tuple(each.name for each in fields(Augment))
