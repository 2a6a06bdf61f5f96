"""How long until a validation accuracy of 0.90, 0.92 and 0.93? (chapter 06)

The course: chapter 06's network and recipe, trained anew for each number of epochs, since a cycle has to end.
The tutorial: the DenseNet of Dive into Deep Learning, section 8.7 (four blocks of four layers, growth rate 32, no
bottlenecks, images enlarged to 96 pixels), with SGD at a constant rate of 0.1 and without momentum, in a loop that
asks for loss and accuracy after each step; it is validated four times an epoch and stopped after `SECONDS`. Both have
one thread and batches of 64 from the course's loader, and validating is not counted. Prints a Markdown table. One run
a way tells nothing of the spread: seeds.txt has that.
"""

import time

from benchmarks.runs import run_all

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.runtime import SEED, machine
from utils.spec import small_spec
from utils.training import Trainer, accuracy, one_cycle

# isort: split
import mxnet as mx
import numpy
from d2l import mxnet as d2l
from mxnet import autograd, gluon, init, np
from mxnet.gluon import nn

TARGETS = 0.90, 0.92, 0.93
EPOCHS = 6, 3, 2, 1
SECONDS = 800
SIDE = 96


def progress(epochs: int | None) -> list[tuple[float, float]]:
    """Seconds of training and validation accuracies of the course's way, or, without `epochs`, the tutorial's."""
    mx.npx.set_np()
    mx.random.seed(SEED)
    return tutorial() if epochs is None else course(epochs)


def course(epochs: int) -> list[tuple[float, float]]:
    """A whole training; an accuracy counts at its end alone."""
    trainer = Trainer(epochs, one_cycle)
    trainer.fit(DenseNet(small_spec, lr=0.1), FashionMNIST(batch_size=64))
    return [(sum(trainer.history["seconds"]), trainer.history["val_acc"][-1])]


class TutorialBlock(nn.Block):
    """Layers that normalise, activate and convolve, each output concatenated to its input."""

    def __init__(self, num_layers: int, growth_rate: int):
        super().__init__()
        self.layers = nn.Sequential()
        for _ in range(num_layers):
            layer = nn.Sequential()
            layer.add(nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(growth_rate, kernel_size=3, padding=1))
            self.layers.add(layer)

    def forward(self, X: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            X = np.concatenate((X, layer(X)), axis=1)
        return X


def tutorial_network() -> nn.Sequential:
    net = nn.Sequential()
    net.add(nn.Conv2D(64, kernel_size=7, strides=2, padding=3), nn.BatchNorm(), nn.Activation("relu"))
    net.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
    num_channels = 64
    for _ in range(3):
        num_channels = (num_channels + 4 * 32) // 2
        net.add(TutorialBlock(4, 32), nn.BatchNorm(), nn.Activation("relu"))
        net.add(nn.Conv2D(num_channels, kernel_size=1), nn.AvgPool2D(pool_size=2, strides=2))
    net.add(TutorialBlock(4, 32), nn.BatchNorm(), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(10))
    net.initialize(init.Xavier(), ctx=d2l.try_gpu())
    return net


def enlarged(X: np.ndarray) -> np.ndarray:
    """Images as (batch, 1, 96, 96)."""
    return mx.nd.contrib.BilinearResize2D(X.as_nd_ndarray(), height=SIDE, width=SIDE).as_np_ndarray()


def tutorial() -> list[tuple[float, float]]:
    """One training, validated again and again."""
    data, net, loss_function = FashionMNIST(batch_size=64), tutorial_network(), gluon.loss.SoftmaxCrossEntropyLoss()
    optimizer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    device = d2l.try_gpu()
    steps, seconds = 0, 0.0
    reached: list[tuple[float, float]] = []
    while seconds < SECONDS:
        start = time.perf_counter()
        for X, y in data.train_dataloader():
            X, y = enlarged(X.as_in_ctx(device)), y.as_in_ctx(device)
            with autograd.record():
                Y_hat = net(X)
                loss = loss_function(Y_hat, y).mean()
            loss.backward()
            optimizer.step(1)
            float(loss), float((Y_hat.argmax(axis=1).astype(y.dtype) == y).astype("float32").mean())
            steps += 1
            if steps % (len(data.train_dataloader()) // 4) == 0:
                seconds += time.perf_counter() - start
                scores = [net(enlarged(X.as_in_ctx(device))).asnumpy() for X, _ in data.val_dataloader()]
                reached.append((seconds, accuracy(numpy.concatenate(scores), data.labels["val"])))
                if seconds >= SECONDS:
                    break
                start = time.perf_counter()
    return reached


def first_time(points: list[tuple[float, float]], target: float) -> float:
    """Seconds until the target, infinite where it was not reached."""
    return min((seconds for seconds, found in points if found >= target), default=float("inf"))


def main() -> None:
    *ours, theirs = run_all(progress, [dict(epochs=epochs) for epochs in (*EPOCHS, None)], "accuracy")
    print(f"A thread for each training on {machine()}, seconds until a validation accuracy, one run a way:\n")
    print("| validation accuracy | the course | the tutorial | ratio |\n|---|---|---|---|")
    for target in TARGETS:
        quick, slow = min(first_time(points, target) for points in ours), first_time(theirs, target)
        if quick == float("inf"):
            print(f"| {target:.2f} | not in {max(EPOCHS)} epochs | | |")
        elif slow == float("inf"):
            print(f"| {target:.2f} | {quick:.0f} | not in {theirs[-1][0]:.0f} | over {theirs[-1][0] / quick:.1f} |")
        else:
            print(f"| {target:.2f} | {quick:.0f} | {slow:.0f} | {slow / quick:.1f} |")


if __name__ == "__main__":
    main()
