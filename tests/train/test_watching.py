"""What TensorBoard and MLflow are told of a training."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from runs import net, shapes

from faltung import Epoch, Model
from faltung.train.callbacks import mlflow, tensorboard

EPOCHS = [
    Epoch(n, 3, 1.0 / n, 0.5, 2.0 / n, 0.25 * n, {"f1": 0.1 * n}, 0.01, 0.5, True)
    for n in (1, 2, 3)
]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = module.EventAccumulator(str(folder))
    found.Reload()
    names = found.Tags()["scalars"]
    return {n: [(each.step, each.value) for each in found.Scalars(n)] for n in names}


def test_tensorboard_shows_each_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    watch = tensorboard(tmp_path / "logs")
    for epoch in EPOCHS:
        assert watch(epoch) is None
    found = scalars(tmp_path / "logs")  # complete before the end
    watch.close()  # type: ignore[attr-defined]
    assert set(found) == {
        *("loss/training", "loss/validation", "accuracy/training", "accuracy/validation"),
        *("f1/validation", "lr", "seconds"),
    }
    assert found["loss/training"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert found["f1/validation"] == [(n, pytest.approx(0.1 * n)) for n in (1, 2, 3)]


def test_an_epoch_that_is_repeated_counts_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for sessions in (EPOCHS[:2], EPOCHS[1:]):  # killed after the second, and resumed before it
        watch = tensorboard(tmp_path)
        for epoch in sessions:
            watch(epoch)
        watch.close()  # type: ignore[attr-defined]
    assert [step for step, _ in scalars(tmp_path)["lr"]] == [1, 2, 3]


def test_a_training_writes_them_and_keeps_its_bits(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    given: dict[str, Any] = {"epochs": 2, "validation": 0.25, "show": False}
    one, two = Model(net(), (1, 8, 8)), Model(net(), (1, 8, 8))
    history = one.fit(*shapes(32), callbacks=[tensorboard(tmp_path)], **given)
    two.fit(*shapes(32), **given)
    assert [value for _, value in scalars(tmp_path)["loss/validation"]] == pytest.approx(
        [row.val_loss for row in history]
    )
    for name, value in one.parameters.items():
        assert value.tobytes() == two.parameters[name].tobytes()


class Client:
    """As much of MLflow's client as is used; the real one is tried where it is installed."""

    kept: dict[str, Any]

    def __init__(self, uri: str) -> None:
        self.kept = DATABASES.setdefault(uri, {"runs": [], "logged": {}})

    def get_experiment_by_name(self, name: str) -> Any:
        there = self.kept.get("experiment") == name
        return SimpleNamespace(experiment_id="1") if there else None

    def create_experiment(self, name: str, artifact_location: str) -> str:
        self.kept["experiment"] = name
        assert artifact_location.startswith("file:///")
        return "1"

    def search_runs(self, experiments: list[str], text: str) -> list[Any]:
        return list(self.kept["runs"])

    def create_run(self, experiment: str, run_name: str | None) -> Any:
        info = SimpleNamespace(run_id=f"r{len(self.kept['runs'])}", run_name=run_name)
        self.kept["runs"].append(SimpleNamespace(info=info, status="RUNNING", parameters={}))
        return self.kept["runs"][-1]

    def _run(self, run: str) -> Any:
        return next(each for each in self.kept["runs"] if each.info.run_id == run)

    def update_run(self, run: str, status: str) -> None:
        self._run(run).status = status

    def log_param(self, run: str, name: str, value: str) -> None:
        self._run(run).parameters[name] = value

    def log_batch(self, run: str, metrics: list[Any]) -> None:
        for name, value, _, step in metrics:
            self.kept["logged"].setdefault((run, name), []).append((step, value))

    def set_terminated(self, run: str) -> None:
        self._run(run).status = "FINISHED"


DATABASES: dict[str, dict[str, Any]] = {}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    DATABASES.clear()
    modules = {name: ModuleType(name) for name in ("alembic", "sqlalchemy", "mlflow")}
    modules["mlflow.tracking"] = tracking = ModuleType("mlflow.tracking")
    modules["mlflow.entities"] = entities = ModuleType("mlflow.entities")
    tracking.MlflowClient = Client  # type: ignore[attr-defined]
    entities.Metric = lambda *parts: parts  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("fake")
def test_mlflow_gets_one_run_that_goes_on(tmp_path: Path) -> None:
    for sessions in (EPOCHS[:2], EPOCHS[2:]):
        watch = mlflow(tmp_path / "new", run="mine", parameters={"lr": 0.01, "words": "a" * 9000})
        for epoch in sessions:
            assert watch(epoch) is None
        watch.close()  # type: ignore[attr-defined]
    (uri, found), *others = DATABASES.items()
    assert not others and uri == f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    (run,) = found["runs"]
    assert run.status == "FINISHED" and run.parameters["lr"] == "0.01"
    assert len(run.parameters["words"]) == 500
    assert found["logged"]["r0", "val_f1"] == [(n, pytest.approx(0.1 * n)) for n in (1, 2, 3)]
    assert {name for _, name in found["logged"]} == {
        *("loss", "accuracy", "val_loss", "val_accuracy", "val_f1", "lr", "seconds")
    }


@pytest.mark.usefixtures("fake")
def test_trainings_without_a_name_are_runs_of_their_own(tmp_path: Path) -> None:
    for _ in range(2):
        watch = mlflow(tmp_path)
        watch(EPOCHS[0])
        watch.close()  # type: ignore[attr-defined]
    assert len(next(iter(DATABASES.values()))["runs"]) == 2


def test_the_real_mlflow(tmp_path: Path) -> None:
    pytest.importorskip("alembic")
    tracking = pytest.importorskip("mlflow.tracking")
    watch = mlflow(tmp_path, run="mine", parameters={"lr": 0.01})
    for epoch in EPOCHS:
        watch(epoch)
    watch.close()  # type: ignore[attr-defined]
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "faltung"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params == {"lr": "0.01"}
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert [(each.step, each.value) for each in history] == [(1, 2.0), (2, 1.0), (3, 2 / 3)]


@pytest.mark.parametrize(("name", "watch"), [("tensorboard", tensorboard), ("mlflow", mlflow)])
def test_what_is_not_installed_is_said(
    name: str, watch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorboard.summary.writer", "alembic"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'pip install "faltung\[{name}\]"'):
        watch(tmp_path)
