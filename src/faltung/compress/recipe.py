"""Which steps a walk takes: down the network first, then what its numbers are.

A recipe is a generator: it yields a step and is sent its number and what was measured. It looks at
the samples that choose, and at nothing that differs from one run of it to the next but times.

The way down is ``ROUNDS`` of pruning, each of ``PART`` of what is left. It ends where too much is
lost twice in a row, or where everything below would be smaller and faster than is asked for.
"""

from collections.abc import Container, Generator, Sequence

from faltung.compress.budget import Budget
from faltung.compress.journal import Entry, Step
from faltung.geometry.record import dataclass

Steps = Generator[Step, tuple[int, Entry], None]
Asked = Generator[Step, tuple[int, Entry], tuple[int, Entry]]

ROUNDS, PART = 10, 0.3
LOST = 2  # rounds in a row that may lose too much before the way down ends
SLACK = 2.0  # points beyond the budget that a round may lose; tuned numbers win some back
# Where it is not said what may be lost, the way down ends at so many times the bytes of the limit,
# since numbers in 8 bits take a quarter (of two networks, then), and at so many times the speed.
SMALLEST, FASTEST = 2.8, 1.2


@dataclass(frozen=True)
class Leaf:
    """What is made of the numbers of a network: a means, its strength, and whether it is followed
    by fine-tuning where it loses too much. bits: that a weight takes in a coded file at least.
    faster: whether it may be faster than the network that it is made of. tried: networks that it
    is tried on if it is not said what may be lost, the largest that fit.
    """

    means: str
    strength: float
    tuned: bool
    bits: float
    faster: bool = False
    tried: int = 2


LEAVES: tuple[Leaf, ...] = (
    Leaf("sixteen", 1, False, bits=9, faster=True, tried=1),
    Leaf("quantise", 8, True, bits=4, faster=True),
    Leaf("palettes", 4, False, bits=3.5),  # it trains by itself
    Leaf("palettes", 3, False, bits=2.5),
)


@dataclass(frozen=True)
class Recipe:
    """``epochs``: of each fine-tuning; ``means``: those that there are."""

    budget: Budget
    epochs: int
    means: Container[str]

    def steps(self) -> Steps:
        """All steps; the first is the model as it was trained."""
        trunk = [(yield Step("as-trained"))]
        if "prune" in self.means:
            yield from self._down(trunk)
        if "factorise" in self.means:
            yield from self._factorised(trunk)
        for leaf in LEAVES:
            if leaf.means in self.means:
                yield from self._leaf(leaf, trunk)

    # The network ----------------------------------------------------------------------------------

    def _down(self, trunk: list[tuple[int, Entry]]) -> Steps:
        missed = 0
        for _ in range(ROUNDS):
            number, last = trunk[-1]
            speed = self.budget.speed
            by = "macs" if speed is not None and last.speed < speed else "bytes"
            made = yield Step("prune", number, PART, self.epochs, by)
            if not made[1].changed:
                return
            trunk.append(made)
            missed = missed + 1 if self._loses(made[1], SLACK) else 0
            if missed == LOST or self._far_enough(made[1]):
                return

    def _loses(self, entry: Entry, slack: float = 0.0) -> bool:
        """Whether more is lost than may be, if that is said."""
        return self.budget.drop is not None and entry.lost > self.budget.drop + slack

    def _far_enough(self, entry: Entry) -> bool:
        """Whether everything below is smaller and faster than asked for."""
        budget = self.budget
        if budget.drop is not None:
            return False  # the smallest is looked for
        times = SMALLEST if any(leaf.means in self.means for leaf in LEAVES) else 1.0
        small = budget.bytes is None or entry.bytes < times * budget.bytes
        return small and (budget.speed is None or entry.speed > FASTEST * budget.speed)

    def _factorised(self, trunk: list[tuple[int, Entry]]) -> Steps:
        """The smallest network that is good enough, with layers in factors, where that is smaller
        and not slower.
        """
        good = [each for each in trunk if not self._loses(each[1])] or trunk[:1]
        number, last = good[-1]
        made = yield Step("factorise", number, ENERGY, self.epochs)
        entry = made[1]
        if entry.changed and entry.bytes < last.bytes and entry.speed >= last.speed:
            trunk.insert(trunk.index(good[-1]) + 1, made)

    # Its numbers ----------------------------------------------------------------------------------

    def _leaf(self, leaf: Leaf, trunk: Sequence[tuple[int, Entry]]) -> Steps:
        """The smallest network first, until one is good enough; if it is not said what may be lost,
        the largest that fit.
        """
        fitting = 0
        if self.budget.drop is not None:
            for number, before in reversed(trunk):
                if not self._may_fit(leaf, before):
                    continue
                _, entry = yield from self._tried(leaf, number)
                if not self._loses(entry):
                    return
        else:
            for number, before in trunk:
                if not self._may_fit(leaf, before):
                    continue
                plain = yield Step(leaf.means, number, leaf.strength)
                if self.budget.within(plain[1]):
                    fitting += 1
                    if leaf.tuned and plain[1].changed and plain[1].lost > before.lost:
                        yield Step(leaf.means, number, leaf.strength, self.epochs)
                if fitting == leaf.tried:
                    return

    def _may_fit(self, leaf: Leaf, before: Entry) -> bool:
        """Whether a leaf of this network can keep the limits on bytes and speed."""
        limits = self.budget
        small = limits.bytes is None or before.parameters * leaf.bits / 8 < limits.bytes
        return small and (leaf.faster or limits.speed is None or before.speed >= limits.speed)

    def _tried(self, leaf: Leaf, number: int) -> Asked:
        """A leaf, tuned if it loses too much without."""
        made = yield Step(leaf.means, number, leaf.strength)
        if leaf.tuned and made[1].changed and self._loses(made[1]):
            made = yield Step(leaf.means, number, leaf.strength, self.epochs)
        return made


ENERGY = 0.1  # that factors may lose, all layers together
