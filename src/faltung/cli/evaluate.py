"""``faltung evaluate RUN [DATA]``: evaluate a trained network on samples it has not seen."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from faltung.cli.options import RUN, add_reading, check_reading

if TYPE_CHECKING:
    from collections.abc import Mapping


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evaluate``."""
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="data with targets, as for `faltung train` (default: what the run held out)",
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="print this metric too, as in `faltung train`; may be repeated",
    )
    add_reading(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print loss, accuracy and other metrics."""
    from faltung.data.names import printable
    from faltung.train.evaluate import evaluate
    from faltung.train.opened import opened
    from faltung.train.run_dataset import held_out, like, open_like, seen_by
    from faltung.train.vocabulary import check_tokens_known

    found = opened(arguments.run_folder)
    model, folder = found.model, found.folder
    check_reading(arguments)
    if arguments.data is None:
        source = held_out(found.run("holds the samples to evaluate on"))
    else:
        source = open_like(
            arguments.data,
            like(model, folder),
            model.classes,
            strict=arguments.strict,
            x=arguments.x,
            y=arguments.y,
            label=arguments.label,
            targets=model.targets or "labels",
        )
        if model.tokens:
            check_tokens_known(source, model.graph, printable(arguments.data))
    loss = model.loss or "cross_entropy"
    names = dict.fromkeys(arguments.metric or [])
    if not names:
        names = {found.settings().chosen_by: None}
    metrics = evaluate(model, source, loss, metrics=list(names)).metrics()
    known, held = False, None
    if folder is not None and arguments.data is not None:
        known, held = seen_by(folder, source)
    apart = None if held is None else evaluate(model, held, loss, metrics=list(names)).metrics()
    for each in source.skipped:
        print(f"skipped {each}", file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        made: dict[str, Any] = {"samples": len(source), "skipped": len(source.skipped), **metrics}
        if known:
            made["trained_on"] = len(source) - (0 if held is None else len(held))
        if held is not None and apart is not None:
            made["held_out"] = {"samples": len(held), **apart}
        print(json.dumps(made, indent=2))
        return 0
    _print(len(source), metrics)
    if held is not None and apart is not None:
        print(
            f"\nThe run was trained on {len(source) - len(held):,} of these samples, so this says "
            "little of new ones. On the part that it held out:"
        )
        _print(len(held), apart)
    elif known:
        print("\nThe run was trained on all of these samples: this says little of new ones.")
    return 0


def _print(samples: int, metrics: "Mapping[str, float]") -> None:
    """A line for each number."""
    shown = {"samples": f"{samples:,}", **{name: f"{v:.4f}" for name, v in metrics.items()}}
    if "accuracy" in metrics:
        shown["accuracy"] = f"{metrics['accuracy']:.2%}"
    width = max(map(len, shown))
    for name, value in shown.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
