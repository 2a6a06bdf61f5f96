"""Make the notebooks and the key of an assignment from its master: `python -m grader build 01_blocks`.

A master is a notebook in MyST with nbgrader's metadata. The student's notebook has neither what stands between
`### BEGIN SOLUTION` and `### END SOLUTION` nor what stands between `### BEGIN HIDDEN TESTS` and `### END HIDDEN TESTS`.
The cell of an answer begins with `# answer: NAME`, that of a free text with `<!-- answer: NAME -->`. One check follows
each answer, and its hidden tests, which may call `fingerprint` (`grader.fingerprint`), define

- `edges`: for each rule of the task, by its name, a function of `random` that draws arguments which ask for it. They
  are asked first, whatever the secret seed;
- `inputs(random)`: lists of further arguments, drawn with the secret seed;
- `probe(*arguments)`: asks the student's code for an answer. It runs in the student's process, with what the hidden
  tests import and define under other names than those of this list;
- `mutants`: for each mistake that students could make, by its name, what it replaces in the solution and by what.
  `build` refuses a master if one of them gets all points, for any of `NUM_SEEDS` seeds;
- `expected(random)`, for an answer with one of the tags below alone: the answers, drawn as `inputs` are. Others are
  the solution's;
- `shares`, optional: `{share of right answers: points}`. Without it, points are given for each part of the answers;
- `reported_within`, optional: each answer is `[share, answers]`, and `share`, which the student states, has to be the
  share of the answers that are right, as nearly as this;
- `seconds`, optional: how long the probe may take, if not `STEP_SECONDS`.

Of an answer with the tag `trained-network`, the grader reads the network that `hand_in` put into the cell's output; of
one with the tag `numbers` it reads lines such as `accuracy = 0.87` and runs no code. An assignment with a network has
no other answers, because code could put another network in the place of the one that was handed in.
The hidden tests of a free text are its rubric, lines such as `- 1 point: It gives a number.`
"""

import ast
import json
import os
import random
import re
import secrets
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import jupytext
import mxnet
import nbformat
from nbformat import NotebookNode

from grader.fingerprint import fingerprint
from grader.grade import is_same
from grader.sandbox import STEP_SECONDS
from grader.schema import KEY_VERSION, Cell, Criterion, Key, Plain, Question, Role, Text, Threshold
from grader.submission import NO_TEXT, STUB
from tools.files import write_whole
from tools.setup_cell import SETUP_MARK, setup_cell

SEED = Path(__file__).parent.parent / "assignments" / "seed"
TARGET = Path("_build/assignments")
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION(\n|$)", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n(.*?)^### END HIDDEN TESTS(\n|$)", re.DOTALL | re.MULTILINE)
MARKS = re.compile(r"^ *### (BEGIN|END) SOLUTION\n", re.MULTILINE)
CRITERION = re.compile(r"^- (\d+) points?: (.+)$", re.MULTILINE)
STUBS = {
    "code": rf"\1{STUB}\2",
    "markdown": rf"\1{NO_TEXT}\2",
}
NETWORK_TAG, NUMBERS_TAG = "trained-network", "numbers"
NUM_SEEDS = 200  # for which each mutant has to lose points
# What hidden tests define for `build` alone. The student's process must not see it.
ONLY_FOR_BUILD = {"edges", "inputs", "expected", "mutants", "shares", "reported_within", "seconds"}


class MasterError(Exception):
    """A master that cannot be handed out: which cell of which master, and what is wrong with it."""

    def __init__(self, master: NotebookNode, cell: NotebookNode, problem: str) -> None:
        super().__init__(f"{master.metadata.assignment}.md: the cell {name_of(cell)} {problem}.")


def read(path: Path) -> NotebookNode:
    """The master as a notebook, its cells checked. Raises `MasterError`."""
    master = jupytext.read(path)
    master.nbformat_minor = 5
    master.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "assignment": path.stem,
    }
    names = set()
    for number, cell in enumerate(master.cells):
        cell.id = f"cell-{number}"
        if cell.source == SETUP_MARK:
            cell.source = setup_cell("")
        if not role(cell):
            continue
        name = name_of(cell)
        if name in names:
            raise MasterError(master, cell, "has the name of a cell above it: give it another grade_id")
        names.add(name)
        if role(cell) in ("check", "text") and not HIDDEN.search(cell.source + "\n"):
            raise MasterError(master, cell, "has no hidden tests")
        if role(cell) in ("answer", "text"):
            if not cell.source.startswith((f"# answer: {name}\n", f"<!-- answer: {name} -->\n")):
                raise MasterError(master, cell, f"does not begin with its name, `# answer: {name}`")
            if not is_trained(cell) and not SOLUTION.search(cell.source):
                raise MasterError(master, cell, "has no solution")
    return master


def role(cell: NotebookNode) -> Role:
    """What a cell is for, by nbgrader's marks; empty if it has none.

    A "read-only" cell is the teacher's and runs in the grader too, an "answer" is code that students write, a "check"
    judges the answer before it, and a "text" is written by students and graded by hand.
    """
    mark = cell.metadata.get("nbgrader")
    if not mark:
        return ""
    if mark.grade:
        return "text" if mark.solution else "check"
    return "answer" if mark.solution else "read-only"


def answer_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of code that students write."""
    return [cell for cell in notebook.cells if role(cell) == "answer"]


def text_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of free text, which are graded by hand."""
    return [cell for cell in notebook.cells if role(cell) == "text"]


def name_of(cell: NotebookNode) -> str:
    """The name of a cell with nbgrader's marks."""
    return cell.metadata.nbgrader.grade_id


def is_trained(cell: NotebookNode) -> bool:
    """Whether a cell's answer is the network in its output."""
    return NETWORK_TAG in cell.metadata.get("tags", [])


def is_numbers(cell: NotebookNode) -> bool:
    """Whether a cell's answer is the numbers to which it gives names."""
    return NUMBERS_TAG in cell.metadata.get("tags", [])


def last_cell(notebook: NotebookNode) -> NotebookNode:
    """The cell by which students see what the grader will take (`grader.alone`)."""
    names: dict[str, list[str]] = {"code": [], "texts": [], "networks": [], "numbers": []}
    for cell in answer_cells(notebook):
        kind = "networks" if is_trained(cell) else "numbers" if is_numbers(cell) else "code"
        names[kind].append(name_of(cell))
    names["texts"] = [name_of(cell) for cell in text_cells(notebook)]
    arguments = [f"{kind}={json.dumps(names[kind])}" for kind in names if names[kind]]
    source = f"from grader.alone import check_alone\n\ncheck_alone({', '.join(arguments)})"
    return nbformat.v4.new_code_cell(source, id="check-alone")


def for_students(notebook: NotebookNode) -> NotebookNode:
    """The notebook without solutions, which become errors, and without hidden tests; its last cell is `last_cell`."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        stub = STUBS[cell.cell_type]
        cell.source = HIDDEN.sub("", SOLUTION.sub(stub, cell.source + "\n")).rstrip("\n")
    notebook.cells.append(last_cell(notebook))
    return notebook


def with_solutions(notebook: NotebookNode) -> NotebookNode:
    """The notebook with solutions, without hidden tests; its last cell is `last_cell`."""
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        cell.source = HIDDEN.sub("", MARKS.sub("", cell.source + "\n")).rstrip("\n")
    notebook.cells.append(last_cell(notebook))
    return notebook


def hidden_tests(cell: NotebookNode) -> str:
    """The hidden tests of a check or a free text that `read` has checked."""
    tests = HIDDEN.search(cell.source + "\n")
    assert tests
    return tests[1]


def make_key(master: NotebookNode, seed: str) -> Key:
    """What the grader needs: the cells to run, the questions with probes and answers, the free texts with rubrics.

    Runs the solution. Raises `MasterError` if a check fails on it or has no answer of its own, if a rubric does not add
    up, or if an answer is not made of lists, strings, integers and floats, for what else there is, True above all, is
    too easily guessed.
    """
    key: Key = {
        "version": KEY_VERSION,
        "assignment": master.metadata.assignment,
        "cells": [],
        "questions": [],
        "texts": [make_text(master, cell) for cell in text_cells(master)],
    }
    namespace: dict[str, Any] = {}
    answer = None  # the answer that no check has followed yet
    for cell, solved in zip(master.cells, with_solutions(master).cells[:-1], strict=True):
        if role(cell) in ("", "text"):
            continue
        if not is_trained(cell):
            try:
                exec(solved.source, namespace)
            except Exception as error:
                raise MasterError(master, cell, f"fails on the solution: {error!r}") from error
        if role(cell) == "check":
            if answer is None:
                raise MasterError(master, cell, "follows no answer of its own: put one check after each answer")
            key["questions"].append(make_question(master, answer, cell, namespace, seed))
            answer = None
        else:
            key["cells"].append(make_cell(cell, solved.source))
            if role(cell) == "answer":
                answer = cell
    return key


def make_cell(cell: NotebookNode, source: str) -> Cell:
    """A cell that students' code needs; `source` runs if the cell is the teacher's."""
    if is_trained(cell):
        return {"name": name_of(cell), "trained": True}
    if is_numbers(cell):
        return {"name": name_of(cell), "numbers": True}
    if role(cell) == "answer":
        return {"name": name_of(cell)}
    return {"name": name_of(cell), "source": source}


def make_question(
    master: NotebookNode, answer: NotebookNode, check: NotebookNode, namespace: dict[str, Any], seed: str
) -> Question:
    """The question of an answer, from the hidden tests of its check; `namespace` is the solution's."""
    tests = hidden_tests(check)
    test_namespace = dict(namespace, fingerprint=fingerprint)
    try:
        exec(tests, test_namespace)
        inputs = draw(test_namespace, answer, seed)
        if is_trained(answer) or is_numbers(answer):
            expected = test_namespace["expected"](random_of(answer, seed))
        else:
            expected = [test_namespace["probe"](*arguments) for arguments in inputs]
    except Exception as error:
        raise MasterError(master, check, f"has hidden tests that stop with {error!r}") from error
    if not is_plain([inputs, expected]):
        raise MasterError(master, check, "takes or gives something other than lists, texts and numbers in its probe")
    shares: list[Threshold] = []
    for share, points in test_namespace.get("shares", {}).items():
        shares.append({"share": share, "points": points})
    question: Question = {
        "name": name_of(answer),
        "points": check.metadata.nbgrader.points,
        "task": task_above(master, answer),
        "probe": for_students_process(tests),
        "inputs": inputs,
        "edges": list(test_namespace.get("edges", {})),
        "expected": expected,
        "shares": shares,
        "seconds": test_namespace.get("seconds", STEP_SECONDS),
    }
    if "reported_within" in test_namespace:
        question["reported_within"] = test_namespace["reported_within"]
    return question


def random_of(answer: NotebookNode, seed: str) -> random.Random:
    """The random numbers of a question. Those of one question do not depend on the others."""
    return random.Random(f"{seed} {name_of(answer)}")


def draw(test_namespace: dict[str, Any], answer: NotebookNode, seed: str) -> list[list[Plain]]:
    """What a question asks: one input for each of its edges, then the others."""
    numbers = random_of(answer, seed)
    edges = [edge(numbers) for edge in test_namespace.get("edges", {}).values()]
    return edges + test_namespace["inputs"](numbers)


def for_students_process(tests: str) -> str:
    """Hidden tests without what only `build` needs: how inputs are drawn, and which mistakes are looked for."""
    statements: list[str] = []
    for statement in ast.parse(tests).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]) if name in ONLY_FOR_BUILD:
                continue
        statements.append(ast.unparse(statement))
    return "\n".join(statements)


def check_mutants(master: NotebookNode, num_seeds: int = NUM_SEEDS) -> None:
    """Try the mistakes that the hidden tests name. Raises `MasterError` if one gets all points for any of the seeds."""
    namespace: dict[str, Any] = {}
    answer, answer_source, namespace_before = None, "", {}
    for cell, solved in zip(master.cells, with_solutions(master).cells[:-1], strict=True):
        if role(cell) == "check" and answer is not None:
            solution = dict(namespace, fingerprint=fingerprint)
            exec(hidden_tests(cell), solution)
            mutants = {}
            for name, (right, wrong) in solution.get("mutants", {}).items():
                if right not in answer_source:
                    raise MasterError(master, cell, f"has the mutant {name!r}, and {right!r} is not in the solution")
                mutants[name] = dict(namespace_before, fingerprint=fingerprint)
                exec(answer_source.replace(right, wrong), mutants[name])
                exec(hidden_tests(cell), mutants[name])
            if survivor := surviving(mutants, solution, answer, num_seeds):
                raise MasterError(
                    master, cell, f"gives all points to the mutant {survivor!r}: add an edge that asks it"
                )
            answer = None
        if role(cell) in ("read-only", "answer") and not is_trained(cell):
            if role(cell) == "answer":
                answer, answer_source, namespace_before = cell, solved.source, dict(namespace)
            exec(solved.source, namespace)


def surviving(
    mutants: dict[str, dict[str, Any]], solution: dict[str, Any], answer: NotebookNode, num_seeds: int
) -> str:
    """The first mutant that answers all questions of one of the seeds as the solution does; empty if none does.

    Mutants and solution are the namespaces in which their code and the hidden tests have run.
    """
    killers = dict.fromkeys(mutants, 0)  # what told a mutant from the solution last time does so again, as a rule
    for seed in range(num_seeds):
        inputs = draw(solution, answer, f"mutants {seed}")
        right_answers: dict[int, Plain] = {}
        for name, namespace in mutants.items():
            for number in sorted(range(len(inputs)), key=lambda number: number != killers[name]):
                if number not in right_answers:
                    right_answers[number] = solution["probe"](*inputs[number])
                if not answers_alike(namespace, inputs[number], right_answers[number]):
                    killers[name] = number
                    break
            else:
                return name
    return ""


def answers_alike(mutant: dict[str, Any], arguments: list, right_answer: Plain) -> bool:
    """Whether a mutant's answer counts as right."""
    try:
        return is_same(mutant["probe"](*arguments), right_answer)
    except Exception:
        return False


def make_text(master: NotebookNode, cell: NotebookNode) -> Text:
    """A free text with the criteria by which it is graded. Raises `MasterError` if their points do not add up."""
    points = cell.metadata.nbgrader.points
    rubric: list[Criterion] = []
    for most_points, criterion in CRITERION.findall(hidden_tests(cell)):
        rubric.append({"text": criterion, "points": int(most_points)})
    if sum(criterion["points"] for criterion in rubric) != points:
        raise MasterError(master, cell, f"has a rubric whose points do not add up to {points}")
    return {"name": name_of(cell), "points": points, "task": task_above(master, cell), "rubric": rubric}


def task_above(master: NotebookNode, cell: NotebookNode) -> str:
    """The text above a cell, from the last heading on."""
    texts: list[str] = []
    for above in reversed(master.cells[: master.cells.index(cell)]):
        if above.cell_type == "markdown":
            texts.insert(0, above.source)
            if above.source.startswith("#"):
                break
    return "\n\n".join(texts)


def is_plain(value: object) -> bool:
    """Whether a value is made of lists, texts, integers and floats alone."""
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in (str, int, float)


def read_seed() -> str:
    """The secret from which the questions are drawn: a file that is not committed, written at the first call."""
    if not SEED.exists() or not SEED.read_text().strip():
        write_secret(SEED, secrets.token_hex(16))
    return SEED.read_text().strip()


def write_secret(path: Path, content: str) -> None:
    """Write a file, whole or not at all, that nobody but its owner may read at any moment."""
    mask = os.umask(0o077)
    try:
        write_whole(path, content)
    finally:
        os.umask(mask)


def build(name: str, masters: Path) -> None:
    """Write the notebooks and the key of the assignment into a folder of its name in `TARGET`.

    Raises `SystemExit` if the folder has no such master, or one that cannot be handed out.
    """
    known = sorted(path.stem for path in masters.glob("*.md"))
    if name not in known:
        sys.exit(
            f"There is no assignment {name!r} in {masters}: choose a NAME ({', '.join(known) or 'none'}), "
            "or another folder with --masters (for `make assignment`: NAME= and ASSIGNMENTS=)."
        )
    mxnet.npx.set_np()
    try:
        master = read(masters / f"{name}.md")
        key = make_key(master, read_seed())
        print(f"Trying mistakes on {NUM_SEEDS} seeds, which takes up to three minutes where networks are asked for.")
        check_mutants(master)
    except MasterError as error:
        sys.exit(str(error))
    folder = TARGET / name
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.ipynb", nbformat.writes(for_students(master)) + "\n")
    write_whole(folder / f"{name}_solution.ipynb", nbformat.writes(with_solutions(master)) + "\n")
    write_secret(folder / "key.json", json.dumps(key, indent=1))
    points = sum(question["points"] for question in key["questions"]) + sum(text["points"] for text in key["texts"])
    print(f"{folder}: {name}.ipynb for students, {name}_solution.ipynb and key.json for you; {points} points.")
