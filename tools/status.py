"""When, where and in what time each chapter was executed: the status page's table, and what `setup` tells."""

import json
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


def chapter_times() -> str:
    """For each chapter's number the `seconds` that its cells took and the `machine` they took them on, as JSON."""
    times = {}
    for path in sorted(CHAPTERS.glob("*.ipynb")):
        execution = nbformat.read(path, as_version=4).metadata["course"]
        times[path.stem[:2]] = {"seconds": execution["seconds"], "machine": execution["machine"]}
    return json.dumps(times, indent=2) + "\n"
