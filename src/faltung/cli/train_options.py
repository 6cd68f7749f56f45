"""The options of ``faltung train``: a row for each, and the text of its help."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from faltung.cli.parser import whole_number
from faltung.train import defaults, recipes

HELP = """\
DATA is one of
  digits              1,797 handwritten digits that come with faltung
  a folder            of pictures or NIfTI volumes, one subfolder per class; or
                      with train/ and val/ in it, each with such subfolders
  a folder of clips   videos, or with --frames N folders of frames: 3-D networks
  a .npz file         with x, and y: labels, numbers, or maps of labels
  IDX files           as MNIST has them (a folder, or the file of images)
  a folder of texts   .txt files, one subfolder per class; or a .csv file with a
                      header that names a column of texts, and one of labels
  a text file         .csv, .tsv, .txt, .ts, .arff: a series per line, its label
                      in the column that the header calls label, else first

Some data have settings of their own, and some networks, whose epochs then
depend on the number of samples; options override them:
{presets}

--resume continues a run where it stopped. The result has the same bits as if
the run had never been interrupted, so nothing but --threads may be changed, and
what watches it: --tensorboard, --mlflow.
With --epochs N a run, finished or not, goes on to another length, along its
schedule as it is for N epochs.

--from RUN starts from the best weights of another run. The network is that of
RUN, for the classes of DATA; data are read and standardised as those of RUN
were. Layers that do not fit, such as the last for other classes, are
initialised anew. Instead of RUN: a model that `faltung export` or Model.save
wrote, an ONNX file, with --net NAME weights of torchvision or timm
(.safetensors, .pth), or weights that `pip install faltung-weights` brings.

--freeze LAYER keeps a layer as it is: a name of `faltung summary`, with * if
you like, and with all layers inside it; a number of layers, counted from the
first; or all-but-last.

--teacher RUN lets the network learn from the answers of RUN, usually a larger
network trained on the same data, beside the labels (distillation).

--metric, which chooses the best epoch, and --metrics, which are noted too, are
{metrics}

--lr find tries learning rates in some 100 steps before the run, from far too
small to far too large, takes a tenth of that with the least loss, and shows
them in the report. The weights are afterwards as before, and the run can be
repeated.

--accumulate 4 changes the weights once in four batches, as one batch of four
times the size would, in a quarter of its memory. Batch normalisation alone
differs: it normalises what is computed at once.

examples:
  faltung train digits
  faltung train digits --net inception --set width=0.25 --threads 2
  faltung train pictures/ --size 64 --net resnet18 --batch 64 --flip --crop 4
  faltung train fields.npz --loss mse --net resnet18 --patience 5
  faltung train scans/ --metric f1 --class-weight balanced
  faltung train other/ --from runs/pictures-resnet18-001 --freeze 4
  faltung train photos/ --from resnet18.pth --net resnet18 --freeze
  faltung train photos/ --from faltung-weights:textures
  faltung train digits --net lenet5 --teacher runs/digits-googlenet-001
  faltung train --resume runs/digits-lenet5-001
"""


def rate(text: str) -> float | str:
    """A learning rate, or "find". ValueError: neither."""
    try:
        return text if text == "find" else float(text)
    except ValueError:
        raise ValueError("must be a number or find") from None


def yes(text: str) -> bool:
    """Yes or no. ValueError: neither."""
    if text not in ("yes", "no"):
        raise ValueError("must be yes or no")
    return text == "yes"


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",")]


_LR = ", ".join(f"{name} {lr}" for name, lr in defaults.LR.items())
METAVARS = {int: "N", float: "X", str: "NAME", rate: "X", names: "NAME,NAME", yes: "YES"}
# Arguments that are fields of ``Settings``, and of ``Augment``: name -> type, help.
SETTINGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "epochs": (int, f"passes over the samples (default: {defaults.EPOCHS}, of few samples more)"),
    "batch": (int, f"samples per step (default: {defaults.BATCH}, of few samples less)"),
    "accumulate": (int, "batches whose gradients one step adds up (default: 1)"),
    "optimizer": (str, f"adamw or sgd (default: {defaults.OPTIMIZER})"),
    "lr": (rate, f"highest learning rate, or find: by a range test (default: {_LR})"),
    "momentum": (float, f"momentum of sgd (default: {defaults.MOMENTUM})"),
    "nesterov": (bool, "use Nesterov momentum in sgd"),
    "decay": (float, f"weight decay (default: {defaults.DECAY})"),
    "clip": (float, "limit for the norm of all gradients together"),
    "schedule": (str, f"one_cycle, cosine or constant (default: {defaults.SCHEDULE})"),
    "warmup": (
        float,
        f"part of the run in which the learning rate grows (default: {defaults.WARMUP:g})",
    ),
    "loss": (
        str,
        "for labels cross_entropy or dice, for numbers mse, mae or huber, for several labels at "
        "once binary_cross_entropy, or a formula such as 'abs(output - target)' "
        f"(default: {defaults.LOSS})",
    ),
    "scale_targets": (yes, "learn numbers with mean 0 and deviation 1: yes or no (default: yes)"),
    "smoothing": (float, f"label smoothing, from 0 to 1 (default: {defaults.SMOOTHING:g})"),
    "metric": (str, "what the best epoch is best in; see below (default: accuracy, or loss)"),
    "metrics": (names, "further metrics of each validation, such as f1,auc"),
    "patience": (int, "stop after this many epochs without a better validation"),
    "ema": (float, "judge and keep a moving average of the weights: what stays at a step: 0.999"),
    "class_weight": (str, "balanced, or weights of classes in the loss: 1,2.5,1 or cat=2"),
    "sampler": (
        str,
        "shuffled, or balanced: draw each class as often as any other "
        f"(default: {defaults.SAMPLER})",
    ),
    "precision": (
        str,
        f"fast, or strict: convolutions as plain sums (default: {defaults.PRECISION})",
    ),
    "seed": (int, f"seed of weights, order, augmentation and split (default: {defaults.SEED})"),
}
AUGMENT: dict[str, tuple[Callable[[str], Any], str]] = {
    "shift": (int, "shift pictures by up to this many pixels"),
    "flip": (bool, "mirror half of the pictures, left to right"),
    "flip_all": (bool, "mirror half of them along each axis"),
    "crop": (int, "pad with this many zeros, then crop to the old size"),
    "rotate": (float, "turn by up to this many degrees"),
    "scale": (float, "enlarge or shrink by a factor of up to 1 + X; series in time"),
    "bend": (float, "displace by up to this many pixels or steps, smoothly"),
    "randaugment": (int, "make this many random changes of each picture (RandAugment)"),
    "magnitude": (float, "their strength, from 0 to 10 (default: 9.0)"),
    "colour": (float, "change brightness, contrast and saturation by up to this part"),
    "erase": (float, "replace a box by noise, with this probability"),
    "cutout": (int, "blank out a square with sides of this many pixels"),
    "series_shift": (int, "shift series by up to this many steps"),
    "amplitude": (float, "multiply channels of series by factors around 1 of this deviation"),
    "jitter": (float, "add noise, in standard deviations of the channel"),
    "mixup": (float, "mix samples and their labels, with weights of Beta(X, X)"),
    "cutmix": (float, "put boxes of samples into others, of parts of Beta(X, X)"),
    "fill": (str, "what is outside of samples that move: zero or edge (default: zero)"),
}
# Arguments of ``Teacher``.
TAUGHT: dict[str, tuple[Callable[[str], Any], str]] = {
    "distil": (float, f"the teacher's part of the loss, up to 1 (default: {defaults.DISTIL:g})"),
    "temperature": (
        float,
        f"of its answers, above 1 for softer ones (default: {defaults.TEMPERATURE:g})",
    ),
}


# Programs that can watch a run, and where what they read goes.
WATCHED = {
    "tensorboard": "write event files for TensorBoard into this folder",
    "mlflow": "note the run in the database of MLflow in this folder",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``train``."""
    rows = [f"  {data}, {net}:\n    {defaults.words(data, net)}" for data, net in defaults.PRESETS]
    rows += [f"  {net}:\n    {made.words()}" for net, made in recipes.RECIPES.items()]
    metrics = "\n".join(f"  {name:<18}  {says}" for name, says in defaults.METRICS.items())
    parser.epilog = HELP.format(presets="\n".join(rows), metrics=metrics)
    parser.add_argument("data", nargs="?", metavar="DATA", help="what to train on; see below")
    parser.add_argument(
        "--net", metavar="NAME", help="the network, of `faltung nets`, or a file model.onnx"
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="OPTION=VALUE",
        help="an option of the network, e.g. width=0.5; may be repeated",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder of the run (default: runs/DATA-NET-001)"
    )
    parser.add_argument("--resume", metavar="RUN", help="resume this run; needs no other argument")
    parser.add_argument(
        "--from", dest="start", metavar="RUN", help="start from these weights; see below"
    )
    parser.add_argument(
        "--freeze",
        action="append",
        nargs="?",
        const="all-but-last",
        metavar="LAYER",
        help="do not train this layer; may be repeated; without a name all layers but the last",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads (default: one per core)"
    )
    _add(parser.add_argument_group("training"), SETTINGS)
    group = parser.add_argument_group("other programs")
    for name, text in WATCHED.items():
        group.add_argument(f"--{name}", metavar="FOLDER", help=text)
    group = parser.add_argument_group("distillation")
    group.add_argument(
        "--teacher", metavar="RUN", help="learn from the answers of this run or model too"
    )
    _add(group, TAUGHT)
    group = parser.add_argument_group("data")
    group.add_argument(
        "--held-out",
        type=float,
        metavar="PART",
        help="part of the samples held out for validation, 0 to train on everything "
        f"(default: {defaults.HELD_OUT})",
    )
    group.add_argument(
        "--val",
        metavar="DATA",
        help="samples to validate on, of any kind that DATA may be (default: the folder val/ in "
        "DATA, if it has train/ and val/, else a part of the samples)",
    )
    group.add_argument("--size", metavar="64x64", help="resize pictures or volumes to this size")
    group.add_argument(
        "--channels",
        type=_channels,
        metavar="N",
        help="1 for grey, 3 for colour; of arrays also first or last: where the channels lie",
    )
    group.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="DATA are clips, videos or folders of frames: take N frames of each, evenly",
    )
    group.add_argument(
        "--x", metavar="NAME", help="the array of samples in an .npz file, or the column of texts"
    )
    group.add_argument("--y", metavar="NAME", help="the array of targets in an .npz file")
    group.add_argument(
        "--kind", metavar="NAME", help="kind of the samples: picture, series, volume, text, table"
    )
    group.add_argument(
        "--label",
        metavar="NAME",
        help="column of a text file that holds the labels (default: label, class, target or y)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="fail on a file that cannot be read, instead of skipping it",
    )
    _add(parser.add_argument_group("augmentation"), AUGMENT)


def _add(group: Any, options: Mapping[str, tuple[Callable[[str], Any], str]]) -> None:
    for name, (kind, text) in options.items():
        option = "--" + name.replace("_", "-")
        if kind is bool:
            group.add_argument(option, action="store_true", default=None, help=text)
        else:
            metavar = METAVARS[kind]
            group.add_argument(option, type=kind, metavar=metavar, help=text)


def _channels(text: str) -> int | str:
    if text in ("first", "last"):
        return text
    try:
        return whole_number(text)
    except ValueError:
        raise ValueError("must be a whole number, first or last") from None
