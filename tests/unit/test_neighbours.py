"""Chapter 13's neighbours: what their parts compute, that the small ones are of equal size, what the chapter prints."""

from pathlib import Path

import numpy
import pytest
from mxnet import np
from mxnet.gluon import nn

from tools.cells import definitions
from tools.notebooks import code, from_source, statements
from utils import measure, neighbours
from utils.neighbours import SMALL, SmallNetwork, basic_block, chain, conv_layer, narrow_block

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "chapters" / "13_the_neighbours.md"
LIBRARY = dict(definitions((ROOT / "utils" / "neighbours.py").read_text()))


def initialised(net):
    net.initialize()
    return net


@pytest.mark.parametrize("kind", SMALL)
def test_small_network_classifies_images_of_32_pixels(kind):
    assert SmallNetwork(kind)(np.zeros((2, 1, 32, 32))).shape == (2, 10)


def test_small_networks_have_equal_parameters_within_three_percent():
    counts = [measure.layer_table(SmallNetwork(kind), (1, 1, 32, 32))["parameters"].sum() for kind in SMALL]
    # 1.4 percent; with five more hidden outputs, VGG would make it 4.8.
    assert max(counts) < 1.03 * min(counts)


@pytest.mark.parametrize("make_block", [basic_block, narrow_block])
@pytest.mark.parametrize(("num_made", "stride"), [(8, 1), (16, 2)])
def test_residual_block_adds_its_shortcut_before_the_activation(make_block, num_made, stride):
    block, X = initialised(make_block(8, num_made, stride)), np.random.normal(size=(2, 8, 6, 6))
    passed = X if block.shortcut is None else block.shortcut(X)
    expected = np.maximum(block.body(X) + passed, 0)
    assert block(X).shape == (2, num_made, 6 // stride, 6 // stride)
    assert numpy.allclose(block(X), expected, atol=1e-5)
    assert (block.shortcut is None) == (num_made == 8)


def test_convolution_keeps_the_side_of_a_map_unless_it_has_a_stride():
    X = np.zeros((1, 3, 9, 9))
    for window in (1, 3, 5):
        assert initialised(conv_layer(4, window))(X).shape == (1, 4, 9, 9)
        assert initialised(conv_layer(4, window, stride=2))(X).shape == (1, 4, 5, 5)


def test_normalisation_of_a_vgg_adds_two_parameters_a_channel():
    blocks = ((1, 4), (2, 6))
    nets = [initialised(neighbours.vgg(5, blocks, hidden=7, norm=norm)) for norm in (False, True)]
    plain, normalised = (measure.layer_table(net, (1, 3, 8, 8))["parameters"].sum() for net in nets)
    assert normalised - plain == 2 * (4 + 6 + 6)


@pytest.mark.parametrize(("dropout", "rates"), [(0.5, [0.5, 0.5]), (0.2, [0.2, 0.2]), (0, [])])
def test_vgg_drops_what_its_hidden_linear_layers_make_unless_told_not_to(dropout, rates):
    blocks = []
    neighbours.vgg(5, ((1, 4),), hidden=7, dropout=dropout).apply(blocks.append)
    assert [block._rate for block in blocks if isinstance(block, nn.Dropout)] == rates


def test_a_sum_moves_both_of_its_summands():
    net = initialised(chain("net", basic_block(4, 4, 1), nn.GlobalAvgPool2D()))
    table = measure.layer_table(net, (2, 4, 5, 5))
    assert table.loc[table["layer"] == "Sum", "bytes_moved"].tolist() == [4 * 3 * 2 * 4 * 5 * 5]


def test_chapter_prints_what_the_library_holds():
    chapter = [found for cell in code(from_source(CHAPTER)) for found in definitions(cell)]
    for name, held in LIBRARY.items():
        printed = [statements(version) for defined, version in chapter if defined == name]
        assert printed and all(version == statements(held) for version in printed), name
