"""What a worker of test_cluster.py runs: three epochs of a small DenseNet with dropout, and what it ends with.

Called with the folder for the checkpoint and the results, and the seconds to wait before each batch.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import Batches
from utils.densenet import DenseNet
from utils.spec import imagenet_spec
from utils.store import Store
from utils.training import Trainer, one_cycle

# isort: split
import sys
import time
from pathlib import Path

import mxnet as mx
import numpy
from d2l import mxnet as d2l


class SlowBatches(Batches):
    seconds = 0.0

    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(self.seconds)
            yield batch


class Noise(d2l.DataModule):
    """A hundred images in batches of 32, the last of 4."""

    def get_dataloader(self, train):
        random = numpy.random.RandomState(7)
        images, labels = random.randint(0, 256, (100, 28, 28)).astype("uint8"), random.randint(0, 4, 100)
        self.batch_size = 32
        return SlowBatches(images, labels.astype("uint8"), 32, *((3, True) if train else ()))


folder, SlowBatches.seconds = Path(sys.argv[1]), float(sys.argv[2])
mx.npx.set_np()
store = Store()
mx.random.seed(store.rank)  # each would start from weights of its own
net = DenseNet(imagenet_spec(8, 2, 2) | dict(bottleneck_width=None, drop_rate=0.2), num_classes=4)
trainer = Trainer(3, one_cycle, store=store, checkpoint=folder / "checkpoint")
trainer.fit(net, Noise())
arrays = [parameter.data().asnumpy() for parameter in net.collect_params().values()]
history = [trainer.history[name] for name in ("train_loss", "train_acc", "val_loss", "val_acc")]
numpy.savez(folder / f"worker_{store.rank}.npz", numpy.array(history), *arrays)
