"""``python -m benchmarks recipes``: what the defaults make of small data, beside other libraries'.

    python -m benchmarks recipes                         # 11 data sets, 3 seeds: about 40 minutes
    python -m benchmarks recipes digits faces --seeds 1
    python -m benchmarks recipes --page                  # the page again, without training

Each recipe trains in a process of its own on the same samples and is tested on the same others.
``faltung``: what ``faltung train`` does without options. ``torch``: the same network, epochs, batch
and optimizer in PyTorch: what the time is compared with. ``keras``: the example of keras.io for
the kind of data ("Simple MNIST convnet", "Timeseries classification from scratch", "Structured
data classification"), with its epochs and its callbacks. ``fastai``: ``SimpleCNN`` from scratch,
or ``tabular_learner``, with ``fit_one_cycle`` at the default rate, for as many epochs as Faltung.
The example for series was made for thousands of samples: on fifty, early
stopping ends before the running statistics of its batch normalisation have settled, and it predicts
at chance what it had learned (on GunPoint 49%; with a momentum of 0.9 instead of 0.99 it has 92%).
A line of JSON for each run is added to the results; of one that is there twice the last counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.small_sets import SETS, Split

RESULTS = Path(__file__).parent / "results" / "recipes.jsonl"
PAGE = RESULTS.with_suffix(".md")
LIMIT = 1800  # seconds of one training


def _trained(split: Split, seed: int, folder: str) -> Any:
    """The session of ``faltung train DATA.npz`` after its end."""
    from faltung.train import session

    np.savez(f"{folder}/data.npz", x=split.x, y=split.y)
    reading = {"kind": split.kind} if split.kind == "table" else {}
    made = session.create(
        f"{folder}/data.npz", settings={"seed": seed}, reading=reading, out=f"{folder}/run"
    )
    made.loop._show = False
    made.run()
    made.finish()
    return made


def faltung(split: Split, seed: int) -> dict[str, Any]:
    """Accuracy, seconds, and what was trained for how long."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = _trained(split, seed, folder)
        seconds = time.perf_counter() - start
        found = made.model.evaluate(split.test_x, split.test_y)["accuracy"]
        settings = made.settings
        return {
            "accuracy": found,
            "seconds": seconds,
            "what": f"{made.config['net']['name']}, {settings.epochs} epochs of {settings.batch}",
        }


def torch(split: Split, seed: int) -> dict[str, Any]:
    """The same in PyTorch: the network as a module, AdamW with one cycle."""
    import torch as t

    with tempfile.TemporaryDirectory() as folder:
        from faltung.train import session

        np.savez(f"{folder}/data.npz", x=split.x, y=split.y)
        reading = {"kind": split.kind} if split.kind == "table" else {}
        made = session.create(
            f"{folder}/data.npz", settings={"seed": seed}, reading=reading, out=f"{folder}/run"
        )
        settings, source = made.settings, made.train
        x = t.from_numpy(source.read(range(len(source))))
        y = t.from_numpy(np.asarray(source.targets))
        made.model.changed()
        module = made.model.to_torch()
    t.manual_seed(seed)
    rule = t.optim.AdamW(module.parameters(), lr=settings.lr, weight_decay=settings.decay)
    start = time.perf_counter()
    steps = settings.epochs * -(-len(x) // settings.batch)
    cycle = t.optim.lr_scheduler.OneCycleLR(rule, max_lr=settings.lr, total_steps=steps)
    for _ in range(settings.epochs):
        module.train()
        order = t.randperm(len(x))
        for part in order.split(settings.batch):
            loss = t.nn.functional.cross_entropy(module(x[part]), y[part])
            rule.zero_grad()
            loss.backward()
            rule.step()
            cycle.step()
    seconds = time.perf_counter() - start
    module.eval()
    with t.no_grad():
        said = module(t.from_numpy(split.test_x)).argmax(1).numpy()
    return {"accuracy": float((said == split.test_y).mean()), "seconds": seconds, "what": "ours"}


def keras(split: Split, seed: int) -> dict[str, Any]:
    """The example of keras.io for the kind of data."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as k

    k.utils.set_random_seed(seed)
    classes = int(split.y.max()) + 1
    x, test = (np.moveaxis(a, 1, -1) if a.ndim > 2 else a for a in (split.x, split.test_x))
    layers = k.layers
    more: dict[str, Any] = {"batch_size": 128, "epochs": 15, "validation_split": 0.1}
    if split.kind == "picture":
        stack = [
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            *([layers.MaxPooling2D(2)] if x.shape[1] > 10 else []),
            layers.Flatten(),
            layers.Dropout(0.5),
        ]
    elif split.kind == "series":
        stack = []
        for _ in range(3):
            stack += [layers.Conv1D(64, 3, padding="same"), layers.BatchNormalization()]
            stack += [layers.ReLU()]
        stack += [layers.GlobalAveragePooling1D()]
        more = {
            "batch_size": 32,
            "epochs": 500,
            "validation_split": 0.2,
            "callbacks": [
                k.callbacks.ReduceLROnPlateau(patience=20, factor=0.5, min_lr=1e-4),
                k.callbacks.EarlyStopping(patience=50, restore_best_weights=True),
            ],
        }
    else:
        norm = layers.Normalization()
        norm.adapt(x)
        stack = [norm, layers.Dense(32, activation="relu"), layers.Dropout(0.5)]
        more = {"batch_size": 32, "epochs": 50, "validation_split": 0.2}
    model = k.Sequential([k.Input(x.shape[1:]), *stack, layers.Dense(classes, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    order = np.random.default_rng(seed).permutation(len(x))  # the split takes the last ones
    start = time.perf_counter()
    model.fit(x[order], split.y[order], verbose=0, **more)
    seconds = time.perf_counter() - start
    said = model.predict(test, verbose=0).argmax(1)
    right = float((said == split.test_y).mean())
    return {"accuracy": right, "seconds": seconds, "what": "keras.io"}


def fastai(split: Split, seed: int) -> dict[str, Any]:
    """A learner from scratch with one cycle, for as many epochs as Faltung takes."""
    import fastai.callback.all  # noqa: F401 (adds methods to Learner)
    import torch as t
    from fastai.basics import DataLoaders, Learner, accuracy, set_seed
    from fastai.layers import SimpleCNN
    from fastai.losses import CrossEntropyLossFlat
    from fastai.vision.models.xresnet import xresnet18
    from torch.utils.data import TensorDataset

    from faltung.train.defaults import USUAL
    from faltung.train.recipes import recipe

    set_seed(seed)
    classes = int(split.y.max()) + 1
    mean_of = split.x.mean(tuple(i for i in range(split.x.ndim) if i != 1), keepdims=True)
    std_of = split.x.std(tuple(i for i in range(split.x.ndim) if i != 1), keepdims=True) + 1e-6
    x, test = (
        t.from_numpy(((a - mean_of) / std_of).astype(np.float32)) for a in (split.x, split.test_x)
    )
    y = t.from_numpy(split.y.astype(np.int64))
    order = t.randperm(len(x))
    held, kept = order[: len(x) // 5], order[len(x) // 5 :]
    sets = TensorDataset(x[kept], y[kept]), TensorDataset(x[held], y[held])
    batch = min(64, len(kept))
    loaders = DataLoaders.from_dsets(*sets, bs=batch, device="cpu", num_workers=0)
    if split.kind == "picture":
        net = SimpleCNN([x.shape[1], 16, 32, classes], bn=True)
    elif split.kind == "series":
        net = xresnet18(n_out=classes, c_in=x.shape[1], ndim=1)
    else:
        from fastai.tabular.model import TabularModel

        plain = TabularModel([], x.shape[1], classes, [200, 100])

        class Rows(t.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.plain = plain

            def forward(self, x: Any) -> Any:
                return self.plain(t.zeros(len(x), 0), x)

        net = Rows()
    learner = Learner(loaders, net, loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    usual = recipe(USUAL[split.kind])
    epochs = usual.length(-(-len(kept) // usual.batch(len(kept))))
    start = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs)
    seconds = time.perf_counter() - start
    learner.model.eval()
    with t.no_grad():
        said = learner.model(test).argmax(1).numpy()
    return {
        "accuracy": float((said == split.test_y).mean()),
        "seconds": seconds,
        "what": f"{epochs} epochs of {batch}",
    }


RECIPES: dict[str, Callable[[Split, int], dict[str, Any]]] = {
    "faltung": faltung,
    "torch": torch,
    "keras": keras,
    "fastai": fastai,
}


def _run(name: str, recipe: str, seed: int) -> dict[str, Any] | None:
    """One training in a process of its own; None if the library is missing or it failed."""
    command = [sys.executable, "-m", "benchmarks.recipes", "--one", name, recipe, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        print(f"{name}, {recipe}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _page(lines: Sequence[dict[str, Any]]) -> str:
    """All results as Markdown."""
    latest = {(each["set"], each["recipe"], each["seed"]): each for each in lines}
    names = [name for name in SETS if any(key[0] == name for key in latest)]
    out = [
        "# Defaults on small data",
        "",
        "`python -m benchmarks recipes`: mean accuracy on samples that no recipe has seen (the",
        "least of the seeds in parentheses), and the seconds of a training. "
        + " ".join((__doc__ or "").split("\n\n")[2].split()),
        "",
        "| data | ours | " + " | ".join(RECIPES) + " |",
        "|---|---|" + "---|" * len(RECIPES),
    ]
    for name in names:
        cells = []
        for recipe in RECIPES:
            found = [v for k, v in latest.items() if k[:2] == (name, recipe)]
            if not found:
                cells.append("")
                continue
            each = [v["accuracy"] for v in found]
            seconds = mean(v["seconds"] for v in found)
            cells.append(f"{mean(each):.1%} ({min(each):.1%}), {seconds:.3g} s")
        ours = [v["what"] for k, v in latest.items() if k[:2] == (name, "faltung")]
        out.append(f"| {name} | {ours[-1] if ours else ''} | " + " | ".join(cells) + " |")
    about = {f"{each['machine']}, {each['date']}" for each in latest.values()}
    return "\n".join([*out, "", *sorted(about), ""])


def main(arguments: Sequence[str]) -> int:
    """Train, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recipes", description=__doc__)
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], help="data sets (default: all)")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="write the page again")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        name, recipe, seed = given.one
        print(json.dumps(RECIPES[recipe](SETS[name](), int(seed))))
        return 0
    machine = describe()["processor"]
    for name in () if given.page else given.sets or SETS:
        for seed in range(given.seeds):
            for recipe in given.recipes:
                found = _run(name, recipe, seed)
                if found is None:
                    continue
                line = {"set": name, "recipe": recipe, "seed": seed, **found}
                print(f"{name}, {recipe}: {found['accuracy']:.1%}, {found['seconds']:.1f} s")
                about = {"machine": machine, "date": str(date.today())}
                with RESULTS.open("a") as file:
                    file.write(json.dumps({**line, **about}) + "\n")
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    PAGE.write_text(_page(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
