"""Batches of a source, prefetched, and reproducible from a seed, an epoch and a batch number."""

from collections.abc import Iterator
from math import prod
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from faltung.data.augment import Augment
from faltung.data.prefetch import prefetch
from faltung.data.seeds import AUGMENT, DRAW, ORDER, generator, permutation, uniform
from faltung.data.source import Source, weights_in
from faltung.data.standard import Standard
from faltung.geometry.check import one_of, show, whole
from faltung.geometry.errors import FaltungError

# Bytes of a float32 batch above which prefetching pays off.
MIN_PREFETCH_BYTES = 1 << 20
# How samples come into an epoch: each once, or drawn so that classes are equally likely.
Sampler = Literal["shuffled", "balanced"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)


class Batch(NamedTuple):
    """``x``: float32 (k, *shape), or int64 for text, which the caller may change. ``y``: targets,
    float32 probabilities (k, classes) of labels that are mixed.
    ``indices``: int64 (k,), the numbers of the samples in the source. ``weight``: of each sample,
    float64 (k,), if the source has any.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    indices: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64] | None = None


class Loader:
    """``source`` in batches of ``batch`` samples; the last is smaller, or left out with
    ``drop_last``.

    Order and augmentation depend only on the seed, the epoch and the number of the batch: a run
    that resumes in the middle of an epoch gets the same batches. Samples are augmented, then
    standardised. With ``sampler="balanced"`` an epoch has as many samples as the source, each drawn
    by itself and put back: a class first, all that occur being equally likely, then one of its
    samples (PyTorch's ``WeightedRandomSampler`` with weights 1 / samples of the class). If samples
    are in files or batches are large, a thread prefetches up to
    ``prefetch`` batches; with 0 none does.
    """

    def __init__(
        self,
        source: Source,
        batch: int,
        *,
        seed: int,
        shuffle: bool = True,
        sampler: Sampler = "shuffled",
        augment: Augment | None = None,
        standard: Standard | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
    ) -> None:
        self.source = source
        self.batch = whole("batch", batch, 1)
        self.seed = whole("seed", seed, 0)
        self.shuffle, self.drop_last = shuffle, drop_last
        self.prefetch = whole("prefetch", prefetch, 0)
        if not len(source):
            raise FaltungError("source: contains no samples")
        if drop_last and len(source) < self.batch:
            raise FaltungError(
                f"batch={batch}: more than the {len(source)} samples, and drop_last leaves out "
                "what is smaller"
            )
        if standard is not None and len(standard.mean) != source.shape[0]:
            raise FaltungError(
                f"standard: has {len(standard.mean)} channels, the source {source.shape[0]}"
            )
        if augment is not None:
            augment.check(source.kind, source.shape)
        if source.kind == "text" and standard is not None:
            raise FaltungError("standard: text has no mean")
        one_of("sampler", sampler, SAMPLERS)
        self.sampler = sampler
        self._classes = _by_class(source) if sampler == "balanced" else []
        self.augment, self.standard = augment or None, standard
        large = 4 * self.batch * prod(source.shape) >= MIN_PREFETCH_BYTES
        costly = self.augment is not None and self.augment.costly
        self.threaded = self.prefetch > 0 and (source.lazy or large or costly)

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole_ones, rest = divmod(len(self.source), self.batch)
        return whole_ones + (rest > 0 and not self.drop_last)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number`` from batch ``start`` on. Close it to stop early."""
        number, start = whole("number", number, 0), whole("start", start, 0)
        if start > len(self):
            raise FaltungError(f"start={show(start)}: an epoch has {len(self)} batches")
        if self.threaded:
            return prefetch(lambda: self._batches(number, start), self.prefetch)
        return self._batches(number, start)

    def _batches(self, number: int, start: int) -> Iterator[Batch]:
        order = self._order(number)
        for i in range(start, len(self)):
            chosen = order[i * self.batch : (i + 1) * self.batch]
            yield self._make(chosen, number, i)

    def _order(self, number: int) -> npt.NDArray[np.int64]:
        """The samples of epoch ``number``."""
        count = len(self.source)
        if self.sampler == "balanced":
            first, second = uniform(2 * count, self.seed, DRAW, number).reshape(2, count)
            chosen = (first * len(self._classes)).astype(np.int64)
            sizes = np.array([len(members) for members in self._classes])
            starts = np.cumsum(sizes) - sizes
            places = starts[chosen] + (second * sizes[chosen]).astype(np.int64)
            return np.asarray(np.concatenate(self._classes)[places], np.int64)
        if self.shuffle:
            return permutation(count, self.seed, ORDER, number)
        return np.arange(count)

    def _make(self, chosen: npt.NDArray[np.int64], epoch: int, number: int) -> Batch:
        x, y = self.source.read(chosen), self.source.targets[chosen]
        if self.augment is not None:
            random = generator(self.seed, AUGMENT, epoch, number)
            unit = 1.0 if self.standard is None else self.standard.std
            x = self.augment(x, random, unit)
            x, y = self.augment.mix(x, y, len(self.source.classes or ()), random)
        if self.standard is not None:
            x = self.standard(x)
        weights = weights_in(self.source)
        return Batch(x, y, chosen, None if weights is None else weights[chosen])


def _by_class(source: Source) -> list[npt.NDArray[np.int64]]:
    """The samples of each class that occurs. ValueError: samples that have no class."""
    labels = np.asarray(source.targets)
    if labels.dtype.kind not in "iu":
        raise FaltungError(
            "sampler='balanced': targets are numbers; it needs a class of each sample"
        )
    if labels.ndim > 1:
        raise FaltungError(
            "sampler='balanced': every position has a class; class weights balance those"
        )
    return [np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])]
