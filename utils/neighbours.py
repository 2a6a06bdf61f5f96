"""The neighbours of DenseNet, AlexNet, VGG and ResNet, and small networks of equal size (chapter 13).

Sources: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", for AlexNet as Gluon and
torchvision have it; Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
table 1, column D; He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from d2l import mxnet as d2l
from mxnet import init
from mxnet.gluon import nn

from utils.densenet import DenseNet, stem
from utils.spec import imagenet_spec


def chain(name: str, *parts: nn.HybridBlock) -> nn.HybridSequential:
    """Parts that each read the one before, under a name for tables."""
    block = nn.HybridSequential(prefix=f"{name}_")
    block.add(*parts)
    return block


def conv_layer(
    num_channels: int,
    window: int,
    stride: int = 1,
    padding: int | None = None,
    use_bias: bool = False,
    norm: bool = True,
    activation: bool = True,
) -> nn.HybridSequential:
    """Convolution, BatchNorm if any, ReLU if any: the layer of all networks but DenseNet, which normalises first.

    Maps `(batch, channel, height, width)` to `(batch, num_channels, height / stride, width / stride)`, rounded up, if
    the window is odd and no padding given.
    """
    padding = window // 2 if padding is None else padding
    block = chain("convolution", nn.Conv2D(num_channels, window, stride, padding, use_bias=use_bias))
    if norm:
        block.add(nn.BatchNorm())
    if activation:
        block.add(nn.Activation("relu"))
    return block


def classifier(num_classes: int, width: int, dropout: float = 0.5) -> nn.HybridSequential:
    """Two linear layers with ReLU and dropout, and a third that gives the logits `(batch, num_classes)`."""
    block = chain("classifier")
    for _ in range(2):
        block.add(nn.Dense(width), nn.Activation("relu"))
        if dropout:
            block.add(nn.Dropout(dropout))
    block.add(nn.Dense(num_classes))
    return block


def alexnet(
    num_classes: int = 1000,
    widths: tuple[int, ...] = (64, 192, 384, 256, 256),
    hidden: int = 4096,
    window: int = 11,
    stride: int = 4,
) -> nn.HybridSequential:
    """AlexNet with one tower; maps `(batch, channel, height, width)` to logits `(batch, num_classes)`."""
    plain = partial(conv_layer, use_bias=True, norm=False)
    first, second, *others = widths
    net = chain("alexnet", plain(first, window, stride, padding=2), nn.MaxPool2D(3, 2))
    net.add(plain(second, 5), nn.MaxPool2D(3, 2))
    net.add(*[plain(width, 3) for width in others], nn.MaxPool2D(3, 2))
    net.add(classifier(num_classes, hidden))
    return net


def vgg(
    num_classes: int = 1000,
    blocks: tuple[tuple[int, int], ...] = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
    hidden: int = 4096,
    norm: bool = False,
    dropout: float = 0.5,
) -> nn.HybridSequential:
    """VGG-16, or another VGG with these layers and channels of each block; the side is halved after each block.

    Maps `(batch, channel, height, width)` to logits `(batch, num_classes)`.
    """
    net = chain("vgg")
    for num_layers, num_channels in blocks:
        layers = [conv_layer(num_channels, 3, use_bias=True, norm=norm) for _ in range(num_layers)]
        net.add(chain("block", *layers, nn.MaxPool2D()))
    net.add(classifier(num_classes, hidden, dropout))
    return net


class Sum(nn.HybridBlock):
    """The sum of two arrays of one shape, as a layer that tables can show."""

    def hybrid_forward(self, F, X, Y):
        return X + Y


class Residual(nn.HybridBlock):
    """`relu(body(X) + shortcut(X))`; without a shortcut, `X` itself is added."""

    def __init__(self, body: nn.HybridBlock, shortcut: nn.HybridBlock | None):
        super().__init__()
        self.body, self.shortcut = body, shortcut
        self.sum, self.activation = Sum(), nn.Activation("relu")

    def hybrid_forward(self, F, X):
        passed = X if self.shortcut is None else self.shortcut(X)
        return self.activation(self.sum(self.body(X), passed))


def projection(num_read: int, num_made: int, stride: int) -> nn.HybridSequential | None:
    """The shortcut of a block: a 1x1 convolution where the channels change, and none elsewhere."""
    return None if num_read == num_made else conv_layer(num_made, 1, stride, activation=False)


def basic_block(num_read: int, num_made: int, stride: int) -> Residual:
    """The block of ResNet-18: two 3x3 convolutions."""
    body = chain("body", conv_layer(num_made, 3, stride), conv_layer(num_made, 3, activation=False))
    return Residual(body, projection(num_read, num_made, stride))


def narrow_block(num_read: int, num_made: int, stride: int) -> Residual:
    """The block of ResNet-50 and ResNet-101: a 3x3 convolution of a quarter of the channels between two of 1x1."""
    width = num_made // 4
    body = chain("body", conv_layer(width, 1), conv_layer(width, 3, stride))
    body.add(conv_layer(num_made, 1, activation=False))
    return Residual(body, projection(num_read, num_made, stride))


def resnet(
    make_block: Callable[[int, int, int], Residual],
    blocks: tuple[int, ...],
    widths: tuple[int, ...],
    num_classes: int = 1000,
    make_stem: Callable[..., nn.HybridSequential] = stem,
) -> nn.HybridSequential:
    """A ResNet with so many blocks in each stage; `widths` are the channels of the stem and of each stage.

    Maps `(batch, channel, height, width)` to logits `(batch, num_classes)`.
    """
    net = chain("resnet", make_stem(widths[0], use_bias=False))
    for number, (num_blocks, (num_read, num_made)) in enumerate(zip(blocks, pairwise(widths), strict=True)):
        stage = chain("stage", make_block(num_read, num_made, 2 if number else 1))
        stage.add(*[make_block(num_made, num_made, 1) for _ in range(num_blocks - 1)])
        net.add(stage)
    net.add(chain("head", nn.GlobalAvgPool2D(), nn.Dense(num_classes)))
    return net


# Networks of nearly equal parameters for images of 32 pixels and ten classes.
small_vgg = partial(vgg, 10, ((2, 16), (2, 32), (2, 64)), hidden=91)
SMALL = {
    "AlexNet": partial(alexnet, 10, (16, 32, 48, 48, 48), hidden=172, window=5, stride=1),
    "VGG": small_vgg,
    "VGG, normalised": partial(small_vgg, norm=True),
    "VGG, no dropout": partial(small_vgg, dropout=0),
    "VGG, normalised, no dropout": partial(small_vgg, norm=True, dropout=0),
    "ResNet": partial(resnet, basic_block, (2, 2, 2), (16, 16, 32, 64), 10, partial(conv_layer, window=3)),
    "DenseNet": partial(DenseNet, imagenet_spec(16, 1, 2, 9) | dict(stem="cifar", initial_channels=16)),
}


class SmallNetwork(d2l.Classifier):
    """One of `SMALL`, ready to be trained; maps images `(batch, 1, 32, 32)` to logits `(batch, 10)`."""

    def __init__(self, kind: str, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = SMALL[kind]()
        self.net.initialize(init.MSRAPrelu("in", slope=0), force_reinit=True)  # a DenseNet comes initialised
