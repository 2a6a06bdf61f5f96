"""A DenseNet that keeps for the backward pass what its convolutions write, as chapter 10 derives it.

Concatenations, normalisations and activations are computed again when their turn comes; no convolution runs twice.
Source: Pleiss et al. 2017, "Memory-Efficient Implementation of DenseNets", section 3.
"""

import ctypes

from mxnet import autograd, gluon, nd, np
from mxnet._ctypes.ndarray import _imperative_invoke
from mxnet.base import _LIB, OpHandle, c_str, check_call
from mxnet.gluon import nn
from mxnet.gluon.parameter import DeferredInitializationError

from utils.densenet import DenseBlock, DenseNet, transition_block


def backward_operator(name: str, inputs: list[nd.NDArray], outputs: list[nd.NDArray], **attributes) -> None:
    """Run the backward pass of one operator, such as "Convolution", that nobody recorded; write into `outputs`.

    `inputs` are those that MXNet's autograd would hand over: gradients first, then what the operator read or wrote.
    """
    handle = OpHandle()
    check_call(_LIB.NNGetOpHandle(c_str(f"_backward_{name}"), ctypes.byref(handle)))
    values = [str(value) for value in attributes.values()]
    _imperative_invoke(handle.value, inputs, list(attributes), values, outputs, False, False)


def arrays(layer: gluon.Block, read: nd.NDArray) -> list[nd.NDArray]:
    """A layer's parameters; one that has never run learns their shapes from `read`."""
    parameters = layer.collect_params().values()
    try:
        return [parameter.data(read.ctx).as_nd_ndarray() for parameter in parameters]
    except DeferredInitializationError:
        with autograd.pause():
            layer(read.as_np_ndarray())
        return [parameter.data(read.ctx).as_nd_ndarray() for parameter in parameters]


def set_gradients(layer: gluon.Block, gradients: list[nd.NDArray]) -> None:
    """Give a layer's first parameters their gradients, in order, and tell the trainer that these are new."""
    for parameter, gradient in zip(layer.collect_params().values(), gradients, strict=False):
        if parameter.grad_req != "null":
            total = parameter.grad(gradient.ctx).as_nd_ndarray()
            total[:] = total + gradient if parameter.grad_req == "add" else gradient
            parameter.data(gradient.ctx)._fresh_grad = True


def empty_like(X: nd.NDArray) -> nd.NDArray:
    """An array of the shape of `X`, on its device, to be written into."""
    return nd.empty(X.shape, ctx=X.ctx)


def convolution_backward(convolution: nn.Conv2D, read: nd.NDArray, gradient: nd.NDArray) -> nd.NDArray:
    """The gradient of what a convolution read, from that of what it wrote, both `(batch, channel, height, width)`.

    The weight, and the bias if there is one, get theirs.
    """
    kernel = arrays(convolution, read)
    gradients = [empty_like(array) for array in (read, *kernel)]
    backward_operator("Convolution", [gradient, read, *kernel], gradients, **convolution._kwargs)
    set_gradients(convolution, gradients[1:])
    return gradients[0]


def norm_backward(
    norm: nn.BatchNorm, statistics: list[nd.NDArray], read: nd.NDArray, gradient: nd.NDArray, out: nd.NDArray
) -> None:
    """Write into `out` the gradient of what a normalisation read, from that of what it wrote.

    All three have the shape of `read`, `(batch, channel, height, width)`; `statistics` are the mean and the inverse
    deviation of the batch, both `(channel,)`. The scale and the shift get their gradients.
    """
    parameters = arrays(norm, read)
    gradients = [out, *map(empty_like, parameters[:2])]
    backward_operator("BatchNorm", [gradient, *statistics, read, *parameters], gradients, **norm._kwargs)
    set_gradients(norm, gradients[1:])


def activation_operator(activation: gluon.Block) -> tuple[str, dict]:
    """The name of the MXNet operator that computes an activation, and its attributes."""
    if isinstance(activation, nn.LeakyReLU):
        return "LeakyReLU", dict(act_type="leaky", slope=activation._alpha)
    return "Activation", dict(act_type=activation._act_type)


def activate(activation: gluon.Block, X: nd.NDArray) -> nd.NDArray:
    """The activation of `X`, an array of any shape, which it overwrites."""
    name, attributes = activation_operator(activation)
    return getattr(nd, name)(X, out=X, **attributes)


def activation_backward(activation: gluon.Block, written: nd.NDArray, gradient: nd.NDArray) -> nd.NDArray:
    """The gradient of what an activation read, from that of what it wrote, which it overwrites; all of one shape."""
    name, attributes = activation_operator(activation)
    # The leaky ReLU asks for what it read, of which only the sign counts: what it wrote has the same.
    inputs = [gradient, written, written] if name == "LeakyReLU" else [gradient, written]
    backward_operator(name, inputs, [gradient], **attributes)
    return gradient


class Unit:
    """Normalisation, activation, convolution, which keep of each channel the mean and the deviation over the batch.

    Maps `(batch, channel, height, width)` to what the convolution writes.
    """

    def __init__(self, norm: nn.BatchNorm, activation: gluon.Block, convolution: nn.Conv2D):
        self.norm, self.activation, self.convolution = norm, activation, convolution

    def forward(self, read: nd.NDArray) -> nd.NDArray:
        """What the convolution writes; the mean and the inverse deviation, `(channel,)`, stay in `statistics`."""
        parameters = arrays(self.norm, read)
        normalized, *self.statistics = nd.BatchNorm(read, *parameters, output_mean_var=True, **self.norm._kwargs)
        activated = activate(self.activation, normalized)
        return nd.Convolution(activated, *arrays(self.convolution, activated), **self.convolution._kwargs)

    def backward(self, read: nd.NDArray, gradient: nd.NDArray) -> nd.NDArray:
        """The gradient of what was read, from that of what was written; the parameters get theirs."""
        activated = activate(self.activation, self.normalize_again(read))
        gradient = convolution_backward(self.convolution, activated, gradient)
        gradient = activation_backward(self.activation, activated, gradient)
        norm_backward(self.norm, self.statistics, read, gradient, out=activated)
        return activated

    def normalize_again(self, read: nd.NDArray) -> nd.NDArray:
        """What the normalisation wrote in `forward`, from what it read and the statistics that were kept."""
        gamma, beta, _, _ = arrays(self.norm, read)
        mean, inverse_deviation = self.statistics
        variance = inverse_deviation**-2 - self.norm._kwargs["eps"]
        return nd.BatchNorm(read, gamma, beta, mean, variance, **self.norm._kwargs | dict(use_global_stats=True))


def channels(X: nd.NDArray, begin: int, end: int | None) -> nd.NDArray:
    """A copy of the channels of `X` from `begin` to before `end`."""
    # Not X[:, begin:end], which fails for oneDNN's layouts when 8 or 16 channels straddle the edge.
    return nd.slice_axis(X, axis=1, begin=begin, end=end)


def with_gradient(X: nd.NDArray) -> np.ndarray:
    """Let autograd end at `X` and leave its gradient there; unlike `X.attach_grad()`, spend no time on zeros."""
    X = X.as_np_ndarray()
    autograd.mark_variables([X], [np.empty(X.shape, ctx=X.ctx)])
    return X


def lead_on(X: np.ndarray, gradient: nd.NDArray) -> None:
    """Hand the gradient of `X` to what `X` was computed from: to autograd, or to the block at which autograd ended."""
    if X.grad is None:
        X.backward(gradient.as_np_ndarray())
    else:
        X.grad[:] = gradient.as_np_ndarray()


class Layer:
    """A layer of a dense block, which keeps what its 1x1 convolution writes, if it has one."""

    def __init__(self, layer: nn.HybridSequential):
        parts = list(layer)
        if isinstance(parts[-1], nn.HybridSequential):  # what follows a bottleneck's 1x1 convolution
            parts = [*parts[:-1], *parts[-1]]
        self.units = [Unit(*parts[begin : begin + 3]) for begin in range(0, len(parts) - 2, 3)]
        self.dropout = parts[-1] if len(parts) % 3 else None

    def forward(self, read: nd.NDArray) -> nd.NDArray:
        """The channels that the layer adds, `(batch, growth_rate, height, width)`, from all channels before it."""
        self.kept = []
        for unit in self.units:
            read = unit.forward(read)
            self.kept.append(read)
        written = self.kept.pop()  # the block keeps what the last one writes, in its output
        if self.dropout is not None:
            self.mask = nd.Dropout(nd.ones_like(written), p=self.dropout._rate)
            written *= self.mask
        return written

    def backward(self, read: nd.NDArray, gradient: nd.NDArray) -> nd.NDArray:
        """The gradient of what was read, from that of the channels that the layer added; the parameters get theirs."""
        if self.dropout is not None:
            gradient *= self.mask
        for unit in reversed(self.units[1:]):
            gradient = unit.backward(self.kept.pop(), gradient)
        return self.units[0].backward(read, gradient)


def is_training_step() -> bool:
    """Whether there will be a backward pass to keep something for."""
    return autograd.is_recording() and autograd.is_training()


def kept_by(block: gluon.Block) -> tuple:
    """What a block kept in its last recorded forward pass, and forgets now. Raises `RuntimeError` for nothing kept."""
    kept, block.kept = getattr(block, "kept", None), None
    if kept is None:
        raise RuntimeError("There is nothing to go back through: call the network inside autograd.record() first.")
    return kept


class MemoryEfficientDenseBlock(DenseBlock):
    """A `DenseBlock` that keeps its output and what its 1x1 convolutions write (chapter 10).

    Same shapes, same parameters, same names as `DenseBlock`. While autograd records, one `forward`
    must be followed by one `backward`, which `utils.backward` calls.
    `backward` raises `RuntimeError` if no recorded forward pass came before.
    """

    def forward(self, X: np.ndarray) -> np.ndarray:
        if not is_training_step():
            return super().forward(X)
        layers, Y = [Layer(layer) for layer in self.layers], X.as_nd_ndarray()
        with autograd.pause(train_mode=True):
            for layer in layers:
                Y = nd.concat(Y, layer.forward(Y), dim=1)
                Y.wait_to_read()
        self.kept = X, with_gradient(Y), layers
        return self.kept[1]

    def backward(self) -> None:
        X, Y, layers = kept_by(self)
        growth_rate = (Y.shape[1] - X.shape[1]) // len(layers)
        gradient, Y = Y.grad.as_nd_ndarray(), Y.as_nd_ndarray()
        with autograd.pause(train_mode=True):
            for layer in reversed(layers):
                num_channels = Y.shape[1] - growth_rate
                Y = channels(Y, 0, num_channels)  # what the layer read; the rest is free
                flow, gradient = channels(gradient, num_channels, None), channels(gradient, 0, num_channels)
                gradient += layer.backward(Y, flow)
                gradient.wait_to_read()
        lead_on(X, gradient)


class MemoryEfficientTransition(nn.HybridSequential):
    """A transition that keeps what its convolution writes (chapter 10); takes the arguments of `transition_block`."""

    def __init__(self, *arguments, **options):
        super().__init__(prefix="transition_")
        self.add(*transition_block(*arguments, **options))

    def forward(self, X: np.ndarray) -> np.ndarray:
        if not is_training_step():
            return super().forward(X)
        norm, activation, convolution, pooling = self
        unit = Unit(norm, activation, convolution)
        with autograd.pause(train_mode=True):
            written = unit.forward(X.as_nd_ndarray())
        self.kept = X, with_gradient(written), unit
        return pooling(self.kept[1])

    def backward(self) -> None:
        X, written, unit = kept_by(self)
        with autograd.pause(train_mode=True):
            gradient = unit.backward(X.as_nd_ndarray(), written.grad.as_nd_ndarray())
        gradient.wait_to_read()
        lead_on(X, gradient)


class MemoryEfficientDenseNet(DenseNet):
    """A `DenseNet` of memory-efficient blocks; train it with `backward(net, loss)` (chapter 10).

    Takes the arguments of `DenseNet`, and loads the parameters that one has saved.
    """

    make_block = MemoryEfficientDenseBlock
    make_transition = MemoryEfficientTransition

    def hybridize(self, active: bool = True, **options) -> None:
        # One graph of the whole network would keep everything, and memory set aside for a graph
        # (the options) could not be used by the next.
        for stage in self.net:
            stage.hybridize(active)
