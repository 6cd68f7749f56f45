"""Nodes of a model as one program for each combination of sizes, called with tensors of PyTorch.

Tensors are read and written where they lie. Weights of inference are packed once, and again when
PyTorch says that they have changed; those of training are read in every call.
"""

import threading
from collections.abc import Sequence
from operator import is_
from typing import Any

import torch
from torch import fx

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.torch.hooks import no_saved_tensors_hooks
from faltung.torch.importer import imported, lies_last
from faltung.torch.part import DTYPES, Feed, Gap, Part
from faltung.torch.programs import Inferred, Piece, Precision, Random
from faltung.torch.samples import Samples
from faltung.torch.threads import join
from faltung.torch.trained import Trained

# Programs of one region that are kept, each for other sizes.
MOST_PROGRAMS = 32


class Region:
    """One piece of a model.

    Parameters
    ----------
    nodes : sequence of fx.Node
        Of an ATen graph, in order.
    inputs, leaves : sequence of str
        Names of the nodes whose results are given at each call: tensors or numbers, and parameters
        and buffers.
    outputs : sequence of str
        Names of the nodes whose results a call returns.
    precision : {"fast", "strict"}
        As for ``faltung.conv2d``.
    random : {"faltung", "torch"}
        Whether random numbers are ours, or those that PyTorch would draw.
    """

    def __init__(
        self,
        nodes: Sequence[fx.Node],
        inputs: Sequence[str],
        leaves: Sequence[str],
        outputs: Sequence[str],
        *,
        precision: Precision = "fast",
        random: Random = "faltung",
    ) -> None:
        join()  # beside PyTorch there is one set of threads
        self.piece = Piece(
            list(nodes), list(inputs), list(leaves), list(outputs), precision, random
        )
        self._programs: dict[Any, Inferred | Trained] = {}
        self._seen: list[torch.Tensor] = []
        self._marks: list[tuple[int, int]] = []
        self._samples = Samples([])
        # The last answer of ``gaps``: what it was asked, for which a program is often made next.
        self._looked: tuple[Any, Part, list[Any], list[Any]] | None = None
        self._lock = threading.RLock()

    def __call__(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Any]:
        """The outputs. UnsupportedError: gaps."""
        gradients = torch.is_grad_enabled() and _any_requires(inputs, leaves)
        key = _key(inputs, leaves, gradients)
        if not gradients:
            self._look_at(leaves)
        program = self._programs.get(key)
        if program is not None and any(_mark(leaves[i]) != m for i, m in program.contains):
            program = None
            with self._lock:
                self._programs.pop(key, None)
        if program is None:
            with self._lock, no_saved_tensors_hooks():
                program = self._programs.get(key) or self._made(key, inputs, leaves, gradients)
        return program(inputs, leaves)

    def gaps(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Gap]:
        """What cannot be said for inputs of these sizes."""
        gradients = torch.is_grad_enabled() and _any_requires(inputs, leaves)
        part = self._part(inputs, leaves, gradients)
        key = _key(inputs, leaves, gradients)
        self._looked = key, part, list(leaves), list(map(_mark, leaves))
        return part.gaps

    @property
    def programs(self) -> list["Inferred | Trained"]:
        """Those that there are, the oldest first."""
        return list(self._programs.values())

    def _part(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor], gradients: bool) -> Part:
        given: dict[str, Any] = {}
        for name, x in zip(self.piece.inputs, inputs, strict=True):
            given[name] = _feed(x, gradients) if isinstance(x, torch.Tensor) else x
        given |= zip(self.piece.leaves, leaves, strict=True)
        tensors = [x for x in (*inputs, *leaves) if isinstance(x, torch.Tensor)]
        wide = any(x.dtype == torch.float64 for x in tensors)
        dtype: Float = "float64" if wide else "float32"
        theirs = self.piece.random == "torch"
        outputs = self.piece.outputs
        return imported(self.piece.nodes, given, outputs, dtype, gradients, their_random=theirs)

    def _made(
        self, key: Any, inputs: Sequence[Any], leaves: Sequence[torch.Tensor], gradients: bool
    ) -> "Inferred | Trained":
        looked, self._looked = self._looked, None
        part = None
        if looked is not None and looked[0] == key and all(map(is_, leaves, looked[2])):
            part = looked[1] if looked[3] == list(map(_mark, leaves)) else None
        part = part or self._part(inputs, leaves, gradients)
        if part.gaps:
            raise _unsupported(part.gaps)
        made: Inferred | Trained
        if part.graph is not None and (gradients or part.graph.updates):
            # Running statistics are read and written where they lie, also without gradients.
            made = Trained(self.piece, part)
            made.contains = [(i, _mark(leaves[i])) for i in _contained(self.piece, part)]
        else:
            earlier = [p.numbers for p in self.programs if isinstance(p, Inferred) and p.numbers]
            made = Inferred(self.piece, part, earlier[:1])
        self._programs[key] = made
        while len(self._programs) > MOST_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        return made

    # Parameters that change ----------------------------------------------------------------------

    def _look_at(self, leaves: Sequence[torch.Tensor]) -> None:
        """Whether parameters are still what programs have packed."""
        try:
            marks = [(x._version, x.data_ptr()) for x in leaves]
        except RuntimeError:  # tensors that were made in inference mode have no version
            marks = list(map(_mark, leaves))
        if marks != self._marks or not all(map(is_, leaves, self._seen)):
            with self._lock:
                if marks != self._marks or not all(map(is_, leaves, self._seen)):
                    self._changed(leaves, marks)
        elif leaves and self._samples.changed():
            with self._lock:
                self._changed(leaves, marks, all_of_them=True)

    def _changed(
        self,
        leaves: Sequence[torch.Tensor],
        marks: list[tuple[int, int]],
        all_of_them: bool = False,
    ) -> None:
        old = self._marks or [(-1, -1)] * len(marks)
        moved = not self._marks or any(a[1] != b[1] for a, b in zip(old, marks, strict=True))
        named = zip(self.piece.leaves, old, marks, strict=True)
        names = {n for n, a, b in named if all_of_them or a != b}
        for key, program in list(self._programs.items()):
            if isinstance(program, Inferred) and (moved or not program.renewed(names)):
                del self._programs[key]
        self._seen, self._marks, self._samples = list(leaves), marks, Samples(leaves)


def _contained(piece: Piece, part: Part) -> list[int]:
    """Which leaves the numbers follow from that are a part of a graph, and not read by it."""
    names = {leaf.name.split("[")[0] for leaf in part.baked}
    for node in reversed(part.prefix):
        if node.name in names:
            names |= {x.name for x in node.all_input_nodes}
    return [i for i, name in enumerate(piece.leaves) if name in names]


def _any_requires(inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> bool:
    return any(x.requires_grad for x in leaves) or any(
        isinstance(x, torch.Tensor) and x.requires_grad for x in inputs
    )


def _mark(x: torch.Tensor) -> tuple[int, int]:
    return (-1 if x.is_inference() else x._version), x.data_ptr()


def _key(inputs: Sequence[Any], leaves: Sequence[torch.Tensor], gradients: bool) -> Any:
    """All of a call but where its tensors lie, and their numbers."""
    if not gradients:
        return tuple(
            [(x.shape, x.stride(), x.dtype) if isinstance(x, torch.Tensor) else x for x in inputs]
        )
    given = [
        (x.shape, x.stride(), x.dtype, x.requires_grad) if isinstance(x, torch.Tensor) else x
        for x in inputs
    ]
    return tuple(given), tuple([x.requires_grad for x in leaves])


def _feed(x: torch.Tensor, gradients: bool) -> Feed:
    dtype = DTYPES.get(x.dtype, str(x.dtype).removeprefix("torch."))
    return Feed(tuple(x.shape), dtype, lies_last(x), gradients and x.requires_grad)


def _unsupported(gaps: Sequence[Gap]) -> FaltungError:
    from faltung.geometry.errors import UnsupportedError

    return UnsupportedError("; ".join(f"{gap.node.target}: {gap.reason}" for gap in gaps))
