"""Make the notebooks and the key of an assignment from its master: `make assignment NAME=01_blocks`.

A master is a notebook in MyST with nbgrader's metadata. The student's notebook has neither what stands between
`### BEGIN SOLUTION` and `### END SOLUTION` nor what stands between `### BEGIN HIDDEN TESTS` and `### END HIDDEN TESTS`.
The cell of an answer begins with `# answer: NAME`, that of a free text with `<!-- answer: NAME -->`. A check follows
each answer, and its hidden tests define

- `inputs(random)`: lists of arguments, drawn with the secret seed;
- `probe(*arguments)`: asks the student's code for an answer;
- `expected(random)`, optional: the answers, drawn as `inputs` are. Without it they are those of the solution;
- `shares`, optional: `{share of right answers: points}`. Without it all answers must be right;
- `seconds`, optional: how long the probe may take, if not `STEP_SECONDS`.

Of an answer with the tag `trained-network`, the grader reads the network that `hand_in` put into the cell's output.
The hidden tests of a free text are its rubric, lines such as `- 1 point: It gives a number.`
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

from grader.fingerprint import answer_of
from grader.grade import NO_TEXT
from grader.sandbox import STEP_SECONDS
from tools.setup_cell import SETUP_MARK, setup_cell

SEED = Path(__file__).parent.parent / "assignments" / "seed"
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION(\n|$)", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n(.*?)^### END HIDDEN TESTS(\n|$)", re.DOTALL | re.MULTILINE)
MARKS = re.compile(r"^ *### (BEGIN|END) SOLUTION\n", re.MULTILINE)
CRITERION = re.compile(r"^- (\d+) points?: (.+)$", re.MULTILINE)
STUBS = {
    "code": r'\1raise NotImplementedError("Write your code here.")\2',
    "markdown": rf"\1{NO_TEXT}\2",
}
NETWORK_TAG = "trained-network"


class MasterError(Exception):
    """A master that cannot be handed out: which cell, and what it lacks."""


def read(master: Path) -> nbformat.NotebookNode:
    """The master as a notebook, its cells checked. Raises `MasterError`."""
    notebook = jupytext.read(master)
    notebook.nbformat_minor = 5
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "assignment": master.stem,
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.source == SETUP_MARK:
            cell.source = setup_cell("")
    for cell in checks(notebook) + texts(notebook):
        name = cell.metadata.nbgrader.grade_id
        if not HIDDEN.search(cell.source + "\n"):
            raise MasterError(f"{master.name}: the cell {name} has no hidden tests.")
    for cell in answers(notebook) + texts(notebook):
        name = cell.metadata.nbgrader.grade_id
        is_trained = NETWORK_TAG in cell.metadata.get("tags", [])
        if not cell.source.startswith((f"# answer: {name}\n", f"<!-- answer: {name} -->\n")):
            raise MasterError(f"{master.name}: the cell {name} does not begin with its name, `# answer: {name}`.")
        if not is_trained and not SOLUTION.search(cell.source):
            raise MasterError(f"{master.name}: the cell {name} has no solution.")
    return notebook


def marked(notebook: nbformat.NotebookNode, grade: bool, solution: bool) -> list[nbformat.NotebookNode]:
    marks = ((cell, cell.metadata.get("nbgrader", {})) for cell in notebook.cells)
    return [cell for cell, mark in marks if mark and (mark.grade, mark.solution) == (grade, solution)]


def answers(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells of code that students write."""
    return marked(notebook, grade=False, solution=True)


def checks(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that check an answer."""
    return marked(notebook, grade=True, solution=False)


def texts(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells of free text, which are graded by hand."""
    return marked(notebook, grade=True, solution=True)


def for_students(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without solutions, which become errors, and without hidden tests."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        stub = STUBS[cell.cell_type]
        cell.source = HIDDEN.sub("", SOLUTION.sub(stub, cell.source + "\n")).rstrip("\n")
    return notebook


def with_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with solutions, without hidden tests."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        cell.source = HIDDEN.sub("", MARKS.sub("", cell.source + "\n")).rstrip("\n")
    return notebook


def hidden(cell: nbformat.NotebookNode) -> str:
    """The hidden tests of a check or a free text."""
    return HIDDEN.search(cell.source + "\n")[1]


def key(notebook: nbformat.NotebookNode, seed: str) -> dict:
    """What the grader needs: the cells to run, the questions with probes and answers, the free texts with rubrics.

    Runs the solution. Raises `MasterError` if a check fails on it, if a rubric does not add up, or if an answer is not
    made of lists, strings, integers and floats, for what else there is, True above all, is too easily guessed.
    """
    space, cells, questions = {"answer_of": answer_of}, [], []
    solved = {cell.id: cell.source for cell in with_solutions(notebook).cells}
    for place, cell in enumerate(notebook.cells):
        mark = cell.metadata.get("nbgrader", {})
        if not mark or cell.cell_type != "code":
            continue
        if is_trained := NETWORK_TAG in cell.metadata.get("tags", []):
            cells.append({"name": mark.grade_id, "trained": True})
        else:
            try:
                exec(solved[cell.id], space)
            except Exception as error:
                raise MasterError(f"{mark.grade_id} fails on the solution: {error!r}.") from error
            if not mark.grade:
                cells.append({"name": mark.grade_id} | ({} if mark.solution else {"source": solved[cell.id]}))
        if mark.solution:
            name, asked, by_solution = mark.grade_id, task(notebook, place), not is_trained
        if mark.grade:
            question = {"name": name, "points": mark.points, "asked": asked}
            questions.append(question | probed(cell, space, f"{seed} {name}", by_solution))
    return {
        "assignment": notebook.metadata.assignment,
        "cells": cells,
        "questions": questions,
        "texts": [rubric(cell, task(notebook, notebook.cells.index(cell))) for cell in texts(notebook)],
    }


def task(notebook: nbformat.NotebookNode, place: int) -> str:
    """The text above a cell, from the last heading on."""
    above = []
    for cell in reversed(notebook.cells[:place]):
        if cell.cell_type == "markdown":
            above.insert(0, cell.source)
            if cell.source.startswith("#"):
                break
    return "\n\n".join(above)


def probed(check: nbformat.NotebookNode, space: dict, seed: str, by_solution: bool) -> dict:
    """The probe of a check, with what it is asked and what it should answer."""
    name = check.metadata.nbgrader.grade_id
    asked = dict(space)
    exec(hidden(check), asked)
    inputs = asked["inputs"](random.Random(seed))
    if by_solution:
        expected = [asked["probe"](*arguments) for arguments in inputs]
    else:
        expected = asked["expected"](random.Random(seed))
    if not is_plain([inputs, expected]):
        raise MasterError(f"{name}: a probe takes or gives something other than lists, strings and numbers.")
    shares = [[share, points] for share, points in asked.get("shares", {}).items()]
    found = {"probe": hidden(check), "inputs": inputs, "expected": expected, "shares": shares}
    return found | {"seconds": asked.get("seconds", STEP_SECONDS)}


def rubric(cell: nbformat.NotebookNode, asked: str) -> dict:
    """A free text with the criteria by which it is graded."""
    name, points = cell.metadata.nbgrader.grade_id, cell.metadata.nbgrader.points
    criteria = [[text, int(most)] for most, text in CRITERION.findall(hidden(cell))]
    if sum(most for _, most in criteria) != points:
        raise MasterError(f"{name}: the points of its rubric do not add up to {points}.")
    return {"name": name, "points": points, "asked": asked, "rubric": criteria}


def is_plain(value: object) -> bool:
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in (str, int, float)


def seed() -> str:
    """The secret from which the probes are made: a file that is not committed, written at the first call."""
    if not SEED.exists():
        SEED.touch(mode=0o600)
        SEED.write_text(secrets.token_hex(16))
    return SEED.read_text().strip()


def main(masters: str, name: str = "") -> None:
    master = Path(masters) / f"{name}.md"
    if not master.exists():
        known = ", ".join(sorted(path.stem for path in Path(masters).glob("*.md"))) or "none"
        sys.exit(f"There is no {master}: choose an assignment with NAME= ({known}), or their folder with ASSIGNMENTS=.")
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
    (folder / "key.json").touch(mode=0o600)
    (folder / "key.json").write_text(json.dumps(made, indent=1))
    points = sum(question["points"] for question in made["questions"] + made["texts"])
    print(f"{folder}: {name}.ipynb for students, {name}_solution.ipynb and key.json for you; {points} points.")


if __name__ == "__main__":
    main(*sys.argv[1:])
