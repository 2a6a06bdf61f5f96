"""A DenseNet whose dense blocks keep only their output for the backward pass, as chapter 10 derives it.

The idea is Pleiss et al. 2017, "Memory-Efficient Implementation of DenseNets", section 3. They keep
the output of each 1x1 convolution, too; here the whole layer is computed again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mxnet import autograd, gluon, nd, np

from utils.densenet import DenseBlock, DenseNet


@contextmanager
def statistics_restored(block: gluon.Block, device) -> Iterator[None]:
    """Give a block's running statistics back the values that they had before."""
    parameters = block.collect_params(".*running_.*").values()
    statistics = [p.data(device) for p in parameters if p.shape[0] > 0]
    before = [array.copy() for array in statistics]
    try:
        yield
    finally:
        for array, value in zip(statistics, before, strict=True):
            array[:] = value


def channels(X: np.ndarray, begin: int, end: int | None) -> np.ndarray:
    """A copy of the channels of `X` from `begin` to before `end`."""
    # Not X[:, begin:end], which fails for oneDNN's layouts when 8 or 16 channels straddle the edge.
    return nd.slice_axis(X.as_nd_ndarray(), axis=1, begin=begin, end=end).as_np_ndarray()


def with_gradient(X: np.ndarray) -> np.ndarray:
    """Let autograd write the gradient of `X`; unlike `X.attach_grad()`, spend no time on zeros."""
    autograd.mark_variables([X], [np.empty(X.shape, ctx=X.ctx)])
    return X


def go_back(layer: gluon.Block, read: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Run a layer of a dense block again, and the gradient `(batch, channel, height, width)` back through it.

    `gradient` is that of what the layer read and wrote, concatenated. Returns that of what it read.
    """
    num_channels = read.shape[1]
    with autograd.record():
        features = layer(with_gradient(read))
    features.backward(channels(gradient, num_channels, None))
    gradient = channels(gradient, 0, num_channels)
    gradient += read.grad
    return gradient


class MemoryEfficientDenseBlock(DenseBlock):
    """A `DenseBlock` that computes each layer a second time when its gradients are needed (chapter 10).

    Same shapes, same parameters, same names as `DenseBlock`. While autograd records, one `forward`
    must be followed by one `backward`, which `utils.backward` calls.
    `backward` raises `RuntimeError` if no recorded forward pass came before.
    """

    kept: tuple[np.ndarray, np.ndarray] | None = None

    def forward(self, X: np.ndarray) -> np.ndarray:
        if not autograd.is_recording():
            return super().forward(X)
        with statistics_restored(self, X.ctx), autograd.pause(train_mode=autograd.is_training()):
            Y = super().forward(X)
        self.kept = X, with_gradient(Y)
        return Y

    def backward(self) -> None:
        if self.kept is None:
            raise RuntimeError("There is nothing to go back through: call the network inside autograd.record() first.")
        X, Y = self.kept
        self.kept = None
        growth_rate = (Y.shape[1] - X.shape[1]) // len(self.layers)
        gradient = Y.grad
        for layer in reversed(self.layers):
            gradient.wait_to_read()  # or MXNet makes what all layers read at once
            read = channels(Y, 0, gradient.shape[1] - growth_rate)
            gradient = go_back(layer, read, gradient)
        X.backward(gradient)


class MemoryEfficientDenseNet(DenseNet):
    """A `DenseNet` of memory-efficient blocks; train it with `backward(net, loss)` (chapter 10).

    Takes the arguments of `DenseNet`, and loads the parameters that one has saved.
    """

    make_block = MemoryEfficientDenseBlock

    def hybridize(self, active: bool = True, **options) -> None:
        # One graph of the whole network would keep everything, and memory set aside for a graph
        # (the options) could not be used by the next.
        for stage in self.net:
            stage.hybridize(active)
