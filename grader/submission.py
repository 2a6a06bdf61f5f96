"""What of a student's notebook counts as the answer to which question.

The grader runs a notebook as Jupyter's "Run all" does: every code cell from the top to the last answer. This module
says in which order, and what it took for an answer; `grader.alone` shows students the same before they hand in.
"""

import ast
import json
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

MARKER = re.compile(r"^\s*(?:#+|<!--)\s*answer\s*:?\s*(\w+)\s*(?:-->)?[ \t]*$", re.IGNORECASE)
HANDED_IN = re.compile(r'href="data:application/octet-stream;base64,([A-Za-z0-9+/=]+)"')  # by trained_network.hand_in
STUB = 'raise NotImplementedError("Write your code here.")'
NO_TEXT = "*Write your answer here.*"
# The setup cell, which a process of the grader does without, whatever stands above or below in the same cell.
SETUP = re.compile(r"import os\nimport subprocess\n.*?^device = setup\([^)\n]*\)$", re.DOTALL | re.MULTILINE)
# Cell magics whose cell is Python all the same.
PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")


class SubmissionError(Exception):
    """A submission of which nothing can be graded, and why."""


@dataclass
class NotebookCell:
    """A cell of a student's notebook."""

    source: str
    is_code: bool = True
    name: str = ""  # of the question that it answers; empty for any other cell
    unknown_name: str = ""  # what its marker says, if that is no question's name
    execution: int = 0  # its place in the order of execution, from 1; 0 if it was not executed
    outputs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A cell to run."""

    source: str  # as the student wrote it
    name: str = ""  # of the question, if this is the cell that counts for it


def read_cells(content: bytes, names: Collection[str]) -> list[NotebookCell]:
    """The cells of a notebook in any encoding of Unicode; `names` are those of the questions.

    A cell is named by a comment above its first statement, or else by nbgrader's metadata. Raises `SubmissionError` if
    the bytes are not a notebook.
    """
    cells: list[NotebookCell] = []
    try:
        for cell in json.loads(content)["cells"]:
            source = "".join(cell["source"])
            markers = markers_of(source)
            by_metadata = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
            name = next((name for name in [*markers, by_metadata] if name in names), "")
            unknown_name = markers[0] if markers and not name else ""
            count = cell.get("execution_count")
            execution = count if isinstance(count, int) else 0
            outputs = cell.get("outputs", [])
            is_code = cell["cell_type"] == "code"
            cells.append(NotebookCell(source, is_code, name, unknown_name, execution, outputs))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SubmissionError("This is not a Jupyter notebook.") from error
    return cells


def markers_of(source: str) -> list[str]:
    """The names in the comments `# answer: NAME` that stand above the first statement of a cell."""
    names: list[str] = []
    for line in source.lstrip("\ufeff").splitlines():
        if marker := MARKER.match(line):
            names.append(marker[1])
        elif line.strip() and not line.lstrip().startswith(("#", "%", "!")):
            break
    return names


def answers_of(cells: list[NotebookCell], name: str) -> list[NotebookCell]:
    """The cells of one name in the order in which they were executed, so that the last one counts.

    Those that were not executed are left out, unless none was.
    """
    named = [cell for cell in cells if cell.name == name]
    executed = [cell for cell in named if cell.execution]
    return sorted(executed, key=lambda cell: cell.execution) or named


def runs(cells: list[NotebookCell], names: Collection[str]) -> list[Run]:
    """What is run, in order: each code cell down to the last of those that one of `names` is the name of.

    Cells of one name run in their order of execution, in the places that they have together.
    """
    code = [cell for cell in cells if cell.is_code]
    while code and code[-1].name not in names:
        code.pop()
    left = {name: answers_of(code, name) for name in names}
    places = {id(cell) for named in left.values() for cell in named}
    in_order: list[Run] = []
    for cell in code:
        if cell.name not in names:
            in_order.append(Run(cell.source))
        elif id(cell) in places:
            answer = left[cell.name].pop(0)
            in_order.append(Run(answer.source, "" if left[cell.name] else cell.name))
    return in_order


def without_setup(source: str) -> str:
    """The source of a cell without the course's setup."""
    return SETUP.sub("", source)


def python_of(source: str) -> str:
    """The cell as Python: magics and commands of the shell become calls of `get_ipython`, which does nothing there."""
    lines = source.lstrip("\ufeff").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("%%"):
            if line.split()[0] not in PYTHON_MAGICS:
                return ""
            lines[number] = ""
        elif line.strip() and not line.startswith("#"):
            break
    source = re.sub(r"^(\s*)%time\s+", r"\1", "\n".join(lines), flags=re.MULTILINE)
    with suppress(SyntaxError):
        return TransformerManager().transform_cell(source)
    return source


def note_on(cells: list[NotebookCell], name: str) -> str:
    """What was taken for an answer, and why, in a sentence, where that is not plain; else nothing."""
    named = [cell for cell in cells if cell.name == name]
    if len(named) > 1:
        if any(cell.execution for cell in named):
            return (
                f"{len(named)} cells are called {name}: those that you ran count, and the one that you ran last most."
            )
        return f"{len(named)} cells are called {name}, and none of them was run: the lowest counts most."
    if not named:
        unknown = [cell.unknown_name for cell in cells if cell.unknown_name]
        others = f"; no question is called {' or '.join(unknown)}" if unknown else ""
        return f"No cell begins with `# answer: {name}`{others}."
    return ""


def text_of(cells: list[NotebookCell], name: str) -> str:
    """The free text of a name, without its marker; of several cells the lowest that says something."""
    lowest = ""
    for cell in cells:
        if cell.name == name:
            lines = [line for line in cell.source.splitlines() if not MARKER.match(line)]
            lowest = "\n".join(lines).replace(NO_TEXT, "").strip() or lowest
    return lowest


def network_of(cells: list[NotebookCell], name: str) -> str:
    """The last network that `hand_in` put into the outputs of the cells of a name, in base 64; empty for none."""
    networks: list[str] = []
    for cell in cells:
        if cell.name == name:
            pages = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
            networks += HANDED_IN.findall("".join(pages))
    return networks[-1] if networks else ""


def numbers_of(cells: list[NotebookCell], name: str) -> str:
    """The lines that give a name to a number, such as `accuracy = 0.87`, in the cell that counts."""
    named = answers_of(cells, name)
    return named_numbers(python_of(named[-1].source)) if named else ""


def named_numbers(source: str) -> str:
    """The lines of Python that give a name to a number."""
    lines: list[str] = []
    # What is not Python is no number either. Very deep code is too much for the parser.
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for statement in ast.parse(source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int() | float() as number)):
                    lines.append(f"{name} = {number!r}")
    return "\n".join(lines)
