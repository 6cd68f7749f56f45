"""Labels of channels: those that are tied have one label and are removed together; those that are
pinned stay.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


class Ties:
    """A union-find of labels. The smallest number of those that are tied stands for them."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._pinned: dict[int, str] = {}

    def new(self, count: int) -> Labels:
        """So many labels that are tied to nothing."""
        first = len(self._parents)
        self._parents += range(first, first + count)
        return np.arange(first, first + count, dtype=np.int64)

    def find(self, label: int) -> int:
        """The label that stands for those tied to this one."""
        parents = self._parents
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label

    def found(self, labels: Labels) -> Labels:
        """The same for many labels."""
        made = [self.find(int(label)) for label in labels.ravel()]
        return np.array(made, np.int64).reshape(labels.shape)

    def tie(self, a: Labels, b: Labels) -> None:
        """Each label of ``a`` belongs to the one of ``b`` in its place."""
        for one, other in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
            first, second = sorted((self.find(one), self.find(other)))
            self._parents[second] = first
            if second in self._pinned:
                self._pinned.setdefault(first, self._pinned[second])

    def together(self, labels: Iterable[int]) -> None:
        """All of these belong together."""
        every = np.fromiter(labels, np.int64)
        if len(every):
            self.tie(every, np.full_like(every, every[0]))

    def pin(self, labels: Labels, why: str) -> None:
        """These stay."""
        for label in {self.find(int(label)) for label in labels.ravel()}:
            self._pinned.setdefault(label, why)

    def pinned(self, label: int) -> str | None:
        """Why a label stays; None: it may go."""
        return self._pinned.get(self.find(label))
