"""The scripts and styles of the elements that answer a reader, on the pages that have one."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

STYLE = ["elements.css", "explorer/explorer.css"]
FILES = {
    "<densenet-explorer": ["elements.js", "explorer/cost.js", "explorer/explorer.js", *STYLE],
    "<densenet-practice": [
        "elements.js",
        "explorer/cost.js",
        "explorer/drills.js",
        "explorer/practice.js",
        *STYLE,
        "explorer/practice.css",
    ],
    "<living-network": [
        "elements.js",
        "living/numbers.js",
        "living/network.js",
        "living/living.js",
        "elements.css",
        "living/living.css",
    ],
}


def add_files(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the files to a page that holds such an element."""
    needed = [file for element, files in FILES.items() if element in context.get("body", "") for file in files]
    for file in dict.fromkeys(needed):
        if file.endswith(".js"):
            app.add_js_file(file, loading_method="defer")
        else:
            app.add_css_file(file)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
