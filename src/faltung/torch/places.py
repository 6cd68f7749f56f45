"""Where in the user's model an operation comes from: the path of its module, and a line of code."""

import copy
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.fx import traceback as fx_traceback
from torch.nn.modules import module as hooks

from faltung.geometry.record import dataclass

# Files whose frames are nobody's model.
_LIBRARY = (str(Path(torch.__file__).parent), "<")


@dataclass(frozen=True, slots=True)
class Place:
    """path: of the module, as ``named_modules`` has it. file, line: of the user's code."""

    path: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{Path(self.file).name}:{self.line}" if self.file else ""
        if self.path and where:
            return f"{self.path} ({where})"
        return self.path or where or "the model"


class _Here(dict[str, Any]):
    """Stands in PyTorch's notes for new nodes; what is copied into a node is the present place."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.failed: str | None = None  # the module that ran when an error was raised

    def __copy__(self) -> dict[str, Any]:
        return {"place": self.now()}

    def now(self) -> Place:
        frame: Any = sys._getframe()
        path = self.paths[-1] if self.paths else ""
        while frame is not None:
            file = frame.f_code.co_filename
            if frame.f_code is traced_under.__code__:  # the caller's code is not the model's
                break
            if not file.startswith(_LIBRARY) and file not in _FILES:
                return Place(path, file, frame.f_lineno)
            frame = frame.f_back
        return Place(path)

    def at(self, error: BaseException) -> Place:
        """Where an error was raised: the innermost line of the user's code."""
        path = self.failed if self.failed is not None else (self.paths or [""])[-1]
        found, inside, trace = Place(path), False, error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            inside = inside or code is traced_under.__code__
            file = code.co_filename
            if inside and not file.startswith(_LIBRARY) and file not in _FILES:
                found = Place(path, file, trace.tb_lineno)
            trace = trace.tb_next
        return found


_HERE = Path(__file__).parent
_FILES = {
    copy.__file__,
    *(str(_HERE / f"{name}.py") for name in ("places", "capture", "state", "functions")),
}


def traced_under(function: Any, *args: Any) -> Any:
    """Calls the function: frames outside of this one are not searched for the user's code."""
    return function(*args)


@contextmanager
def noted(roots: Mapping[str, nn.Module]) -> Iterator[_Here]:
    """Within it nodes that are made know their place (``place_of``)."""
    here, thread = _Here(), threading.get_ident()
    names: dict[int, str] = {}
    for name, root in roots.items():
        for path, module in root.named_modules(prefix=name):
            names.setdefault(id(module), path)

    def enter(module: nn.Module, _: Any) -> None:
        if threading.get_ident() == thread:
            before = here.paths[-1] if here.paths else ""
            here.paths.append(names.get(id(module), before))

    def leave(module: nn.Module, *_: Any) -> None:
        if threading.get_ident() == thread and here.paths:
            path = here.paths.pop()
            if here.failed is None and sys.exc_info()[0] is not None:
                here.failed = path

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        with fx_traceback.preserve_node_meta():
            fx_traceback.current_meta["custom"] = here
            yield here
    finally:
        for handle in handles:
            handle.remove()


def settle(graph: fx.Graph) -> None:
    """Puts the place of each node where ``place_of`` finds it."""
    for node in graph.nodes:
        found = (node.meta.pop("custom", None) or {}).get("place")
        node.meta["place"] = found if isinstance(found, Place) else _of_dynamo(node)


def place_of(node: fx.Node) -> Place:
    """Where a node comes from."""
    found = node.meta.get("place")
    return found if isinstance(found, Place) else _of_dynamo(node)


def _of_dynamo(node: fx.Node) -> Place:
    """From what TorchDynamo notes: the stack of modules, and the stack of the user's code."""
    stack = node.meta.get("nn_module_stack") or {}
    path = ""
    if stack:
        path = str(list(stack.values())[-1][0])
        path = re.sub(r"^L\['\w+'\]\.?", "", path)
        path = path.replace("_modules.", "").replace("['", ".").replace("']", "").strip(".")
        path = re.sub(r"\[(\d+)\]", r".\1", path)
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    users = [(file, int(line)) for file, line in lines if not file.startswith(_LIBRARY)]
    file, line = users[-1] if users else ("", 0)
    return Place(path, file, line)
