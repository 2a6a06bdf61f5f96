"""What does a training step take, plain and memory-efficient: how many bytes, and how many seconds?

Each network is trained in three ways: hybridized as the course's `Trainer` does it, layer by layer
without hybridizing, and memory-efficient. Peaks come from `peak_memory`. For the time, each way has a
process of its own with one thread, and they take turns; ratios are medians over rounds, with their range. That process
reports, too, by how much it grew, with malloc as it is. Prints a Markdown table, the exponents of the growth with
depth, and a second table of what a second thread changes: for a batch, and for one small image, where there is next to
nothing to compute, so that what remains is the time of the calls.
"""

import multiprocessing
import os
import resource
import statistics
import time
from functools import partial
from multiprocessing.connection import Connection

# Before mxnet, which reads the number of threads when it is imported.
from utils.backward import backward
from utils.densenet import DenseNet, densenet_spec
from utils.measure import peak_memory
from utils.memory_efficient import MemoryEfficientDenseNet
from utils.runtime import machine
from utils.spec import Spec, cifar_spec
from utils.training import hybridized

# isort: split
import numpy
from d2l import mxnet as d2l
from mxnet import autograd, gluon, np, npx

ROUNDS = 9
DEPTHS = (40, 100, 190)
NETWORKS = {f"DenseNet-BC-{depth}-12": (cifar_spec(depth, 12, bottleneck=True), (16, 3, 32, 32)) for depth in DEPTHS}
NETWORKS["DenseNet-BC-100-12, batch 64"] = densenet_spec["BC-100-12"], (64, 3, 32, 32)
NETWORKS["DenseNet-121, batch 8"] = densenet_spec[121], (8, 3, 224, 224)
SIZES = {"16 images of 32 pixels": (16, 3, 32, 32), "1 image of 8 pixels": (1, 3, 8, 8)}
WAYS = {
    "hybridized": lambda spec: hybridized(DenseNet(spec)),
    "layer by layer": DenseNet,
    "memory-efficient": lambda spec: hybridized(MemoryEfficientDenseNet(spec)),
}


def serve(way: str, spec: Spec, shape: tuple[int, ...], pipe: Connection) -> None:
    """Train a step each time the parent asks and send the seconds; when told to stop, the bytes of growth."""
    npx.set_np()
    device = d2l.try_gpu()
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = WAYS[way](spec)
    net.collect_params().reset_ctx(device)
    X, y = np.random.normal(size=shape, ctx=device), np.zeros(shape[0], ctx=device)
    net(X[:1])
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    while pipe.recv():
        start = time.perf_counter()
        with autograd.record():
            loss = loss_function(net(X), y).mean()
        backward(net, loss)
        trainer.step(1)
        npx.waitall()
        pipe.send(time.perf_counter() - start)
    pipe.send(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline))


def race(spec: Spec, shape: tuple[int, ...]) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds a step of each round, and bytes of growth, of each way to train a network."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    growth = {}
    for way in WAYS:
        pipes[way], theirs = context.Pipe()
        context.Process(target=serve, args=(way, spec, shape, theirs), daemon=True).start()
        theirs.close()  # so that recv() fails, rather than waits, if the process ends early
    for number in range(ROUNDS + 1):
        for way, pipe in pipes.items():
            pipe.send(True)
            step = pipe.recv()
            if number:  # the first round warms up
                seconds[way].append(step)
    for way, pipe in pipes.items():
        pipe.send(False)
        growth[way] = pipe.recv()
    return seconds, growth


def compare_threads() -> None:
    """Print how long a step of DenseNet-BC-100-12 takes with one thread and with two."""
    print("| threads | a step on | hybridized, s | memory-efficient, s | longer by, s | ratio |")
    print("|---" * 6 + "|")
    for threads in ("1", "2"):
        os.environ["OMP_NUM_THREADS"] = threads  # for the processes that start after this
        for size, shape in SIZES.items():
            seconds, _ = race(densenet_spec["BC-100-12"], shape)
            pairs = list(zip(seconds["hybridized"], seconds["memory-efficient"], strict=True))
            plain, efficient = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratios = [other / own for own, other in pairs]
            cells = [threads, size, *(f"{value:.2f}" for value in (plain, efficient, efficient - plain))]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
            print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    npx.set_np()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that start after this
    print(
        f"On {machine()}, one thread; 16 images of 32 pixels where nothing else is said, DenseNet-121 at 224 pixels.\n"
    )
    print("| network | trained | peak memory | of hybridized | process grows by | seconds a step | of hybridized |")
    print("|---" * 7 + "|")
    peaks = {}
    for name, (spec, shape) in NETWORKS.items():
        seconds, growth = race(spec, shape)
        for way, make in WAYS.items():
            peaks[name, way] = peak_memory(partial(make, spec), shape)
            ratios = [own / other for own, other in zip(seconds[way], seconds["hybridized"], strict=True)]
            cells = [
                name,
                way,
                f"{peaks[name, way] / 1e6:,.0f} MB",
                f"{peaks[name, way] / peaks[name, 'hybridized']:.2f}",
                f"{growth[way] / 1e6:,.0f} MB",
                f"{statistics.median(seconds[way]):.2f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            ]
            print("|", " | ".join(cells), "|", flush=True)
    print()
    layers = [cifar_spec(depth, 12, bottleneck=True)["blocks"][0] for depth in DEPTHS]
    for way in WAYS:
        bytes_taken = [peaks[f"DenseNet-BC-{depth}-12", way] for depth in DEPTHS]
        exponent, _ = numpy.polyfit(numpy.log(layers), numpy.log(bytes_taken), deg=1)
        print(f"Peak memory grows with the layers in a block to the power {exponent:.2f} when trained {way}.")
    print()
    compare_threads()


if __name__ == "__main__":
    main()
