"""Words of others, answered with ours."""

import pytest

from faltung.geometry.axis import MODES
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import NAMES
from faltung.geometry.words import MODE_WORDS, mode_of, padding_hint


def test_ours_are_ours() -> None:
    assert [mode_of(mode, mode, MODES) for mode in MODES] == list(MODES)


@pytest.mark.parametrize("word", MODE_WORDS)
def test_every_word_means_one_of_ours(word: str) -> None:
    ours, whose = MODE_WORDS[word]
    assert ours in MODES and word not in MODES and word == word.lower()
    for written in (word, word.upper()):
        with pytest.raises(FaltungError, match=f"; {whose} {written!r} is {ours!r}$"):
            mode_of(written, written, MODES)
    assert padding_hint(word, NAMES, MODES) == f"; use padding_mode={ours!r}"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("Reflect", "'Reflect' is 'reflect'"),
        ("SAME", "use padding='same'"),
        ("VALID", "use padding='valid'"),
    ],
)
def test_other_mistakes(word: str, hint: str) -> None:
    with pytest.raises(FaltungError, match=rf"circular; {hint}$"):
        mode_of(word, word, MODES)


@pytest.mark.parametrize("word", ["", "no", 3, None, ("zeros",)])
def test_what_nobody_says(word: object) -> None:
    with pytest.raises(FaltungError, match=r"circular$"):
        mode_of(word, word, MODES)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("SAME", "; use padding='same' (with a stride, TensorFlow's is padding='same_upper')"),
        ("SAME_LOWER", "; use padding='same_lower'"),
        ("VALID", "; use padding='valid'"),
        ("NOTSET", "; use numbers, as ONNX does there"),
        ("half", "; use padding='same'"),
        ("reflect", "; use padding_mode='reflect'"),
        ("no", ""),
    ],
)
def test_paddings(word: str, hint: str) -> None:
    assert padding_hint(word, NAMES, MODES) == hint
