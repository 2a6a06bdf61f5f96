"""Draw the landing page's figure from the network itself; `make notebooks` runs this."""

from pathlib import Path

from matplotlib import pyplot as plt
from mxnet import npx

from utils import plots
from utils.densenet import DenseNet, densenet_spec
from utils.measure import shape_table

npx.set_np()
plots.show_architecture(shape_table(DenseNet(densenet_spec[121]), (1, 1, 224, 224)))
plt.savefig(Path(__file__).parent / "_static" / "densenet_121.png", dpi=160)
