"""Make the notebooks and the key of an assignment from its master: `make assignment NAME=01_blocks`.

A master is a notebook in MyST, with nbgrader's metadata on the cells of students and of checks. The student's notebook
has neither what stands between `### BEGIN SOLUTION` and `### END SOLUTION` nor what stands between `### BEGIN HIDDEN
TESTS` and `### END HIDDEN TESTS`. The latter defines `inputs(random)`, a list of argument lists that a secret seed
decides, and `probe(*arguments)`, which asks the student's code for an answer. The key holds both and the answers.
"""

import json
import random
import re
import secrets
import sys
from copy import deepcopy
from pathlib import Path

import jupytext
import mxnet
import nbformat

from assignments.probes import answer_of
from chapters.execute import SETUP_MARK, setup_cell

SEED = Path(__file__).parent / "seed"
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION(\n|$)", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n(.*?)^### END HIDDEN TESTS(\n|$)", re.DOTALL | re.MULTILINE)
MARKS = re.compile(r"^ *### (BEGIN|END) SOLUTION\n", re.MULTILINE)


class MasterError(Exception):
    """A master that cannot be handed out: which cell, and what it lacks."""


def read(master: Path) -> nbformat.NotebookNode:
    """The master as a notebook, its cells checked. Raises `MasterError`."""
    notebook = jupytext.read(master)
    notebook.nbformat_minor = 5
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.source == SETUP_MARK:
            cell.source = setup_cell("")
    for cell in questions(notebook):
        name = cell.metadata.nbgrader.grade_id
        if not HIDDEN.search(cell.source):
            raise MasterError(f"{master.name}: the check {name} has no hidden tests.")
    for cell in answers(notebook):
        name = cell.metadata.nbgrader.grade_id
        if not cell.source.startswith(f"# answer: {name}\n") or not SOLUTION.search(cell.source):
            raise MasterError(
                f"{master.name}: the cell {name} does not begin with `# answer: {name}`, or has no solution."
            )
    return notebook


def questions(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]


def answers(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]


def for_students(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without solutions, which become errors, and without hidden tests."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            stub = r'\1raise NotImplementedError("Write your code here.")\2'
            cell.source = HIDDEN.sub("", SOLUTION.sub(stub, cell.source)).rstrip("\n")
    return notebook


def with_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with solutions, without hidden tests."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = HIDDEN.sub("", MARKS.sub("", cell.source + "\n")).rstrip("\n")
    return notebook


def hidden(cell: nbformat.NotebookNode) -> str:
    """The hidden tests of a check."""
    return HIDDEN.search(cell.source + "\n")[1]


def key(notebook: nbformat.NotebookNode, seed: str) -> dict:
    """What the grader needs: the code to run, and for each question the probes and the answers of the solution.

    Runs the solution. Raises `MasterError` if a check fails on it, or if an answer is not made of
    lists, strings, integers and floats, for what else there is, True above all, is too easily guessed.
    """
    space, cells, found = {"answer_of": answer_of}, [], []
    for cell in with_solutions(notebook).cells:
        if kind := cell.metadata.get("nbgrader", {}):
            try:
                exec(cell.source, space)
            except Exception as error:
                raise MasterError(f"{kind.grade_id} fails on the solution: {error!r}.") from error
            if not kind.grade:
                cells.append({"name": kind.grade_id, "source": None if kind.solution else cell.source})
    for cell in questions(notebook):
        name, points = cell.metadata.nbgrader.grade_id, cell.metadata.nbgrader.points
        asked = space | {}
        exec(hidden(cell), asked)
        inputs = asked["inputs"](random.Random(f"{seed} {name}"))
        expected = [asked["probe"](*arguments) for arguments in inputs]
        if not plain([inputs, expected]):
            raise MasterError(f"{name}: a probe takes or gives something other than lists, strings and numbers.")
        found.append({"name": name, "points": points, "probe": hidden(cell), "inputs": inputs, "expected": expected})
    return {"cells": cells, "questions": found}


def plain(value: object) -> bool:
    if type(value) is list:
        return all(map(plain, value))
    return type(value) in (str, int, float)


def seed() -> str:
    """The secret from which the probes are made: a file that is not committed, written at the first call."""
    if not SEED.exists():
        SEED.write_text(secrets.token_hex(16))
    return SEED.read_text().strip()


def main(masters: str, name: str) -> None:
    master = Path(masters) / f"{name}.md"
    if not master.exists():
        known = ", ".join(sorted(path.stem for path in Path(masters).glob("*.md"))) or "none"
        sys.exit(
            f"There is no {master}: give one of its neighbours with NAME= ({known}), or a folder with ASSIGNMENTS=."
        )
    mxnet.npx.set_np()
    try:
        notebook = read(master)
        made = key(notebook, seed())
    except MasterError as error:
        sys.exit(str(error))
    folder = Path("_build/assignments") / name
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(for_students(notebook), folder / f"{name}.ipynb")
    nbformat.write(with_solutions(notebook), folder / f"{name}_solution.ipynb")
    (folder / "key.json").write_text(json.dumps(made, indent=1))
    points = sum(question["points"] for question in made["questions"])
    print(f"{folder}: {name}.ipynb for students, {name}_solution.ipynb and key.json for you; {points} points.")


if __name__ == "__main__":
    main(*sys.argv[1:])
