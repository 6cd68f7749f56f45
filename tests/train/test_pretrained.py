"""Models from weights that others have trained, and what is said of files that do not fit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_files as files
from runs import shapes

from faltung import Model, nets, nn
from faltung.data.standard import Standard
from faltung.formats.tensors import save_tensors
from faltung.train import pretrained, session
from faltung.train.pretrained import IMAGENET, is_weights, packaged, standard_of

F = np.float32


def resnet(classes: int = 5, width: int = 8, seed: int = 0) -> dict[str, Any]:
    """ResNet-18 as torchvision names it, of few channels."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}

    def conv(name: str, out: int, inside: int, kernel: int) -> None:
        made[f"{name}.weight"] = rng.normal(0, 0.1, (out, inside, kernel, kernel)).astype(F)

    def norm(name: str, out: int) -> None:
        for leaf, low in (("weight", 0.5), ("bias", -0.1), ("running_mean", -0.1)):
            made[f"{name}.{leaf}"] = rng.uniform(low, low + 0.2, out).astype(F)
        made[f"{name}.running_var"] = rng.uniform(0.5, 1.5, out).astype(F)
        made[f"{name}.num_batches_tracked"] = np.array(7)

    conv("conv1", width, 3, 7)
    norm("bn1", width)
    before = width
    for stage in range(4):
        out = width << stage
        for block in range(2):
            at = f"layer{stage + 1}.{block}"
            for number, inside in ((1, before), (2, out)):
                conv(f"{at}.conv{number}", out, inside, 3)
                norm(f"{at}.bn{number}", out)
            if before != out:
                conv(f"{at}.downsample.0", out, before, 1)
                norm(f"{at}.downsample.1", out)
            before = out
    made["fc.weight"] = rng.normal(0, 0.1, (classes, before)).astype(F)
    made["fc.bias"] = rng.normal(0, 0.1, classes).astype(F)
    return made


@pytest.fixture(name="file")
def weights_of_a_resnet(tmp_path: Path) -> Path:
    (tmp_path / "weights.pth").write_bytes(files.saved(resnet()))
    return tmp_path / "weights.pth"


def wide(name: str, **more: Any) -> Any:
    return {"input_shape": (3, 32, 32), "width": 0.125, **more}


def checked(model: Model, tensors: Mapping[str, Any]) -> None:
    """A few parameters, by their names there and here."""
    own = model.parameters
    for mine, theirs in (
        ("stem.weight", "conv1.weight"),
        ("stem_norm.running_var", "bn1.running_var"),
        ("stage2.block1.shortcut.conv1.weight", "layer2.0.downsample.0.weight"),
        ("stage4.block2.body.batchnorm2.bias", "layer4.1.bn2.bias"),
        ("linear1.bias", "fc.bias"),
    ):
        np.testing.assert_array_equal(own[mine], tensors[theirs])


def test_from_both_kinds_of_files(file: Path, tmp_path: Path) -> None:
    tensors = resnet()
    (tmp_path / "old.bin").write_bytes(files.stream(tensors))
    save_tensors(tmp_path / "w.safetensors", tensors, {"format": "pt"})
    for path in (file, tmp_path / "old.bin", tmp_path / "w.safetensors"):
        assert is_weights(path)
        model = Model.pretrained(path, "ResNet-18", **wide("resnet18"))
        checked(model, tensors)
        assert model.standard == IMAGENET and model.graph.output.shape == (5,)
        assert model.loss == "cross_entropy"
    x = np.random.default_rng(0).random((2, 3, 32, 32))
    levels = (x * 255).astype(np.uint8)  # bytes are the same pictures
    found = model.predict(levels), model.predict(levels / 255)
    np.testing.assert_allclose(*found, atol=1e-6)


def test_without_a_head_it_is_not_trained(tmp_path: Path) -> None:
    tensors = {name: each for name, each in resnet().items() if not name.startswith("fc.")}
    (tmp_path / "w.pth").write_bytes(files.saved({f"module.{n}": v for n, v in tensors.items()}))
    model = Model.pretrained(tmp_path / "w.pth", "resnet18", **wide("resnet18"))
    checked(model, {**tensors, "fc.bias": model.parameters["linear1.bias"]})


def test_what_others_expect() -> None:
    assert standard_of("resnet50", timm=True) == IMAGENET
    assert standard_of("vitbase", timm=False) == IMAGENET
    assert standard_of("vittiny", timm=True).mean == (0.5, 0.5, 0.5)
    assert standard_of("googlenet", timm=False).std == (0.5, 0.5, 0.5)


def test_its_own_standard_and_names(file: Path) -> None:
    own = Standard((0.1,) * 3, (0.2,) * 3)
    model = Model.pretrained(
        file, "resnet18", **wide("resnet18"), standard=own, classes=["a", "b", "c", "d", "e"]
    )
    assert model.standard == own and model.classes == ("a", "b", "c", "d", "e")
    again = Model.from_about(model.about())
    assert again.units == model.units and again.standard == own


@pytest.mark.parametrize(
    ("change", "net", "more", "says"),
    [
        ({}, None, {}, "net=None: {file} has weights without their network: must be the name of"),
        ({}, "resnet18", {"width": 1.0}, "{file}: 'conv1.weight' has shape (8, 3, 7, 7): stem.we"),
        ({}, "resnet50", {}, "{file}: 'layer1.0.conv1.weight' has shape (8, 8, 3, 3): stage1.blo"),
        ({}, "resnet18", {"depth": 3}, "depth=3: resnet18 takes width, halvings"),
        ({}, "resnet81", {}, "net='resnet81': "),
        ({"x.weight": np.ones(3)}, "resnet18", {}, "{file}: 'x.weight': is no parameter of a netw"),
        ({"layer4.1.bn2.bias": None}, "resnet18", {}, "{file}: 'fc.weight' has shape (5, 64): s"),
        ({}, "resnet18", {"classes": ["a"]}, "classes: must be 5 names, one for each output"),
    ],
)
def test_what_does_not_fit(
    change: dict[str, Any], net: Any, more: dict[str, Any], says: str, file: Path
) -> None:
    tensors = {**resnet(), **change}
    file.write_bytes(files.saved({n: v for n, v in tensors.items() if v is not None}))
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(says.format(file=file))}"):
        Model.pretrained(file, net, **wide("resnet18", **more))


def test_a_model_says_its_network_itself(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(2))
    Model(net, (1, 8, 8)).save(tmp_path / "m.safetensors")
    assert not is_weights(tmp_path / "m.safetensors") and not is_weights(tmp_path)
    made = Model.pretrained(tmp_path / "m.safetensors", input_shape=(1, 16, 12))
    assert made.input_shape == (1, 16, 12)
    with pytest.raises(TypeError, match=r"net='resnet18': .* is a model with its netw"):
        Model.pretrained(tmp_path / "m.safetensors", "resnet18")
    fixed = Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 8, 8))
    with pytest.raises(ValueError, match="linear1 of this network fits samples of"):
        fixed.at_shape((1, 9, 8))


def test_a_run_starts_from_weights_and_goes_on(file: Path, tmp_path: Path) -> None:
    x, _ = shapes(24, (12, 12))
    np.savez(tmp_path / "data.npz", x=np.repeat(x, 3, 1), y=np.arange(24) % 3)

    def started(out: str, **more: Any) -> session.Session:
        return session.create(
            str(tmp_path / "data.npz"),
            start=file,
            out=tmp_path / out,
            settings={"epochs": 1},
            **more,
        )

    with pytest.raises(ValueError, match="has weights without their network: --net NAME"):
        started("none")
    made = started("run", net="resnet18", options={"width": 0.125}, reading={"size": 12})
    assert made.model.standard == IMAGENET
    assert made.config["net"] == {"name": "resnet18", "width": 0.125}
    assert made.config["from"]["anew"] == ["linear1"]
    tensors = resnet()
    checked(made.model, {**tensors, "fc.bias": made.model.parameters["linear1.bias"]})
    made.folder.close()
    (tmp_path / "run/last.safetensors").unlink()
    again = session.resume(tmp_path / "run")
    checked(again.model, {**tensors, "fc.bias": again.model.parameters["linear1.bias"]})
    again.folder.close()


def test_a_run_at_another_size(tmp_path: Path) -> None:
    """Where the parameters fit it."""
    x, y = shapes(24, (12, 12))
    np.savez(tmp_path / "data.npz", x=x, y=y)
    net = nets.get("resnet18", classes=4, input_shape=(1, 24, 24), width=0.125)
    old = Model(net, (1, 24, 24), standard=Standard((0.5,), (2.0,)))
    old.save(tmp_path / "old.safetensors")
    made = session.create(
        str(tmp_path / "data.npz"), start=tmp_path / "old.safetensors", out=tmp_path / "run"
    )
    assert made.model.input_shape == (1, 12, 12) and made.model.standard == old.standard
    assert made.config["from"]["anew"] == ["linear1"]
    made.folder.close()


def test_names_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(nn.Sequential(nn.Conv(4, 3), nn.GlobalAvgPool(), nn.Linear(2)), (3, 8, 8))
    model.save(tmp_path / "patches.safetensors")

    class Package:
        @staticmethod
        def paths() -> dict[str, str]:
            return {"patches": str(tmp_path / "patches.safetensors")}

    def found(name: str) -> Any:
        assert name == "faltung_weights"
        return Package

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "import_module", found)
    for name in ("faltung-weights:patches", "patches"):
        assert packaged(name) == tmp_path / "patches.safetensors"
        assert Model.pretrained(name).net == model.net
    assert packaged("other") is None and packaged("./patches") is None
    with pytest.raises(ValueError, match="faltung-weights:other: must be one of patches"):
        packaged("faltung-weights:other")
    (tmp_path / "patches").mkdir()  # what is there comes first
    assert packaged("patches") is None

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(pretrained, "import_module", missing)
    assert packaged("other") is None
    with pytest.raises(ImportError, match=r'pip install "faltung\[weights\]"'):
        packaged("faltung-weights:patches")
