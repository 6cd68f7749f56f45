"""The explorer as one HTML file: the built page, with what Python says put into it.

``explorer.html`` beside this file is built from the folder ``explorer`` of the repository; a part
that Python adds is described in ``explorer/src/data.ts``, under the same name.
"""

import json
import os
from base64 import b64encode
from functools import lru_cache
from gzip import compress
from html import escape
from importlib.resources import files
from typing import Any

from faltung.formats.files import write_whole
from faltung.geometry.conv import ConvSpec

_EMPTY = '<script type="application/json" id="data">{}</script>'
_FRAME = "width:100%;height:min(46rem,85vh);border:0;border-radius:6px"
# A page in a frame unpacks itself, once it is seen: a notebook keeps a third of it, and browsers
# load such a frame at once, however it is folded.
_UNPACK = (
    "<!doctype html><script>new IntersectionObserver(async(e,o)=>{"
    "if(!e.some(i=>i.isIntersecting))return;o.disconnect();"
    "const b=Uint8Array.from(atob('%s'),c=>c.charCodeAt(0)),"
    "s=new Blob([b]).stream().pipeThrough(new DecompressionStream('gzip')),"
    "t=await new Response(s).text();document.open();"
    "document.write(t.replace('\"data\">{}','\"data\">'+%s));document.close()"
    "}).observe(document.documentElement)</script>"
)


@lru_cache(maxsize=1)
def built() -> str:
    """The page as it was built, without data."""
    text = files("faltung.explore").joinpath("explorer.html").read_text("utf-8")
    assert text.count(_EMPTY) == 1
    return text


@lru_cache(maxsize=1)
def _packed() -> str:
    return b64encode(compress(built().encode(), 9, mtime=0)).decode()


def page(spec: ConvSpec | None = None, **parts: Any) -> str:
    """The page that shows a convolution, and the parts that are given.

    spec: what is shown first; by default a small one. parts: ``processor``, ``fields``,
    ``network``, each of what JSON has; None leaves a part out.
    """
    said = {name: part for name, part in parts.items() if part is not None}
    if spec is not None:
        said["spec"] = str(spec)
    return built().replace(_EMPTY, _EMPTY.replace("{}", _json(said)))


def _json(value: object) -> str:
    """JSON that no browser takes for the end of its element, whatever text it holds."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def write(path: str | os.PathLike[str], html: str) -> None:
    """Write a page to a file. OSError."""
    write_whole(path, html.encode())


def frame(spec: ConvSpec) -> str:
    """The page for a notebook, folded: the browser does nothing for it before it is opened."""
    data = _json(_json({"spec": str(spec)}))  # as a text of JavaScript
    inside = escape(_UNPACK % (_packed(), data))
    return (
        '<details><summary style="cursor:pointer;opacity:.8;margin-top:6px">see it move</summary>'
        f'<iframe sandbox="allow-scripts" loading="lazy" title="{escape(str(spec))}" '
        f'style="{_FRAME}" srcdoc="{inside}"></iframe></details>'
    )
