"""The backward pass of a training step, for networks with blocks that go back by themselves and for all others."""

from mxnet import gluon, np


def backward(net: gluon.Block, loss: np.ndarray) -> None:
    """`loss.backward()`, then the `backward` of each block of `net` that has one, the last first (chapter 10)."""
    blocks: list[gluon.Block] = []
    net.apply(blocks.append)
    loss.backward()
    for block in reversed(blocks):
        if hasattr(block, "backward"):
            block.backward()
