"""The arrow: a file imports from its own folder and from folders above it, never from below.

Nor do files import each other in a circle, be it at their top, within a function, or for types
alone: a circle is as hard to read one way as another. Also what may be imported where (NumPy,
llvmlite, frameworks), and what `import faltung` costs.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Container, Iterator, Mapping, Set
from functools import cache
from pathlib import Path

import pytest
from limits import limit

_SPEC = importlib.util.find_spec("faltung")
assert _SPEC is not None and _SPEC.submodule_search_locations
SOURCE = Path(next(iter(_SPEC.submodule_search_locations)))

# The order in which a question becomes an answer.
STAGES = """
    geometry reference machine codegen jit methods runtime plan ops ndimage signal
    graph nn program nets formats data train onnx torch sklearn dask xarray compress explore cli
""".split()

# Imports upwards that are meant: (file, imported module). Keep this list tiny, and say why.
EXCEPTIONS: set[tuple[str, str]] = set()

NUMPY_FROM = "reference"
LLVMLITE_IN = ("codegen", "jit")
FRAMEWORKS = {
    "torch": ("torch",),
    "joblib": ("sklearn",),  # comes with scikit-learn
    "sklearn": ("sklearn",),
    "dask": ("dask",),
    "onnx": ("formats", "onnx"),
    "xarray": ("xarray",),
}
# What comes with an extra: where it may be used. Inside functions alone, so that nobody needs it
# who does not ask for what it does.
EXTRAS = {
    "IPython": ("train",),  # is there in a notebook
    "PIL": ("data", "train", "cli"),
    "alembic": ("train",),  # what MLflow needs for its database
    "av": ("data",),
    "constriction": ("formats",),
    "imagecodecs": ("data",),
    "jinja2": ("train",),
    "ml_dtypes": ("onnx",),
    "mlflow": ("train",),
    "nibabel": ("data",),
    "onnxruntime": ("onnx",),
    "openvino": ("onnx",),
    "pillow_heif": ("data",),
    "rich": ("train", "cli"),
    "safetensors": ("formats",),
    "sqlalchemy": ("train",),
    "sympy": ("torch",),  # comes with PyTorch
    "tensorboard": ("train",),
    "tifffile": ("data",),
    "tokenizers": ("data",),
    "tomli_w": ("train",),
    "zarr": ("data",),
}
DEPENDENCIES = {"numpy", "llvmlite"}


@cache
def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def stage(name: str) -> int | None:
    """The place of a module `faltung.<stage>...`; None for the package itself and its few files."""
    parts = name.split(".")
    return STAGES.index(parts[1]) if len(parts) > 1 and parts[1] in STAGES else None


def module_name(path: Path) -> str:
    parts = ["faltung", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Every module that a file imports, wherever it does; `from a import b` is a.b."""
    for node in ast.walk(tree):
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


@cache
def read(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a file imports, and what of that at its top. Read once: it is all that takes time."""
    tree, where = ast.parse(path.read_text("utf-8")), (module_name(path), path.stem == "__init__")
    top = ast.Module([node for node in tree.body if _is_import(node)], [])
    return tuple(imports(tree, *where)), tuple(imports(top, *where))


def imported(path: Path) -> tuple[str, ...]:
    return read(path)[0]


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
        elif top in FRAMEWORKS and folder not in FRAMEWORKS[top]:
            yield f"{where} imports {name}: that is for {'/, '.join(FRAMEWORKS[top])}/"
        elif top in EXTRAS and folder not in EXTRAS[top]:
            yield f"{where} imports {name}: that is for {', '.join(EXTRAS[top])}"
        elif top not in DEPENDENCIES | FRAMEWORKS.keys() | EXTRAS.keys():
            yield f"{where} imports {name}: not a dependency of Faltung"


def test_imports_follow_the_arrow() -> None:
    assert [line for path in files() for line in violations(path)] == []


def needs() -> dict[str, set[str]]:
    """For each module the modules of Faltung that it imports anywhere.

    A name that is imported out of a package is that of the package's ``__init__.py``; that a module
    needs its own package, which Python imports before it, is no import of the module.
    """
    paths = {module_name(path): path for path in files()}
    return {
        module: {_home(name, paths) for name in imported(path)} & paths.keys() - {module}
        for module, path in paths.items()
    }


def _home(name: str, modules: Container[str]) -> str:
    """The module that an imported name is, or is in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def circles(needs: Mapping[str, Set[str]]) -> list[list[str]]:
    """Every set of modules that need each other, by whatever way round (Tarjan, 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        open_.append(module)
        for other in sorted(needs[module]):
            if other not in number:
                visit(other)
            if other in open_:
                low[module] = min(low[module], low[other])
        if low[module] == number[module]:
            place = open_.index(module)
            circle, open_[place:] = sorted(open_[place:]), []
            if len(circle) > 1:
                found.append(circle)

    for module in needs:
        if module not in number:
            visit(module)
    return found


def test_no_circle() -> None:
    assert circles(needs()) == []


def test_circles_are_found() -> None:
    two = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"f"}, "f": {"d"}, "g": {"a"}}
    assert circles(two) == [["d", "e", "f"], ["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_is_named_like_a_package_from_outside() -> None:
    """``formats/onnx.py`` beside an ``import onnx`` reads, and for some tools is, a circle."""
    names = {path.stem for path in files()}
    outside = {name.split(".")[0] for path in files() for name in imported(path)}
    assert names & outside - {"faltung"} - sys.stdlib_module_names == set()


def test_extras_are_imported_late() -> None:
    """A file loads without any extra: at its top stand only what is always there."""
    early = []
    for path in files():
        names = (name.split(".")[0] for name in read(path)[1])
        early += [f"{path.name}: {name}" for name in names if name in EXTRAS]
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
    assert list(imports(ast.parse(text), module, is_package)) == expected


def python(code: str) -> str:
    """What a fresh interpreter prints, importing this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_import_loads_no_framework() -> None:
    heavy = (
        "torch",
        "scipy",
        "onnx",
        "onnxruntime",
        "sklearn",
        "dask",
        "jax",
        "llvmlite",
        "xarray",
    )
    code = f"import faltung, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_import_is_quick() -> None:
    """The budget is 0.15 s on a quiet computer; the best of five, with room for a busy one."""
    code = "import time; t = time.perf_counter(); import faltung; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(5)) < limit(0.4)
