"""A DenseNet whose dense blocks keep only their output for the backward pass (chapter 10).

The idea is Pleiss et al. 2017, "Memory-Efficient Implementation of DenseNets", section 3. They keep
the output of each 1x1 convolution, too; here the whole layer is computed again.
"""

from mxnet import autograd, gluon, nd, np

from utils.densenet import DenseBlock, DenseNet


class MemoryEfficientDenseBlock(DenseBlock):
    """A `DenseBlock` that computes each layer a second time when its gradients are needed (chapter 10).

    Same shapes, same parameters, same names as `DenseBlock`. While autograd records, one `forward`
    must be followed by one `backward`, which the function `backward` of this module calls.
    """

    kept = None

    def forward(self, X: np.ndarray) -> np.ndarray:
        if not autograd.is_recording():
            return super().forward(X)
        statistics = [p.data(X.ctx) for p in self.collect_params(".*running_.*").values() if p.shape[0] > 0]
        before = [array.copy() for array in statistics]
        with autograd.pause(train_mode=autograd.is_training()):
            Y = super().forward(X)
        # The second time counts. On a processor, MXNet updates them in the backward pass anyway.
        for array, value in zip(statistics, before, strict=True):
            array[:] = value
        self.kept = X, with_gradient(Y)
        return Y

    def backward(self) -> None:
        """Fill the gradients of the block's parameters, and of all that its input was computed from.

        Raises `RuntimeError` if no recorded forward pass came before.
        """
        if self.kept is None:
            raise RuntimeError("There is nothing to go back through: call the network inside autograd.record() first.")
        (X, Y), self.kept = self.kept, None
        gradient, num_channels = Y.grad, Y.shape[1]
        growth_rate = (num_channels - X.shape[1]) // len(self.layers)
        for layer in reversed(self.layers):
            num_channels -= growth_rate
            gradient.wait_to_read()  # or MXNet makes what all layers read at once
            read = with_gradient(channels(Y, 0, num_channels))
            with autograd.record():
                features = layer(read)
            features.backward(channels(gradient, num_channels, None))
            gradient = channels(gradient, 0, num_channels)
            gradient += read.grad
        X.backward(gradient)


def channels(X: np.ndarray, begin: int, end: int | None) -> np.ndarray:
    """A copy of the channels of `X` from `begin` to before `end`."""
    # Not X[:, begin:end], which fails for oneDNN's layouts when 8 or 16 channels straddle the edge.
    return nd.slice_axis(X.as_nd_ndarray(), axis=1, begin=begin, end=end).as_np_ndarray()


def with_gradient(X: np.ndarray) -> np.ndarray:
    """Let autograd write the gradient of `X`; unlike `X.attach_grad()`, spend no time on zeros."""
    autograd.mark_variables([X], [np.empty(X.shape, ctx=X.ctx)])
    return X


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


def backward(net: gluon.Block, loss: np.ndarray) -> None:
    """What `loss.backward()` does, for networks with memory-efficient blocks and for all others (chapter 10)."""
    blocks = []
    net.apply(lambda block: blocks.append(block) if isinstance(block, MemoryEfficientDenseBlock) else None)
    loss.backward()
    for block in reversed(blocks):
        block.backward()
