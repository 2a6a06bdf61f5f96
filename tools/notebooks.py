"""A chapter's source as a notebook: converted, executed, and its stored outputs taken over."""

import ast
import datetime
import os
import re
import time
from pathlib import Path
from unittest.mock import patch

import jupytext
import mxnet
import nbformat
from nbclient import NotebookClient

from tools import frameworks
from tools.setup_cell import SETUP_MARK, setup_cell
from utils.runtime import machine

CHAPTERS = Path(__file__).parent.parent / "chapters"
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


def code(notebook: nbformat.NotebookNode) -> list[str]:
    """The sources of the code cells, in order."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


class WithoutAnnotations(ast.NodeTransformer):
    """Takes away the annotations of functions and their arguments."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def statements(source: str) -> str:
    """What a cell computes: its code without comments, layout and the annotations of functions."""
    try:
        return ast.unparse(WithoutAnnotations().visit(ast.parse(source)))
    except SyntaxError:  # a line of magic
        return source


def is_executed(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> bool:
    """Whether `stored` holds the outputs of `notebook`; comments, annotations and the setup cell change none."""
    return list(map(statements, code(stored)[1:])) == list(map(statements, code(notebook)[1:]))


def keep_outputs(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> None:
    """Move the outputs of a notebook with the same code into `notebook`."""
    notebook.metadata["course"] = stored.metadata["course"]
    executed = (cell for cell in stored.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            was = next(executed)
            cell.outputs, cell.execution_count = was.outputs, was.execution_count


def run(notebook: nbformat.NotebookNode, settings: dict[str, str]) -> None:
    """Execute the notebook in place, its kernel started with these variables. Raises nbclient's error of a cell."""
    client = NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True)
    with patch.dict(os.environ, settings):
        client.execute(cwd=str(CHAPTERS))
    notebook.metadata["language_info"] = {"name": "python"}


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run the notebook from top to bottom; note when, where and in what time (seconds)."""
    settings = frameworks.kernel_settings("\n".join(code(notebook)))
    if settings:
        frameworks.make()
    start = time.perf_counter()
    run(notebook, settings)
    notebook.metadata["course"] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "mxnet": mxnet.__version__,
        "seconds": round(time.perf_counter() - start),
    }


def run_setup_again(notebook: nbformat.NotebookNode) -> None:
    """Renew the output of the first cell: it tells how long the others took, and ran before them."""
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    alone = nbformat.v4.new_notebook(cells=[setup], metadata=notebook.metadata)
    run(alone, frameworks.kernel_settings("\n".join(code(notebook))))
