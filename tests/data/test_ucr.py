"""Files of the UEA and UCR archives: channels, labels, targets, and headers that are wrong."""

import re
from pathlib import Path

import numpy as np
import pytest

from faltung.data.files import Like, read_files
from faltung.data.open import open_source

FILES = Path(__file__).parent / "files"
HEAD = "#comment\n%another\n@problemName Two Words\n@timeStamps false\n"


def saved(folder: Path, text: str, name: str = "a.ts") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_file_of_aeon() -> None:
    source = open_source(FILES / "aeon.ts")
    assert (source.kind, source.shape, source.classes) == ("series", (1, 6), ("fall", "rise"))
    assert source.targets.tolist() == [1, 0] * 4 and source.names[0] == "line 9"
    want = np.float32([1.0439, 0.8012, 0.4837, 0.1097, -0.0448, -0.3053])
    np.testing.assert_array_equal(source.read([7])[0, 0], want)


def test_channels_and_numbers_of_aeon() -> None:
    path = FILES / "aeon-channels.ts"
    with pytest.raises(ValueError, match=r"line 10 has 5 values and line 9 has 4; bring series"):
        open_source(path)
    source = open_source(path, size=4)
    assert (source.shape, source.classes) == ((2, 4), None)
    assert source.targets.tolist() == [[0.5], [1.25], [2], [3]]
    first = np.float32([[0.346, 0.822, 0.33, -1.303], [0.905, 0.446, -0.537, 0.581]])
    np.testing.assert_array_equal(source.read([0])[0], first)
    with pytest.raises(ValueError, match=r"^channels=3: aeon-channels.ts has 2"):
        open_source(path, size=4, channels=3)
    got, _ = read_files([path], Like("series", (2, 4), fit=True))
    np.testing.assert_array_equal(got, source.read(range(4)))
    with pytest.raises(ValueError, match=r"series have 2 channels, must have 1, as in training"):
        read_files([path], Like("series", (1, 4), fit=True))
    with pytest.raises(ValueError, match=r"kind='table'"):
        open_source(path, kind="table")


def test_labels_keep_their_case_and_padding_is_not_data(tmp_path: Path) -> None:
    text = HEAD + "@classLabel true Walk run\n@data\n\n1,2,?,?:3,4,?,?:Walk\n#no\n5,6:7,8: run\n"
    source = open_source(saved(tmp_path, text))
    assert source.classes == ("Walk", "run")
    assert source.read([0, 1]).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_series_without_labels(tmp_path: Path) -> None:
    path = saved(tmp_path, HEAD + "@classLabel false\n@data\n1,2:3,4\n")
    with pytest.raises(ValueError, match=r"^a\.ts: has no labels, as its header says"):
        open_source(path)
    got, _ = read_files([path], Like("series", (2, 2)))
    assert got.tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "line 1: a .ts file of series begins with lines such as '@classLabel"),
        ("@classLabel true 1\n", "has no line '@data'"),
        ("@data\n1,2:1\n", "line 1: neither @classLabel nor @targetLabel is told"),
        ("@timeStamps true\n@data\n", "line 1: @timeStamps true: values with times are not read"),
        ("@univariate maybe\n@data\n", "line 1: @univariate must be true or false"),
        ("@classLabel\n@data\n", "line 1: @classlabel must be true or false"),
        ("@dimensions two\n@data\n", "line 1: @dimensions must be a whole number"),
        ("@classLabel true 1 2\n@data\n", "contains no samples"),
        ("@classLabel true 1 2\n@data\n1,2:3\n", "line 3: the label '3' is none of @classLabel"),
        ("@classLabel true 1 2\n@data\n1,2:\n", "line 3 has no label: add it after the last"),
        ("@classLabel true 1 2\n@data\n1,2\n", "line 3: the label '1,2' is none of @classLabel"),
        ("@classLabel true 1\n@data\n1,x:1\n", "line 3: 'x' is not a number"),
        ("@classLabel true 1\n@data\n1,?,2:1\n", "line 3, channel 1: value 2 is NaN"),
        ("@classLabel true 1\n@data\n?:1\n", "line 3, channel 1 contains no value"),
        ("@classLabel true 1\n@data\n1,2:1,2,3:1\n", "line 3: channel 2 has 3 values, channel 1"),
        ("@classLabel true 1\n@data\n1:2:1\n1:1\n", "line 4 has 1 channels and line 3 has 2"),
        ("@univariate true\n@classLabel true 1\n@data\n1:2:1\n", "line 4 has 2 channels, but @dim"),
        ("@dimensions 3\n@classLabel true 1\n@data\n1:2:1\n", "line 4 has 2 channels, but @dim"),
        (
            "@equalLength true\n@seriesLength 3\n@classLabel true 1\n@data\n1,2:1\n",
            "line 5 has 2 values, but @seriesLength says 3",
        ),
        ("@targetLabel true\n@data\n1,2:high\n", "line 3: the target 'high' is not a number"),
        ("@classLabel true 1\n@data\n(0,1),(1,2):1\n", "line 3"),
    ],
)
def test_refusals(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a\.ts(, channel \d)?: " + re.escape(message)):
        open_source(saved(tmp_path, text))
