"""How much faster is the course's Trainer than the same network written the plain way?

`Trainer`: chapter 04's network without bottlenecks, as the course trains it. Plain: the same
network of `nn.Block`s, not hybridized, a Gluon `DataLoader` that resizes each image, the loss and
the accuracy read after every step; once with the threads that MXNet chooses, once with those that
`utils` sets. Each side lives in a process of its own; they take turns, so that a busy machine
slows all. Prints a Markdown table.
"""

import multiprocessing
import resource
import statistics
import time
from itertools import islice

ROUNDS, STEPS, BATCH_SIZE, SIDE = 7, 30, 64, 32


def trainer_rounds(data):
    """Seconds for `STEPS` steps of `Trainer`, again and again."""
    from utils.densenet import DenseNet, densenet_spec
    from utils.training import Trainer

    net = DenseNet(densenet_spec[121] | dict(bottleneck_width=None, use_bias=True))
    data.images = {split: images[: STEPS * BATCH_SIZE] for split, images in data.images.items()}
    data.labels = {split: labels[: STEPS * BATCH_SIZE] for split, labels in data.labels.items()}
    while True:
        trainer = Trainer(max_epochs=1)
        trainer.fit(net, data)
        yield trainer.history["seconds"][0]


def imperative_rounds(data):
    """Seconds for `STEPS` steps of the plain way, again and again."""
    from d2l import mxnet as d2l
    from mxnet import autograd, gluon, init, np
    from mxnet.gluon import nn
    from mxnet.gluon.data.vision import transforms

    from utils.data import DEVIATION, MEAN
    from utils.training import MOMENTUM, WEIGHT_DECAY

    class DenseBlock(nn.Block):
        def __init__(self, num_layers, growth_rate):
            super().__init__()
            self.layers = nn.Sequential()
            for _ in range(num_layers):
                layer = nn.Sequential()
                layer.add(nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(growth_rate, kernel_size=3, padding=1))
                self.layers.add(layer)

        def forward(self, X):
            for layer in self.layers:
                X = np.concatenate((X, layer(X)), axis=1)
            return X

    net = nn.Sequential()
    net.add(nn.Conv2D(64, kernel_size=7, strides=2, padding=3), nn.BatchNorm(), nn.Activation("relu"))
    net.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
    for num_layers, num_channels in ((6, 128), (12, 256), (24, 512)):
        net.add(DenseBlock(num_layers, 32), nn.BatchNorm(), nn.Activation("relu"))
        net.add(nn.Conv2D(num_channels, kernel_size=1), nn.AvgPool2D(pool_size=2, strides=2))
    net.add(DenseBlock(16, 32), nn.BatchNorm(), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(10))
    net.initialize(init.MSRAPrelu("in", slope=0), ctx=d2l.try_gpu())

    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    transform = transforms.Compose(steps)
    images = np.array(data.images["train"][..., None], dtype="uint8")
    dataset = gluon.data.ArrayDataset(images, data.labels["train"].astype("int32")).transform_first(transform)
    loader = gluon.data.DataLoader(dataset, BATCH_SIZE, shuffle=True)
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    options = {"learning_rate": 0.1, "momentum": MOMENTUM, "wd": WEIGHT_DECAY}
    optimizer = gluon.Trainer(net.collect_params(), "sgd", options)
    while True:
        start = time.perf_counter()
        for X, y in islice(loader, STEPS):
            X, y = X.as_in_ctx(d2l.try_gpu()), y.as_in_ctx(d2l.try_gpu())
            with autograd.record():
                Y_hat = net(X)
                loss = loss_function(Y_hat, y).mean()
            loss.backward()
            optimizer.step(1)
            float(loss), float((Y_hat.argmax(axis=1).astype(y.dtype) == y).astype("float32").mean())
        yield time.perf_counter() - start


def serve(rounds, pad, with_threads, pipe) -> None:
    """Run a round each time the parent asks; when told to stop, send the peak resident bytes."""
    if with_threads:
        import utils  # noqa: F401  (sets the threads, if it comes before MXNet)
    import mxnet as mx

    from utils.data import FashionMNIST

    mx.npx.set_np()
    timings = rounds(FashionMNIST(BATCH_SIZE, pad=pad))
    while pipe.recv():
        pipe.send(next(timings))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    sides = {
        "plain, threads as MXNet sets them": (imperative_rounds, 0, False),
        "plain, threads as the course sets them": (imperative_rounds, 0, True),
        "`Trainer`": (trainer_rounds, 2, True),
    }
    pipes = {}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for name, (rounds, pad, with_threads) in sides.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(rounds, pad, with_threads, theirs), daemon=True).start()
    for number in range(ROUNDS + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds = pipe.recv()
            if number:  # the first round warms up
                speeds[name].append(STEPS * BATCH_SIZE / seconds)
    from utils.runtime import machine  # not before: it sets the threads of the processes that start after it

    print(f"On {machine()}, batch size {BATCH_SIZE}:\n")
    print("| | images a second | `Trainer` is faster by | peak memory |\n|---|---|---|---|")
    for name, pipe in pipes.items():
        pipe.send(False)
        ratio = statistics.median(a / b for a, b in zip(speeds["`Trainer`"], speeds[name], strict=True))
        print(f"| {name} | {statistics.median(speeds[name]):.0f} | {ratio:.2f} | {pipe.recv() / 1e6:.0f} MB |")


if __name__ == "__main__":
    main()
