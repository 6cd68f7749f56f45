"""PyTorch's doors to Faltung: operators and layers that take the place of its own."""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from faltung.torch.functional import conv as conv

_HOME = {
    "functional": "conv conv1d conv2d conv3d conv_local conv_local_transpose conv_transpose "
    "conv_transpose1d conv_transpose2d conv_transpose3d pack_local",
    "pooling": "avg_pool avg_pool1d avg_pool2d avg_pool3d global_avg_pool global_max_pool max_pool "
    "max_pool1d max_pool2d max_pool3d",
}
NAMES = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted(NAMES)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in NAMES:
        raise AttributeError(f"module 'faltung.torch' has no attribute {name!r}")
    found = getattr(import_module(f"faltung.torch.{NAMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
