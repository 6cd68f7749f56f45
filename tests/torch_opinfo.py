"""PyTorch's own samples of its operators (OpInfo), through the importer.

``samples`` gives functions of tensors alone: whatever else an operator is called with is bound in
them. A sample that the importer leaves to PyTorch must be named, with the reason.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch_aten import part_of, results_of, traced

from faltung.torch.importer import flat

# Samples beyond are not of small shapes.
MOST_ELEMENTS = 3000


@dataclass(frozen=True, slots=True)
class Sample:
    """A call of an operator. label: which one it is. args: the tensors that it is called with."""

    label: str
    function: Callable[..., Any]
    args: tuple[torch.Tensor, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.label, self.function, self.args))


@cache
def operators() -> Mapping[str, Sequence[Any]]:
    """All of PyTorch's descriptions of operators, by name. To import them takes seconds."""
    pytest.importorskip("expecttest")  # which PyTorch's own tests are written with
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    found: dict[str, list[Any]] = {}
    for op in op_db:
        found.setdefault(op.name, []).append(op)
    return found


def samples(
    names: Sequence[str], dtype: torch.dtype = torch.float32, most: int = 6
) -> list[Sample]:
    """Calls of operators, ``most`` of each description, spread over PyTorch's own; without tensors
    of no elements, and without those that read no real number.
    """
    made = []
    for name in names:
        for op in operators()[name]:
            if dtype not in op.dtypes:
                continue
            found = _calls(op, dtype)
            step = max(len(found) / most, 1.0)
            made += [found[int((i + 0.5) * step)] for i in range(min(most, len(found)))]
    return made


def _calls(op: Any, dtype: torch.dtype) -> list[Sample]:
    torch.manual_seed(0)
    label = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, sample in enumerate(op.sample_inputs_func(op, "cpu", dtype, False)):
            whole = [sample.input, *sample.args], dict(sample.kwargs)
            tensors: list[torch.Tensor] = []
            frame = _framed(whole, tensors)
            sizes = [x.numel() for x in tensors]
            if not sizes or not all(sizes) or max(sizes) > MOST_ELEMENTS:
                continue
            if any(x.is_floating_point() for x in tensors):
                function = _called(op.op, frame)
                made.append(Sample(f"{label}[{number}]", function, tuple(tensors)))
    return made


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor goes."""

    number: int


def _framed(found: Any, tensors: list[torch.Tensor]) -> Any:
    """The arguments with places for their tensors, which are collected."""
    if isinstance(found, torch.Tensor):
        tensors.append(found.detach())
        return _Place(len(tensors) - 1)
    if isinstance(found, list | tuple):
        return type(found)(_framed(x, tensors) for x in found)
    if isinstance(found, dict):
        return {name: _framed(x, tensors) for name, x in found.items()}
    return found


def _filled(frame: Any, tensors: Sequence[torch.Tensor]) -> Any:
    if isinstance(frame, _Place):
        return tensors[frame.number]
    if isinstance(frame, list | tuple):
        return type(frame)(_filled(x, tensors) for x in frame)
    if isinstance(frame, dict):
        return {name: _filled(x, tensors) for name, x in frame.items()}
    return frame


def _called(op: Callable[..., Any], frame: Any) -> Callable[..., Any]:
    def function(*tensors: torch.Tensor) -> Any:
        args, kwargs = _filled(frame, tensors)
        return op(*args, **kwargs)

    return function


def _with_known(
    function: Callable[..., Any], args: Sequence[torch.Tensor]
) -> tuple[Callable[..., Any], tuple[torch.Tensor, ...]]:
    """A function of its real tensors alone."""
    places = [i for i, x in enumerate(args) if x.is_floating_point()]

    def of_real(*given: torch.Tensor) -> Any:
        whole = list(args)
        for i, x in zip(places, given, strict=True):
            whole[i] = x
        return function(*whole)

    return of_real, tuple(args[i] for i in places)


def check_samples(
    names: Sequence[str],
    gaps: Mapping[str, str] | None = None,
    most: int = 6,
    dtype: torch.dtype | None = None,
    times: float = 6.0,
    checked: Callable[..., None] | None = None,
    known: bool = False,
) -> int:
    """Check samples of operators and count those that became a program.

    known: whole numbers and conditions are constants of the function, such as indices.

    dtype: by default float32 and float64 in turn. checked: called with the function, its tensors
    and ``times``, instead of a comparison with PyTorch. gaps: by the label of a sample, or by the
    beginning of one, a part of the reason why the importer leaves it to PyTorch. AssertionError: a
    gap without a reason here, a reason without a gap, or no sample that became a program.
    """
    gaps = gaps or {}
    used: set[str] = set()
    taken = 0
    for turn, (label, function, args) in enumerate(samples(names, dtype or torch.float32, most)):
        if dtype is None and turn % 2:
            args = tuple(x.double() if x.is_floating_point() else x for x in args)
        if known:
            function, args = _with_known(function, args)
        try:
            module = traced(function, *args)
            part = part_of(module, args)
            reasons = [gap.reason for gap in part.gaps]
            told = [k for k in gaps if label.startswith(k) and any(gaps[k] in r for r in reasons)]
            assert told or not reasons, reasons
            used.update(told)
            if not reasons:
                taken += 1
                if checked is not None:
                    checked(function, *args, times=times)
                else:
                    _compared(function, args, results_of(module, part, args), times)
        except Exception as error:
            error.add_note(f"in {label}, of shapes {[tuple(x.shape) for x in args]}")
            raise
    assert used == set(gaps), f"no gaps any more: {sorted(set(gaps) - used)}"
    assert taken, f"{names}: every sample is a gap"
    return taken


def _compared(
    function: Callable[..., Any],
    inputs: Sequence[torch.Tensor],
    ours: Sequence[torch.Tensor],
    times: float,
) -> None:
    """As ``check``, in one dtype: float64 results are PyTorch's, float32 ones as close to float64
    as PyTorch's within a factor. Whole numbers and conditions must be equal.
    """
    wide = any(x.dtype == torch.float64 for x in inputs)
    theirs = [x for x in flat([function(*inputs)]) if isinstance(x, torch.Tensor)]
    double = [x.double() if x.is_floating_point() else x for x in inputs]
    exact = [x for x in flat([function(*double)]) if isinstance(x, torch.Tensor)]
    assert len(ours) == len(theirs) == len(exact)
    for o, t, e in zip(ours, theirs, exact, strict=True):
        assert (o.shape, o.dtype) == (t.shape, t.dtype)
        if not t.is_floating_point():
            assert torch.equal(o, t)
        elif wide:
            torch.testing.assert_close(o, t, rtol=1e-9, atol=1e-11, equal_nan=True)
        else:
            _as_close(o, t, e.double(), times)


def _as_close(o: torch.Tensor, t: torch.Tensor, e: torch.Tensor, times: float) -> None:
    """Whether ours are as close to the exact numbers as theirs."""
    finite = e.isfinite() & t.isfinite()
    assert torch.equal(o[~finite], t[~finite]) or torch.equal(o.isnan(), t.isnan())
    if finite.any():
        e = e[finite]
        away = float((t[finite].double() - e).abs().max())
        bound = times * away + 2e-6 * max(float(e.abs().max()), 1e-30)
        assert float((o[finite].double() - e).abs().max()) <= bound
