"""What the last cell of an assignment calls, so that students see before they hand in what the grader will take."""

import contextlib
import io
import json
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from IPython import get_ipython

from grader import submission
from grader.student_process import notebook_namespace
from grader.submission import NotebookCell

CALL = "check_alone("


def check_alone(
    code: Sequence[str] = (), texts: Sequence[str] = (), networks: Sequence[str] = (), numbers: Sequence[str] = ()
) -> None:
    """Run what the grader will take of this notebook, in a fresh namespace, and print what it lacks.

    The arguments are the names of the answers, by their kind.
    """
    notebook, place = this_notebook()
    names = [*code, *texts, *networks, *numbers]
    cells = submission.read_cells(json.dumps(notebook).encode(), names)
    print(f"This is {place}.")
    problems = lacking(cells, code, texts, networks, numbers)
    if problems:
        print(*problems, sep="\n")
    else:
        print("Every answer is there and needs nothing but the cells above it: this notebook can be handed in.")


def this_notebook() -> tuple[dict[str, Any], str]:
    """The notebook that calls, and in words where it was read: from Colab, from its file, or from what was run."""
    with contextlib.suppress(ImportError):
        colab = import_module("google.colab._message")
        return colab.blocking_request("get_ipynb", timeout_sec=60)["ipynb"], "the notebook as Colab shows it"
    shell = get_ipython()
    path = Path(shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", ""))
    if path.is_file():
        return json.loads(path.read_bytes()), f"{path.name} as it was last saved, so save it before you run this"
    executed = enumerate(shell.history_manager.input_hist_raw)
    cells = [{"cell_type": "code", "source": source, "execution_count": count} for count, source in executed if count]
    return {"cells": cells}, "what you have run in this session; free texts and outputs cannot be seen here"


def lacking(
    cells: list[NotebookCell],
    code: Sequence[str],
    texts: Sequence[str],
    networks: Sequence[str],
    numbers: Sequence[str],
) -> list[str]:
    """What the answers of the notebook lack, a sentence for each."""
    problems = [note for name in [*code, *numbers] if (note := submission.note_on(cells, name))]
    for name in [*code, *numbers]:
        if any(submission.STUB in cell.source for cell in submission.answers_of(cells, name)[-1:]):
            problems.append(f"{name} still has the line that says where your code goes.")
    problems += failures(cells, code)
    if all(cell.is_code for cell in cells):
        return problems  # of cells that were run, texts and outputs are not known
    problems += [f"The text {name} is empty." for name in texts if not submission.text_of(cells, name)]
    for name in networks:
        if not submission.network_of(cells, name):
            problems.append(f"There is no network in the output of {name}: run its cell, then save the notebook.")
    return problems


def failures(cells: list[NotebookCell], code: Sequence[str]) -> list[str]:
    """How the cells fail that the grader runs, and the check below the last of them, when they run alone."""
    problems: list[str] = []
    namespace = notebook_namespace()
    runs = submission.runs(cells, code)
    in_code = [cell for cell in cells if cell.is_code]
    last_answer = max((number for number, cell in enumerate(in_code) if cell.name in code), default=-1)
    for check in in_code[last_answer + 1 : last_answer + 2] if runs else []:
        runs.append(submission.Run(check.source))
    for run in runs:
        source = submission.python_of(submission.without_setup(run.source))
        if CALL in source:
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(source, namespace)
        except Exception as error:
            where = f"The cell of {run.name}" if run.name else f"The cell that begins with `{first_line(run.source)}`"
            problems.append(f"{where} stops with {type(error).__name__} when it runs alone: {error}")
    return problems


def first_line(source: str) -> str:
    """The first line of a cell that is no comment."""
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith("#")]
    return lines[0] if lines else ""
