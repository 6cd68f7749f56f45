"""The arrow: a file imports from its own folder and from folders above it, never from below.

Also what may be imported where (NumPy, llvmlite, frameworks), and what `import faltung` costs.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SPEC = importlib.util.find_spec("faltung")
assert _SPEC is not None and _SPEC.submodule_search_locations
SOURCE = Path(next(iter(_SPEC.submodule_search_locations)))

# The order in which a question becomes an answer.
STAGES = """
    geometry reference machine codegen jit methods runtime plan ops
    graph nn program nets formats data train torch sklearn dask compress explore cli
""".split()

# Imports upwards that are meant: (file, imported module). Keep this list tiny, and say why.
EXCEPTIONS: set[tuple[str, str]] = set()

NUMPY_FROM = "reference"
LLVMLITE_IN = ("codegen", "jit")
FRAMEWORKS = {"torch": "torch", "sklearn": "sklearn", "dask": "dask", "onnx": "formats"}
# What comes with an extra: where it may be used. Inside functions alone, so that nobody needs it
# who does not ask for what it does.
EXTRAS = {
    "PIL": ("data", "train", "cli"),
    "jinja2": ("train",),
    "nibabel": ("data",),
    "rich": ("train", "cli"),
    "safetensors": ("formats",),
    "tomli_w": ("train",),
}
DEPENDENCIES = {"numpy", "llvmlite"}


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def stage(name: str) -> int | None:
    """The place of a module `faltung.<stage>...`; None for the package itself and its few files."""
    parts = name.split(".")
    return STAGES.index(parts[1]) if len(parts) > 1 and parts[1] in STAGES else None


def module_name(path: Path) -> str:
    parts = ["faltung", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(text: str, module: str, is_package: bool) -> Iterator[str]:
    """Every module that a file imports, wherever it does; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            if node.level:
                above = above[: len(above) - node.level + is_package]
                base = ".".join([*above, node.module] if node.module else above)
            else:
                base = node.module or ""
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imported(path: Path) -> Iterator[str]:
    yield from imports(path.read_text("utf-8"), module_name(path), path.name == "__init__.py")


def violations(path: Path) -> Iterator[str]:
    """Each import of one file that the rules forbid, in words."""
    where = str(path.relative_to(SOURCE))
    mine = stage(module_name(path))
    folder = STAGES[mine] if mine is not None else ""
    for name in imported(path):
        top = name.split(".")[0]
        if (where, name) in EXCEPTIONS:
            continue
        if top == "faltung":
            theirs = stage(name)
            if mine is not None and theirs is not None and theirs > mine:
                yield f"{where} imports {name}: {STAGES[theirs]} comes after {folder}"
            if mine is not None and theirs is None and folder != "cli":  # cli is a user
                yield f"{where} imports {name}: import it from its own file"
        elif top in sys.stdlib_module_names:
            continue
        elif top == "numpy" and mine is not None and mine < STAGES.index(NUMPY_FROM):
            yield f"{where} imports {name}: NumPy begins at {NUMPY_FROM}"
        elif top == "llvmlite" and folder not in LLVMLITE_IN:
            yield f"{where} imports {name}: llvmlite is for {' and '.join(LLVMLITE_IN)}"
        elif top in FRAMEWORKS and folder != FRAMEWORKS[top]:
            yield f"{where} imports {name}: that is for {FRAMEWORKS[top]}/"
        elif top in EXTRAS and folder not in EXTRAS[top]:
            yield f"{where} imports {name}: that is for {', '.join(EXTRAS[top])}"
        elif top not in DEPENDENCIES | FRAMEWORKS.keys() | EXTRAS.keys():
            yield f"{where} imports {name}: not a dependency of Faltung"


def test_imports_follow_the_arrow() -> None:
    assert [line for path in files() for line in violations(path)] == []


def test_extras_are_imported_late() -> None:
    """A file loads without any extra: at its top stand only what is always there."""
    early = []
    for path in files():
        lines = [node for node in ast.parse(path.read_text("utf-8")).body if _is_import(node)]
        text = "\n".join(ast.unparse(node) for node in lines)
        found = imports(text, module_name(path), path.name == "__init__.py")
        early += [f"{path.name}: {name}" for name in found if name.split(".")[0] in EXTRAS]
    assert early == []


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_every_folder_is_a_stage() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name[0].isalpha()}
    assert folders <= set(STAGES)


def test_the_exceptions_are_still_needed() -> None:
    used = {(str(path.relative_to(SOURCE)), name) for path in files() for name in imported(path)}
    assert used >= EXCEPTIONS


@pytest.mark.parametrize(
    ("text", "module", "is_package", "expected"),
    [
        ("import numpy as np", "faltung.ops.conv", False, ["numpy"]),
        (
            "def f():\n    from faltung.plan import peak",
            "faltung.jit.x",
            False,
            ["faltung.plan.peak"],
        ),
        ("from . import cache", "faltung.jit.compile", False, ["faltung.jit.cache"]),
        ("from . import cache", "faltung.jit", True, ["faltung.jit.cache"]),
        ("from ..plan import a, b", "faltung.jit.x", False, ["faltung.plan.a", "faltung.plan.b"]),
    ],
)
def test_imports_are_found(text: str, module: str, is_package: bool, expected: list[str]) -> None:
    assert list(imports(text, module, is_package)) == expected


def python(code: str) -> str:
    """What a fresh interpreter prints, importing this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_import_loads_no_framework() -> None:
    heavy = ("torch", "scipy", "onnx", "onnxruntime", "sklearn", "dask", "jax", "llvmlite")
    code = f"import faltung, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_import_is_quick() -> None:
    """The budget is 0.15 s on a quiet computer; the best of five, with room for a busy one."""
    code = "import time; t = time.perf_counter(); import faltung; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(5)) < 0.4
