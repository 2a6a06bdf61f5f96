"""DenseNet in Gluon, as chapters 02 to 04 derive it.

Every definition here is printed in a chapter, word for word but for its docstring.
Source: Huang et al. 2017, "Densely Connected Convolutional Networks", section 3 and table 1.
"""

from functools import partial

from d2l import mxnet as d2l
from mxnet import init
from mxnet.gluon import nn


def conv_block(num_channels: int, use_bias: bool = True) -> nn.HybridSequential:
    """BatchNorm, ReLU, 3x3 convolution: one layer of a dense block (chapter 02).

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height, width)`.
    """
    block = nn.HybridSequential(prefix="conv_")
    block.add(
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Conv2D(num_channels, kernel_size=3, padding=1, use_bias=use_bias),
    )
    return block


def bottleneck_block(growth_rate: int, width: int = 4, use_bias: bool = False) -> nn.HybridSequential:
    """A 1x1 convolution to `width * growth_rate` channels, then `conv_block` (chapter 04).

    Maps `(batch, channel, height, width)` to `(batch, growth_rate, height, width)`.
    Source: Huang et al. 2017, section 3, "Bottleneck layers".
    """
    block = nn.HybridSequential(prefix="bottleneck_")
    block.add(
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Conv2D(width * growth_rate, kernel_size=1, use_bias=use_bias),
        conv_block(growth_rate, use_bias),
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


def transition_block(num_channels: int, use_bias: bool = True) -> nn.HybridSequential:
    """BatchNorm, ReLU, 1x1 convolution, 2x2 average pooling (chapter 03).

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height // 2, width // 2)`.
    """
    block = nn.HybridSequential(prefix="transition_")
    block.add(
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Conv2D(num_channels, kernel_size=1, use_bias=use_bias),
        nn.AvgPool2D(pool_size=2, strides=2),
    )
    return block


def stem(num_channels: int, use_bias: bool = True) -> nn.HybridSequential:
    """7x7 convolution and 3x3 max pooling, each with stride 2 (chapter 04).

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height / 4, width / 4)`,
    each division rounded up.
    """
    block = nn.HybridSequential(prefix="stem_")
    block.add(
        nn.Conv2D(num_channels, kernel_size=7, strides=2, padding=3, use_bias=use_bias),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.MaxPool2D(pool_size=3, strides=2, padding=1),
    )
    return block


def head(num_classes: int) -> nn.HybridSequential:
    """BatchNorm, ReLU, global average pooling, classifier (chapter 04).

    Maps `(batch, channel, height, width)` to logits `(batch, num_classes)`.
    """
    block = nn.HybridSequential(prefix="head_")
    block.add(nn.BatchNorm(), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(num_classes))
    return block


def imagenet_spec(growth_rate: int, *blocks: int) -> dict:
    """The recipe of the published ImageNet networks: bottlenecks, compression one half, no biases (chapter 04)."""
    return dict(
        growth_rate=growth_rate,
        blocks=blocks,
        initial_channels=2 * growth_rate,
        bottleneck_width=4,
        compression=0.5,
        use_bias=False,
    )


densenet_spec = {
    121: imagenet_spec(32, 6, 12, 24, 16),
    161: imagenet_spec(48, 6, 12, 36, 24),
    169: imagenet_spec(32, 6, 12, 32, 32),
    201: imagenet_spec(32, 6, 12, 48, 32),
    264: imagenet_spec(32, 6, 12, 64, 48),
}


class DenseNet(d2l.Classifier):
    """The whole network of a spec (chapter 04).

    Maps images `(batch, channel, height, width)` to logits `(batch, num_classes)`. Pooling
    before the classifier is global, so the network takes images of any side from 29 pixels up.
    `lr` is the learning rate that `d2l.Classifier` trains with.
    """

    def __init__(self, spec: dict, num_classes: int = 10, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        use_bias = spec["use_bias"]
        make_layer = partial(conv_block, use_bias=use_bias)
        if spec["bottleneck_width"]:
            make_layer = partial(bottleneck_block, width=spec["bottleneck_width"], use_bias=use_bias)
        num_channels = spec["initial_channels"]
        self.net = nn.HybridSequential()
        self.net.add(stem(num_channels, use_bias))
        for i, num_layers in enumerate(spec["blocks"]):
            if i > 0:
                num_channels = int(num_channels * spec["compression"])
                self.net.add(transition_block(num_channels, use_bias))
            self.net.add(DenseBlock(num_layers, spec["growth_rate"], make_layer))
            num_channels += num_layers * spec["growth_rate"]
        self.net.add(head(num_classes))
        self.net.initialize(init.MSRAPrelu("in", slope=0))
