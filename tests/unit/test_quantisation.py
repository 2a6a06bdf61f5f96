"""Weights of eight bits: near the weights, with a scale for each output channel."""

import numpy
import pytest

from utils.quantisation import by_output, dequantised, quantised


@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (10, 64)])
def test_weight_is_at_most_half_a_scale_away(shape):
    weights = numpy.random.RandomState(0).normal(size=shape).astype("float32")
    integers, scales = quantised(weights)
    assert integers.dtype == "int8" and integers.shape == shape and scales.shape == shape[:1]
    assert (abs(weights - dequantised(integers, scales)) <= by_output(scales, weights) * 0.5001).all()


def test_each_output_channel_has_a_scale_of_its_own():
    weights = numpy.array([[1, -0.5], [100, 50], [0, 0]], dtype="float32")
    integers, scales = quantised(weights)
    assert integers.tolist() == [[127, -64], [127, 64], [0, 0]]
    assert numpy.allclose(scales * 127, [1, 100, 127])
