"""Symbols of small alphabets as bits, by the range coder of ``constriction``.

A symbol that a table gives the share p costs -log2(p) bits, and no whole number of them: most
weights of a pruned network are zero and cost a fraction of a bit, which no prefix code can do.

Tables are whole numbers from the file to the coder: one byte for each symbol, from which follow
shares of 2^16. ``constriction`` gets them as fractions k/2^16, on which its float64 arithmetic is
exact, so that every machine decodes the same.

G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised message",
1979; R. Bamler, "Understanding entropy coding with asymmetric numeral systems", 2022.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]

MOST = 256  # symbols of an alphabet
TOTAL = 1 << 16  # what the shares of a table add up to
# Symbols that are coded at once: the coder's own arrays stay small, whatever a file claims.
_CHUNK = 1 << 20


def stored(counts: Array) -> bytes:
    """How often each symbol occurs, as a byte each, to within 3%.

    Bytes below 16 are the number itself; the others have four bits of it and an exponent.
    """
    counts = np.asarray(counts, np.int64)
    most = int(counts.max(initial=0))
    shift = max(0, most.bit_length() - 19)  # the largest byte is 31 << 14
    scaled = np.where(counts > 0, np.maximum(counts >> shift, 1), 0)
    made = bytearray()
    for value in scaled.tolist():
        exponent = max(0, value.bit_length() - 5)
        rounded = (value + (1 << exponent >> 1)) >> exponent
        if rounded == 32:
            exponent, rounded = exponent + 1, 16
        made.append(rounded if value < 16 else 16 * (exponent + 1) + rounded - 16)
    return bytes(made)


def shares(table: bytes) -> Array:
    """The shares of 2^16 that a stored table gives its symbols: at least 1 for each that occurs.
    ValueError: none occurs.
    """
    raw = np.frombuffer(table, np.uint8).astype(np.int64)
    weights = np.where(raw < 16, raw, (16 + raw % 16) << np.maximum(raw // 16 - 1, 0))
    total = int(weights.sum())
    if total == 0 or len(weights) > MOST:
        raise FaltungError(f"a table of {len(weights)} symbols of which none occurs")
    made = np.where(weights > 0, np.maximum((weights * TOTAL) // total, 1), 0)
    made[made.argmax()] += TOTAL - made.sum()
    return np.asarray(made)


def costs(table: bytes) -> Array:
    """Bits of each symbol; of one that does not occur, those that the coder would need."""
    return np.asarray(np.log2(TOTAL / np.maximum(shares(table), 1 / 256)))


def _coder() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise missing("constriction", "compress") from error
    return constriction.stream


class Writer:
    """Bits in the making."""

    def __init__(self) -> None:
        self._stream = _coder()
        self._encoder = self._stream.queue.RangeEncoder()

    def write(self, symbols: Array, table: bytes) -> None:
        """Add symbols, each below the length of the table. A table of one symbol costs nothing."""
        if len(table) < 2 or not len(symbols):
            return
        model = self._stream.model.Categorical(shares(table) / TOTAL, perfect=False)
        for start in range(0, len(symbols), _CHUNK):
            part = np.ascontiguousarray(symbols[start : start + _CHUNK], np.int32)
            self._encoder.encode(part, model)

    def data(self) -> bytes:
        """All of it."""
        return bytes(np.asarray(self._encoder.get_compressed()).astype("<u4").tobytes())


class Reader:
    """Symbols from bits. Bits that no writer made give other symbols of the same alphabet, or a
    ValueError.
    """

    def __init__(self, data: bytes) -> None:
        self._stream = _coder()
        words = np.frombuffer(data[: len(data) // 4 * 4], "<u4").astype(np.uint32)
        self._decoder = self._stream.queue.RangeDecoder(words)

    def read(self, count: int, table: bytes) -> Array:
        """The next symbols, as bytes."""
        made = np.zeros(count, np.uint8)
        if len(table) < 2 or not count:
            return made
        model = self._stream.model.Categorical(shares(table) / TOTAL, perfect=False)
        for start in range(0, count, _CHUNK):
            many = min(_CHUNK, count - start)
            made[start : start + many] = self._decoded(model, many)
        return made

    def _decoded(self, model: Any, count: int) -> Any:
        try:
            return self._decoder.decode(model, count)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            raise FaltungError("its bits are not those of its tables") from error
