"""What the tests of the notebooks, and the summary after them, ask of a notebook and its cells."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbval.plugin import find_comment_markers, find_metadata_tags

from tools import frameworks

IMAGES = {"image/png", "image/jpeg"}
SHAPE_OR_COUNT = re.compile(r"check_shape|shape_table|parameter_count|\.shape\b")
CHECK = re.compile(r"check_shape\(|^\s*assert ", re.MULTILINE)
# What brings or defines a name computes nothing yet.
DECLARATION = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef


def replay_settings(notebook: Path) -> dict[str, str]:
    """The environment in which a notebook is replayed: its trainings take a few steps only.

    A chapter on memory runs as on an old processor, which takes more scratch memory than one of today, for convolutions
    of all widths; `DNNL_MAX_CPU_ISA=ALL` lets it use all that the machine has.
    """
    settings = {"COURSE_QUICK": "1"} | frameworks.kernel_settings(notebook.read_text())
    if "memory" in notebook.stem:
        settings["DNNL_MAX_CPU_ISA"] = os.environ.get("DNNL_MAX_CPU_ISA", "SSE41")
    return settings


def parse(code: str) -> ast.Module:
    """The syntax tree of a cell's code, in which IPython's magics have become calls."""
    return ast.parse(TransformerManager().transform_cell(code))


def is_compared(cell: NotebookNode) -> bool:
    """Whether nbval holds an output that is stored in the cell, other than a figure, against that of a fresh run."""
    figures = [output for output in cell.outputs if IMAGES & set(output.get("data", {}))]
    stored = any(text.strip() for output in cell.outputs if output not in figures for text in texts(output))
    return is_replayed_strictly(cell) and stored


def is_replayed_strictly(cell: NotebookNode) -> bool:
    """Whether a replay runs the cell and fails where it prints something else: no mark tells nbval otherwise."""
    options = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    return options.get("check", True) and not options.get("skip", False) and cell.execution_count is not None


def states_shape_or_count(cell: NotebookNode) -> bool:
    """Whether the cell computes a shape or a count; importing or defining what does is not yet doing so."""
    statements = [ast.unparse(node) for node in parse(cell.source).body if not isinstance(node, DECLARATION)]
    return bool(SHAPE_OR_COUNT.search("\n".join(statements)))


def is_held(cell: NotebookNode) -> bool:
    """Whether a replay fails if the cell's shapes or counts change: it compares them, or it asserts them."""
    return is_compared(cell) or (is_replayed_strictly(cell) and bool(CHECK.search(cell.source)))


def texts(output: NotebookNode) -> list[str]:
    """What nbval compares of a stored output: all of it but its images."""
    data = output.get("data", {})
    return [output.get("text", "")] + [str(data[kind]) for kind in data if kind not in IMAGES]


def definitions(code: str) -> Iterator[tuple[str, str]]:
    """Each name that `code` defines at top level, with the code that defines it but for docstrings."""
    tree = parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    for statement in tree.body:
        for name in names_defined(statement):
            yield name, ast.unparse(statement)


def names_defined(statement: ast.stmt) -> list[str]:
    """The names that a statement defines: a function, a class, or the targets of an assignment or a loop."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=[*targets]):
            pass
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target) | ast.For(target=target):
            targets = [target]
        case _:
            return []
    parts = [part for target in targets for part in ast.walk(target)]
    return [part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
