"""The documentation site: `make docs` writes it to site/; it needs no network, neither to build nor to read."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

import embviz_callback

project = "embviz_callback"
version = release = embviz_callback.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["images"]
html_theme = "furo"
html_title = "embviz_callback"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
# Links to headings, as they also work where the files are read as they stand.
myst_heading_anchors = 3
# What docstrings put between single backquotes is a name.
default_role = "py:obj"
nitpicky = True
# Types of other packages and of rooms that have no page.
nitpick_ignore_regex = [("py:.*", ".*")]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

# What lies outside of this folder has a page here that includes it.
_OUTSIDE = {"benchmarks/RESULTS.md": "results.md"}
_README = Path(__file__).resolve().parent.parent / "README.md"
_END_OF_FIRST_PAGE = "<!-- the site's first page ends here -->"


def setup(app: Any) -> None:
    """Makes one site of what is written to be read where it lies."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _say_no_more_of_the_package)
    app.connect("autodoc-skip-member", _skip_what_lightning_calls)


def _read(app: Any, docname: str, source: list[str]) -> None:
    if docname == "index":
        first, _mark, _rest = _README.read_text(encoding="utf-8").partition(_END_OF_FIRST_PAGE)
        source[0] = first.replace("](docs/", "](") + source[0]
    for outside, page in _OUTSIDE.items():
        source[0] = source[0].replace(f"](../{outside}", f"]({page}").replace(f"]({outside}", f"]({page}")


def _say_no_more_of_the_package(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    if what == "module":
        lines.clear()  # what it says is for whoever works on it


def _skip_what_lightning_calls(app: Any, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    return True if what == "class" and hasattr(Callback, name) and not name.startswith("__") else None
