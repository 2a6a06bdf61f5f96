"""By how much does a second thread speed up each part of a dense layer?

The layer is one in the middle of the first block of DenseNet-BC-100-12, with a batch of 16. The memory-efficient
network computes its concatenation, normalisation and activation once more in the backward pass, cuts slices out of
gradients, and runs each convolution as often as the plain one. Processes with one thread and with two take turns;
ratios are medians over rounds, with their range. Prints a Markdown table.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

# Before mxnet, which reads the number of threads when it is imported.
from utils.memory_efficient import backward_operator, channels
from utils.runtime import machine
from utils.spec import densenet_spec

# isort: split
from mxnet import nd

ROUNDS, REPETITIONS = 9, 20
BATCH, SIDE, SPEC = 16, 32, densenet_spec["BC-100-12"]
K = SPEC["growth_rate"]
LAYERS_BEFORE = SPEC["blocks"][0] // 2


def convolution(num_read: int, num_written: int, side: int) -> tuple[Callable, Callable]:
    """The forward and the backward pass of a convolution without bias."""
    read = nd.random.normal(shape=(BATCH, num_read, SIDE, SIDE))
    kernel = nd.random.normal(shape=(num_written, num_read, side, side))
    gradient = nd.random.normal(shape=(BATCH, num_written, SIDE, SIDE))
    options = dict(kernel=(side, side), pad=(side // 2, side // 2), num_filter=num_written, no_bias=True)
    gradients = [nd.empty(read.shape), nd.empty(kernel.shape)]
    return (
        partial(nd.Convolution, read, kernel, **options),
        partial(backward_operator, "Convolution", [gradient, read, kernel], gradients, **options),
    )


def parts() -> dict[str, Callable]:
    """The parts of the layer, by what the memory-efficient network does with them."""
    num_read = SPEC["initial_channels"] + LAYERS_BEFORE * K
    outputs = [nd.random.normal(shape=(BATCH, K, SIDE, SIDE)) for _ in range(LAYERS_BEFORE)]
    outputs.insert(0, nd.random.normal(shape=(BATCH, SPEC["initial_channels"], SIDE, SIDE)))
    read = nd.random.normal(shape=(BATCH, num_read, SIDE, SIDE))
    statistics_and_scales = [nd.ones(num_read) for _ in range(4)]
    narrow, narrow_backward = convolution(num_read, 4 * K, side=1)
    wide, wide_backward = convolution(4 * K, K, side=3)
    return {
        "convolution 1x1, forward": narrow,
        "convolution 1x1, backward": narrow_backward,
        "convolution 3x3, forward": wide,
        "convolution 3x3, backward": wide_backward,
        "normalisation, again": partial(nd.BatchNorm, read, *statistics_and_scales, use_global_stats=True),
        "ReLU in place, again": partial(nd.Activation, read, act_type="relu", out=read),
        "concatenation, again": partial(nd.concat, *outputs, dim=1),
        "slice of a gradient": partial(channels, read, K, 2 * K),
    }


def serve(pipe: Connection) -> None:
    """Send the milliseconds that each part takes, each time the parent asks."""
    calls = parts()
    while pipe.recv():
        milliseconds = {}
        for name, call in calls.items():
            call()
            nd.waitall()
            start = time.perf_counter()
            for _ in range(REPETITIONS):
                call()
                nd.waitall()
            milliseconds[name] = 1000 * (time.perf_counter() - start) / REPETITIONS
        pipe.send(milliseconds)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    pipes = []
    for threads in ("1", "2"):
        os.environ["OMP_NUM_THREADS"] = threads  # for the process that starts after this
        pipe, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs,), daemon=True).start()
        theirs.close()  # so that recv() fails, rather than waits, if the process ends early
        pipes.append(pipe)
    rounds = []
    for _ in range(ROUNDS + 1):
        found = []
        for pipe in pipes:
            pipe.send(True)
            found.append(pipe.recv())
        rounds.append(found)
    print(f"On {machine()}, one thread and two in turns.\n")
    print("| part of a layer | ms with one thread | with two | times as fast |")
    print("|---" * 4 + "|")
    for name in rounds[0][0]:
        pairs = [(one[name], two[name]) for one, two in rounds[1:]]  # the first round warms up
        ratios = sorted(one / two for one, two in pairs)
        one, two = (statistics.median(values) for values in zip(*pairs, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {one:.2f} | {two:.2f} | {spread} |")


if __name__ == "__main__":
    main()
