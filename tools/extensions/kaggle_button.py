"""A button for Kaggle beside those for Colab and Binder, which the theme brings."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def add_button(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the button to the group of launch buttons, which only pages made of notebooks have."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            options = app.config.html_theme_options
            notebook = f"{options['repository_url']}/blob/{options['repository_branch']}/{pagename}.ipynb"
            button = {
                "type": "link",
                "icon": "fab fa-kaggle",
                "url": f"https://www.kaggle.com/kernels/welcome?src={notebook}",
                "text": "Kaggle",
                "tooltip": "Launch on Kaggle",
            }
            group["buttons"].append(button)


def setup(app: Sphinx) -> dict[str, bool]:
    # After 501, at which the theme adds its group.
    app.connect("html-page-context", add_button, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
