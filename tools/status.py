"""The status page's table of chapters: when and where each was executed, and how much a replay compares."""

import re

import nbformat

from tools.cells import is_compared
from tools.notebooks import CHAPTERS

STATUS = CHAPTERS.parent / "book" / "_generated" / "chapters.txt"
LOCK = CHAPTERS.parent / "requirements.lock"
PACKAGES = ("d2l", "numpy", "matplotlib", "jupyter-book", "sphinx")


def status_table() -> str:
    """The table in Markdown, a row a chapter."""
    rows = ["| chapter | cells | compared | made on | in | with |", "|---|---|---|---|---|---|"]
    for path in sorted(CHAPTERS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        made = notebook.metadata["course"]
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        rows.append(
            f"| {{doc}}`../chapters/{path.stem}` | {len(cells)} | {sum(map(is_compared, cells))} | "
            f"{made['date']} | {made['seconds']} s | MXNet {made['mxnet']}, {made['machine']} |"
        )
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))
    versions = ", ".join(f"{name} {pinned[name]}" for name in PACKAGES)
    rows += ["", f"A replay has the packages that `requirements.lock` pins, such as {versions}."]
    return "\n".join(rows) + "\n"
