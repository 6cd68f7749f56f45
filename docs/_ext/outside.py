"""Pages of the site that lie outside its folder, and links to what is no page at all.

Sphinx has one folder of sources. ``pages_outside`` (name on the site -> file) adds pages from
elsewhere in the repository, where readers of the code host look for them; links between pages then
mean the same on the code host and on the site. A link to any other file or folder of the repository
leads to the code host, unless ``files_on_site`` (file -> place) says that it is copied to the site.
"""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.project import Project
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[2]


class Everywhere(Project):
    """The pages of the folder, and those outside."""

    outside: dict[str, str]

    def discover(self, *given: Any, **more: Any) -> set[str]:
        """The names of all pages."""
        super().discover(*given, **more)
        for name, file in self.outside.items():
            path = Path(os.path.relpath(ROOT / file, self.srcdir))
            self.docnames.add(name)
            self._docname_to_path[name] = path
            self._path_to_docname[path] = name
            self._path_to_docname[ROOT / file] = name
        self._path_to_docname[ROOT / "README.md"] = "index"  # the home of the code host
        return self.docnames

    def path2doc(self, filename: str | os.PathLike[str]) -> str | None:
        """The name of a page; that of a ``README.md`` is ``index``, as hosts expect it."""
        found = super().path2doc(filename)
        return None if found is None else re.sub(r"(^|/)README$", r"\1index", found)


class ToTheCodeHost(SphinxTransform):
    """Links to files of the repository that are no pages."""

    default_priority = 200

    def apply(self, **_: Any) -> None:
        """Replace what Sphinx would copy into the site, or call missing."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for found in list(self.document.findall(kind)):
                if found.get("reftype") != "myst" or found.get("refdomain") == "doc":
                    continue
                file, _, anchor = unquote(found["reftarget"]).partition("#")
                path = (here / file).resolve()
                if file and path.is_relative_to(ROOT) and path.exists():
                    name = path.relative_to(ROOT).as_posix()
                    place = self.config.files_on_site.get(name)
                    up = "../" * self.env.docname.count("/")
                    link = f"{self.config.code_host}/{name}" if place is None else up + place
                    link += f"#{anchor}" if anchor else ""
                    found.replace_self(
                        nodes.reference("", "", *found.children, refuri=link, internal=False)
                    )


def add(app: Sphinx) -> None:
    """Before anything is read."""
    app.project.__class__ = Everywhere
    app.project.outside = app.config.pages_outside  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx calls it."""
    app.add_config_value("pages_outside", {}, "env")
    app.add_config_value("files_on_site", {}, "env")
    app.add_config_value("code_host", "", "env")
    app.connect("builder-inited", add)
    app.add_transform(ToTheCodeHost)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
