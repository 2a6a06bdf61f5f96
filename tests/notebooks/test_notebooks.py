"""What every committed notebook has to be, beside what nbval replays of it."""

import base64
import datetime
import inspect
import re
from functools import cache
from itertools import zip_longest
from pathlib import Path

import nbformat
import pytest
from mxnet import np, npx

from tools.cells import definitions, is_compared, is_held, states_shape_or_count, texts
from tools.figures import figures, optimised
from tools.notebooks import from_source
from utils import densenet
from utils.measure import parameter_count

GLUED = re.compile(r"\{glue:?\w*\}`([\w-]+)[:`]")
MACHINE_PATH = re.compile(r"(?<![\w/.<)\]])/[A-Za-z][\w.-]*/\w|file:/|\b[A-Z]:\\\w")
CHAPTER_NUMBER = re.compile(r'(?<=setup\(")\d\d(?="\))')
UTILS = Path(__file__).parents[2] / "utils"
# What blocks are built with to compare a chapter's first version with the library's.
ARGUMENTS = {"num_channels": 8, "growth_rate": 4, "num_layers": 2, "num_classes": 10}
NOT_PRINTED = ("__all__", "CHOICES", "Spec", "check_spec", "check_size", "is_number")
LIBRARY = [
    definition
    for module in ("densenet.py", "spec.py", "memory_efficient.py", "backward.py", "quantisation.py")
    for definition in definitions((UTILS / module).read_text())
    if definition[0] not in NOT_PRINTED
]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


@cache
def read(chapter):
    path = chapter.with_suffix(".ipynb")
    assert path.exists(), f"{path.name} is missing: run `make notebooks`"
    return nbformat.read(path, as_version=4)


@pytest.fixture
def notebook(chapter):
    return read(chapter)


@pytest.fixture(scope="session")
def printed(pytestconfig):
    """What all chapters define: a name, the chapter, the code."""
    return [
        (name, path.stem, code)
        for path in sorted(pytestconfig.option.chapters.glob("*.ipynb"))
        for cell in code_cells(read(path))
        for name, code in definitions(cell.source)
    ]


def test_notebook_says_what_its_source_says(chapter, notebook):
    source = chapter.with_suffix(".md")
    assert source.exists(), f"{chapter.name}.ipynb has no source {source.name}"
    stored, written = (
        [(cell.cell_type, cell.source, cell.metadata) for cell in cells]
        for cells in (notebook.cells, from_source(source).cells)
    )
    for number, (stored_cell, written_cell) in enumerate(zip_longest(stored, written)):
        assert stored_cell == written_cell, f"cell {number} is not what {source.name} says: run `make notebooks`"


def test_notebook_was_executed_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1)), "was not executed from top to bottom"


def test_notebook_stores_no_error(notebook):
    errors = [output.evalue for output in outputs(notebook) if output.output_type == "error"]
    assert not errors, f"stores an error: {errors}"


def test_notebook_holds_every_cell_that_states_a_shape_or_a_count(notebook):
    stating = [cell for cell in code_cells(notebook) if states_shape_or_count(cell)]
    held = sum(is_held(cell) for cell in stating)
    assert held == len(stating), f"compares {held} cells, but has {len(stating)} shape and count cells"
    assert any(is_compared(cell) for cell in code_cells(notebook)), "compares no stored output at all"


def test_figures_have_alt_text_and_caption(notebook):
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            mystnb = cell.metadata.get("mystnb", {})
            alt, caption = mystnb.get("image", {}).get("alt", ""), mystnb.get("figure", {}).get("caption", "")
            assert len(alt.strip()) >= 20, f"a figure's alt text says too little: {alt!r} in\n{cell.source}"
            assert len(caption.strip()) >= 20, f"a figure's caption says too little: {caption!r} in\n{cell.source}"


def test_stored_figures_are_as_small_as_they_can_be(notebook):
    for number, data in enumerate(figures(notebook), 1):
        png = base64.b64decode(data["image/png"])
        assert optimised(png) == png, f"figure {number} takes more bytes than it has to: run `make notebooks`"


def test_every_number_that_prose_shows_is_computed_by_a_cell(notebook):
    shown = {name for cell in notebook.cells if cell.cell_type == "markdown" for name in GLUED.findall(cell.source)}
    computed = {output.get("metadata", {}).get("scrapbook", {}).get("name") for output in outputs(notebook)}
    assert shown <= computed, f"no cell glues {sorted(shown - computed)}"


def test_code_cells_have_at_most_25_lines(notebook):
    for cell in code_cells(notebook):
        length = len(cell.source.splitlines())
        assert length <= 25, f"a code cell has {length} lines:\n{cell.source}"


def test_outputs_hold_no_path_of_a_machine(notebook):
    for text in (text for output in outputs(notebook) for text in texts(output)):
        assert not MACHINE_PATH.search(text), f"an output holds a path of the machine that ran it: {text!r}"


def test_notebook_says_when_where_and_with_what_it_was_executed(notebook):
    course = notebook.metadata.get("course", {})
    missing = {"date", "machine", "mxnet", "seconds"} - set(course)
    assert not missing, f"its metadata do not say {sorted(missing)}"
    assert datetime.date.fromisoformat(course["date"]) and course["machine"].strip() and course["seconds"] >= 0
    assert re.fullmatch(r"\d+\.\d+\.\d+", course["mxnet"])


def test_setup_cell_is_the_same_in_every_chapter(notebook, pytestconfig):
    first = min(pytestconfig.option.chapters.glob("*.ipynb"))
    found, expected = (CHAPTER_NUMBER.sub("", code_cells(one)[0].source) for one in (notebook, read(first)))
    assert found == expected, f"its setup cell is not that of {first.stem}"


@pytest.mark.parametrize(("name", "code"), LIBRARY, ids=[name for name, _ in LIBRARY])
def test_last_printed_version_is_the_librarys_and_earlier_ones_build_the_same(name, code, printed):
    held = [code for defined, code in LIBRARY if defined == name]
    versions = [(chapter, version) for defined, chapter, version in printed if defined == name]
    assert code in [version for _, version in versions], f"no chapter prints {name} as utils holds it:\n{code}"
    last_chapter, last = versions[-1]
    assert last in held, f"{last_chapter} prints another {name} than utils holds"
    for chapter, version in versions:
        if version not in held:
            arguments = {argument: ARGUMENTS[argument] for argument in required_arguments(name, version)}
            shape, count = shape_and_count(name, version, arguments)
            expected = shape_and_count(name, code, arguments)
            assert (shape, count) == expected, f"{chapter} prints a {name} that builds another block than utils' does"


def required_arguments(name, code):
    parameters = inspect.signature(defined_by(code)[name]).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty]


def shape_and_count(name, code, arguments):
    npx.set_np()
    block = defined_by(code)[name](**arguments)
    block.initialize()
    return block(np.zeros((2, 3, 32, 32))).shape, parameter_count(block)


def defined_by(code):
    """What the library would hold if this were one of its definitions."""
    scope = dict(vars(densenet))
    exec(code, scope)
    return scope
