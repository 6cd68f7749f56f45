"""``faltung evaluate RUN [DATA]``: evaluate a trained network on samples it has not seen."""

import argparse
import json
import sys

from faltung.cli.options import RUN, add_reading, check_reading


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
    from faltung.train.run_dataset import held_out, like, open_like
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
            targets="numbers" if model.loss == "mse" else "labels",
        )
        if model.tokens:
            check_tokens_known(source, model.graph, printable(arguments.data))
    loss = model.loss or "cross_entropy"
    names = dict.fromkeys(arguments.metric or [])
    if not names:
        names = {found.settings().chosen_by: None}
    metrics = evaluate(model, source, loss, metrics=list(names)).metrics()
    for each in source.skipped:
        print(f"skipped {each}", file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        made = {"samples": len(source), "skipped": len(source.skipped), **metrics}
        print(json.dumps(made, indent=2))
        return 0
    shown = {"samples": f"{len(source):,}", **{name: f"{v:.4f}" for name, v in metrics.items()}}
    if "accuracy" in metrics:
        shown["accuracy"] = f"{metrics['accuracy']:.2%}"
    width = max(map(len, shown))
    for name, value in shown.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
    return 0
