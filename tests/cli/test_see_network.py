"""``faltung see`` of networks: pages in which names of strangers are text, and errors in a line."""

from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nn
from faltung.cli.main import main

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a file for it."""
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Conv(2, 3, name=HOSTILE), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    Model(net, (1, 6, 6), classes=("a", HOSTILE)).save("m.safetensors")
    np.save("x.npy", np.ones((1, 6, 6), np.float32))
    return tmp_path


def test_pages(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model with a file and without, and a network by its name; no name ends the script."""
    assert main(["see", "m.safetensors", "x.npy"]) == 0
    assert main(["see", "m.safetensors"]) == 0
    assert main(["see", "lenet5"]) == 0
    assert capsys.readouterr().out.split() == ["see-x.html", "see-m.html", "see-lenet5.html"]
    plain = (there / "see-lenet5.html").read_text("utf-8").count("</script")
    for name in ("see-x.html", "see-m.html"):
        text = (there / name).read_text("utf-8")
        assert text.count("</script") == plain and HOSTILE not in text
        assert text.count("\\u003cimg src=x") >= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lenet5", "x.npy"], "is for a run"),
        (["googlenett"], "did you mean googlenet"),
        (["nowhere/run", "x.npy"], "no such file or folder"),
        (["lenet5", "--class", "a"], "--class a: is for a run and a file"),
        (["m.safetensors", "x.npy", "--class", "c"], "--class c: must be one of a, "),
    ],
)
def test_errors(
    words: list[str], said: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what to do instead."""
    assert main(["see", *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err
