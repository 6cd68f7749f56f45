"""ONNX models from elsewhere, run by compiled programs.

>>> import faltung.onnx
>>> model = faltung.onnx.load("resnet18.onnx")  # doctest: +SKIP
>>> scores = model(pictures)  # doctest: +SKIP
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from faltung.onnx import backend
    from faltung.onnx.model import OnnxModel, load
    from faltung.onnx.session import InferenceSession, SessionOptions

_HOME = {
    "OnnxModel": "model",
    "load": "model",
    "InferenceSession": "session",
    "SessionOptions": "session",
}

__all__ = ["InferenceSession", "OnnxModel", "SessionOptions", "backend", "load"]


if not TYPE_CHECKING:  # for type checkers there are the names above, and no other

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name == "backend":  # an extra is needed to load it
            return import_module("faltung.onnx.backend")
        if name not in _HOME:
            raise AttributeError(f"module 'faltung.onnx' has no attribute {name!r}")
        found = getattr(import_module(f"faltung.onnx.{_HOME[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return __all__
