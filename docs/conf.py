"""How Sphinx builds the site: see "The site" in ``CONTRIBUTING.md``.

The pages are the Markdown files of the repository, as the code host shows them; what the site needs
beyond that is in ``_ext``, an extension for each thing.
"""

import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
sys.path.insert(0, str(HERE / "_ext"))

import faltung  # noqa: E402

project = "Faltung"
author = PROJECT["authors"][0]["name"]
copyright = author
version = release = faltung.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "outside",
    "listed",
    "mathml",
    "commands",
    "names",
    "windows",
    *(["charts"] if (HERE / "_ext" / "charts.py").exists() else []),
]

# Pages outside this folder, by their names on the site.
pages_outside = {
    "architecture": "ARCHITECTURE.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
    "examples": "examples/README.md",
    "results/index": "benchmarks/README.md",
    "guides/emulated": "tests/emulated/README.md",
    **{
        f"results/{page.stem}": page.relative_to(ROOT).as_posix()
        for page in sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    },
}
files_on_site = {"src/faltung/explore/explorer.html": "explorer.html"}
# What is no page of the site is on the code host.
code_host = f"{PROJECT['urls']['Homepage']}/blob/main"

source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_static"]
nitpicky = True
smartquotes = False
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 5
myst_links_external_new_tab = False

autodoc_typehints = "none"  # NumPy's style says the types of arguments in words
autodoc_member_order = "groupwise"
autosummary_generate = False  # numpydoc loads it
numpydoc_show_class_members = False
numpydoc_use_plots = False
add_module_names = False
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "Faltung"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_extra_path = [f"../{file}" for file in files_on_site]
html_copy_source = False
html_show_sphinx = False
html_favicon = "_static/icon.svg"
html_last_updated_fmt = None
# The colours of the explorer (explorer/src/style.css).
html_theme_options = {
    "navigation_with_keys": False,
    "light_css_variables": {
        "color-background-primary": "#fdfdfb",
        "color-background-secondary": "#f3f4f2",
        "color-background-border": "#d5d8de",
        "color-foreground-primary": "#1d2026",
        "color-foreground-secondary": "#4b5160",
        "color-foreground-muted": "#5b6170",
        "color-brand-primary": "#1456b8",
        "color-brand-content": "#1456b8",
        "color-brand-visited": "#1456b8",
        "color-code-background": "#f3f4f2",
        "color-code-foreground": "#1d2026",
        "color-api-name": "#1456b8",
        "color-api-pre-name": "#5b6170",
    },
    "dark_css_variables": {
        "color-background-primary": "#14161a",
        "color-background-secondary": "#1c1f26",
        "color-background-border": "#343943",
        "color-foreground-primary": "#e8e8e4",
        "color-foreground-secondary": "#b9bec8",
        "color-foreground-muted": "#a2a8b4",
        "color-brand-primary": "#7db4ff",
        "color-brand-content": "#7db4ff",
        "color-brand-visited": "#7db4ff",
        "color-code-background": "#1c1f26",
        "color-code-foreground": "#e8e8e4",
        "color-api-name": "#7db4ff",
        "color-api-pre-name": "#a2a8b4",
    },
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
highlight_language = "none"

linkcheck_ignore = [re.escape(code_host)]  # only links to files that are there become such links
linkcheck_anchors = False  # of pages elsewhere, many of which are written by scripts
linkcheck_timeout = 20
linkcheck_workers = 4
