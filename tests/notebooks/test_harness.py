"""The checks of the notebooks find what is wrong: each broken chapter here has to fail, for its own reason."""

import base64
import io
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import nbformat
import pytest
from matplotlib import pyplot as plt
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.cells import definitions, replay_settings
from tools.notebooks import from_source, keep_outputs

ROOT = Path(__file__).parents[2]
CHECKS = Path(__file__).with_name("test_notebooks.py")

SETUP = """
```{code-cell} ipython3
:tags: [nbval-ignore-output]

print("computing on this machine")
```
"""

SHAPE = """
Two rows.

```{code-cell} ipython3
import numpy as np

X = np.ones((2, 3))
X.shape
```
"""

CHECK = """
```{code-cell} ipython3
def check_shape(array, shape):
    assert array.shape == shape, f"the shape is {array.shape}, not {shape}"


check_shape(X, (2, 3))
print("rows:", len(X))
```
"""

FIGURE = """
```{code-cell} ipython3
---
tags: [nbval-ignore-output]
mystnb:
  figure:
    caption: One black pixel, which is enough here.
  image:
    alt: A black square of a single pixel.
---
import base64

from IPython.display import Image

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
Image(base64.b64decode(PIXEL))
```
"""

HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
---

# A chapter
"""

SOUND = HEADER + SETUP + SHAPE + CHECK + FIGURE


def with_change(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace(old, new)


def do_nothing(*_) -> None:
    pass


class Fault(NamedTuple):
    """A fault: why the chapter has to fail, the source that has it, what it does to the notebook or its files."""

    reasons: tuple[str, ...]
    text: str = SOUND
    spoil: Callable[[NotebookNode, list[NotebookNode]], object] = do_nothing
    afterwards: Callable[[Path], object] = do_nothing


def ran_in_another_order(notebook, code):
    code[1].outputs, code[2].outputs = code[2].outputs, code[1].outputs
    code[1].execution_count, code[2].execution_count = 3, 2


def store_an_error(notebook, code):
    code[2].outputs.append(new_output("error", ename="ValueError", evalue="stored long ago", traceback=[]))


def store_a_large_figure(_, code):
    plt.imsave(drawn := io.BytesIO(), [[0, 1]])
    code[3].outputs[0].data["image/png"] = base64.b64encode(drawn.getvalue()).decode()


def never_ran(notebook, code):
    for cell in code:
        cell.outputs, cell.execution_count = [], None


FAULTS = {
    "wrong_shape": Fault((r"the shape is \(2, 3\), not \(3, 2\)",), with_change("(X, (2, 3))", "(X, (3, 2))")),
    "stale_output": Fault((r"Cell outputs differ",), spoil=lambda _, code: code[2].outputs[0].update(text="rows: 5\n")),
    "raises_error": Fault((r"name 'Y' is not defined",), with_change("len(X)", "len(Y)")),
    "cells_out_of_order": Fault(
        (r"was not executed from top to bottom", r"name 'X' is not defined"),
        HEADER + SETUP + CHECK + SHAPE + FIGURE,
        ran_in_another_order,
    ),
    "source_differs": Fault(
        (r"cell 2 is not what source_differs.md says",),
        afterwards=lambda source: source.write_text(with_change("Two rows.", "Three rows.")),
    ),
    "missing_source": Fault((r"missing_source.ipynb has no source",), afterwards=Path.unlink),
    "missing_notebook": Fault(
        (r"missing_notebook.ipynb is missing",), afterwards=lambda source: source.with_suffix(".ipynb").unlink()
    ),
    "stored_error": Fault(
        (r"stores an error: \['stored long ago'\]", r"Missing output fields from running code"), spoil=store_an_error
    ),
    "never_ran": Fault(
        (r"was not executed from top to bottom", r"compares 0 cells, but has 2 shape and count cells"), spoil=never_ran
    ),
    "too_few_compared_cells": Fault(
        (r"compares 1 cells, but has 2 shape and count cells",),
        with_change("import numpy", "# NBVAL_IGNORE_OUTPUT\nimport numpy"),
    ),
    "missing_output": Fault(
        (r"compares 1 cells, but has 2 shape and count cells", r"Unexpected output fields from running code"),
        spoil=lambda _, code: code[1].outputs.clear(),
    ),
    "no_alt_text": Fault((r"a figure's alt text says too little: ''",), with_change("alt:", "height:")),
    "no_caption": Fault((r"a figure's caption says too little: ''",), with_change("caption:", "name:")),
    "large_figure": Fault((r"figure 1 takes more bytes than it has to",), spoil=store_a_large_figure),
    "number_from_nowhere": Fault((r"no cell glues \['rows'\]",), with_change("Two rows", "{glue:text}`rows` rows")),
    "long_cell": Fault((r"a code cell has 26 lines",), with_change('print("rows', 20 * "pass\n" + 'print("rows')),
    "machine_path": Fault(
        (r"an output holds a path of the machine",),
        spoil=lambda _, code: code[0].outputs[0].update(text="computing in '/home/somebody/course'\n"),
    ),
    "no_provenance": Fault(
        (r"its metadata do not say \['date', 'machine', 'mxnet', 'seconds'\]",),
        spoil=lambda notebook, _: notebook.metadata.pop("course"),
    ),
    "other_setup_cell": Fault((r"its setup cell is not that of",), with_change("on this machine", "elsewhere")),
    "sound": Fault(()),
}

# The other faults are found by reading; replaying those too would only take time.
REPLAYED = (
    "wrong_shape",
    "stale_output",
    "raises_error",
    "cells_out_of_order",
    "stored_error",
    "missing_output",
    "sound",
)


def write_chapter(source: Path, fault: Fault, executed: NotebookNode) -> None:
    source.write_text(fault.text)
    notebook = from_source(source)
    keep_outputs(notebook, deepcopy(executed))
    fault.spoil(notebook, [cell for cell in notebook.cells if cell.cell_type == "code"])
    nbformat.write(notebook, source.with_suffix(".ipynb"))
    fault.afterwards(source)


def write_definitions(path: Path) -> None:
    """A chapter that prints all of the library, but for one thing missing and three others not as they are kept.

    Three are printed twice: `transition_block` is wrong at last, `bottleneck_block` at first, and `DenseBlock` never.
    """
    modules = ("densenet.py", "spec.py")
    library = dict(pair for module in modules for pair in definitions((ROOT / "utils" / module).read_text()))
    del library["stem"]
    printed = [*library.values(), library["transition_block"].replace("pool_size=2", "pool_size=3")]
    printed[list(library).index("head")] = library["head"].replace("GlobalAvgPool2D", "GlobalMaxPool2D")
    printed.insert(0, library["bottleneck_block"].replace("width: int=4", "width: int=2"))
    printed.insert(0, library["DenseBlock"].replace("self.layers", "self.steps"))
    skipped = {"tags": ["nbval-skip"]}
    nbformat.write(new_notebook(cells=[new_code_cell(code, metadata=skipped) for code in printed]), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What pytest says of a folder with all the chapters: its text, and per chapter the messages of what failed."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "sound.md").write_text(SOUND)
    executed = from_source(folder / "sound.md")
    NotebookClient(executed, record_timing=False).execute(cwd=folder)
    executed.metadata["course"] = {"date": "2026-01-01", "machine": "any", "mxnet": "1.9.1", "seconds": 1}
    for name, fault in FAULTS.items():
        write_chapter(folder / f"{name}.md", fault, executed)
    write_definitions(folder / "definitions.ipynb")
    replayed = [folder / f"{name}.ipynb" for name in REPLAYED]
    options = "-m pytest -c pyproject.toml -p no:cacheprovider --color=no --nbval"
    report = folder / "report.xml"
    process = subprocess.run(
        [sys.executable, *options.split(), CHECKS, "--chapters", folder, *replayed, f"--junitxml={report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    failures = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        of_a_cell = case.find("properties/property[@name='chapter']")
        subject = re.search(r"\[(.*)\]", case.get("name"))[1] if of_a_cell is None else of_a_cell.get("value")
        failures[subject] += [fault.text for fault in (*case.iter("failure"), *case.iter("error"))]
    return process.stdout, failures


def test_notebooks_are_replayed_by_the_python_of_the_tests():
    # Another environment's kernel has other packages, and might pass with them.
    manager = NotebookClient(new_notebook(), kernel_name="python3").create_kernel_manager()
    assert manager.format_kernel_cmd()[0] == sys.executable


@pytest.mark.parametrize("name", FAULTS)
def test_broken_chapter_fails_for_its_own_reasons_and_a_sound_one_passes(name, run):
    _, failures = run
    assert name in failures, f"pytest never looked at {name}"
    reasons = FAULTS[name].reasons
    for reason in reasons:
        assert any(re.search(reason, failure) for failure in failures[name]), f"nothing failed because {reason!r}"
    for failure in failures[name]:
        assert any(re.search(reason, failure) for reason in reasons), f"{name} failed for another reason: {failure}"


@pytest.mark.parametrize(
    ("name", "reason"),
    {
        "stem": "no chapter prints stem",
        "head": "no chapter prints head as utils holds it",
        "transition_block": "definitions prints another transition_block than utils holds",
        "bottleneck_block": "definitions prints a bottleneck_block that builds another block",
    }.items(),
)
def test_definition_that_differs_between_chapter_and_library_fails(name, reason, run):
    _, failures = run
    assert len(failures[name]) == 1 and reason in failures[name][0]


@pytest.mark.parametrize("name", ["conv_block", "DenseBlock", "imagenet_spec", "DenseNet"])
def test_definition_that_chapter_and_library_share_passes(name, run):
    _, failures = run
    assert failures[name] == []


def test_summary_counts_cells_that_ran_and_passed(run):
    text, _ = run
    assert "sound: 4 cells replayed, 2 of them with outputs compared" in text
    assert "stale_output: 3 cells replayed, 1 of them with outputs compared" in text
    assert "definitions:" not in text


def test_chapter_on_memory_is_replayed_as_on_an_old_processor_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    on_memory, on_speed = tmp_path / "09_measuring_memory.ipynb", tmp_path / "11_speed.ipynb"
    for chapter in (on_memory, on_speed):
        chapter.touch()
    assert "DNNL_MAX_CPU_ISA" not in replay_settings(on_speed)
    assert replay_settings(on_memory)["DNNL_MAX_CPU_ISA"] == "SSE41"
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "ALL")
    assert replay_settings(on_memory)["DNNL_MAX_CPU_ISA"] == "ALL"
