"""Calls of a model: the program for arguments like these, found quickly, or made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from operator import attrgetter, itemgetter
from time import perf_counter
from typing import Any

import torch
from torch import nn

from faltung.geometry.errors import UnsupportedError
from faltung.geometry.record import dataclass
from faltung.torch import gaps, sizes, trees
from faltung.torch.capture import TRACING, Captured, Changing, TooMany, Untraceable, trace
from faltung.torch.functions import is_watched
from faltung.torch.pieces import Cut, cut, is_size
from faltung.torch.state import State
from faltung.torch.versions import untested, warn_once

# Graphs of one model for arguments of one kind, before it is left to PyTorch.
MOST_CAPTURES = 12
# States of modules (training, evaluation, another rate of dropout), and calls that are remembered.
MOST_STATES, MOST_CALLS, MOST_NEW = 8, 4096, 24
_TENSORS = frozenset([torch.Tensor, nn.Parameter])
_requires_grad = attrgetter("requires_grad")


@dataclass(slots=True)
class Entry:
    """What a call does. plan: None where PyTorch runs all; reason: why. error: to be raised."""

    plan: "Plan | None" = None
    reason: str = ""
    error: UnsupportedError | None = None
    again: bool = False


@dataclass(slots=True)
class Known:
    """A graph, and for which arguments it is right. family: all about these but sizes.
    shapes: those that it was made for. free: axes that may differ, for each tensor.
    """

    captured: Captured
    family: Any
    shapes: list[torch.Size]
    orders: list[Any]
    free: list[frozenset[int]]
    seconds: float
    cuts: dict[bool, Cut] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How many nodes compute tensors."""
        return sum(not is_size(node) for node in self.captured.nodes)

    def bound(self, tensors: Sequence[torch.Tensor]) -> dict[Any, int] | None:
        """The free sizes; None: other arguments."""
        for x, shape, order, free in zip(tensors, self.shapes, self.orders, self.free, strict=True):
            if len(x.shape) != len(shape) or order_of(x) != order:
                return None
            if any(
                a != b for i, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if i not in free
            ):
                return None
        return self.captured.bound(tensors)


class Plan:
    """A cut graph that is ready to run for arguments of given sizes."""

    def __init__(self, made: Cut, bound: Mapping[Any, int]) -> None:
        self.cut, self.bound = made, bound
        captured = made.captured
        names = [*captured.inputs, *captured.leaves, *made.sizes]
        slot = {name: i for i, name in enumerate(names)}
        with sizes.bound(bound):
            by_name = {n.name: n for n in captured.nodes}
            self.numbers = [sizes.settled(by_name[name].meta["val"]) for name in made.sizes]
        self.steps: list[tuple[Any, list[int], list[int], list[int], list[int]]] = []
        for piece in made.pieces:
            for name in piece.writes:
                slot.setdefault(name, len(slot))
            self.steps.append(
                (
                    piece,
                    [slot[name] for name in piece.reads],
                    [slot[name] for name in piece.leaves],
                    [slot[name] for name in piece.writes],
                    [],
                )
            )
        self.size = len(slot)
        self.results = [slot[x.name] if _is_node(x) else None for x in captured.outputs]
        self.constants = captured.outputs
        self.together = captured.together
        self._free_early(len(names))
        self.whole = self._whole()

    def _whole(self) -> Any:
        """A call without detours where there is one piece, and it is ours: what it reads of the
        arguments and of the leaves, and its program.
        """
        if len(self.steps) != 1 or not self.cut.pieces[0].ours:
            return None
        piece, _, leaves, writes, _ = self.steps[0]
        captured = self.cut.captured
        if piece.reads != captured.inputs or writes != self.results or self.cut.sizes:
            return None
        if piece.leaves == captured.leaves:
            return piece.run, None
        first = len(captured.inputs)
        numbers = [i - first for i in leaves]
        if len(numbers) < 2:
            return piece.run, lambda given: [given[i] for i in numbers]
        return piece.run, itemgetter(*numbers)

    def _free_early(self, given: int) -> None:
        """Which results a step is the last to read."""
        last: dict[int, int] = {}
        for number, (_, reads, _, writes, _) in enumerate(self.steps):
            for i in (*reads, *writes):
                last[i] = number
        kept = set(self.results)
        for i, number in last.items():
            if i >= given and i not in kept:
                self.steps[number][4].append(i)

    def __call__(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> Any:
        if self.bound:
            with sizes.bound(self.bound):
                return self.run(inputs, leaves)
        return self.run(inputs, leaves)

    def run(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> Any:
        if self.whole is not None:
            run, select = self.whole
            return self.together(run(inputs, leaves if select is None else select(leaves)))
        env: list[Any] = [*inputs, *leaves, *self.numbers]
        env += [None] * (self.size - len(env))
        for piece, reads, params, writes, done in self.steps:
            made = piece([env[i] for i in reads], [env[i] for i in params])
            for i, x in zip(writes, made, strict=True):
                env[i] = x
            for i in done:
                env[i] = None
        return self.together(
            [x if i is None else env[i] for i, x in zip(self.results, self.constants, strict=True)]
        )


class Engine:
    """A function of tensors, and the modules that it reads."""

    def __init__(
        self,
        function: Callable[..., Any],
        roots: Mapping[str, nn.Module],
        *,
        where: str,
        fallback: bool = False,
        prices: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.function, self.roots, self.where = function, roots, where
        self.fallback, self.prices, self.options = fallback, prices, dict(options or {})
        self.captures = 0
        self._states: list[State] = []
        self._calls: dict[State, dict[Any, Entry]] = {}
        self._known: dict[State, list[Known]] = {}
        self._late: set[str] = set()
        self._always: Entry | None = None
        self._new = self._met = 0  # states of modules, and calls that met one again

    # A call --------------------------------------------------------------------------------------

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_watched():
            return self.function(*args, **kwargs)
        entry, tensors, leaves = self.found(args, kwargs)
        if entry.plan is not None:
            try:
                return entry.plan(tensors, leaves)
            except UnsupportedError:
                entry = self.replanned(entry, args, kwargs)
                if entry.plan is not None:
                    return entry.plan(tensors, leaves)
        if entry.error is not None:
            raise UnsupportedError(str(entry.error))
        return self.function(*args, **kwargs)

    def found(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Entry, list[Any], list[torch.Tensor]]:
        """What to do for these arguments, the tensors among them, and the leaves."""
        if not kwargs and _TENSORS.issuperset(map(type, args)):
            flat, tree = list(args), len(args)
            tensors = flat
        else:
            flat, tree = trees.flat_arguments(args, kwargs)
            tensors = [x for x in flat if isinstance(x, torch.Tensor)]
        if self._always is not None:
            return self._always, tensors, []
        state, leaves = self.state()
        try:
            key = self.key(flat, tree, tensors, leaves)
            entry = self._calls.get(state, {}).get(key)
        except (TypeError, RuntimeError, NotImplementedError):
            key = entry = None
        if entry is None or entry.again:
            with TRACING:
                if entry is not None:  # a call has changed what the modules hold
                    self._states.remove(state)
                    del self._calls[state], self._known[state]
                    state, leaves = self.state()
                entry = self.made(args, kwargs, state, leaves)
                if key is not None:
                    calls = self._calls.setdefault(state, {})
                    if len(calls) >= MOST_CALLS:
                        calls.clear()
                    calls[key] = entry
        if entry.plan is not None:
            leaves = leaves + entry.plan.cut.captured.constants
        return entry, tensors, leaves

    def state(self) -> tuple[State, list[torch.Tensor]]:
        """The modules as they are, and their tensors."""
        found = self.same_state()
        if found is not None:
            self._met += 1
            return found
        with TRACING:
            found = self.same_state()
            if found is not None:
                return found
            state = State(self.roots)
            self._new += 1
            if self._new > MOST_NEW and self._new * 4 > self._met:
                reason = "settings of its modules change all the time"
                warn_once(f"{self.where}: {reason}: PyTorch runs the model")
                self._always = Entry(reason=reason)
            self._states.insert(0, state)
            self._calls[state], self._known[state] = {}, []
            for old in self._states[MOST_STATES:]:
                self._calls.pop(old, None)
                self._known.pop(old, None)
            del self._states[MOST_STATES:]
            return state, state.leaves

    def same_state(self) -> tuple[State, list[torch.Tensor]] | None:
        """One that was met before."""
        for number, state in enumerate(self._states):
            leaves = state.now()
            if leaves is not None:
                if number:
                    with TRACING:
                        self._states = [state, *(each for each in self._states if each != state)]
                return state, leaves
        return None

    def key(
        self, flat: Sequence[Any], tree: Any, tensors: Sequence[Any], leaves: Sequence[torch.Tensor]
    ) -> Any:
        """All that decides what a call does, sizes among it."""
        parts: list[Any] = [tree, mode(leaves)]
        for x in flat:
            if isinstance(x, torch.Tensor):
                parts.append(
                    (x.shape, x.stride(), x.dtype, x.requires_grad, x.is_cpu, x.is_neg(), type(x))
                )
            else:
                parts.append((type(x), x.hex() if type(x) is float else x))
        return tuple(parts)

    # Making --------------------------------------------------------------------------------------

    def made(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], state: State, leaves: Any
    ) -> Entry:
        """What to do for arguments that are new."""
        flat, tree = trees.flat_arguments(args, kwargs)
        version = untested()
        if version:
            warn_once(version)
            return Entry(reason=version)
        if any(isinstance(x, torch.Tensor) and not x.numel() for x in flat):
            return Entry(reason="an argument without elements")
        obstacle = state.obstacle or obstacle_of(flat)
        if obstacle:
            return self.refused(gaps.told(obstacle), again=state.is_lazy)
        tensors = [x for x in flat if isinstance(x, torch.Tensor)]
        try:
            known, bound = self.graph(flat, tree, tensors, state, leaves)
        except TooMany as error:
            return Entry(reason=error.reason)
        except Untraceable as error:
            if error.wrong:  # in eager, too: PyTorch says it best
                with torch.no_grad():
                    self.function(*args, **kwargs)
            reason = gaps.told(error.reason, error.place)
            if error.reason not in self._late and isinstance(error, Changing):
                # What a model keeps for later calls is there when PyTorch has run it once.
                self._late.add(error.reason)
                return Entry(reason=reason, again=True)
            if isinstance(error, Changing):  # each call leaves it as no trace has seen it
                self._always = self.refused(reason)
                return self._always
            return self.refused(reason)
        training = torch.is_grad_enabled() and any(map(_requires_grad, (*tensors, *leaves)))
        with sizes.bound(bound):
            made = known.cuts.get(training)
            if made is None or (bound and len(made.pieces) > 1):
                made = self.cut(known, tensors, leaves, training)
        return self.entry(made, bound)

    def entry(self, made: Cut, bound: Mapping[Any, int]) -> Entry:
        lines = gaps.rows(made.captured.nodes, made.reasons)
        if lines and not self.fallback:
            return Entry(error=gaps.unsupported(self.where, lines))
        if made.is_eager:
            return Entry(reason="; ".join(lines) or "nothing is computed")
        return Entry(Plan(made, bound))

    def refused(self, reason: str, again: bool = False) -> Entry:
        """PyTorch runs the whole model, or nobody does."""
        if self.fallback:
            return Entry(reason=reason, again=again)
        return Entry(error=gaps.unsupported(self.where, [reason]), again=again)

    def graph(
        self, flat: Sequence[Any], tree: Any, tensors: Sequence[Any], state: State, leaves: Any
    ) -> tuple[Known, dict[Any, int]]:
        """A graph that is right for these arguments, and its free sizes."""
        known = self._known.setdefault(state, [])
        family = self.family(flat, tree, leaves)
        kind = trees.kind_of(family)
        kin = sum(trees.kind_of(each.family) == kind for each in known)
        mine = [each for each in known if each.family == family]
        for each in mine:
            bound = each.bound(tensors)
            if bound is not None:
                return each, bound
        if kin >= MOST_CAPTURES:
            reason = f"more than {MOST_CAPTURES} graphs for arguments of one kind"
            warn_once(f"{self.where}: {reason}: PyTorch runs the others")
            raise TooMany(reason)
        alike = [each for each in mine if each.orders == orders_of(tensors)]
        for free in _changing(tensors, alike):
            try:
                made = self.traced(flat, tree, tensors, state, family, free)
            except Untraceable:
                continue
            bound = made.bound(tensors)
            if bound is not None and made.length == alike[0].length:
                known.append(made)
                return made, bound
        made = self.traced(flat, tree, tensors, state, family, [frozenset()] * len(tensors))
        known.append(made)
        return made, {}

    def traced(
        self, flat: Any, tree: Any, tensors: Any, state: State, family: Any, free: Any
    ) -> Known:
        start = perf_counter()
        self.captures += 1
        captured = trace(self.function, flat, tree, state, free)
        shapes = [x.shape for x in tensors]
        seconds = perf_counter() - start
        return Known(captured, family, shapes, orders_of(tensors), free, seconds)

    def family(self, flat: Sequence[Any], tree: Any, leaves: Any) -> Any:
        """All that decides what a graph is, but sizes."""
        return (
            tree,
            mode(leaves),
            [
                (x.dtype, x.dim(), x.requires_grad)
                if isinstance(x, torch.Tensor)
                else (type(x), x.hex() if type(x) is float else x)
                for x in flat
            ],
        )

    def cut(self, known: Known, tensors: Any, leaves: Any, training: bool) -> Cut:
        whole = not (self.fallback and self.prices)
        given = [*leaves, *known.captured.constants]
        made = cut(
            known.captured, tensors, given, whole=whole, training=training, options=self.options
        )
        earlier = known.cuts.get(training)
        if earlier is not None and _same(earlier, made):
            return earlier  # its programs for other sizes share what they have packed
        known.cuts[training] = made
        return made

    def replanned(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        """After a program found a gap that an earlier look had not: look again."""
        assert entry.plan is not None
        captured = entry.plan.cut.captured
        for known in [each for several in self._known.values() for each in several]:
            if known.captured is captured:
                known.cuts.clear()
        self._calls = {state: {} for state in self._calls}
        found, _, _ = self.found(args, kwargs)
        return found


def mode(leaves: Sequence[torch.Tensor]) -> Any:
    """The switches of PyTorch that a trace depends on."""
    grad = torch.is_grad_enabled()
    autocast = torch.is_autocast_enabled("cpu")
    return (
        grad and any(map(_requires_grad, leaves)),
        grad,
        torch.is_inference_mode_enabled(),
        torch.get_autocast_dtype("cpu") if autocast else None,
    )


def orders_of(tensors: Sequence[torch.Tensor]) -> list[Any]:
    return [order_of(x) for x in tensors]


def order_of(x: torch.Tensor) -> Any:
    """How a tensor lies in memory, without its sizes."""
    if x.is_contiguous():
        return "contiguous"
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return "channels last"
    if x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d):
        return "channels last"
    return tuple(sorted(range(x.dim()), key=lambda i: (-x.stride()[i], i))), 0 in x.stride()


def obstacle_of(flat: Sequence[Any]) -> str:
    """Why arguments go to PyTorch; empty if they need not."""
    for x in flat:
        if isinstance(x, torch.Tensor):
            if type(x) not in _TENSORS:
                return f"an argument of type {type(x).__name__}"
            if x.layout != torch.strided:
                return "a sparse argument"
            if x.is_complex():
                return "a complex argument"
            if x.is_quantized:
                return "a quantised argument"
            if x.device.type != "cpu":
                return f"an argument on {x.device.type}"
            if x.is_neg():
                return "an argument that is the negative of its memory"
        elif not isinstance(x, trees.PLAIN):
            return f"an argument of type {type(x).__name__}"
    return ""


def _changing(
    tensors: Sequence[torch.Tensor], earlier: Sequence[Known]
) -> list[list[frozenset[int]]]:
    """Axes whose sizes should be free, for each tensor, in the order in which to try them.

    Those that have been others, and at first also those that may change next: of what has an axis
    that changed, the batch and those of space.
    """
    if not earlier:
        return []
    free: list[set[int]] = [set() for _ in tensors]
    for each in earlier:
        for i, (x, shape) in enumerate(zip(tensors, each.shapes, strict=True)):
            free[i] |= {n for n, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if a != b}
            free[i] |= each.free[i]
    if not any(free):
        return []
    more = [
        axes | _likely(x) if axes and x.is_floating_point() else axes
        for x, axes in zip(tensors, free, strict=True)
    ]
    wanted = [more, free] if len(earlier) == 1 and more != free else [free]
    found = [[frozenset(axes) for axes in each] for each in wanted]
    # One with these axes free is there, and not right for these sizes.
    return [each for each in found if all(each != known.free for known in earlier)]


def _likely(x: torch.Tensor) -> set[int]:
    """Axes that may change next: not the channels of (N, C, *space); all of a sequence."""
    if x.dim() == 3:
        return {0, 1, 2}
    return {0, *range(2, x.dim())} if x.dim() > 3 else set()


def _same(a: Cut, b: Cut) -> bool:
    """Whether two cuts have the same pieces."""
    return a.reasons.keys() == b.reasons.keys() and [
        (p.ours, [n.name for n in p.nodes]) for p in a.pieces
    ] == [(p.ours, [n.name for n in p.nodes]) for p in b.pieces]


def _is_node(x: Any) -> bool:
    return isinstance(x, torch.fx.Node)
