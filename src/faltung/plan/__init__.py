"""Which method, which tiles, and why: plans that print themselves."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faltung.plan.asked import plan_forward, plan_input_grad, plan_weight_grad
    from faltung.plan.plan import Plan

__all__ = ["Plan", "plan_forward", "plan_input_grad", "plan_weight_grad"]


def __getattr__(name: str) -> Any:
    # A program that comes from disk needs no method, nor the time in which all are imported.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(
        import_module("faltung.plan.plan" if name == "Plan" else "faltung.plan.asked"), name
    )
    globals()[name] = found
    return found
