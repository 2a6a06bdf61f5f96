"""DenseNet in Gluon, as chapters 02 to 04 derive it.

Every definition here is printed in a chapter, word for word but for its docstring.
Source: Huang et al. 2017, "Densely Connected Convolutional Networks", section 3 and table 1.
"""

from collections.abc import Callable
from functools import partial

from d2l import mxnet as d2l
from mxnet import init
from mxnet.gluon import nn

from utils.spec import Spec, check_spec, densenet_spec

__all__ = [
    "DenseBlock",
    "DenseNet",
    "bottleneck_block",
    "conv_block",
    "densenet_spec",
    "head",
    "stem",
    "transition_block",
]

activations = {"relu": partial(nn.Activation, "relu"), "leaky_relu": partial(nn.LeakyReLU, 0.2)}
poolings = {"average": nn.AvgPool2D, "max": nn.MaxPool2D}


def conv_block(
    num_channels: int, use_bias: bool = True, activation: str = "relu", drop_rate: float = 0
) -> nn.HybridSequential:
    """BatchNorm, activation, 3x3 convolution, dropout if any: one layer of a dense block (chapter 02).

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height, width)`.
    """
    block = nn.HybridSequential(prefix="conv_")
    block.add(
        nn.BatchNorm(),
        activations[activation](),
        nn.Conv2D(num_channels, kernel_size=3, padding=1, use_bias=use_bias),
    )
    if drop_rate:
        block.add(nn.Dropout(drop_rate))
    return block


def bottleneck_block(
    growth_rate: int, width: int = 4, use_bias: bool = False, activation: str = "relu", drop_rate: float = 0
) -> nn.HybridSequential:
    """A 1x1 convolution to `width * growth_rate` channels, then `conv_block` (chapter 04).

    Maps `(batch, channel, height, width)` to `(batch, growth_rate, height, width)`.
    Source: Huang et al. 2017, section 3, "Bottleneck layers".
    """
    block = nn.HybridSequential(prefix="bottleneck_")
    block.add(
        nn.BatchNorm(),
        activations[activation](),
        nn.Conv2D(width * growth_rate, kernel_size=1, use_bias=use_bias),
        conv_block(growth_rate, use_bias, activation, drop_rate),
    )
    return block


class DenseBlock(nn.HybridBlock):
    """Layers that each read the concatenation of all that came before (chapter 02).

    `make_layer(growth_rate)` builds one layer. Maps `(batch, channel, height, width)` to
    `(batch, channel + num_layers * growth_rate, height, width)`.
    """

    def __init__(self, num_layers: int, growth_rate: int, make_layer=conv_block):
        super().__init__()
        self.layers = nn.HybridSequential()
        for _ in range(num_layers):
            self.layers.add(make_layer(growth_rate))

    def hybrid_forward(self, F, X):
        for layer in self.layers:
            X = F.np.concatenate((X, layer(X)), axis=1)
        return X


def transition_block(
    num_channels: int, use_bias: bool = True, activation: str = "relu", pooling: str = "average"
) -> nn.HybridSequential:
    """BatchNorm, activation, 1x1 convolution, 2x2 pooling (chapter 03).

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height // 2, width // 2)`.
    """
    block = nn.HybridSequential(prefix="transition_")
    block.add(
        nn.BatchNorm(),
        activations[activation](),
        nn.Conv2D(num_channels, kernel_size=1, use_bias=use_bias),
        poolings[pooling](pool_size=2, strides=2),
    )
    return block


def stem(
    num_channels: int, use_bias: bool = True, activation: str = "relu", kind: str = "imagenet"
) -> nn.HybridSequential:
    """7x7 convolution and 3x3 max pooling, each with stride 2; of kind "cifar" one 3x3 convolution (chapter 04).

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height / 4, width / 4)`,
    each division rounded up; of kind "cifar" height and width stay.
    """
    block = nn.HybridSequential(prefix="stem_")
    if kind == "cifar":
        block.add(nn.Conv2D(num_channels, kernel_size=3, padding=1, use_bias=use_bias))
        return block
    block.add(
        nn.Conv2D(num_channels, kernel_size=7, strides=2, padding=3, use_bias=use_bias),
        nn.BatchNorm(),
        activations[activation](),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
    )
    return block


def head(num_classes: int, activation: str = "relu") -> nn.HybridSequential:
    """BatchNorm, activation, global average pooling, classifier (chapter 04).

    Maps `(batch, channel, height, width)` to logits `(batch, num_classes)`.
    """
    block = nn.HybridSequential(prefix="head_")
    block.add(nn.BatchNorm(), activations[activation](), nn.GlobalAvgPool2D(), nn.Dense(num_classes))
    return block


def layer_maker(spec: Spec) -> Callable[[int], nn.HybridSequential]:
    """What builds one layer of a dense block from its growth rate, with the choices of `spec` (chapter 04)."""
    use_bias, activation, drop_rate = spec["use_bias"], spec["activation"], spec["drop_rate"]
    if spec["bottleneck_width"] is None:
        return partial(conv_block, use_bias=use_bias, activation=activation, drop_rate=drop_rate)
    width = spec["bottleneck_width"]
    return partial(bottleneck_block, width=width, use_bias=use_bias, activation=activation, drop_rate=drop_rate)


class DenseNet(d2l.Classifier):
    """The whole network of a spec (chapter 04).

    Maps images `(batch, channel, height, width)` to logits `(batch, num_classes)`. Pooling
    before the classifier is global, so the network takes images of any side that can be halved
    often enough: 29 pixels or more with the ImageNet stem and four blocks. `lr` is the learning
    rate that `d2l.Classifier` trains with. Raises `ValueError` for a bad spec.
    """

    make_block = DenseBlock
    make_transition = staticmethod(transition_block)

    def __init__(self, spec: Spec, num_classes: int = 10, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        check_spec(spec)
        use_bias, activation = spec["use_bias"], spec["activation"]
        make_layer, num_channels = layer_maker(spec), spec["initial_channels"]
        self.net = nn.HybridSequential()
        self.net.add(stem(num_channels, use_bias, activation, spec["stem"]))
        for i, num_layers in enumerate(spec["blocks"]):
            if i > 0:
                num_channels = int(num_channels * spec["compression"])
                self.net.add(self.make_transition(num_channels, use_bias, activation, spec["pooling"]))
            self.net.add(self.make_block(num_layers, spec["growth_rate"], make_layer))
            num_channels += num_layers * spec["growth_rate"]
        self.net.add(head(num_classes, activation))
        self.net.initialize(init.MSRAPrelu("in", slope=0))
