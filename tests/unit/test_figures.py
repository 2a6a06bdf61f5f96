"""Figures draw what they are given, and PNGs take no more bytes than their pixels need."""

import io
from pathlib import Path

import numpy
import pandas
import pytest
from matplotlib import pyplot as plt

from tools.figures import optimised
from utils import plots
from utils.measure import shape_table
from utils.memory_efficient import MemoryEfficientDenseNet
from utils.spec import imagenet_spec

STATIC = sorted((Path(__file__).parents[2] / "book" / "_static").rglob("*.png"))


def test_optimised_figure_is_smaller_and_has_the_same_pixels():
    figure, axes = plt.subplots()
    axes.plot([1, 4, 2])
    figure.savefig(drawn := io.BytesIO())
    plt.close(figure)
    small = optimised(drawn.getvalue())
    assert len(small) < len(drawn.getvalue())
    # What is wholly opaque loses its fourth channel.
    before, after = (plt.imread(io.BytesIO(png)) for png in (drawn.getvalue(), small))
    assert (before[..., 3] == 1).all()
    numpy.testing.assert_array_equal(after[..., :3], before[..., :3])


@pytest.mark.parametrize("path", STATIC, ids=[path.name for path in STATIC])
def test_static_figure_is_as_small_as_it_can_be(path):
    assert optimised(path.read_bytes()) == path.read_bytes(), f"{path} is too large: run `make notebooks`"


def test_a_network_of_other_blocks_is_drawn_to_scale():
    net = MemoryEfficientDenseNet(imagenet_spec(8, 1, 1))
    plots.show_architecture(shape_table(net, (1, 3, 32, 32)))
    axes = plt.gca()
    boxes = [(box.get_width(), box.get_height()) for box in axes.patches]
    numpy.testing.assert_allclose(boxes, [(16, 8), (24, 8), (12, 4), (20, 4), (10, 1)])
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["stem", "MemoryEfficientDenseBlock", "transition", "head"]
    plt.close()


@pytest.mark.parametrize("side", [7, 112])
def test_largest_box_of_a_network_fills_its_drawing_whatever_its_side(side):
    shapes = [(1, 64, side, side), (1, 1000)]
    plots.show_architecture(pandas.DataFrame({"layer": ["stem", "head"], "output shape": shapes}))
    low, high = plt.gca().get_ylim()
    assert low <= -side / 2 and side / 2 <= high <= side
    plt.close()
