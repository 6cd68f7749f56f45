"""`faltung nets` and `faltung summary`: pages that fit, JSON that holds everything, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nets, nn
from faltung.cli.main import main
from faltung.cli.options import options, shape
from faltung.graph.summary import summary


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_every_network_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "nets")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith(" ") for line in lines)
    for name, row in nets.NETS.items():
        line = next(line for line in lines if line.startswith(f"{name} "))
        assert f"{row.parameters:,}" in line
        first = row.authors.split(", ")[0]
        paper = next(each for each in lines[lines.index(line) :] if each.startswith("    "))
        assert paper.startswith(f"    {first} ") and f" {row.year}: {row.title[:30]}" in paper
    assert "googlenet        pictures 3x224x224       1000    6,998,552\n    Szegedy et al." in text


@pytest.mark.parametrize("name", nets.NETS)
def test_the_page_of_a_network(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "nets", name)
    assert max(map(len, text.splitlines())) <= 80
    row = nets.NETS[name]
    assert row.title in " ".join(text.split()) and f"{row.parameters:,} parameters" in text
    assert all(f"\n  {option} " in text for option in row.arguments())


def test_nets_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "nets", "--json"))
    assert found.keys() == nets.NETS.keys()
    assert found["alexnet"]["parameters_with"] == {"paper": True}
    assert found["alexnet"]["options"]["paper"] is False
    assert list(json.loads(shown(capsys, "nets", "tcn", "--json"))) == ["tcn"]


def test_a_network_on_paper(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("summary", "resnet18", "--input", "3x32x32", "--classes", "10")
    text = shown(capsys, *words, "--set", "width=0.5", "--depth", "2")
    graph = nets.graph("resnet18", classes=10, input_shape=(3, 32, 32), width=0.5)
    assert text == summary(graph).table(2) + "\n"
    assert max(map(len, text.splitlines())) <= 100


def test_in_training_there_are_more(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "summary", "googlenet", "--training", "--double", "--classes", "10")
    assert "auxiliary4a" in text and "float64, training" in text


def test_summary_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "summary", "textcnn", "--input", "20", "--json"))
    assert found["net"] == "textcnn" and found["input"] == [20]
    assert found["parameters"] == 5_990_402
    assert {layer["kind"] for layer in found["layers"]} >= {"Embedding", "Conv", "MaxPool"}
    assert any(layer.get("method") for layer in found["layers"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nets", "resnet19"], "faltung nets: NET resnet19: there is no such network"),
        (["summary", "resnet19"], "faltung summary: NET resnet19: there is no such network"),
        (["summary", "lenet5", "--input", "3x"], "faltung summary: --input 3x: must be sizes as"),
        (["summary", "lenet5", "--input", "0x8"], "faltung summary: --input 0x8: must be"),
        (["summary", "c3d", "--input", "3x8x8"], "faltung summary: --input 3x8x8: must"),
        (["summary", "lenet5", "--set", "width"], "faltung summary: --set width: must be OPTION="),
        (["summary", "lenet5", "--set", "a=1"], "faltung summary: --set a=1: lenet5 takes paper"),
        (
            ["summary", "vgg16", "--set", "width=x"],
            "faltung summary: --set width=x: must be a num",
        ),
        (["summary", "lenet5", "--depth", "0"], "faltung summary: --depth 0: must be at least 1"),
        (
            ["summary", "textcnn", "--input", "4"],
            "faltung summary: Conv 'windows.window5.conv1' needs at least 5, got 4 after 'embed",
        ),
    ],
)
def test_nonsense_gets_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(said) and err.count("\n") == 1


def test_words_become_options() -> None:
    given = ["a=0.5", "b=true", "c=None", "d=(3, 4)", "e=mean", "f=x=y", "g="]
    assert options(given) == {
        "a": 0.5,
        "b": True,
        "c": None,
        "d": (3, 4),
        "e": "mean",
        "f": "x=y",
        "g": "",
    }
    assert shape("input", "3x224X224") == (3, 224, 224)
    for text in ("a", "=3", "1a=3", ""):
        with pytest.raises(ValueError, match=r"must be OPTION=VALUE$"):
            options([text])
    with pytest.raises(ValueError, match=r"^set='a=2': a is given twice$"):
        options(["a=1", "a=2"])
    for text in ("", "x3", "3x-1", "3.0", "²"):
        with pytest.raises(ValueError, match=r"must be sizes as 3x224x224$"):
            shape("input", text)


def test_bits_of_a_run_and_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("constriction")
    net = nn.Sequential(nn.Flatten(), nn.Linear(40), nn.ReLU(), nn.Linear(3, name="last"))
    model = Model(net, (1, 8, 8))
    model.set_parameters({n: np.round(v * 9) / 9 for n, v in model.parameters.items()})
    plain, coded = tmp_path / "p.safetensors", tmp_path / "c.safetensors"
    model.save(plain)
    model.save(coded, coded=True)
    found = json.loads(shown(capsys, "summary", str(plain), "--json"))
    assert [r["bits"] for r in found["layers"]][-1] == 32 * (40 * 3 + 3)
    assert found["file_bytes"] == plain.stat().st_size
    smaller = json.loads(shown(capsys, "summary", str(coded), "--json"))
    for few, many in zip(smaller["layers"], found["layers"], strict=True):
        assert few["bits"] < many["bits"] / 4 or few["parameters"] == 0
    assert 8 * coded.stat().st_size > sum(r["bits"] for r in smaller["layers"])
    text = shown(capsys, "summary", str(coded))
    assert "bits" in text and "bytes on disk" in text and max(map(len, text.splitlines())) <= 100
    assert main(["summary", str(coded), "--classes", "3"]) == 2
    assert "is for the networks of faltung, not for a file" in capsys.readouterr().err
