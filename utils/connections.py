"""Networks that differ in nothing but how their layers are connected: plain, residual and dense (chapter 07).

All have one form: a 3x3 convolution with stride 2, three blocks of equally many layers with a transition between two
of them, and the head of DenseNet. Sources: He et al. 2016, "Identity Mappings in Deep Residual Networks", for the
residual block; Huang et al. 2017, "Densely Connected Convolutional Networks", for the dense one.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

from d2l import mxnet as d2l
from matplotlib import pyplot as plt
from mxnet import init
from mxnet.gluon import nn

from utils.densenet import DenseBlock, conv_block, head, transition_block
from utils.plots import COLOURS

KINDS = ("plain", "residual", "dense")
GROWTH_RATE = 16
# What the blocks of the plain and the residual network read, by depth. All widths are multiples of 16, for which
# processors have their fastest convolutions.
PLAIN_WIDTHS = {10: (32, 32, 32), 22: (32, 48, 48), 40: (48, 48, 64)}
DEPTHS = tuple(PLAIN_WIDTHS)
LOOKS = dict(zip(KINDS, ("s", "o", "^"), strict=True))
SIDE = 28
# Parameters may differ by so much, and a transition of the dense network keeps between these shares of its channels.
TOLERANCE = 0.02
LEAST_KEPT, MOST_KEPT = 1 / 3, 0.7


def plain_block(num_layers: int, num_channels: int) -> nn.HybridSequential:
    """A chain of `conv_block`s, each of which reads the one before (chapter 07)."""
    block = nn.HybridSequential()
    for _ in range(num_layers):
        block.add(conv_block(num_channels))
    return block


class ResidualBlock(nn.HybridBlock):
    """The same chain with a sum around every two layers, `x + f(x)` (chapter 07).

    Keeps the shape `(batch, channel, height, width)`; the number of layers is even.
    """

    def __init__(self, num_layers: int, num_channels: int):
        super().__init__()
        self.pairs = nn.HybridSequential()
        for _ in range(num_layers // 2):
            self.pairs.add(plain_block(2, num_channels))

    def hybrid_forward(self, F, X):
        for pair in self.pairs:
            X = X + pair(X)
        return X


def dense_block(num_layers: int, num_channels: int) -> DenseBlock:
    """A dense block that reads `num_channels` and grows by `GROWTH_RATE` a layer, whatever it reads (chapter 07)."""
    return DenseBlock(num_layers, GROWTH_RATE)


blocks = {"plain": plain_block, "residual": ResidualBlock, "dense": dense_block}


def layers_in_block(depth: int) -> int:
    """Layers of each of the three blocks; two transitions, the first and the last layer make up the depth."""
    return (depth - 4) // 3


class Network(d2l.Classifier):
    """The network of a kind and depth; maps images `(batch, 1, 28, 28)` to logits `(batch, 10)` (chapter 07)."""

    def __init__(self, kind: str, depth: int, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.HybridSequential()
        for number, num_channels in enumerate(widths(kind, depth)):
            if number == 0:
                self.net.add(nn.Conv2D(num_channels, kernel_size=3, strides=2, padding=1))
            else:
                self.net.add(transition_block(num_channels))
            self.net.add(blocks[kind](layers_in_block(depth), num_channels))
        self.net.add(head(10))
        self.net.initialize(init.MSRAPrelu("in", slope=0))


def walk(kind: str, num_layers: int, block_inputs: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Channels read, channels made, window's side and pixels made of each convolution and of the linear layer.

    `block_inputs` is how many channels each block reads.
    """
    side = SIDE // 2
    yield 1, block_inputs[0], 3, side**2
    for number, num_channels in enumerate(block_inputs, 1):
        for _ in range(num_layers):
            num_made = GROWTH_RATE if kind == "dense" else num_channels
            yield num_channels, num_made, 3, side**2
            if kind == "dense":
                num_channels += GROWTH_RATE
        if number < len(block_inputs):
            yield num_channels, block_inputs[number], 1, side**2
            side //= 2
    yield num_channels, 10, 1, 1


def parameters(kind: str, num_layers: int, block_inputs: tuple[int, ...]) -> int:
    """By arithmetic: weights and biases, and a scale and a shift for each channel that all but the first layer read."""
    layers = list(walk(kind, num_layers, block_inputs))
    normalised = sum(2 * num_read for num_read, _, _, _ in layers[1:])
    return normalised + sum((num_read * window**2 + 1) * num_made for num_read, num_made, window, _ in layers)


def multiply_adds(kind: str, num_layers: int, block_inputs: tuple[int, ...]) -> int:
    """By arithmetic, for one image."""
    layers = walk(kind, num_layers, block_inputs)
    return sum(num_read * num_made * window**2 * pixels for num_read, num_made, window, pixels in layers)


@cache
def widths(kind: str, depth: int) -> tuple[int, ...]:
    """How many channels each block reads.

    The dense network's are searched: of all multiples of 16 with which its parameters differ by at most `TOLERANCE`
    from the plain network's, those with the nearest number of multiply-adds.
    """
    plain = PLAIN_WIDTHS[depth]
    if kind != "dense":
        return plain
    num_layers = layers_in_block(depth)
    num_parameters, work = parameters("plain", num_layers, plain), multiply_adds("plain", num_layers, plain)
    added = num_layers * GROWTH_RATE
    multiples = range(16, 2 * (max(plain) + added), 16)
    matching = [
        block_inputs
        for block_inputs in product(multiples, repeat=3)
        if all(LEAST_KEPT <= after / (before + added) <= MOST_KEPT for before, after in pairwise(block_inputs))
        and abs(parameters("dense", num_layers, block_inputs) - num_parameters) <= TOLERANCE * num_parameters
    ]
    return min(matching, key=lambda block_inputs: abs(multiply_adds("dense", num_layers, block_inputs) - work))


class Comparison(NamedTuple):
    """What `benchmarks/density.py` found; errors in percent of the validation images, a list of seeds each.

    `errors` are those after equally many `images`, `in_time` those of networks that saw fewer because they are slower;
    both by depth and kind, as is `speeds`, in images a second. `lower_rates` is one error for each learning rate.
    """

    images: int
    errors: dict[tuple[int, str], list[float]]
    in_time: dict[tuple[int, str], list[float]]
    speeds: dict[tuple[int, str], int]
    lower_rates: dict[float, float]


def read_comparison(path: str | Path) -> Comparison:
    """The tables that `benchmarks/density.py` has printed (chapter 07)."""
    lines = [line for line in Path(path).read_text().splitlines() if line[:3].strip("| ").isdigit()]
    rows = [[cell.strip().replace(",", "") for cell in line.split("|")[1:-1]] for line in lines]
    most = max(int(row[5]) for row in rows if len(row) > 5)
    lower_rates = {float(row[0]): float(row[2]) for row in rows if len(row) == 3}
    comparison = Comparison(most, {}, {}, {}, lower_rates)
    for depth, kind, _, _, speed, images, *errors in (row for row in rows if len(row) > 5):
        table = comparison.errors if int(images) == most else comparison.in_time
        table[int(depth), kind] = [float(error) for error in errors]
        comparison.speeds[int(depth), kind] = int(speed)
    return comparison


def show_errors(errors: Mapping[str, Sequence[Sequence[float]]], groups: Sequence[str]) -> None:
    """Errors in percent: for each name, such as a kind, a list of seeds for each group, such as a depth (chapter 07).

    Each seed is a mark, and their mean a line. A list may be empty.
    """
    _, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    marks = (*LOOKS.values(), "v")
    for number, (name, by_group) in enumerate(errors.items()):
        for group, seeds in enumerate(by_group):
            if not seeds:
                continue
            place = group + 0.22 * (number - (len(errors) - 1) / 2)
            label = None if any(by_group[:group]) else name
            look = dict(marker=marks[number], facecolor="white", edgecolor=COLOURS[number], label=label, zorder=3)
            axes.scatter([place] * len(seeds), seeds, **look)
            axes.hlines(sum(seeds) / len(seeds), place - 0.1, place + 0.1, color=COLOURS[number], lw=2)
    axes.set(xticks=range(len(groups)), xticklabels=groups, ylabel="validation error, %")
    axes.grid(axis="y", color="#dddddd")
    axes.legend(loc="upper left")


def show_norms(norms: Mapping[str, Sequence[Sequence[float]]], titles: Sequence[str]) -> None:
    """Norms by layer, on a logarithmic scale: for each kind a list for each panel (chapter 07)."""
    _, panels = plt.subplots(1, len(titles), figsize=(8, 3.4), sharey=True, layout="constrained")
    for number, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        for (kind, by_panel), colour in zip(norms.items(), COLOURS, strict=False):
            layers = range(1, len(by_panel[number]) + 1)
            axes.semilogy(layers, by_panel[number], LOOKS[kind] + "-", color=colour, ms=3.5, mfc="white", label=kind)
        axes.set(title=title, xlabel="convolution, counted from the image")
        axes.grid(axis="y", color="#dddddd")
    panels[0].set_ylabel("norm of the gradient")
    panels[0].legend()
