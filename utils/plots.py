"""The course's figures, on a white ground so that they read in a light and in a dark book."""

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

import numpy
from IPython import display, get_ipython
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pandas import DataFrame

COLOURS = ("#0b5394", "#b45f06", "#38761d", "#741b47")


def show_connections(num_layers: int) -> None:
    """The same layers as a chain, with a sum around every two of them, and concatenated (chapter 01)."""
    layers = range(num_layers + 1)
    sums = [number + 0.5 for number in layers[2::2]]
    chain = list(pairwise(layers))
    apart = [(source, reader) for source, reader in combinations(layers, 2) if reader - source > 1]
    _, rows = plt.subplots(3, figsize=(7.5, 4.6), height_ratios=(1, 2, 2.8), layout="constrained")
    draw_layers(rows[0], "Chain: each layer reads the one before it.", layers, chain)
    with_sums = pairwise(sorted([*layers, *sums]))
    title = "Sum: what two layers read is added to what they make."
    draw_layers(rows[1], title, layers, with_sums, list(pairwise([0, *sums])), sums)
    draw_layers(rows[2], "Concatenation: each layer reads all that came before it.", layers, chain, apart)


def draw_layers(
    axes: Axes,
    title: str,
    layers: Sequence[int],
    straight: Iterable[tuple[float, float]],
    arcs: Sequence[tuple[float, float]] = (),
    sums: Sequence[float] = (),
) -> None:
    """A row of boxes, with an arrow from each source to each reader. Places are numbers of layers; 0 is the input."""
    boxes: dict[float, Patch] = {0: box(axes, 0, "input")}
    boxes |= {x: box(axes, x, f"layer {x}") for x in layers[1:]}
    boxes |= {x: box(axes, x, "+", "circle") for x in sums}
    for connections, bend, colour in ((straight, 0, "black"), (arcs, -0.4, COLOURS[0])):
        style = dict(arrowstyle="-|>", color=colour, lw=1.4, connectionstyle=f"arc3,rad={bend}")
        for source, reader in connections:
            ends = dict(patchA=boxes[source], patchB=boxes[reader], shrinkA=0, shrinkB=0)
            axes.annotate("", (reader, 0), (source, 0), arrowprops=style | ends, zorder=1)
    reach = max([reader - source for source, reader in arcs], default=0)
    axes.set(xlim=(-0.4, layers[-1] + 0.8), ylim=(-0.2, 0.21 * reach + 0.15))
    axes.set_title(title, loc="left", fontsize=10)
    axes.axis("off")


def box(axes: Axes, x: float, text: str, shape: str = "round") -> Patch:
    """A labelled box, and the patch at whose rim an arrow can end."""
    look = dict(boxstyle=f"{shape},pad=0.4", facecolor="white", edgecolor="black")
    return axes.text(x, 0, text, ha="center", va="center", bbox=look, zorder=2).get_bbox_patch()


def show_channels(input_channels: int, num_layers: int, growth_rate: int) -> None:
    """What each layer of a dense block reads and adds, as stacked bars (chapter 02)."""
    _, axes = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
    hatches = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
    for source in range(num_layers + 1):
        height = input_channels if source == 0 else growth_rate
        bottom = 0 if source == 0 else input_channels + growth_rate * (source - 1)
        stages = numpy.arange(source, num_layers + 1)
        axes.bar(
            stages,
            height,
            bottom=bottom,
            width=0.8,
            color="white",
            edgecolor=COLOURS[source % len(COLOURS)],
            hatch=hatches[source % len(hatches)],
            label="input" if source == 0 else f"layer {source}",
        )
    ticks = ["input"] + [f"after\nlayer {number}" for number in range(1, num_layers + 1)]
    axes.set(xticks=range(num_layers + 1), xticklabels=ticks, ylabel="channels")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], title="made by")


def show_fields(fields: dict[str, numpy.ndarray]) -> None:
    """Boolean maps `(height, width)` side by side, with the window that is true in each named above it (chapter 02)."""
    _, columns = plt.subplots(1, len(fields), figsize=(2 * len(fields), 2.3), layout="constrained")
    for axes, (name, field) in zip(columns, fields.items(), strict=True):
        axes.pcolormesh(field, cmap="Blues", vmin=0, vmax=1.3, edgecolors="#bbbbbb", linewidth=0.5)
        height, width = field.any(axis=1).sum(), field.any(axis=0).sum()
        axes.set(title=f"{name}: {height}x{width}", aspect="equal")
        axes.axis("off")


def show_architecture(table: DataFrame) -> None:
    """A network's shape table to scale: a box's height is the side, its width the channels (chapter 04).

    Layers of other kinds than a DenseNet's stages are drawn in grey.
    """
    _, axes = plt.subplots(figsize=(9, 2.8), layout="constrained")
    looks = {
        "stem": ("#444444", ""),
        "DenseBlock": (COLOURS[0], "//"),
        "transition": (COLOURS[1], ""),
        "head": ("#444444", "xx"),
    }
    shapes = table["output shape"]
    largest_side = max(shape[-1] for shape in shapes if len(shape) > 2)
    gap = 0.023 * sum(shape[1] for shape in shapes)  # room for the text above a narrow box
    left = 0
    for name, shape in zip(table["layer"], shapes, strict=True):
        channels = shape[1]
        side = shape[2] if len(shape) > 2 else 1
        colour, hatch = looks.get(name, ("#999999", ""))
        _, labels = axes.get_legend_handles_labels()
        axes.bar(
            left,
            side,
            width=channels,
            bottom=-side / 2,
            align="edge",
            facecolor="white",
            edgecolor=colour,
            hatch=hatch,
            linewidth=1.5,
            label=name if name not in labels else None,
        )
        top = side / 2 + 0.04 * largest_side
        axes.text(left + channels / 2, top, f"{channels}\n@{side}", ha="center", va="bottom", fontsize=8)
        left += channels + gap
    # Above and below the largest box is room for its text and for the legend.
    axes.set(ylim=(-0.54 * largest_side, 0.93 * largest_side), xlim=(-gap / 2, left))
    axes.legend(ncols=4, loc="lower center", frameon=False)
    axes.axis("off")


def show_confusion(matrix: numpy.ndarray, names: Sequence[str]) -> None:
    """Counts `(true class, predicted class)` as a labelled grid; mistakes are shaded (chapter 06)."""
    _, axes = plt.subplots(figsize=(6, 5.2), layout="constrained")
    mistakes = matrix - numpy.diag(numpy.diag(matrix))
    axes.imshow(mistakes, cmap="Oranges", vmax=2 * mistakes.max())
    for (row, column), count in numpy.ndenumerate(matrix):
        axes.text(
            column, row, count, ha="center", va="center", fontsize=8, weight="bold" if row == column else "normal"
        )
    ticks = range(len(names))
    axes.set(xticks=ticks, yticks=ticks, xlabel="predicted class", ylabel="true class", yticklabels=names)
    axes.set_xticklabels(names, rotation=45, ha="right")


class Curves:
    """Loss and accuracy against epochs, redrawn in place in a notebook's output (chapter 06)."""

    points_per_epoch = 20

    def __init__(self, max_epochs: int):
        self.max_epochs = max_epochs
        self.handle = None

    def draw(self, history: dict[str, list[float]]) -> None:
        """Show the history of the epochs so far; does nothing outside a notebook."""
        if get_ipython() is None:
            return
        # A figure of our own, not pyplot's, is not shown a second time when the cell ends.
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        num_epochs = len(history["train_acc"])
        num_steps = len(history["step_loss"])
        groups = numpy.array_split(history["step_loss"], min(num_steps, self.points_per_epoch * num_epochs))
        middles = (numpy.arange(len(groups)) + 0.5) * num_epochs / len(groups)
        axes.plot(middles, [group.mean() for group in groups], "-", label="train_loss")
        epochs = range(1, num_epochs + 1)
        axes.plot(epochs, history["val_loss"], "o--", label="val_loss")
        axes.plot(epochs, history["train_acc"], "s-.", label="train_acc")
        axes.plot(epochs, history["val_acc"], "^:", label="val_acc")
        axes.set(xlabel="epoch", xlim=(0, self.max_epochs * 1.02), ylim=(0, None))
        axes.legend()
        if self.handle is None:
            self.handle = display.display(figure, display_id=True)
        else:
            self.handle.update(figure)


def show_widths(widths: dict[str, list[list[int]]]) -> None:
    """Channels after each layer, a line for each name; a list a block, from what it reads on (chapter 03)."""
    _, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for (name, blocks), colour, style in zip(widths.items(), COLOURS, ("--", "-"), strict=False):
        layers: list[int] = []
        channels: list[int] = []
        for number, block in enumerate(blocks):
            start = number * (len(block) - 1)
            layers += range(start, start + len(block))
            channels += block
        axes.plot(layers, channels, style, color=colour, label=name)
    axes.set(xlabel="layers so far", ylabel="channels", ylim=(0, None))
    axes.legend()
