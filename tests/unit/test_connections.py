"""The networks of chapter 07: what they compute, that their sizes agree, and that the chapter prints the library's."""

from pathlib import Path

import numpy
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from mxnet import np

from tools.cells import definitions
from tools.notebooks import code, from_source
from utils import connections, measure
from utils.connections import DEPTHS, GROWTH_RATE, KINDS, LOOKS, Network, ResidualBlock, layers_in_block, widths

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "chapters" / "07_does_density_help.md"
PRINTED = ("plain_block", "ResidualBlock", "dense_block", "blocks", "Network")


def size(kind, depth):
    return kind, layers_in_block(depth), widths(kind, depth)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_arithmetic_is_what_the_network_has(kind, depth):
    net = Network(kind, depth)
    assert net(np.zeros((2, 1, 28, 28))).shape == (2, 10)
    assert measure.parameter_count(net) == connections.parameters(*size(kind, depth))
    assert measure.multiply_adds(net, (1, 1, 28, 28)) == connections.multiply_adds(*size(kind, depth))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_all_layers_with_weights(kind, depth):
    net = Network(kind, depth)
    weights = [parameter for name, parameter in net.collect_params().items() if name.endswith("weight")]
    assert len(weights) == depth


@pytest.mark.parametrize("depth", DEPTHS)
def test_networks_of_a_depth_are_of_equal_size(depth):
    plain, residual, dense = (connections.parameters(*size(kind, depth)) for kind in KINDS)
    assert plain == residual and abs(dense - plain) <= 0.02 * plain
    plain, residual, dense = (connections.multiply_adds(*size(kind, depth)) for kind in KINDS)
    # The nearest are 0.7 to 9.7 percent off; the second nearest would be up to 24.
    assert plain == residual and abs(dense - plain) <= 0.1 * plain


@pytest.mark.parametrize("depth", DEPTHS)
def test_widths_are_multiples_of_16_and_transitions_of_a_dense_network_compress(depth):
    assert all(width % 16 == 0 for kind in KINDS for width in widths(kind, depth))
    first, second, third = widths("dense", depth)
    added = layers_in_block(depth) * GROWTH_RATE
    assert all(1 / 3 <= compression <= 0.7 for compression in (second / (first + added), third / (second + added)))


def test_residual_block_adds_what_each_pair_of_layers_makes():
    block = ResidualBlock(4, 3)
    block.initialize()
    X = np.random.normal(size=(2, 3, 8, 8))
    first, second = block.pairs
    middle = X + first(X)
    assert numpy.allclose(block(X), middle + second(middle), atol=1e-6)
    for pair in block.pairs:
        pair[-1][-1].weight.set_data(np.zeros((3, 3, 3, 3)))
    assert (block(X) == X).all()


def test_plain_block_is_the_residual_blocks_chain():
    plain, residual = connections.plain_block(4, 3), ResidualBlock(4, 3)
    X = np.random.normal(size=(2, 3, 8, 8))
    for block in (plain, residual):
        block.initialize()
        block(X)
    for layer, twin in zip(plain, (layer for pair in residual.pairs for layer in pair), strict=True):
        layer[-1].weight.set_data(twin[-1].weight.data())
    chain = X
    for pair in residual.pairs:
        chain = pair(chain)
    assert numpy.allclose(plain(X), chain, atol=1e-6)


def test_chapter_prints_what_the_library_holds():
    library = dict(definitions((ROOT / "utils" / "connections.py").read_text()))
    chapter = [found for cell in code(from_source(CHAPTER)) for found in definitions(cell)]
    for name in PRINTED:
        assert [printed for defined, printed in chapter if defined == name] == [library[name]]


TABLES = """
| rate | plain | residual | dense | mean |
|---|---|---|---|---|
| 0.1 | 0.556 | 0.465 | 0.501 | 0.507 |

| rate | validation loss | error |
|---|---|---|
| 0.05 | 0.500 | 20.00 |

| depth | network | parameters | million multiply-adds | images a second | images | seed 0 | seed 1 |
|---|---|---|---|---|---|---|---|
| 22 | residual | 311,434 | 18.5 | 1,377 | 25,600 | 13.48 | 13.58 |
| 22 | dense | 317,306 | 20.3 | 737 | 25,600 | 14.54 | 13.54 |
| 22 | dense | 317,306 | 20.3 | 737 | 13,701 | 17.00 | 16.00 |
"""


def test_comparison_is_read_from_the_programs_tables(tmp_path):
    (tmp_path / "density.txt").write_text(TABLES)
    images, errors, in_time, speeds, lower_rates = connections.read_comparison(tmp_path / "density.txt")
    assert images == 25_600
    assert errors == {(22, "residual"): [13.48, 13.58], (22, "dense"): [14.54, 13.54]}
    assert in_time == {(22, "dense"): [17, 16]}
    assert speeds == {(22, "residual"): 1377, (22, "dense"): 737}
    assert lower_rates == {0.05: 20}


def test_errors_are_drawn_for_each_seed_with_a_legend_for_each_name():
    connections.show_errors({"plain": [[3, 4], [5, 6, 7]], "shorter": [[], [1, 2]]}, ["shallow", "deep"])
    axes = plt.gca()
    dots = [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]
    assert [len(drawn.get_offsets()) for drawn in dots] == [2, 3, 2]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["plain", "shorter"]
    plt.close("all")


def test_norms_are_drawn_for_each_kind_in_each_panel():
    connections.show_norms({kind: [[1, 2, 3], [4, 5, 6]] for kind in LOOKS}, ["before", "after"])
    panels = plt.gcf().axes
    assert [panel.get_title() for panel in panels] == ["before", "after"]
    assert [len(panel.lines) for panel in panels] == [len(KINDS)] * 2
    plt.close("all")
