"""The tables with a mistake that the practice page shows are those of the broken networks of chapter 15."""

import re
from itertools import chain

import nbformat
import pytest
from mxnet import npx

from tools.cells import definitions
from utils.measure import layer_table
from utils.spec import imagenet_spec


@pytest.fixture(scope="module")
def of_chapter(pytestconfig):
    """What the chapter on mistakes defines."""
    npx.set_np()
    notebook = nbformat.read(pytestconfig.option.chapters / "15_debugging_by_shapes.ipynb", 4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    namespace = {}
    exec(next(source for source in code if "from mxnet" in source), namespace)
    wanted = {"spec", "build"} | set(re.findall(r"^(?:class|def) (\w+)", "\n".join(code), re.MULTILINE))
    for name, definition in chain.from_iterable(map(definitions, code[2:])):
        if name in wanted:
            exec(definition, namespace)
    return namespace


@pytest.mark.parametrize(
    ("name", "built", "changes"),
    [
        ("none", "build()", {}),
        ("addition", "build(WidenedSumBlock, widths=(32, 32))", dict(compression=1)),
        (
            "sideBySide",
            "build(SideBySideBlock, channels=16, widths=(16, 16))",
            dict(initial_channels=16, compression=1),
        ),
        ("onlyLast", "build(LastOnlyBlock, widths=(8, 8))", {}),
        ("wide", "build(make_layer=wide_layer, widths=(112, 248))", {}),
        ("doubling", "build(DoublingBlock, widths=(72, 540))", {}),
        ("fixedWidth", "build(widths=(16, 16))", {}),
        ("notHalved", "build(widths=(40, 88))", {}),
        ("compressed", "build()", dict(compression=1)),
        ("uncompressed", "build(widths=(80, 176))", {}),
        ("late", "build(make_layer=late_layer)", {}),
        ("fixedPooling", "build(make_head=fixed_head)", {}),
    ],
)
def test_mistaken_tables_are_those_of_the_chapters_networks(name, built, changes, of_chapter, drill_scripts):
    side = 224 if name == "fixedPooling" else 32
    table = layer_table(eval(built, of_chapter), (1, 1, side, side))
    of_stages = table.groupby("stage", sort=False)
    stages = [(name, part["output_shape"].iloc[-1], part["parameters"].sum()) for name, part in of_stages]
    spec = imagenet_spec(16, 3, 6, 4) | changes
    arguments = [name, spec | dict(blocks=list(spec["blocks"])), dict(side=side, channels=1, num_classes=10)]
    found = drill_scripts.evaluate("(given) => DenseNetDrills.tableOf(...given)", arguments)
    assert [(row["stage"], tuple(row["output_shape"]), row["parameters"]) for row in found] == stages
