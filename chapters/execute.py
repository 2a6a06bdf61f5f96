"""Make each chapter's notebook from its source: chapters/NN_name.md -> chapters/NN_name.ipynb.

`python -m chapters.execute` executes the chapters whose code changed, and renews the prose of the
others around their stored outputs. `python -m chapters.execute 03` executes one whatever changed,
which is what a change in `utils` asks for. Figures are stored as small as they can be without loss.
"""

import base64
import datetime
import re
import sys
import time
from pathlib import Path

import jupytext
import mxnet
import nbformat
import oxipng
import yaml
from nbclient import NotebookClient
from tqdm import tqdm

from tests.notebooks import is_compared
from utils.runtime import machine

CHAPTERS = Path(__file__).parent
STATUS = CHAPTERS.parent / "book" / "_chapters.txt"
LOCK = CHAPTERS.parent / "requirements.lock"
PACKAGES = ("d2l", "numpy", "matplotlib", "jupyter-book", "sphinx")
REPOSITORY = yaml.safe_load((CHAPTERS.parent / "_config.yml").read_text())["repository"]["url"]
# What stands for the setup cell in a chapter's source, and what it becomes. On Colab and Kaggle there is the notebook
# alone. A clone gets its name when it is whole, so that an interrupted one is not taken for the course.
SETUP_MARK = "device = setup()"
SETUP_CELL = """\
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "<repository>"


class SetupError(Exception):
    def _render_traceback_(self):
        return [str(self)]


if not Path("../utils").exists():
    if not Path("course").exists():
        clone = f"GIT_TERMINAL_PROMPT=0 git clone --depth 1 {REPOSITORY} course.part"
        steps = f"rm -rf course.part && {clone} && mv course.part course"
        if subprocess.run(steps, shell=True, capture_output=True).returncode:
            raise SetupError(f"{REPOSITORY} cannot be cloned: check the Internet connection, then run this cell again.")
    os.chdir("course/chapters")
sys.path.insert(0, "..")
from utils.runtime import setup

device = setup("<chapter>")"""
# A chapter that uses none of these computes on the processor in seconds; a GPU would only keep its reader waiting.
USES_GPU = re.compile(r"\bdevice\b|\bTrainer\b")


def from_source(source: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook without outputs, cell numbers as ids so that diffs stay small."""
    notebook = jupytext.read(source)
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    with_gpu = any(USES_GPU.search(text) for text in code(notebook) if text != SETUP_MARK)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "kaggle": {"isInternetEnabled": True, "isGpuEnabled": with_gpu, "language": "python", "sourceType": "notebook"},
    }
    if with_gpu:
        notebook.metadata |= {"accelerator": "GPU", "colab": {"gpuType": "T4"}}
        notebook.metadata["kaggle"]["accelerator"] = "nvidiaTeslaT4"
    for cell in notebook.cells:
        if cell.source == SETUP_MARK:
            cell.source = setup_cell(source.stem)
    return notebook


def setup_cell(chapter: str) -> str:
    """The first code cell of the chapter with this file name, the same in all but the chapter's number."""
    return SETUP_CELL.replace("<repository>", REPOSITORY).replace("<chapter>", chapter.partition("_")[0])


def code(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def is_executed(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> bool:
    """Whether `stored` holds the outputs of `notebook`; a new repository's address in the setup cell changes none."""
    return code(stored)[1:] == code(notebook)[1:]


def keep_outputs(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> None:
    """Move the outputs of a notebook with the same code into `notebook`."""
    notebook.metadata["course"] = stored.metadata["course"]
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


def optimised(png: bytes) -> bytes:
    """The same pixels in fewer bytes, without the chunks that no browser shows."""
    return oxipng.optimize_from_memory(png, strip=oxipng.StripChunks.safe())


def figures(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The outputs that show a PNG, by kind of data."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data for output in outputs if "image/png" in output.get("data", {})]


def optimise_figures(notebook: nbformat.NotebookNode) -> None:
    for data in figures(notebook):
        data["image/png"] = base64.b64encode(optimised(base64.b64decode(data["image/png"]))).decode()


def main(name: str = "") -> None:
    sources = sorted(CHAPTERS.glob(f"{name}*.md"))
    if not sources:
        sys.exit(f"No chapter's file name starts with {name!r}: give its number, such as NAME=03.")
    for source in tqdm(sources, unit=" chapters"):
        notebook, target = from_source(source), source.with_suffix(".ipynb")
        stored = nbformat.read(target, as_version=4) if target.exists() else None
        if stored and not name and is_executed(notebook, stored):
            keep_outputs(notebook, stored)
        else:
            tqdm.write(f"executing {source.name}")
            execute(notebook)
        optimise_figures(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, target)
    STATUS.write_text(status_table())


def status_table() -> str:
    """The status page's table of chapters: when and where each was executed, and how much a replay compares."""
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


if __name__ == "__main__":
    main(*sys.argv[1:])
