"""Shapes and counts read off a real network (chapters 02 to 06)."""

import pandas
from mxnet import gluon, np


def parameter_count(net: gluon.Block, trainable: bool = True) -> int:
    """Number of parameters of an initialised network.

    With `trainable=False` BatchNorm's running means and variances count too, which training
    updates without a gradient. Raises `DeferredInitializationError` before the first forward pass.
    """
    parameters = net.collect_params().values()
    return sum(p.data().size for p in parameters if p.grad_req != "null" or not trainable)


def shape_table(net: gluon.Block, input_shape: tuple[int, ...]) -> pandas.DataFrame:
    """The output shape and the trainable parameters of each layer of a sequential network.

    Runs the layers one after the other on zeros of `input_shape`, `(batch, channel, height, width)`.
    """
    device = next(iter(net.collect_params().values())).list_ctx()[0]
    X = np.zeros(input_shape, ctx=device)
    rows = []
    for layer in getattr(net, "net", net):
        X = layer(X)
        rows.append((layer_name(layer), X.shape, f"{parameter_count(layer):,}"))
    return pandas.DataFrame(rows, columns=["layer", "output shape", "parameters"])


def layer_name(layer: gluon.Block) -> str:
    """A sequence's own name, such as "stem"; else the kind of layer, with the window if it has one."""
    if isinstance(layer, gluon.nn.HybridSequential):
        return layer.name
    kind = type(layer).__name__
    window = getattr(layer, "_kwargs", {}).get("kernel", ())
    return f"{kind} {'x'.join(map(str, window))}" if window and "Global" not in kind else kind
