"""What of a notebook counts: the kinds of notebooks that honest students hand in. What is run has no sandbox."""

import codecs
import json
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from mxnet import npx
from nbformat.v4 import new_code_cell

from grader import build, grade, submission
from grader.schema import Outcome
from grader.student_process import notebook_namespace

COUNTING = Path(__file__).parents[2] / "assignments" / "02_counting.md"


@pytest.fixture(scope="module")
def master():
    npx.set_np()
    notebook = build.read(COUNTING)
    return notebook, build.make_key(notebook, "a seed")


@pytest.fixture
def handed_in(master):
    """The solution as Colab saves it, without the cells' metadata, and executed from top to bottom."""
    notebook = build.with_solutions(master[0])
    for count, cell in enumerate(notebook.cells, 1):
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.execution_count = count
    return notebook


def place(notebook, name: str) -> int:
    """Where the answer of a name stands."""
    return next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith(f"# answer: {name}\n"))


def points(content: bytes, key) -> list[float]:
    """The points of a notebook's questions, whose cells run in this process."""
    cells = submission.read_cells(content, [cell["name"] for cell in key["cells"]])
    namespace = notebook_namespace()
    for step in grade.steps_of(cells, key)[0]:
        try:
            exec(step["source"], namespace)
        except Exception:
            continue
    earned = []
    for question in key["questions"]:
        outcome = Outcome()
        try:
            probe_namespace = dict(namespace)
            exec(question["probe"], probe_namespace)
            outcome = Outcome([[probe_namespace["probe"](*arguments)] for arguments in question["inputs"]])
        except Exception:
            pass
        earned.append(grade.verdict(question, outcome)["points"])
    return earned


def change(name: str, old: str, new: str):
    def apply(notebook):
        cell = notebook.cells[place(notebook, name)]
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return apply


def above(name: str, text: str):
    return change(name, f"# answer: {name}", f"{text}# answer: {name}")


def with_helper(helper: str):
    """The width of the bottleneck comes from a cell of the student's own above the answer."""

    def apply(notebook):
        change("layer_parameters", "width * growth_rate", "helper(width, growth_rate)")(notebook)
        notebook.cells.insert(place(notebook, "layer_parameters"), new_code_cell(helper, execution_count=3))

    return apply


def draft(offset: int, execution_count: int | None):
    """Another cell of the name, that far from the right one."""

    def apply(notebook):
        where = place(notebook, "layer_parameters")
        notebook.cells[where].execution_count = 50
        wrong = "# answer: layer_parameters\ndef layer_parameters(*_):\n    return 0"
        notebook.cells.insert(where + offset, new_code_cell(wrong, execution_count=execution_count))

    return apply


def split(second_name: str):
    """The first lines of an answer stand in a cell of their own."""

    def apply(notebook):
        where = place(notebook, "layer_parameters")
        cell = notebook.cells[where]
        first = "# answer: layer_parameters\ndef between_of(width, growth_rate):\n    return width * growth_rate"
        rest = cell.source.partition("\n")[2].replace("width * growth_rate", "between_of(width, growth_rate)")
        cell.source, cell.execution_count = first, 20
        notebook.cells.insert(where + 1, new_code_cell(f"{second_name}{rest}", execution_count=21))

    return apply


HELPER = "def helper(a, b):\n    return a * b"
HONEST = {
    "a helper in a cell of one's own": with_helper(HELPER),
    "an import in a cell of one's own": with_helper("from operator import mul as helper"),
    "magic in a cell of one's own": with_helper(f"%load_ext autoreload\n%matplotlib inline\n{HELPER}\n!ls"),
    "own code in the setup cell": lambda notebook: (
        with_helper("")(notebook),
        notebook.cells[1].update(source=f"{notebook.cells[1].source}\n{HELPER}"),
    ),
    "a cell of one's own that fails": with_helper(f"{HELPER}\n1 / 0"),
    "%%time": above("layer_parameters", "%%time\n"),
    "%matplotlib": above("layer_parameters", "%matplotlib inline\n"),
    "!pip": change("layer_parameters", "layer_parameters\n", "layer_parameters\n!pip install numpy\n"),
    "%time": change("layer_parameters", "    between = ", "    %time between = "),
    "help": change("layer_parameters", "layer_parameters\n", "layer_parameters\nhelp(np)\nnp.zeros?\ndisplay(np)\n"),
    "the setup cell's device": change("layer_parameters", "layer_parameters\n", "layer_parameters\nprint(device)\n"),
    "a comment above": above("layer_parameters", "# my answer\n\n"),
    "a blank comment above": above("layer_parameters", "#\n"),
    "no space": change("layer_parameters", "# answer: ", "#answer:"),
    "a first draft above": draft(0, 7),
    "a first draft above, not run": draft(0, None),
    "a draft below that was not run": draft(1, None),
    "a draft below that was run before": draft(1, 7),
    "an answer in two cells of the name": split("# answer: layer_parameters\n"),
    "an answer in two cells": split(""),
    "answers in another order": lambda notebook: notebook.cells.insert(
        place(notebook, "layer_parameters"), notebook.cells.pop(place(notebook, "block_parameters"))
    ),
}


@pytest.mark.parametrize("kind", HONEST)
def test_right_notebook_gets_all_points(kind, handed_in, master):
    HONEST[kind](handed_in)
    assert points(nbformat.writes(handed_in).encode(), master[1]) == [2, 2, 3, 3]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_notebook_in_any_encoding_of_unicode_is_read(encoding, handed_in, master):
    assert points(json.dumps(handed_in).encode(encoding), master[1]) == [2, 2, 3, 3]
    assert json.dumps(handed_in).encode("utf-8-sig").startswith(codecs.BOM_UTF8)


def test_note_says_what_was_taken_and_why_where_that_is_not_plain(handed_in, master):
    names = [cell["name"] for cell in master[1]["cells"]]

    def note(notebook):
        return submission.note_on(submission.read_cells(json.dumps(notebook).encode(), names), "layer_parameters")

    assert note(handed_in) == ""
    twice, lost = deepcopy(handed_in), deepcopy(handed_in)
    draft(0, 7)(twice)
    assert note(twice).startswith("2 cells are called layer_parameters: those that you ran count")
    change("layer_parameters", "# answer: layer_parameters", "# answer: layer_paramters")(lost)
    assert note(lost) == "No cell begins with `# answer: layer_parameters`; no question is called layer_paramters."


def alone(notebook, capsys) -> str:
    """What `check_alone` prints of a notebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grader.alone.this_notebook", lambda: (notebook, "a notebook"))
        exec(notebook.cells[-1].source)
    return capsys.readouterr().out


def test_last_cell_says_that_a_right_notebook_can_be_handed_in(handed_in, capsys):
    assert "this notebook can be handed in" in alone(handed_in, capsys)


def test_last_cell_reads_the_notebook_as_colab_shows_it(handed_in, capsys, monkeypatch):
    asked = []
    colab = SimpleNamespace(blocking_request=lambda *words, **_: asked.append(words) or {"ipynb": handed_in})
    monkeypatch.setitem(sys.modules, "google.colab._message", colab)
    exec(handed_in.cells[-1].source)
    assert asked == [("get_ipynb",)]
    printed = capsys.readouterr().out
    assert "This is the notebook as Colab shows it." in printed and "this notebook can be handed in" in printed


LACKING = {
    "a helper that no cell defines": (
        change("layer_parameters", "width * growth_rate", "helper(width, growth_rate)"),
        "stops with NameError when it runs alone: name 'helper' is not defined",
    ),
    "an answer that is gone": (
        lambda notebook: notebook.cells.pop(place(notebook, "network_parameters")),
        "No cell begins with `# answer: network_parameters`.",
    ),
    "an answer not written": (
        lambda notebook: notebook.cells[place(notebook, "best_for_budget")].update(
            source=f"# answer: best_for_budget\ndef best_for_budget(budget, growth_rates):\n    {submission.STUB}"
        ),
        "best_for_budget still has the line that says where your code goes.",
    ),
    "two cells of a name": (draft(0, 7), "2 cells are called layer_parameters: those that you ran count"),
    "a cell that stops": (
        change("layer_parameters", "layer_parameters\n", "layer_parameters\n1 / 0\n"),
        "The cell of layer_parameters stops with ZeroDivisionError when it runs alone: division by zero",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_last_cell_says_in_a_sentence_what_the_notebook_lacks(name, handed_in, capsys):
    spoil, sentence = LACKING[name]
    spoil(handed_in)
    printed = alone(handed_in, capsys)
    assert sentence in printed and "can be handed in" not in printed


def test_cells_below_the_last_answer_and_the_setup_cell_are_not_run(handed_in, master):
    handed_in.cells.append(new_code_cell("1 / 0"))
    cells = submission.read_cells(nbformat.writes(handed_in).encode(), [cell["name"] for cell in master[1]["cells"]])
    sources = [step["source"] for step in grade.steps_of(cells, master[1])[0]]
    assert not [source for source in sources if "1 / 0" in source or "git clone" in source]
    assert sources[0] == "from mxnet import np, npx\nfrom mxnet.gluon import nn"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("# answer: a\nshare = 0.5\ncount = 3", "share = 0.5\ncount = 3"),
        ("share = 0.5  # of all\nprint(share)\nother = share", "share = 0.5"),
        ("import os\nshare = os.getpid()\nif 1:\n    share = 0.5", ""),
        ("share = ", ""),
        ("share = " + "(" * 10**5, ""),
        ("share = '\ud800'", ""),
    ],
)
def test_of_a_cell_of_numbers_nothing_but_named_numbers_is_read(source, lines):
    assert submission.named_numbers(source) == lines


@pytest.mark.parametrize(
    "source", ["<!-- answer: why -->\n\nBecause.", "<!--answer:why-->\nBecause.", "# Answer: why\nBecause."]
)
def test_free_text_is_read_without_its_marker(source):
    assert submission.text_of([submission.NotebookCell(source, False, "why")], "why") == "Because."


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        (["Because.", "Therefore."], "Therefore."),
        (["Because.", submission.NO_TEXT], "Because."),
        (["Because.", ""], "Because."),
        ([submission.NO_TEXT, ""], ""),
        ([], ""),
    ],
)
def test_of_several_cells_of_a_free_text_the_lowest_that_says_something_counts(sources, text):
    cells = [submission.NotebookCell(f"<!-- answer: why -->\n{source}", False, "why") for source in sources]
    assert submission.text_of(cells, "why") == text
