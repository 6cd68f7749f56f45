"""Faltung inside PyTorch.

>>> import torch, faltung.torch
>>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
>>> fast = faltung.torch.compile(model)
>>> fast(torch.zeros(1, 3, 8, 8)).shape
torch.Size([1, 8, 6, 6])
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from faltung.torch.compiled import compile
    from faltung.torch.explain import Explanation, explain

# Names and the files that they come from, which are loaded when a name is asked for.
_HOME = {
    "Explanation": "explain",
    "compile": "compiled",
    "explain": "explain",
}

__all__ = ["Explanation", "compile", "explain"]


if not TYPE_CHECKING:  # for type checkers there are the names above, and no other

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _HOME:
            raise AttributeError(f"module 'faltung.torch' has no attribute {name!r}")
        found = getattr(import_module(f"faltung.torch.{_HOME[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return __all__
