"""A button for Kaggle beside those for Colab and Binder, which the theme brings."""

from typing import Any


def add_button(app, pagename: str, templatename: str, context: dict[str, Any], doctree) -> None:
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            repository, branch = (app.config.html_theme_options[f"repository_{part}"] for part in ("url", "branch"))
            notebook = f"{repository}/blob/{branch}/{pagename}.ipynb"
            address = f"https://www.kaggle.com/kernels/welcome?src={notebook}"
            words = {"text": "Kaggle", "tooltip": "Launch on Kaggle"}
            group["buttons"].append({"type": "link", "icon": "fab fa-kaggle", "url": address, **words})


def setup(app) -> dict[str, bool]:
    # After 501, at which the theme adds its group.
    app.connect("html-page-context", add_button, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
