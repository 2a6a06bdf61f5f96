"""Make each chapter's notebook from its source: chapters/NN_name.md -> chapters/NN_name.ipynb.

`python -m chapters.execute` executes the chapters whose code changed, and renews the prose of the
others around their stored outputs. `python -m chapters.execute 03` executes one whatever changed,
which is what a change in `utils` asks for.
"""

import datetime
import sys
import time
from pathlib import Path

import jupytext
import mxnet
import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

from utils.runtime import machine

CHAPTERS = Path(__file__).parent
STATUS = CHAPTERS.parent / "book" / "_chapters.txt"


def from_source(source: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook without outputs, cell numbers as ids so that diffs stay small."""
    notebook = jupytext.read(source)
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return notebook


def code(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def keep_outputs(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> None:
    """Move the outputs of a notebook with the same code into `notebook`."""
    notebook.metadata = stored.metadata
    executed = (cell for cell in stored.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            was = next(executed)
            cell.outputs, cell.execution_count = was.outputs, was.execution_count


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run the notebook from top to bottom; note when, where and in what time (seconds)."""
    start = time.perf_counter()
    client = NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True)
    client.execute(cwd=str(CHAPTERS))
    notebook.metadata["course"] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "mxnet": mxnet.__version__,
        "seconds": round(time.perf_counter() - start),
    }
    notebook.metadata["language_info"] = {"name": "python"}


def main(name: str = "") -> None:
    sources = sorted(CHAPTERS.glob(f"{name}*.md"))
    if not sources:
        sys.exit(f"No chapter's file name starts with {name!r}: give its number, such as NAME=03.")
    for source in tqdm(sources, unit=" chapters"):
        notebook, target = from_source(source), source.with_suffix(".ipynb")
        stored = nbformat.read(target, as_version=4) if target.exists() else None
        if stored and not name and code(stored) == code(notebook):
            keep_outputs(notebook, stored)
        else:
            tqdm.write(f"executing {source.name}")
            execute(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, target)
    STATUS.write_text(status_table())


def status_table() -> str:
    """The status page's table of chapters, from what the notebooks say of their execution."""
    rows = ["| chapter | made on | in | machine |", "|---|---|---|---|"]
    for path in sorted(CHAPTERS.glob("*.ipynb")):
        made = nbformat.read(path, as_version=4).metadata["course"]
        rows.append(
            f"| {{doc}}`../chapters/{path.stem}` | {made['date']} | {made['seconds']} s | "
            f"MXNet {made['mxnet']}, {made['machine']} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
