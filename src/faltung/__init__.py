"""Faltung: convolutions compiled, from Python, for exactly this problem on exactly this processor.

>>> import numpy as np, faltung
>>> x = np.arange(10, dtype=np.float32).reshape(1, 1, 10)
>>> faltung.conv1d(x, np.ones((1, 1, 3), np.float32)).ravel().tolist()
[3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0]
"""

# That of typing, which takes a while to load, as type checkers know.
TYPE_CHECKING = False

__version__ = "0.1.0"

if TYPE_CHECKING:
    from faltung import dask, data, ndimage, nets, nn, onnx, signal, sklearn, xarray
    from faltung.geometry.conv import ConvSpec, conv_spec
    from faltung.geometry.errors import FaltungError
    from faltung.geometry.text import parse
    from faltung.ops.forms import (
        conv_to_dense,
        conv_to_local,
        dense_to_conv,
        dense_to_local,
        local_to_conv,
        local_to_dense,
    )
    from faltung.ops.functional import (
        conv,
        conv1d,
        conv2d,
        conv3d,
        conv_input_grad,
        conv_transpose,
        conv_weight_grad,
    )
    from faltung.ops.layer import Conv
    from faltung.ops.local import (
        conv_local,
        conv_local_input_grad,
        conv_local_transpose,
        conv_local_weight_grad,
        pack_local,
    )
    from faltung.ops.pool import (
        avg_pool,
        avg_pool_grad,
        global_avg_pool,
        global_max_pool,
        max_pool,
        max_pool_grad,
    )
    from faltung.ops.pool_ranks import (
        avg_pool1d,
        avg_pool2d,
        avg_pool3d,
        max_pool1d,
        max_pool2d,
        max_pool3d,
    )
    from faltung.plan import Plan, plan_forward, plan_input_grad, plan_weight_grad
    from faltung.runtime.threads import get_threads, set_threads
    from faltung.train.callbacks import Epoch
    from faltung.train.model import Model

# Loaded when first asked for: `import faltung` and `faltung --help` stay fast.
_HOME = {
    "faltung.geometry.conv": "ConvSpec conv_spec",
    "faltung.geometry.errors": "FaltungError",
    "faltung.geometry.text": "parse",
    "faltung.ops.forms": "conv_to_dense conv_to_local dense_to_conv dense_to_local local_to_conv "
    "local_to_dense",
    "faltung.ops.functional": "conv conv1d conv2d conv3d conv_input_grad conv_transpose "
    "conv_weight_grad",
    "faltung.ops.layer": "Conv",
    "faltung.ops.local": "conv_local conv_local_input_grad conv_local_transpose "
    "conv_local_weight_grad pack_local",
    "faltung.ops.pool": "avg_pool avg_pool_grad global_avg_pool global_max_pool max_pool "
    "max_pool_grad",
    "faltung.ops.pool_ranks": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d",
    "faltung.plan": "Plan plan_forward plan_input_grad plan_weight_grad",
    "faltung.runtime.threads": "get_threads set_threads",
    "faltung.train.callbacks": "Epoch",
    "faltung.train.model": "Model",
}
# Packages of their own, which `import faltung` alone does not load.
_PACKAGES = ("dask", "data", "ndimage", "nets", "nn", "onnx", "signal", "sklearn", "xarray")
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "Conv",
    "ConvSpec",
    "Epoch",
    "FaltungError",
    "Model",
    "Plan",
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "avg_pool_grad",
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_input_grad",
    "conv_local",
    "conv_local_input_grad",
    "conv_local_transpose",
    "conv_local_weight_grad",
    "conv_spec",
    "conv_to_dense",
    "conv_to_local",
    "conv_transpose",
    "conv_weight_grad",
    "dask",
    "data",
    "dense_to_conv",
    "dense_to_local",
    "get_threads",
    "global_avg_pool",
    "global_max_pool",
    "local_to_conv",
    "local_to_dense",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_grad",
    "ndimage",
    "nets",
    "nn",
    "onnx",
    "pack_local",
    "parse",
    "plan_forward",
    "plan_input_grad",
    "plan_weight_grad",
    "set_threads",
    "signal",
    "sklearn",
    "xarray",
]


if not TYPE_CHECKING:  # for type checkers there are the names above, and no other

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _PACKAGES:
            return import_module(f"faltung.{name}")
        if name not in _MODULE:
            from faltung.geometry.errors import FaltungAttributeError

            raise FaltungAttributeError(f"faltung has no {name}{_elsewhere(name)}")
        found = getattr(import_module(_MODULE[name]), name)
        globals()[name] = found
        return found


def _elsewhere(name: str) -> str:
    """Where a name is that this module does not have, or what to write instead."""
    from importlib import import_module

    from faltung.geometry import words

    if name.startswith("_"):
        return ""
    for package in ("nn", "ndimage", "signal", "nets", "data"):
        if name in import_module(f"faltung.{package}").__all__:
            return f"; write faltung.{package}.{name}"
    nn = import_module("faltung.nn")
    layer = words.layer_meant(name, {each: getattr(nn, each) for each in nn.__all__})
    if name[0].isupper() and layer:
        return layer
    return words.meant(name, __all__, words.FUNCTIONS) or layer


def __dir__() -> list[str]:
    return __all__
