"""From steps to calls: kernels compiled, numbers laid out in memory, addresses filled in at each
call.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from faltung.jit.compile import Kernel, kernel
from faltung.machine.table import Machine
from faltung.methods.step import Operand, Step, Word, Work
from faltung.runtime import team

Memory = npt.NDArray[np.int64]

# Words of a step in memory: function, its words, items, whether the threads meet after it.
HEADER = 4


# The arrays that a call brings: the four operands, then the memory kept and the memory borrowed.
SLOTS = ("x", "w", "out", "bias", "kept", "scratch")
ALIGNMENT = 64


def layout(arrays: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Place arrays (name -> bytes) one after another, each on a cache line: offsets, and bytes in
    all.
    """
    places, total = {}, 0
    for name, size in arrays.items():
        places[name] = total
        total += -(-size // ALIGNMENT) * ALIGNMENT
    return places, total


class Region:
    """Steps made ready: ``run(addresses, threads)`` does them all in one parallel region.

    Several Python threads may run it at once: each call takes an image of the numbers for itself.
    """

    def __init__(self, steps: Sequence[Step], work: Work, machine: Machine) -> None:
        steps = [step for step in steps if step.items > 0]
        self.kernels: list[Kernel] = [kernel(step.recipe, machine) for step in steps]
        self._where = {name: (SLOTS.index(name), 0) for name in SLOTS[:4]}
        for slot, arrays in (("kept", work.kept), ("scratch", work.scratch)):
            self._where |= {name: (SLOTS.index(slot), at) for name, at in layout(arrays)[0].items()}
        self._tables: list[Memory] = []
        self._places: list[tuple[int, int, int]] = []
        self._free: list[tuple[Memory, team.Region]] = []
        self._steps = len(steps)
        heads: list[int] = []
        words: list[int] = []
        for i, step in enumerate(steps):
            meets = i + 1 < len(steps) and steps[i + 1].after
            heads += [self.kernels[i].address, len(words), step.items, int(meets)]
            for word in step.words:
                words.append(self._word(word, HEADER * len(steps) + len(words)))
        self._template = np.array([*heads, *words], dtype=np.int64)

    def _word(self, word: Word, position: int) -> int:
        if isinstance(word, Operand):
            slot, start = self._where[word.name]
            self._places.append((position, slot, start + word.offset))
            return 0
        if isinstance(word, np.ndarray):
            self._tables.append(word)
            return int(word.ctypes.data)
        return int(word)

    def _image(self) -> tuple[Memory, team.Region]:
        memory = self._template.copy()
        head = memory[: HEADER * self._steps].reshape(-1, HEADER)
        # Each step's words, counted from the end of the heads, become an address.
        head[:, 1] = int(memory.ctypes.data) + (HEADER * self._steps + head[:, 1]) * memory.itemsize
        return memory, team.Region(head)

    def run(self, addresses: Sequence[int], threads: int) -> None:
        """Run the steps; ``addresses`` in the order of ``SLOTS``, 0 for what they do not use."""
        if not self._steps:
            return
        try:
            image = self._free.pop()
        except IndexError:
            image = self._image()
        memory, region = image
        for position, slot, offset in self._places:
            memory[position] = addresses[slot] + offset
        region.run(threads)
        self._free.append(image)
