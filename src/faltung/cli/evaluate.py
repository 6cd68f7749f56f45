"""`faltung evaluate RUN DATA`: how good a trained network is on other data."""

import argparse
import json

from faltung.cli.errors import MISTAKES, refuse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument("data", metavar="DATA", help="as for `faltung train`, with targets")
    parser.add_argument("--strict", action="store_true", help="a file that cannot be read is wrong")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print loss and accuracy; 2, and one line on stderr, where something is wrong."""
    try:
        from faltung.train.loop import judge
        from faltung.train.session import like, load_model, open_like

        model, folder = load_model(arguments.run_folder)
        wanted = like(model, folder)
        source = open_like(arguments.data, wanted, model.classes, strict=arguments.strict)
        judged = judge(model, source, folder.config["train"]["loss"])
        metrics = judged.metrics()
    except MISTAKES as error:
        return refuse("evaluate", error)
    for line in source.skipped:
        print(f"skipped {line}")
    found = {"samples": len(source), **metrics}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"samples   {len(source):,}")
    print(f"loss      {metrics['loss']:.4f}")
    if "accuracy" in metrics:
        print(f"accuracy  {metrics['accuracy']:.2%}")
    return 0
