"""Labels one after the other: train on the first, pay for the next.

Sender and receiver have the samples. The first labels are told by the frequencies of the classes.
Then both train the same network on what has been told, from the same seed, and it says how likely
each of the next labels is; and so on with twice as many. What is paid is how well the network
answers before it has seen a label, all along the way; the weights are never sent, because the
receiver can train them (A. P. Dawid, "Statistical theory: the prequential approach", 1984; L. Blier
and Y. Ollivier, "The description length of deep learning models", NeurIPS 2018).

Each block costs one bit more, which says whether its labels are told by the network or by
frequencies: where nothing can be learned that is all that is lost. The samples are in an order by
chance, their mean and deviation are known to both. It takes about as long as training twice.

    RUN/bits/blocks.json    what is told, and the blocks that are finished
    RUN/bits/training/      the training of the next block, while it lasts
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from faltung.compress.bits import Code, check_labels, counted, frequency_bits, label_bits
from faltung.compress.tune import remove
from faltung.data.seeds import ORDER, permutation
from faltung.data.source import Source, Subset
from faltung.formats.files import own_folder, read_checked, shown, write_whole
from faltung.geometry.errors import FaltungArithmeticError, FaltungError
from faltung.geometry.record import dataclass
from faltung.train.interrupts import Stopped
from faltung.train.loop import Loop
from faltung.train.model import Model
from faltung.train.run_dataset import described
from faltung.train.run_folder import CONFIG, LAST, RunFolder
from faltung.train.run_format import MAX_TEXT_BYTES
from faltung.train.settings import Settings

FOLDER, BLOCKS, TRAINING = "bits", "blocks.json", "training"
FORMAT = 1
FIRST = 32  # samples at least that are told before anything is trained
A_CLASS = 4  # samples of a class among them, on average


@dataclass(frozen=True)
class Block:
    """Samples ``start`` to ``end`` of the order, with ``labels`` labels. ``network``: bits by a
    network that was trained on those before, None if it could not be; ``frequencies``: bits by
    frequencies.
    """

    start: int
    end: int
    labels: int
    network: float | None
    frequencies: float

    @property
    def bits(self) -> float:
        """What is paid: for the shorter of both, and for saying which."""
        if self.network is None:
            return self.frequencies
        return 1 + min(self.network, self.frequencies)


@dataclass(frozen=True)
class Prequential:
    """The finished blocks of all labels."""

    blocks: tuple[Block, ...]

    @property
    def code(self) -> Code:
        return Code(sum(b.bits for b in self.blocks), sum(b.labels for b in self.blocks))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        blocks = [asdict(block) | {"bits": block.bits} for block in self.blocks]
        return {"bits": self.code.bits, "blocks": blocks}


def ends(samples: int, classes: int, batch: int) -> list[int]:
    """Where the blocks end, each twice as far as the one before."""
    made, at = [], max(FIRST, A_CLASS * classes)
    while at < samples:
        # No batch of a single sample, of which normalisation has no deviation.
        at += at % min(batch, at) == 1
        made.append(min(at, samples))
        at *= 2
    return [*made, samples] if not made or made[-1] < samples else made


def prequential(
    model: Model,
    settings: Settings,
    source: Source,
    place: Path,
    *,
    noted: Callable[[Block], object] = lambda block: None,
) -> Prequential:
    """Tell the labels of a source by networks such as ``model``, whose weights do not matter.
    ``place``: a folder for what is finished, where the same question goes on. ``noted``: called
    after each block.

    Stopped, KeyboardInterrupt: after Ctrl-C; finished blocks and the training are kept. ValueError:
    targets that are no labels.
    """
    check_labels(model)
    teller = _Teller(model, settings, source, place)
    for end in ends(len(source), model.graph.output.channels, settings.batch):
        noted(teller.tell(end))
    return Prequential(tuple(teller.blocks))


class _Teller:
    """``blocks``: those that are finished."""

    def __init__(self, model: Model, settings: Settings, source: Source, place: Path) -> None:
        self.model, self.place = model, place
        self.settings = replace(
            settings.resolved(),
            metric=None,
            patience=None,
            freeze=(),
            lengthened=(),
            class_weight=None,
        )
        order = permutation(len(source), settings.seed, ORDER)
        self.source = Subset(source, order)
        self.key = self._key()
        self.blocks: list[Block] = []
        self._known = self._read()

    def _key(self) -> str:
        """The question: which network, how it is trained, on which labels."""
        said = [FORMAT, self.model.about(), self.settings.as_dict(), described(self.source)]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def _read(self) -> list[Block]:
        """Blocks that are finished; none if the folder is new, or of another question."""
        file = self.place / BLOCKS
        try:
            found = json.loads(read_checked(file, MAX_TEXT_BYTES, own=True))
            if found["key"] != self.key:
                return []
            return [_block(each) for each in found["blocks"]]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, FaltungError):
                raise
            raise FaltungError(
                f"{shown(file)}: cannot be read, {' '.join(str(error).split())}; remove it"
            ) from None

    def tell(self, end: int) -> Block:
        """The block up to a sample, after all before it."""
        start = self.blocks[-1].end if self.blocks else 0
        number = len(self.blocks)
        if number < len(self._known) and (self._known[number].start, self._known[number].end) == (
            start,
            end,
        ):
            self.blocks.append(self._known[number])
            return self.blocks[-1]
        part = Subset(self.source, range(start, end))
        told = np.asarray(self.source.targets[:start]).reshape(-1)
        told, labels = told[told >= 0], counted(part.targets)
        classes = self.model.graph.output.channels
        network = None
        if len(np.unique(told)) > 1:  # what is trained on one class knows no other
            network = self._by_network(start, part)
        made = Block(start, end, len(labels), network, frequency_bits(labels, classes, told))
        self.blocks.append(made)
        self._write()
        remove(self.place / TRAINING)
        return made

    def _by_network(self, start: int, part: Source) -> float | None:
        """Bits of labels by a network that was trained on those before; None if training fails."""
        with self._training(start) as folder:
            model = Model.from_about(self.model.about(), seed=self.settings.seed)
            loop = Loop(
                model,
                self.settings,
                Subset(self.source, range(start)),
                None,
                folder=folder,
                show=False,
            )
            loop.resume()
            try:
                loop.run()
                return label_bits(model, part).bits
            except FaltungArithmeticError:
                return None

    def _training(self, start: int) -> RunFolder:
        """The folder of a training, which goes on if it is that of this block."""
        place, about = self.place / TRAINING, {"key": self.key, "samples": start}
        own_folder(self.place)
        if (place / CONFIG).is_file() and (place / LAST).is_file():
            folder = RunFolder.resume(place)
            if folder.config == about:
                return folder
            folder.close()
        remove(place)
        return RunFolder.create(place, about)

    def _write(self) -> None:
        own_folder(self.place)
        found = {"key": self.key, "blocks": [asdict(block) for block in self.blocks]}
        write_whole(self.place / BLOCKS, json.dumps(found, indent=1).encode(), own=True)


def _block(found: Mapping[str, Any]) -> Block:
    """ValueError, TypeError: anything but what ``asdict`` made."""
    made = Block(**found)
    whole: Sequence[object] = (made.start, made.end, made.labels)
    bits = (made.frequencies, 0.0 if made.network is None else made.network)
    if not all(type(n) is int and n >= 0 for n in whole) or made.end <= made.start:
        raise ValueError(f"a block from {made.start} to {made.end}")
    if not all(isinstance(b, int | float) and isfinite(b) for b in bits):
        raise ValueError("bits are not finite")
    return made


__all__ = ["Block", "Prequential", "Stopped", "ends", "prequential"]
