"""Data that are like those of a run."""

from pathlib import Path

import numpy as np
import pytest
from runs import shapes

from faltung.cli.main import main
from faltung.data.files import Like
from faltung.geometry.errors import FaltungError
from faltung.train.run_dataset import like, open_like
from faltung.train.run_model import load_model


def test_lines_of_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("2\t0\t1\t2\n")
    for wanted in (Like("series", (1, 3)), Like("table", (3,))):
        assert open_like(str(path), wanted, ["1", "2"]).targets == [1]  # not every class occurs


def test_names_are_data_too() -> None:
    digits = open_like("digits", Like("picture", (1, 8, 8), fit=True), tuple("0123456789"))
    assert len(digits) == 1797


def test_sizes_and_scales(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.full((2, 3, 6, 5), 7), y=[0, 1], kind="picture")
    with pytest.raises(ValueError, match=r"x: has shape \(2, 3, 6, 5\), must be \(3, 4, 4\)"):
        open_like(str(path), Like("picture", (3, 4, 4)), None)
    np.savez(path, x=np.full((2, 1, 6, 5), 7, np.uint8), y=[0, 1])
    for scale, value in ((None, 7 / 255), (14.0, 0.5)):
        source = open_like(str(path), Like("picture", (1, 6, 5), scale=scale), None)
        np.testing.assert_allclose(source.read([0]), value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('layout = "first"', 'layout = "side"', r"config\.toml: data: layout='side': must be "),
        ('kind = "picture"', 'kind = "film"', r"config\.toml: data: kind='film': must be one of"),
        ('kind = "picture"', 'kind = "series"', r"config\.toml: data: shape=.* must have 2 axes"),
    ],
)
def test_a_table_that_means_nothing(old: str, new: str, message: str, tmp_path: Path) -> None:
    x, y = shapes(12)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    words = ["train", str(tmp_path / "a.npz"), "--net=lenet5", "--epochs=1"]
    assert main([*words, f"--out={tmp_path / 'run'}"]) == 0
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace(old, new, 1))
    with pytest.raises(FaltungError, match=message):
        like(*load_model(tmp_path / "run"))
