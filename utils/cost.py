"""What a DenseNet costs, by arithmetic alone: shapes, parameters, multiply-adds, memory (chapters 08 to 12).

`python -m utils.cost 121 --side 224` prints the table. `utils.measure` reads the same off a real network.
"""

import argparse
import signal
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import prod
from typing import NamedTuple

from utils.spec import Spec, check_size, check_spec, densenet_spec

BYTES_PER_NUMBER = 4
RECOMPUTED = ("BatchNorm", "Activation", "LeakyReLU", "concatenation")


class Layer(NamedTuple):
    """One row of the table; sums over several layers have the same form.

    `output_shape` is `(batch, channel, height, width)`, or `(batch, class)` at the end. `parameters`
    are trained by a gradient, `running_statistics` are BatchNorm's means and variances.
    `multiply_adds` are those of convolutions and linear layers, for the whole batch.
    `activation_bytes` are what the layer makes and the backward pass needs again. BatchNorm's means
    and variances of the batch are left out: as many numbers as it has running statistics.
    `bytes_moved` are those of a forward pass in which the layer reads its input and its parameters once and
    writes its output once, with nothing left in a cache by the layer before (chapter 11).
    """

    stage: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    running_statistics: int
    multiply_adds: int
    activation_bytes: int
    bytes_moved: int


def layers(spec: Spec, side: int, channels: int = 3, num_classes: int = 1000, batch: int = 1) -> list[Layer]:
    """Every layer of the network of `spec`, in the order of the forward pass (chapter 08).

    The input has the shape `(batch, channels, side, side)`. Raises `ValueError` for a bad spec, for
    sizes that are no whole numbers above zero, and for a side that cannot be halved often enough.
    """
    check_spec(spec)
    for name, size in dict(side=side, channels=channels, num_classes=num_classes, batch=batch).items():
        check_size(name, size)
    num_halvings = len(spec["blocks"]) - 1
    smallest = 4 * (2**num_halvings - 1) + 1 if spec["stem"] == "imagenet" else 2**num_halvings
    if side < smallest:
        raise ValueError(f"A side of {side} pixels cannot be halved often enough: take at least {smallest}.")
    walk = Walk(spec, batch, channels, side)
    walk.stem()
    for number, num_layers in enumerate(spec["blocks"], 1):
        if number > 1:
            walk.transition(number - 1)
        walk.dense_block(number, num_layers)
    walk.head(num_classes)
    return walk.layers


class Walk:
    """Goes through a network from input to output, and knows the shape that the next layer reads.

    `size` is how many numbers the layer before has written.
    `num_kept` is how many numbers the backward pass keeps for each number of a layer's output. A convolution,
    BatchNorm and pooling need what they read, ReLU needs what it wrote, which it writes over what
    it read. Concatenation needs nothing, but makes a new copy of all channels for the next BatchNorm.
    """

    def __init__(self, spec: Spec, batch: int, channels: int, side: int):
        self.spec, self.batch, self.channels, self.side = spec, batch, channels, side
        self.size = batch * channels * side**2
        self.stage, self.prefix = "", ""
        self.layers: list[Layer] = []

    def stem(self) -> None:
        self.stage = "stem"
        if self.spec["stem"] == "cifar":
            self.convolution(self.spec["initial_channels"], 3)
            return
        self.convolution(self.spec["initial_channels"], 7, stride=2)
        self.normalise_and_activate()
        self.side = (self.side + 1) // 2
        # MXNet notes for each maximum where it was found.
        self.row("MaxPool2D 3x3", num_kept=2)

    def dense_block(self, number: int, num_layers: int) -> None:
        self.stage = f"block {number}"
        growth_rate, width = self.spec["growth_rate"], self.spec["bottleneck_width"]
        for layer in range(1, num_layers + 1):
            self.prefix = f"{layer} "
            num_read = self.channels
            if width:
                self.normalise_and_activate()
                self.convolution(width * growth_rate, 1)
            self.normalise_and_activate()
            self.convolution(growth_rate, 3, num_kept=0)
            if self.spec["drop_rate"]:
                self.row("Dropout", num_kept=1)
            self.channels = num_read + growth_rate
            self.row("concatenation", num_kept=1)
        self.prefix = ""

    def transition(self, number: int) -> None:
        self.stage = f"transition {number}"
        self.normalise_and_activate()
        self.convolution(int(self.channels * self.spec["compression"]), 1)
        self.side //= 2
        if self.spec["pooling"] == "max":
            self.row("MaxPool2D 2x2", num_kept=2)
        else:
            self.row("AvgPool2D 2x2", num_kept=1)

    def head(self, num_classes: int) -> None:
        self.stage = "head"
        self.normalise_and_activate()
        self.side = 1
        self.row("GlobalAvgPool2D", num_kept=1)
        weights = self.channels * num_classes
        parameters = weights + num_classes
        self.layers.append(
            Layer(
                stage=self.stage,
                layer="Dense",
                output_shape=(self.batch, num_classes),
                parameters=parameters,
                running_statistics=0,
                multiply_adds=weights * self.batch,
                activation_bytes=0,
                bytes_moved=BYTES_PER_NUMBER * (self.size + parameters + self.batch * num_classes),
            )
        )

    def normalise_and_activate(self) -> None:
        is_leaky = self.spec["activation"] == "leaky_relu"
        statistics = 2 * self.channels
        self.row("BatchNorm", num_kept=1 if is_leaky else 0, parameters=statistics, running_statistics=statistics)
        self.row("LeakyReLU" if is_leaky else "Activation", num_kept=1)

    def convolution(self, channels: int, window: int, stride: int = 1, num_kept: int = 1) -> None:
        """Add a convolution that makes so many channels, padded so that only its stride makes the side smaller."""
        weights = channels * self.channels * window**2
        biases = channels if self.spec["use_bias"] else 0
        self.channels, self.side = channels, (self.side - 1) // stride + 1
        multiply_adds = weights * self.side**2 * self.batch
        self.row(f"Conv2D {window}x{window}", num_kept, weights + biases, multiply_adds=multiply_adds)

    def row(
        self, name: str, num_kept: int, parameters: int = 0, running_statistics: int = 0, multiply_adds: int = 0
    ) -> None:
        """Add a layer that writes an array of the shape at this point; what it reads is what the layer before wrote."""
        shape = (self.batch, self.channels, self.side, self.side)
        size = prod(shape)
        # A concatenation reads not only the new channels but all that it writes.
        num_read = size if name == "concatenation" else self.size
        num_moved = num_read + parameters + running_statistics + size
        self.size = size
        self.layers.append(
            Layer(
                stage=self.stage,
                layer=self.prefix + name,
                output_shape=shape,
                parameters=parameters,
                running_statistics=running_statistics,
                multiply_adds=multiply_adds,
                activation_bytes=BYTES_PER_NUMBER * num_kept * size,
                bytes_moved=BYTES_PER_NUMBER * num_moved,
            )
        )


def total(layers: Iterable[Layer], stage: str = "all") -> Layer:
    """The sum of the layers, with the last one's output shape."""
    layers = list(layers)
    return Layer(
        stage=stage,
        layer="",
        output_shape=layers[-1].output_shape,
        parameters=sum(layer.parameters for layer in layers),
        running_statistics=sum(layer.running_statistics for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        bytes_moved=sum(layer.bytes_moved for layer in layers),
    )


def by_stage(layers: Iterable[Layer]) -> list[Layer]:
    """The sum of each stage: stem, blocks, transitions, head."""
    return [total(group, stage) for stage, group in groupby(layers, key=lambda layer: layer.stage)]


def memory_efficient(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with the `activation_bytes` of a memory-efficient network (chapter 10).

    Its blocks and transitions compute normalisations, activations and concatenations again, and keep what
    convolutions, dropout and pooling write, and the last concatenation, which is a block's output.
    """
    rows = []
    for layer, following in zip(layers, [*layers[1:], layers[-1]], strict=True):
        is_inside = layer.stage.startswith(("block", "transition")) and layer.stage == following.stage
        is_recomputed = is_inside and layer.layer.endswith(RECOMPUTED)
        rows.append(layer._replace(activation_bytes=0) if is_recomputed else layer)
    return rows


def as_text(layers: Iterable[Layer]) -> str:
    """The layers as a table in plain text, a row each: words to the left of their columns, counts to the right."""
    layers = list(layers)
    columns = []
    for name in Layer._fields:
        values = [getattr(layer, name) for layer in layers]
        is_count = isinstance(values[0], int)
        template, align = ("{:,}", str.rjust) if is_count else ("{}", str.ljust)
        cells = [name.replace("_", " "), *map(template.format, values)]
        width = max(map(len, cells))
        columns.append([align(cell, width) for cell in cells])
    return "\n".join("  ".join(row) for row in zip(*columns, strict=True))


def main() -> None:
    networks = {str(name): spec for name, spec in densenet_spec.items()}
    parser = argparse.ArgumentParser(prog="python -m utils.cost", description="What a DenseNet costs, layer by layer.")
    parser.add_argument("network", choices=networks, help="a DenseNet of the paper")
    parser.add_argument("--side", type=int, help="pixels of the input's side; 224, or 32 for a CIFAR network")
    parser.add_argument("--batch", type=int, default=1, help="images at once; 1")
    parser.add_argument("--channels", type=int, default=3, help="channels of an image; 3")
    parser.add_argument("--classes", type=int, help="1000, or 10 for a CIFAR network")
    arguments = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends quietly under `| head`
    spec = networks[arguments.network]
    side, num_classes = (224, 1000) if spec["stem"] == "imagenet" else (32, 10)
    if arguments.side is not None:
        side = arguments.side
    if arguments.classes is not None:
        num_classes = arguments.classes
    try:
        rows = layers(spec, side, arguments.channels, num_classes, arguments.batch)
    except ValueError as error:
        sys.exit(str(error))
    print(as_text(rows), as_text([*by_stage(rows), total(rows)]), sep="\n\n")


if __name__ == "__main__":
    main()
