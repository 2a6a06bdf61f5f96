"""The course's PNGs: as small as they can be without loss, and the landing page's drawn from what is committed."""

import base64
import io
import re
from pathlib import Path

import numpy
import oxipng
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from mxnet import npx
from nbformat import NotebookNode

from tools.files import write_whole
from utils import connections, plots
from utils.densenet import DenseNet, densenet_spec
from utils.measure import shape_table
from utils.reuse import PLAIN_SPEC, reuse_map

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "book" / "_static"
DENSITY, MEMORY = (ROOT / "benchmarks" / f"{name}.txt" for name in ("density", "memory"))
REUSE = ROOT / "chapters" / "trained" / "reuse.params"
PEAK = re.compile(r"^\| DenseNet-BC-(\d+)-12 \| ([\w -]+) \| ([\d,]+) MB ", re.MULTILINE)


def optimised(png: bytes) -> bytes:
    """The same pixels in fewer bytes, without the chunks that no browser shows."""
    return oxipng.optimize_from_memory(png, strip=oxipng.StripChunks.safe())


def figures(notebook: NotebookNode) -> list[NotebookNode]:
    """The data of each output that shows a PNG: a mapping from kinds, such as `image/png`, to contents."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data for output in outputs if "image/png" in output.get("data", {})]


def optimise_figures(notebook: NotebookNode) -> None:
    """Make the PNGs that the notebook stores small, in place."""
    for data in figures(notebook):
        data["image/png"] = base64.b64encode(optimised(base64.b64decode(data["image/png"]))).decode()


def draw_density(axes: Axes) -> None:
    """The mean validation errors of plain, residual and dense networks at three depths (chapter 07)."""
    _, errors, *_ = connections.read_comparison(DENSITY)
    for (kind, mark), colour in zip(connections.LOOKS.items(), plots.COLOURS, strict=False):
        by_depth = {depth: numpy.mean(seeds) for (depth, name), seeds in errors.items() if name == kind}
        axes.plot(list(by_depth), list(by_depth.values()), f"{mark}-", color=colour, label=kind)
    axes.set(xlabel="layers", ylabel="validation error, %", xticks=list(by_depth), ylim=(0, None))
    axes.legend(frameon=False)


def draw_memory(axes: Axes) -> None:
    """The peak memory of a training step by depth, hybridized and memory-efficient (chapter 10)."""
    rows = PEAK.findall(MEMORY.read_text())
    for (trained, look), colour in zip(
        {"hybridized": "o-", "memory-efficient": "s-"}.items(), plots.COLOURS, strict=False
    ):
        peaks = {int(depth): int(peak.replace(",", "")) for depth, name, peak in rows if name == trained}
        axes.plot(list(peaks), list(peaks.values()), look, color=colour, label=trained)
    axes.set(xlabel="layers", ylabel="peak memory, MB", xticks=list(peaks), ylim=(0, None))
    axes.legend(frameon=False)


def draw_reuse(axes: Axes) -> None:
    """How large the weights are with which each layer of block 3 reads each source (chapter 14)."""
    net = DenseNet(PLAIN_SPEC)
    net.load_parameters(str(REUSE))
    values = reuse_map(net, 3)[:-1, :-1]  # without the classifier, the only one that reads the last layer
    image = axes.imshow(100 * values / numpy.nanmax(values, axis=0), cmap="inferno", vmin=0, vmax=100, aspect="auto")
    layers = range(len(values))
    axes.set(xlabel="read by layer", ylabel="made by layer")
    axes.set_xticks(layers, [str(layer + 1) for layer in layers])
    axes.set_yticks(layers, ["input", *map(str, layers[1:])])
    axes.spines[:].set_visible(False)
    plt.colorbar(image, ax=axes, label="weight, %")


def draw_landing_figures() -> None:
    """Draw DenseNet-121 to scale and three results for the landing page, and make all static PNGs small."""
    npx.set_np()
    plots.show_architecture(shape_table(DenseNet(densenet_spec[121]), (1, 1, 224, 224)))
    save("densenet_121", dpi=160)
    for draw in (draw_density, draw_memory, draw_reuse):
        _, axes = plt.subplots(figsize=(3.4, 2.5), layout="constrained")
        draw(axes)
        save(draw.__name__.removeprefix("draw_"), dpi=200)
    for path in STATIC.rglob("*.png"):
        write_whole(path, optimised(path.read_bytes()))


def save(name: str, dpi: int) -> None:
    """Write the figure that was drawn last."""
    plt.savefig(drawing := io.BytesIO(), dpi=dpi)
    plt.close()
    write_whole(STATIC / f"{name}.png", drawing.getvalue())
