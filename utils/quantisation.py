"""Weights as whole numbers of eight bits, with a scale for each output channel (chapter 18)."""

import numpy

# Whole numbers from -MOST to MOST fit in a byte.
MOST = 127


def quantised(weights: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Whole numbers `(output, ...)` from -127 to 127 and scales `(output,)`, whose product is near `weights`.

    Each output channel has the scale that takes its largest weight to 127, so that no weight is further from the
    product than half a scale.
    """
    largest = abs(weights).reshape(len(weights), -1).max(axis=1)
    scales = numpy.where(largest > 0, largest / MOST, 1).astype("float32")
    return numpy.rint(weights / by_output(scales, weights)).astype("int8"), scales


def dequantised(integers: numpy.ndarray, scales: numpy.ndarray) -> numpy.ndarray:
    """The weights `(output, ...)` that `quantised` left."""
    return integers * by_output(scales, integers)


def by_output(scales: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    """The scales `(output,)` in a shape that multiplies `weights` `(output, ...)`."""
    return scales.reshape(-1, *[1] * (weights.ndim - 1))
