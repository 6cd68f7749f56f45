"""``torch.compile(model, backend="faltung")``: graphs of TorchDynamo, found by entry point.

Dynamo traces Python, checks that a graph is right for a call, and cuts where it cannot see through;
each of its graphs comes here, and is a cut graph like those of ``faltung.torch.compile``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.torch import gaps, sizes
from faltung.torch.capture import Captured, Untraceable, retrace
from faltung.torch.engine import Plan, obstacle_of
from faltung.torch.pieces import Cut, cut
from faltung.torch.versions import untested, warn_once

WHERE = 'torch.compile(backend="faltung")'
_OPTIONS: dict[str, Any] = {"fallback": True, "precision": "fast", "random": "faltung"}
# Plans of one graph, each for other sizes.
_MOST_PLANS = 256


def faltung(
    module: fx.GraphModule,
    examples: Sequence[Any],
    *,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
    **_: Any,
) -> Callable[..., Any]:
    """A graph of TorchDynamo as programs of ours: the back end "faltung" of ``torch.compile``.

    Parameters
    ----------
    module : fx.GraphModule
        What Dynamo has seen.
    examples : sequence
        Its arguments: tensors, and sizes.
    mode : str, optional
        Of ``torch.compile``: there is one way to compile here, so "default" and others are equal.
    options : mapping, optional
        ``fallback`` (true): PyTorch runs what there is no program for, and one warning names it;
        otherwise that is an error. ``precision`` ("fast"), ``random`` ("faltung"): as for
        ``faltung.torch.compile``.

    Returns
    -------
    callable
        Takes the arguments of the graph, and returns a tuple.

    Raises
    ------
    FaltungError
        An option that is unknown.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    >>> fast = torch.compile(model, backend="faltung")  # doctest: +SKIP
    """
    wished = {**_OPTIONS, **(options or {})}
    for name in wished:
        if name not in _OPTIONS:
            raise FaltungError(f"options={name!r}: must be one of {', '.join(_OPTIONS)}")
    if wished["precision"] not in ("fast", "strict"):
        raise FaltungError(f"precision={wished['precision']!r}: must be 'fast' or 'strict'")
    if wished["random"] not in ("faltung", "torch"):
        raise FaltungError(f"random={wished['random']!r}: must be 'faltung' or 'torch'")
    fallback = bool(wished["fallback"])
    reason = untested() or obstacle_of([x for x in examples if isinstance(x, torch.Tensor)])
    if untested():
        warn_once(untested())
        return module.forward
    if reason:
        return _refused(module, gaps.told(reason), fallback)
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    leaf = [_is_leaf(node, x) for node, x in zip(places, examples, strict=True)]
    traced = [_example(node, x) for node, x in zip(places, examples, strict=True)]
    try:
        captured = retrace(module, traced, leaf)
    except Untraceable as error:
        return _refused(module, gaps.told(error.reason, error.place), fallback)
    made = {name: wished[name] for name in ("precision", "random")}
    return _Graph(module, captured, leaf, fallback, made)


def _is_leaf(node: fx.Node, x: Any) -> bool:
    """Whether an argument is a parameter or a buffer of a module."""
    if not isinstance(x, torch.Tensor):
        return False
    notes = node.meta.get("tensor_dict") or {}
    return isinstance(x, nn.Parameter) or "_dynamo_static_input_type" in notes


def _example(node: fx.Node, x: Any) -> Any:
    """The argument as Dynamo knows it: without numbers, its sizes free where they may change."""
    return node.meta.get("example_value", x)


def _refused(module: fx.GraphModule, reason: str, fallback: bool) -> Callable[..., Any]:
    if not fallback:
        raise gaps.unsupported(WHERE, [reason])
    warn_once(f"{WHERE}: PyTorch runs a graph: {reason}")
    return module.forward


class _Graph:
    """A graph of Dynamo, called with its arguments."""

    def __init__(
        self,
        module: fx.GraphModule,
        captured: Captured,
        is_leaf: Sequence[bool],
        fallback: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.module, self.captured = module, captured
        self.fallback, self.options = fallback, options
        self.inputs = [i for i, leaf in enumerate(is_leaf) if not leaf]
        self.leaves = [i for i, leaf in enumerate(is_leaf) if leaf]
        self.cuts: dict[bool, Cut] = {}
        self._plans: dict[Any, Plan | None] = {}
        self._free = bool(captured.sources)

    def __call__(self, *args: Any) -> Any:
        inputs = [args[i] for i in self.inputs]
        leaves = [args[i] for i in self.leaves]
        if self.captured.constants:
            leaves += self.captured.constants
        training = torch.is_grad_enabled() and (
            any(x.requires_grad for x in leaves)
            or any(x.requires_grad for x in inputs if isinstance(x, torch.Tensor))
        )
        key: Any = training
        if self._free:
            shapes = [x.shape if isinstance(x, torch.Tensor) else x for x in inputs]
            key = (training, tuple(shapes))
        try:
            plan = self._plans[key]
        except KeyError:
            plan = self.made(key, training, inputs, leaves)
        if plan is None:
            return self.module.forward(*args)
        try:
            return plan(inputs, leaves)
        except UnsupportedError:
            self.cuts.pop(training, None)
            again = self.made(key, training, inputs, leaves)
            return again(inputs, leaves) if again is not None else self.module.forward(*args)

    def made(
        self, key: Any, training: bool, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]
    ) -> Plan | None:
        bound = self.captured.bound(inputs)
        assert bound is not None  # Dynamo has checked its guards
        with sizes.bound(bound):
            found = self.cuts.get(training)
            if found is None or (bound and len(found.pieces) > 1):
                found = self.cuts[training] = cut(
                    self.captured,
                    inputs,
                    leaves,
                    whole=not self.fallback,
                    training=training,
                    options=self.options,
                )
        lines = gaps.rows(self.captured.nodes, found.reasons)
        if lines and not self.fallback:
            raise gaps.unsupported(WHERE, lines)
        if lines:
            eager = sum(not piece.ours for piece in found.pieces)
            what = "all of a graph" if found.is_eager else f"{eager} of {len(found.pieces)} pieces"
            warn_once(f"{WHERE}: PyTorch runs {what}: {'; '.join(lines[:20])}")
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = self._plans[key] = None if found.is_eager else Plan(found, bound)
        return plan
