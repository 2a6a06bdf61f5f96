"""What the hidden tests of the assignments share; the grader lends it to the student's process."""

import zlib

import numpy
from mxnet import np
from mxnet.gluon import Block

NUM_VALUES = 16


def fingerprint(block: Block, shape: tuple[int, ...], seed: int) -> list[list]:
    """The shape of the block's output and some of its values, with weights that only the seed and the shapes decide.

    The input, `(batch, channel, height, width)` = `shape`, is drawn from the seed as well. So two
    blocks that compute the same have the same fingerprint, whatever their layers are called.
    """
    X = np.array(numpy.random.RandomState(seed).normal(size=shape).astype("float32"))
    block.initialize()
    block(X)  # settles the shapes
    for name, parameter in block.collect_params().items():
        kind = name.rpartition("_")[2]
        random = numpy.random.RandomState([seed, zlib.crc32(f"{kind} {parameter.shape}".encode())])
        values = random.uniform(0.5, 1.5, parameter.shape) if kind == "var" else random.normal(size=parameter.shape)
        parameter.set_data(np.array(values.astype("float32")))
    Y = block(X).asnumpy()
    chosen = numpy.random.RandomState(seed + 1).choice(Y.size, min(NUM_VALUES, Y.size), replace=False)
    return [list(Y.shape), Y.ravel()[chosen].tolist()]
