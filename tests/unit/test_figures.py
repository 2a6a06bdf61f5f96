"""PNGs take no more bytes than their pixels need."""

import io
from pathlib import Path

import numpy
import pytest
from matplotlib import pyplot as plt

from tools.figures import optimised

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
