"""The documentation site: `make docs` writes it to site/; it needs no network, neither to build nor to read."""

from typing import Any

import embviz_callback

project = "embviz_callback"
version = release = embviz_callback.__version__
extensions = ["myst_parser"]
exclude_patterns = ["images"]
html_theme = "furo"
html_title = "embviz_callback"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
# Links to headings, as they also work where the files are read as they stand.
myst_heading_anchors = 3
nitpicky = True

# What lies outside of this folder has a page here that includes it.
_OUTSIDE = {"../benchmarks/RESULTS.md": "results.md"}


def setup(app: Any) -> None:
    """Leads links out of this folder to the pages that stand for what is there."""
    app.connect("source-read", _redirect)


def _redirect(app: Any, docname: str, source: list[str]) -> None:
    for outside, page in _OUTSIDE.items():
        source[0] = source[0].replace(f"]({outside}", f"]({page}")
