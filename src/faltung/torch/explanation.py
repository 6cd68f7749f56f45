"""What runs where in a model of PyTorch, why, and how long it takes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field
from time import perf_counter
from typing import Any

import torch
from torch import fx

from faltung.geometry.errors import FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.torch import gaps, pieces
from faltung.torch.compiled import Compiled, engine_of
from faltung.torch.engine import Plan
from faltung.torch.errors import buffers, restore
from faltung.torch.places import place_of

# Seconds for which one piece is timed at most, and runs of it.
SECONDS, RUNS = 0.1, 20
# Operators of a piece, and reasons, that are printed.
_MOST = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One piece. ours: whether a program runs it. operators: how many of which. first, last: where
    it begins and ends in the model. reasons: why it is eager. edges: tensors that go in and out,
    and what becomes of them. Times in microseconds, estimated and measured: here, and in eager.
    """

    ours: bool
    nodes: int
    operators: dict[str, int]
    first: str
    last: str
    reasons: list[str]
    edges: list[str]
    expected_us: float
    eager_expected_us: float
    us: float
    eager_us: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``explain`` returns; its text is for people.

    pieces: in the order in which they run; empty where PyTorch runs the whole model, for
    ``reason``.
    reasons: why parts are eager, with module and line. us, eager_us: a call, and one in eager.
    seconds: to trace and cut. training: with gradients.
    """

    pieces: list[Row]
    reasons: list[str]
    reason: str
    us: float
    eager_us: float
    seconds: float
    training: bool
    threads: int
    extra: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ours = sum(row.ours for row in self.pieces)
        lines = [_title(self.pieces, ours, self.reason)]
        for number, row in enumerate(self.pieces, 1):
            lines += _told(number, row, self.training)
        if self.pieces:
            times = f"a call {_us(self.us)}, in eager {_us(self.eager_us)}"
            what = "forward pass of training" if self.training else "inference"
            threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
            lines.append(f"{times} ({what}, {threads}); traced and cut in {self.seconds:.2f} s")
        if ours:
            lines.append(
                "results and gradients of our pieces are the same bits for any number of threads"
            )
        return "\n".join([*lines, *self.extra])


def explain(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Show which parts of a model run as programs of ours, and why others do not.

    Parameters
    ----------
    model : nn.Module or callable
        Compiled or not.
    *args, **kwargs
        Arguments of a call. It is run several times; buffers are as before afterwards.

    Returns
    -------
    Explanation
        Print it; its fields say the same.

    Raises
    ------
    FaltungError
        The model cannot be called.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> model = torch.nn.Conv2d(3, 8, 3).eval()
    >>> seen = faltung.torch.explain(model, torch.zeros(8, 3, 32, 32))
    >>> [piece.operators for piece in seen.pieces]
    [{'aten.conv2d': 1}]
    """
    if not callable(model):
        raise FaltungTypeError(
            f"model={type(model).__name__}: must be an nn.Module or a function of tensors"
        )
    options: dict[str, Any] = {}
    if isinstance(model, Compiled):
        options = {name: model._faltung_options[name] for name in ("precision", "random")}
        model = model._faltung_model
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    engine = engine_of(model, fallback=True, where="explain", **options)
    kept = buffers(model)
    state = torch.get_rng_state()
    start = perf_counter()
    entry, tensors, leaves = engine.found(args, kwargs)
    if entry.again:  # it keeps something for later calls, which is there after one
        model(*args, **kwargs)
        entry, tensors, leaves = engine.found(args, kwargs)
    seconds = perf_counter() - start
    try:
        eager_us = timed(lambda: model(*args, **kwargs))
        if entry.plan is None:
            return Explanation(
                [], [entry.reason], entry.reason, eager_us, eager_us, seconds, False, _threads()
            )
        us = timed(lambda: engine(args, kwargs))
        rows = _rows(entry.plan, tensors, leaves)
    finally:
        _restore_all(kept, state)
    made = entry.plan.cut
    return Explanation(
        rows,
        gaps.rows(made.captured.nodes, made.reasons),
        "",
        us,
        eager_us,
        seconds,
        _trains(tensors, leaves),
        _threads(),
    )


def timed(run: Callable[[], Any]) -> float:
    """Microseconds of the quickest of several runs."""
    run()
    best, end = float("inf"), perf_counter() + SECONDS
    for _ in range(RUNS):
        start = perf_counter()
        run()
        stop = perf_counter()
        best = min(best, stop - start)
        if stop > end:
            break
    return best * 1e6


def _threads() -> int:
    return torch.get_num_threads()


def _trains(tensors: Sequence[Any], leaves: Sequence[torch.Tensor]) -> bool:
    found = any(x.requires_grad for x in (*tensors, *leaves) if isinstance(x, torch.Tensor))
    return torch.is_grad_enabled() and found


def _restore_all(kept: Any, state: torch.Tensor) -> None:
    with torch.no_grad():
        restore(kept)
    torch.set_rng_state(state)


# Rows ---------------------------------------------------------------------------------------------


def _rows(plan: Plan, tensors: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Row]:
    """Run the pieces one after the other, and time each."""
    captured = plan.cut.captured
    env: dict[str, Any] = dict(zip(captured.inputs, tensors, strict=True))
    env |= zip(captured.leaves, leaves, strict=True)
    env |= zip(plan.cut.sizes, plan.numbers, strict=True)
    rows = []
    for piece in plan.cut.pieces:
        reads = [env[name] for name in piece.reads]
        given = [env[name] for name in piece.leaves]
        made = piece(reads, given)
        rows.append(_row(captured.module, piece, reads, given, made))
        env |= zip(piece.writes, made, strict=True)
    return rows


def _row(
    module: fx.GraphModule,
    piece: pieces.Piece,
    reads: Sequence[Any],
    leaves: Sequence[torch.Tensor],
    made: Sequence[Any],
) -> Row:
    done = [node for node in piece.nodes if node.op == "call_function"]
    counts = Counter(gaps.title(node) for node in done if not _is_item(node))
    eager: Any = piece.run
    if piece.ours:
        names = [*piece.reads, *piece.leaves]
        eager = pieces.eager_module(module, piece.nodes, names, piece.writes)
    writes = any(_writes_inputs(node, piece) for node in piece.nodes)
    us = eager_us = 0.0
    if not writes:  # a second run would not see what the first one saw
        us = timed(lambda: piece(reads, leaves))
        eager_us = timed(lambda: eager(*reads, *leaves)) if piece.ours else us
    return Row(
        piece.ours,
        len(done),
        dict(counts.most_common()),
        str(place_of(piece.nodes[0])) if piece.nodes else "",
        str(place_of(piece.nodes[-1])) if piece.nodes else "",
        gaps.rows(piece.nodes, piece.reasons),
        _edges(piece, reads, made) if piece.ours else [],
        piece.ours_us if piece.ours else piece.eager_us,
        piece.eager_us,
        us,
        eager_us,
    )


def _writes_inputs(node: fx.Node, piece: pieces.Piece) -> bool:
    from faltung.torch.effects import written_by

    return any(x.name in piece.reads for x in written_by(node))


def _is_item(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem"


def _edges(piece: pieces.Piece, reads: Sequence[Any], made: Sequence[Any]) -> list[str]:
    """What happens to the tensors that go in and come out."""
    found = []
    programs = piece.run.programs
    how = {place: read for place, _, read in programs[-1].reads} if programs else {}
    for i, (name, x) in enumerate(zip(piece.reads, reads, strict=True)):
        if not isinstance(x, torch.Tensor) or i not in how:
            continue
        copied = how[i](x).data_ptr() != x.data_ptr()
        size = x.numel() * x.element_size()
        what = f"copied into another layout or dtype, {_bytes(size)}" if copied else "in place"
        found.append(f"in {name} {tuple(x.shape)}, {_layout(x)}: {what}")
    for name, x in zip(piece.writes, made, strict=True):
        if isinstance(x, torch.Tensor):
            found.append(f"out {name} {tuple(x.shape)}, {_layout(x)}")
    return found


def _layout(x: torch.Tensor) -> str:
    if x.dim() < 3:
        return "contiguous" if x.is_contiguous() else "strided"
    order = sorted(range(x.dim()), key=lambda i: (-x.stride()[i], i))
    if order == list(range(x.dim())):
        return "channels first"
    return "channels last" if order == [0, *range(2, x.dim()), 1] else "strided"


# Text ---------------------------------------------------------------------------------------------


def _title(rows: Sequence[Row], ours: int, reason: str) -> str:
    if not rows:
        return f"PyTorch runs the whole model: {reason}"
    eager = len(rows) - ours
    return (
        f"{len(rows)} piece{'s' * (len(rows) != 1)}: {ours} of ours, {eager} eager"
        if eager
        else f"{ours} piece{'s' * (ours != 1)}, all of it ours"
    )


def _told(number: int, row: Row, training: bool) -> list[str]:
    shown = list(row.operators.items())
    words = ", ".join(f"{count} {name}" for name, count in shown[:_MOST])
    more = f", and {len(shown) - _MOST} kinds more" if len(shown) > _MOST else ""
    who = "faltung" if row.ours else "eager"
    where = row.first if row.first == row.last else f"{row.first} to {row.last}"
    lines = [f"piece {number}, {who}, {row.nodes} nodes, {where}: {words}{more}"]
    if row.us:
        measured = f"measured {_us(row.us)}"
        beside = f", in eager {_us(row.eager_us)}" if row.ours else ""
        expected = f"; expected {'with gradients ' * training}{_us(row.expected_us)}"
        wide = f", in eager {_us(row.eager_expected_us)}" if row.ours else ""
        lines.append(f"  {measured}{beside}{expected}{wide}")
    lines += [f"  {edge}" for edge in row.edges]
    lines += [f"  because {reason}" for reason in row.reasons[:_MOST]]
    return lines


def _us(value: float) -> str:
    return f"{value / 1e3:.2f} ms" if value >= 1e3 else f"{value:.0f} us"


def _bytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"
