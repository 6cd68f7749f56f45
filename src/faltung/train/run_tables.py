"""The tables of a run's config: complete, and nothing else, before a run goes on.

What is missing would be filled by a default, and the run go on with other settings than it had.
"""

from collections.abc import Mapping
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.graph.losses import Kind, check_loss, kind_of
from faltung.nets.table import NETS, row
from faltung.train.origin import check_table
from faltung.train.run_folder import CONFIG, RunFolder
from faltung.train.run_model import table
from faltung.train.run_teacher import check_teacher

TABLES = ("data", "net", "model", "train")
# Only of a run that starts, or learns, from another.
FURTHER = ("from", "teacher")


def check_tables(folder: RunFolder) -> None:
    """ValueError naming config.toml and the entry: a table or an entry that is missing, unknown, or
    contradicts another. [data] and [train] are checked where they are read.
    """
    where = str(folder.path / CONFIG)
    for name in folder.config:
        if name not in (*TABLES, *FURTHER):
            raise FaltungError(
                f"{where}: {show(name)}: is not known; must be of {', '.join(TABLES)}"
            )
    for name in TABLES:
        table(folder, name)
    if "from" in folder.config:
        check_table(table(folder, "from"), where)
    if "teacher" in folder.config:
        check_teacher(table(folder, "teacher"), where)
    _check_net(table(folder, "net"), where)
    _check_model(table(folder, "model"), folder.config, where)


def _check_net(net: Mapping[str, Any], where: str) -> None:
    name = net.get("name")
    if not isinstance(name, str):
        raise FaltungError(f"{where}: net.name: is missing")
    known = row(name).arguments() if name in NETS else ()
    for option in net:
        if option != "name" and option not in known:
            raise FaltungError(f"{where}: net.{show(option)}: is no option of {name}")


def _check_model(model: Mapping[str, Any], config: Mapping[str, Any], where: str) -> None:
    """What is optional for a model in general, but not for the model of this run."""
    trained, data = config["train"], config["data"]
    kind = _kind(trained.get("loss"), where)
    wanted = {"loss": True, "standard": data.get("kind") != "text"}
    if kind.targets != "flags":  # which may have names
        wanted["classes"] = kind.targets == "labels"
    if "from" in config:  # as the other network had it
        wanted["standard"] = bool(config["from"]["standard"])
    else:
        wanted["target_scale"] = kind.scales and trained.get("scale_targets", False) is True
    wanted["units"] = data.get("kind") != "text"
    wanted["layout"] = data.get("layout") == "last"
    wanted["precision"] = trained.get("precision") != "fast"
    for name, must in wanted.items():
        if must and name not in model:
            raise FaltungError(f"{where}: model.{name}: is missing")
        if not must and name in model:
            raise FaltungError(f"{where}: model.{name}: does not go with the rest of the file")
    for name in ("loss", "precision"):
        if name in model and model[name] != trained.get(name):
            raise FaltungError(
                f"{where}: model.{name}={show(model[name])}: must be train.{name}, "
                f"{show(trained.get(name))}"
            )


def _kind(loss: object, where: str) -> Kind:
    """What the loss of a run is. ValueError naming the file."""
    try:
        return kind_of(check_loss(loss))
    except (TypeError, ValueError) as error:
        raise FaltungError(f"{where}: [train]: {error}") from None
