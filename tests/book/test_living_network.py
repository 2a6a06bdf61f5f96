"""The living network in a browser: it computes what MXNet computes, and does what a reader asks of it."""

from itertools import product
from pathlib import Path

import numpy
import pytest
from mxnet import np

from tools.living_network import SCRIPT, quantise, script, trained_network
from utils.data import FashionMNIST
from utils.reuse import prune

STATIC = Path(__file__).parents[2] / "book" / "_static"
NUM_IMAGES = 200
LOGITS = """([pictures, off]) => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const on = LivingNetwork.allOn(network);
  for (const name of off) on[network.nodes.findIndex(node => node.name === name)].fill(false);
  return pictures.map(picture => [...LivingNetwork.forward(network, picture, on).at(-1)]);
}"""
# For some pixels of each node's maps: the map's value there, and the sum of its terms.
SUMS = """(picture) => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const on = LivingNetwork.allOn(network);
  on[1][3] = false;
  const maps = LivingNetwork.forward(network, picture, on);
  return network.nodes.slice(1, -1).flatMap(({ channels, side, name }, place) =>
    [[0, 0], [1, side - 1], [side - 1, 3], [4, 5]].map(([row, column]) => {
      const terms = LivingNetwork.terms(network, maps, on, place + 1, channels - 1, row, column);
      const value = maps[place + 1][((channels - 1) * side + row) * side + column];
      return [name, value, terms.reduce((sum, term) => sum + term.sum, 0)];
    }));
}"""
# What a change of each pixel of the picture changes at one pixel of a node, and the receptive field there.
SEEN = """([picture, name, row, column, off]) => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const on = LivingNetwork.allOn(network);
  for (const source of off) on[network.nodes.findIndex(node => node.name === source)].fill(false);
  const index = network.nodes.findIndex(node => node.name === name);
  const { channels, side } = network.nodes[index];
  const values = pixels => {
    const maps = LivingNetwork.forward(network, pixels, on)[index];
    return Array.from({ length: channels }, (_, channel) => maps[(channel * side + row) * side + column]);
  };
  const before = values(picture);
  const changes = picture.map((byte, place) => {
    const after = values(picture.with(place, 255 - byte));
    return after.some((value, channel) => value !== before[channel]);
  });
  return [changes, LivingNetwork.receptiveField(network, on, index, row, column)];
}"""


@pytest.fixture(scope="module")
def pictures():
    return FashionMNIST().images["test"][:NUM_IMAGES]


@pytest.fixture(scope="module")
def compute(browser):
    """Runs a function of JavaScript beside the network's scripts."""
    tab = browser.new_page()
    tab.add_script_tag(path=SCRIPT)
    tab.add_script_tag(path=STATIC / "living" / "network.js")
    yield tab.evaluate
    tab.close()


@pytest.fixture
def net():
    """The trained network with the weights that the page has."""
    net = trained_network()
    quantise(net)
    return net


def logits_of(net, pictures):
    return net(np.array((pictures[:, None] / 255 - 0.286) / 0.353, dtype="float32")).asnumpy()


def test_numbers_are_those_of_the_trained_network():
    assert SCRIPT.read_text() == script(), "run `python -m tools.living_network`"
    assert SCRIPT.stat().st_size < 150_000


def test_logits_are_those_of_mxnet(compute, pictures, net):
    found = numpy.array(compute(LOGITS, [pictures.reshape(-1, 784).tolist(), []]))
    assert found.shape == (NUM_IMAGES, 10)
    assert abs(found - logits_of(net, pictures)).max() < 1e-4


@pytest.mark.parametrize(("block", "source"), product((1, 2, 3), (0, 1, 2)))
def test_source_that_is_off_is_one_whose_weights_are_zero(block, source, compute, pictures, net):
    names = [f"layer {source} of block {block}" if source else ["stem", "transition 1", "transition 2"][block - 1]]
    unpruned = logits_of(net, pictures[:20])
    prune(net, [(block, source, reader) for reader in range(source, 3)])
    expected = logits_of(net, pictures[:20])
    found = numpy.array(compute(LOGITS, [pictures[:20].reshape(-1, 784).tolist(), names]))
    assert abs(found - expected).max() < 1e-4 < abs(expected - unpruned).max()


def test_terms_of_a_pixel_add_up_to_it(compute, pictures):
    for name, value, total in compute(SUMS, pictures[0].reshape(-1).tolist()):
        assert abs(value - total) < 1e-5 * max(1, abs(value)), name


@pytest.mark.parametrize(
    ("name", "row", "column", "off"),
    [
        ("stem", 10, 12, []),
        ("layer 2 of block 1", 1, 20, []),
        ("layer 2 of block 1", 14, 13, ["layer 1 of block 1"]),
        ("transition 1", 6, 7, []),
        ("layer 1 of block 2", 6, 7, []),
    ],
)
def test_pixel_depends_on_its_receptive_field_alone(name, row, column, off, compute, pictures):
    changes, field = compute(SEEN, [pictures[0].reshape(-1).tolist(), name, row, column, off])
    rows, columns = numpy.nonzero(numpy.reshape(changes, (28, 28)))
    found = {"top": rows.min(), "bottom": rows.max(), "left": columns.min(), "right": columns.max()}
    assert found == field
