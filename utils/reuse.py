"""Which layers use what which layers made: the heat maps of chapter 14, and what can be left out.

Source: Huang et al. 2017, "Densely Connected Convolutional Networks", section 5 and figure 5.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from mxnet import gluon
from mxnet.gluon import nn

from utils.densenet import DenseBlock
from utils.spec import imagenet_spec

# Like the network of the paper's figure 5: three plain blocks, no bottleneck, no compression.
PLAIN_SPEC = imagenet_spec(8, 8, 8, 8) | dict(bottleneck_width=None, compression=1, initial_channels=16)


def readers(net: gluon.Block, block: int) -> list[tuple[gluon.Parameter, gluon.Parameter]]:
    """The scale `(channel,)` and the weight `(output, channel, ...)` with which each reader reads a block's channels.

    The readers are the block's layers and, last, the transition or head that follows it; `block` counts from 1.
    Raises `ValueError` if there is no such block or no forward pass has settled its channels.
    """
    stages = list(net.net)
    places = [place for place, stage in enumerate(stages) if isinstance(stage, DenseBlock)]
    if not 1 <= block <= len(places):
        raise ValueError(f"The network has blocks 1 to {len(places)}, and no block {block}.")
    place = places[block - 1]
    scales_and_weights = []
    for reader in (*stages[place].layers, stages[place + 1]):
        first = next(part for part in reader if isinstance(part, nn.Conv2D | nn.Dense))
        scales_and_weights.append((reader[0].gamma, first.weight))
    if any(len(weight.shape or ()) < 2 or weight.shape[1] <= 0 for _, weight in scales_and_weights):
        raise ValueError("The network's channels are not settled: run it once on an image, or load its weights.")
    return scales_and_weights


def sources(net: gluon.Block, block: int) -> list[slice]:
    """The channels of each source of a block: its input, then its layers."""
    # Each reader reads one source more than the reader before it.
    edges = [0, *(weight.shape[1] for _, weight in readers(net, block))]
    return [slice(start, end) for start, end in pairwise(edges)]


def reuse_map(net: gluon.Block, block: int, scaled: bool = False) -> numpy.ndarray:
    """Mean absolute weight `(source, reader)` of each reader over the channels of each source.

    Where a reader cannot read a source, it is NaN. With `scaled`, each weight is first multiplied
    by the scale that the normalisation before it gives to its channel.
    """
    channels = sources(net, block)
    values = numpy.full((len(channels), len(channels)), numpy.nan)
    for reader, (scale, weight) in enumerate(readers(net, block)):
        size = abs(weight.data().asnumpy())
        by_channel = size.mean(axis=tuple(axis for axis in range(size.ndim) if axis != 1))
        if scaled:
            by_channel = by_channel * abs(scale.data().asnumpy())
        for source in range(reader + 1):
            values[source, reader] = by_channel[channels[source]].mean()
    return values


def prune(net: gluon.Block, pairs: Iterable[tuple[int, int, int]]) -> None:
    """Set to zero the weights with which a reader reads a source, for each `(block, source, reader)`."""
    for block, source, reader in pairs:
        _, weight = readers(net, block)[reader]
        values = weight.data().copy()
        values[:, sources(net, block)[source]] = 0
        weight.set_data(values)


def show_reuse(maps: Sequence[numpy.ndarray]) -> None:
    """The maps `(source, reader)` of a network's blocks side by side, each column in percent of its largest value.

    A frame marks the source that each reader uses least.
    """
    figure, panels = plt.subplots(1, len(maps), figsize=(2.9 * len(maps), 3.4), squeeze=False, layout="constrained")
    for number, (axes, values) in enumerate(zip(panels[0], maps, strict=True), 1):
        size = len(values)
        image = axes.imshow(100 * values / numpy.nanmax(values, axis=0), cmap="magma", vmin=0, vmax=100)
        for reader in range(1, size):
            corner = (reader - 0.42, numpy.nanargmin(values[:, reader]) - 0.42)
            axes.add_patch(Rectangle(corner, 0.84, 0.84, fill=False, edgecolor="#30d5e8", lw=1.6))
        axes.axvline(size - 1.5, color="white", lw=4)
        layers = list(range(1, size))
        follows = "classifier" if number == len(maps) else "transition"
        axes.set(xticks=range(size), yticks=range(size), yticklabels=["input", *layers], xlabel="read by layer")
        axes.set_xticklabels([*layers, follows])
        axes.get_xticklabels()[-1].set(rotation=30, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0, labelsize=8, pad=2)
        axes.spines[:].set_visible(False)
        axes.set_title(f"block {number}", fontsize=11)
    panels[0, 0].set_ylabel("made by layer")
    figure.colorbar(image, ax=panels, shrink=0.75, pad=0.01, label="% of the column's largest")
