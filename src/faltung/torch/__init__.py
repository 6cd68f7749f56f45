"""Faltung inside PyTorch: models compiled, operators and layers that take the place of its own.

>>> import torch, faltung.torch
>>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
>>> fast = faltung.torch.compile(model)
>>> fast(torch.zeros(1, 3, 8, 8)).shape
torch.Size([1, 8, 6, 6])
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from faltung.torch.as_model import to_model
    from faltung.torch.compiled import compile
    from faltung.torch.explanation import Explanation, explain
    from faltung.torch.functional import (
        conv,
        conv_local,
        conv_local_transpose,
        conv_transpose,
        pack_local,
    )
    from faltung.torch.local import ConvLocal, ConvLocal1d, ConvLocal2d, ConvLocal3d
    from faltung.torch.modules import (
        Conv,
        Conv1d,
        Conv2d,
        Conv3d,
        ConvTranspose,
        ConvTranspose1d,
        ConvTranspose2d,
        ConvTranspose3d,
    )
    from faltung.torch.pooling import (
        avg_pool,
        avg_pool1d,
        avg_pool2d,
        avg_pool3d,
        global_avg_pool,
        global_max_pool,
        max_pool,
        max_pool1d,
        max_pool2d,
        max_pool3d,
    )
    from faltung.torch.poolings import (
        AvgPool,
        AvgPool1d,
        AvgPool2d,
        AvgPool3d,
        MaxPool,
        MaxPool1d,
        MaxPool2d,
        MaxPool3d,
    )
    from faltung.torch.ranked import (
        conv1d,
        conv2d,
        conv3d,
        conv_transpose1d,
        conv_transpose2d,
        conv_transpose3d,
    )
    from faltung.torch.replacing import Replacement, replace, restore

# The files that names come from; each is loaded when one of its names is asked for.
_FILES = {
    "as_model": ["to_model"],
    "compiled": ["compile"],
    "explanation": ["Explanation", "explain"],
    "functional": [
        "conv",
        "conv_local",
        "conv_local_transpose",
        "conv_transpose",
        "pack_local",
    ],
    "local": [
        "ConvLocal",
        "ConvLocal1d",
        "ConvLocal2d",
        "ConvLocal3d",
    ],
    "modules": [
        "Conv",
        "Conv1d",
        "Conv2d",
        "Conv3d",
        "ConvTranspose",
        "ConvTranspose1d",
        "ConvTranspose2d",
        "ConvTranspose3d",
    ],
    "poolings": [
        "AvgPool",
        "AvgPool1d",
        "AvgPool2d",
        "AvgPool3d",
        "MaxPool",
        "MaxPool1d",
        "MaxPool2d",
        "MaxPool3d",
    ],
    "ranked": [
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
    ],
    "replacing": [
        "Replacement",
        "replace",
        "restore",
    ],
    "pooling": [
        "avg_pool",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "global_avg_pool",
        "global_max_pool",
        "max_pool",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
    ],
}
_HOME = {name: file for file, names in _FILES.items() for name in names}

__all__ = sorted(_HOME)

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
