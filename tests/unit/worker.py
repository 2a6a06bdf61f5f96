"""What a worker of test_cluster.py runs: three epochs of a small DenseNet with dropout, and what it ends with."""

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import Batches
from utils.densenet import DenseNet
from utils.spec import imagenet_spec
from utils.store import Store
from utils.training import Trainer, one_cycle

# isort: split
import argparse
import os
import time
from pathlib import Path

import mxnet as mx
import numpy
from d2l import mxnet as d2l
from mxnet.gluon import nn


class SlowBatches(Batches):
    seconds = 0.0

    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(self.seconds)
            yield batch


class Greys(d2l.DataModule):
    """A hundred images in batches of 32, the last of 4; the label says how bright an image is."""

    def get_dataloader(self, train):
        random = numpy.random.RandomState(7)
        labels = random.randint(0, 4, 100).astype("uint8")
        images = random.randint(0, 64, (100, 28, 28)).astype("uint8") + 60 * labels[:, None, None]
        self.batch_size = 32
        return SlowBatches(images, labels, 32, *((3, True) if train else ()))


class Plain(d2l.Classifier):
    """A network without normalisation and dropout."""

    def __init__(self):
        super().__init__()
        self.lr = 0.1
        self.net = nn.HybridSequential()
        self.net.add(nn.Conv2D(4, kernel_size=3), nn.Activation("relu"), nn.MaxPool2D(4), nn.Dense(4))
        self.net.initialize()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path, help="for the checkpoint and the results")
parser.add_argument("--seconds", type=float, default=0, help="to wait before each batch")
parser.add_argument("--plain", action="store_true", help="take a network without normalisation and dropout")
parser.add_argument("--threshold", type=float, help="of gradient compression")
options = parser.parse_args()

SlowBatches.seconds = options.seconds
mx.npx.set_np()
compression = {"type": "2bit", "threshold": options.threshold} if options.threshold else None
# Where no launcher has started it, it trains alone.
store = Store(compression=compression) if "DMLC_ROLE" in os.environ else None
rank = store.rank if store else 0
mx.random.seed(rank)  # each would start from weights of its own
net = Plain() if options.plain else DenseNet(imagenet_spec(8, 2, 2) | dict(bottleneck_width=None, drop_rate=0.2), 4)
trainer = Trainer(3, one_cycle, store=store, checkpoint=options.folder / "checkpoint")
trainer.fit(net, Greys())
history = [trainer.history[name] for name in ("train_loss", "train_acc", "val_loss", "val_acc")]
awkward = numpy.array([0.1, -1e-30, 3e7, 0, 1 / 3]) * (1 + rank)
sums = [store.total(awkward) if store else awkward for _ in range(3)]
arrays = [parameter.data().asnumpy() for parameter in net.collect_params().values()]
numpy.savez(options.folder / f"worker_{rank}.npz", numpy.array(history), numpy.array(sums), *arrays)
