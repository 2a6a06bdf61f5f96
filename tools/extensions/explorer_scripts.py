"""The explorer's script and style, on the pages that have one."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def add_explorer(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the files to a page that holds the explorer's element."""
    if "<densenet-explorer" in context.get("body", ""):
        app.add_js_file("explorer/cost.js", loading_method="defer")
        app.add_js_file("explorer/explorer.js", loading_method="defer")
        app.add_css_file("explorer/explorer.css")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", add_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
