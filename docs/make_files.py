"""Write ``docs/files.md``, the list of source files, from the first sentence of every docstring.

    python docs/make_files.py

Standard library only. The order of the folders is that of the map in ``ARCHITECTURE.md``.
"""

import ast
import re
from inspect import cleandoc
from pathlib import Path
from tokenize import COMMENT, NL, STRING, generate_tokens

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "faltung"
PAGE = ROOT / "docs" / "files.md"

HEAD = """\
# The files

One line per file, generated from the docstrings by `python docs/make_files.py`. Do not edit this
page: change the first sentence of a file's docstring and run the command again.
[ARCHITECTURE.md](../ARCHITECTURE.md) explains how the folders fit together.
"""


def stages() -> list[str]:
    """The folders of the source in the order of the map, whose rows begin with ``| `name/` |``."""
    return re.findall(r"^\| `(\w+)/` \|", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.M)


def summary(path: Path) -> str | None:
    """The docstring of a file up to the first line that ends a sentence; None without one."""
    with path.open(encoding="utf-8") as file:
        tokens = generate_tokens(file.readline)
        first = next(token for token in tokens if token.type not in (COMMENT, NL))
    if first.type != STRING:
        return None
    lines = cleandoc(ast.literal_eval(first.string)).partition("\n\n")[0].splitlines()
    end = next((i for i, line in enumerate(lines) if line.endswith(".")), len(lines) - 1)
    return " ".join(line.strip() for line in lines[: end + 1])


def markdown(text: str) -> str:
    """Docstring text as Markdown: single backticks, and no other markup."""
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    return "".join(p if p.startswith("`") else re.sub(r"([*<_])", r"\\\1", p) for p in parts)


def folders() -> list[Path]:
    """Every folder with Python files: the package itself, then stage by stage."""
    order = {name: place for place, name in enumerate(stages())}
    found = {path.parent for path in SOURCE.rglob("*.py")}

    def place(folder: Path) -> tuple[int, tuple[str, ...]]:
        parts = folder.relative_to(SOURCE).parts
        return order.get(parts[0], len(order)) if parts else -1, parts

    return sorted(found, key=place)


def section(folder: Path) -> str:
    """A heading, what the folder is, and its files in alphabetical order."""
    name = folder.relative_to(SOURCE.parent).as_posix().removeprefix("faltung/")
    lines = [f"## {name}", ""]
    package = folder / "__init__.py"
    about = summary(package) if package.exists() else None
    if about is not None:
        lines += [markdown(about), ""]
    for path in sorted(folder.glob("*.py")):
        if path != package:
            link = f"[{path.name}](../{path.relative_to(ROOT).as_posix()})"
            lines.append(f"- {link}: {markdown(summary(path) or '')}")
    return "\n".join(lines).rstrip() + "\n"


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *map(section, folders())])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
