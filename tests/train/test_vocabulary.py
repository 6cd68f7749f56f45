"""A vocabulary follows from tokens, and one large token makes no large table."""

from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.data import ArraySource
from faltung.geometry.errors import FaltungError
from faltung.train.vocabulary import MOST_WORDS, vocabulary


def source(most: int, names: list[str] | None = None, length: int = 6) -> ArraySource:
    x = np.arange(10 * length).reshape(10, length) % 7
    x[3, 2] = most
    return ArraySource(x, np.arange(10) % 2, kind="text", names=names)


@pytest.mark.parametrize("most", [7, 50_256, MOST_WORDS - 1])
def test_one_more_than_the_largest(most: int) -> None:
    found = vocabulary(source(most), "x.npz")
    assert found.words == most + 1
    assert found.said == f"x.npz: sample 3 has the token {most:,}"


@pytest.mark.parametrize("most", [MOST_WORDS, 2_000_000, 2**62, 2**63 - 1])
def test_a_token_that_is_no_word(most: int) -> None:
    with pytest.raises(FaltungError) as error:
        vocabulary(source(most, [f"s{i}" for i in range(10)]), "x.npz")
    assert str(error.value) == (
        f"x.npz: sample s3 has the token {most:,}: must be the number of a word, below 262,144; if "
        f"there are so many words, say --set vocabulary={most + 1}"
    )


def test_much_text_may_have_many_words() -> None:
    assert vocabulary(source(300_000, length=40_000), "x").words == 300_001


def test_what_the_user_says() -> None:
    assert vocabulary(source(2_000_000), "x", 2_000_001).words == 2_000_001
    with pytest.raises(FaltungError, match=r"sample 3 has the token 49: must be below vocab.*=49"):
        vocabulary(source(49), "x", 49)
    with pytest.raises(FaltungError, match="vocabulary='a': must be an int"):
        vocabulary(source(49), "x", "a")


@pytest.mark.parametrize(
    ("most", "words", "said"),
    [
        (2_000_000, None, "words.npz: sample 3 has the token 2,000,000: must be the number of a"),
        (
            200_000,
            None,
            "words.npz: sample 3 has the token 200,000: 60,361,202 parameters, most in ",
        ),
        (10, 10**9, "vocabulary=1000000000: 300,000,360,902 parameters, most in embedding1.weight"),
    ],
)
def test_one_token_of_a_small_file_takes_no_memory(
    most: int,
    words: int | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.arange(60).reshape(10, 6) % 7
    x[3, 2] = most
    np.savez("words.npz", x=x, y=np.arange(10) % 2, kind="text")
    monkeypatch.setattr("faltung.runtime.memory.available", lambda: 1 << 30)
    more = [] if words is None else ["--set", f"vocabulary={words}"]
    assert main(["train", "words.npz", *more]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and said in err
    assert not (tmp_path / "runs").exists()


def test_tokens_that_a_network_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.arange(96).reshape(12, 8)
    for name, tokens in (("a", x), ("b", x + 1)):
        np.savez(tmp_path / f"{name}.npz", x=tokens, y=np.arange(12) % 2, kind="text")
    data, run = str(tmp_path / "a.npz"), str(tmp_path / "run")
    words = [
        "train",
        data,
        "--net=textcnn",
        "--set=maps=2",
        "--set=features=8",
        "--epochs=1",
        f"--out={run}",
    ]
    assert main([*words, f"--out={run}"]) == 0
    assert main(["evaluate", run, data]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, str(tmp_path / "b.npz")]) == 2
    said = "b.npz: sample 11 has the token 96: must be below 96, as the network knows no other"
    assert said in capsys.readouterr().err
