"""The course's PNGs: as small as they can be without loss, and the landing page's drawn from the network itself."""

import base64
import io
from pathlib import Path

import oxipng
from matplotlib import pyplot as plt
from mxnet import npx
from nbformat import NotebookNode

from tools.files import write_whole
from utils import plots
from utils.densenet import DenseNet, densenet_spec
from utils.measure import shape_table

STATIC = Path(__file__).parent.parent / "book" / "_static"


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


def draw_landing_figure() -> None:
    """Draw DenseNet-121 to scale for the landing page, and make all static PNGs small."""
    npx.set_np()
    plots.show_architecture(shape_table(DenseNet(densenet_spec[121]), (1, 1, 224, 224)))
    plt.savefig(drawing := io.BytesIO(), dpi=160)
    write_whole(STATIC / "densenet_121.png", drawing.getvalue())
    for path in STATIC.rglob("*.png"):
        write_whole(path, optimised(path.read_bytes()))
