"""Draw the landing page's figure from the network itself, and make the static PNGs small.

`make notebooks` runs this.
"""

from pathlib import Path

from matplotlib import pyplot as plt
from mxnet import npx

from chapters.execute import optimised
from utils import plots
from utils.densenet import DenseNet, densenet_spec
from utils.measure import shape_table

STATIC = Path(__file__).parent / "_static"

npx.set_np()
plots.show_architecture(shape_table(DenseNet(densenet_spec[121]), (1, 1, 224, 224)))
plt.savefig(STATIC / "densenet_121.png", dpi=160)
for path in STATIC.rglob("*.png"):
    path.write_bytes(optimised(path.read_bytes()))
