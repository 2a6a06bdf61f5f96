"""The scripts and styles of the course's own elements, on the pages that hold one."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

FILES = {
    "densenet-explorer": ("elements.js", "explorer/cost.js", "explorer/explorer.js", "explorer/explorer.css"),
    "densenet-practice": (
        "elements.js",
        "explorer/cost.js",
        "explorer/drills.js",
        "explorer/practice.js",
        "explorer/explorer.css",
        "explorer/practice.css",
    ),
}


def add_files(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the files of the elements that the page holds."""
    for element, files in FILES.items():
        if f"<{element}" in context.get("body", ""):
            for file in files:
                if file.endswith(".css"):
                    app.add_css_file(file)
                else:
                    app.add_js_file(file, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
