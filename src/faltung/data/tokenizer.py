"""Sentences as numbers of words: a vocabulary, and the words that it makes of a text.

A text becomes lower-case words, marks and single Chinese characters as BERT has them (J. Devlin et
al., "BERT: pre-training of deep bidirectional transformers", 2019), by Hugging Face's
``tokenizers``; each is the number of its word, from ``FIRST`` on, most frequent first. Where
nothing is known of a word it is ``UNKNOWN``, after the end of a text comes ``PADDING``. The
vocabulary is all that a run keeps; how texts are taken apart is said here and nowhere else, so
nothing in a file from outside decides it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.limits import needs
from faltung.data.names import printable
from faltung.geometry.check import sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError

PADDING, UNKNOWN, FIRST = 0, 1, 2
# What the two are called in a vocabulary; no text can have them, as [ is a mark of its own.
SPECIAL = ("[PAD]", "[UNK]")
MOST_WORDS = 20_000  # in a vocabulary that is made; those of the literature have 10,000 to 30,000
MOST_KNOWN = 1 << 18  # in one that is read
LEAST_TIMES = 2  # a word that occurs once cannot be told from its text


def learn(texts: Iterable[str], most: int = MOST_WORDS) -> tuple[str, ...]:
    """The vocabulary of some texts: their words by frequency, those of the same frequency in order.
    Words that occur once are left out, unless all do.
    """
    module, listed = _package(), list(texts)
    for least in (LEAST_TIMES, 1):
        made = _made(dict(zip(SPECIAL, range(FIRST), strict=True)))
        trainer = module.trainers.WordLevelTrainer(
            vocab_size=most,
            min_frequency=least,
            special_tokens=list(SPECIAL),
            show_progress=False,
        )
        made.train_from_iterator(listed, trainer)
        numbers = made.get_vocab(with_added_tokens=True)
        words = tuple(sorted(numbers, key=lambda word: int(numbers[word])))
        if len(words) > FIRST:
            return words
    raise FaltungError("the texts have no words in them")


def encode(
    texts: Sequence[str], words: tuple[str, ...], length: int | None = None
) -> npt.NDArray[np.int64]:
    """Texts as (n, length) numbers of words, cut off or filled up; by default as the longest is."""
    found = [each.ids for each in _of(words).encode_batch(list(texts), add_special_tokens=False)]
    wide = max(map(len, found), default=0) if length is None else length
    made = np.full((len(found), wide), PADDING, np.int64)
    for row, ids in zip(made, found, strict=True):
        row[: len(ids)] = ids[:wide]
    return made


def as_text(words: Sequence[str]) -> str:
    """A vocabulary as a run keeps it, a word a line."""
    return "\n".join(words)


def from_text(text: str) -> tuple[str, ...]:
    """The vocabulary that ``as_text`` wrote. ValueError: anything else."""
    words = tuple(text.split("\n"))
    if words[:FIRST] != SPECIAL or len(words) > MOST_KNOWN:
        raise FaltungError(f"words: must be {', '.join(SPECIAL)} and at most {MOST_KNOWN:,} words")
    seen = set()
    for word in words:
        if not word or any(c.isspace() for c in word) or word in seen:
            raise FaltungError(f"words: '{printable(word)}': must be a word, and there once")
        seen.add(word)
    return words


def given(words: object) -> tuple[str, ...]:
    """A vocabulary that was given. TypeError, ValueError: it is none."""
    for word in sequence("words", words):
        if not isinstance(word, str):
            raise FaltungTypeError(f"words={show(words)}: must be a sequence of str")
    return from_text(as_text(words))  # type: ignore[arg-type]


@lru_cache(4)
def _of(words: tuple[str, ...]) -> Any:
    return _made({word: number for number, word in enumerate(words)})


def _made(numbers: dict[str, int]) -> Any:
    """The tokenizer of a vocabulary."""
    module = _package()
    made = module.Tokenizer(module.models.WordLevel(numbers, unk_token=SPECIAL[UNKNOWN]))
    made.normalizer = module.normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    made.pre_tokenizer = module.pre_tokenizers.BertPreTokenizer()
    return made


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise needs("text", "tokenizers", "text") from None
    return tokenizers
