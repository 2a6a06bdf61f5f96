"""Shapes, counts, memory and speed read off a real network by running it (chapters 02 to 15).

`utils.cost` says the same by arithmetic. `python -m utils.measure 121 --side 224 --batch 16` measures the peak
memory of a network of the paper.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod

import pandas
from d2l import mxnet as d2l
from mxnet import autograd, gluon, np, npx
from mxnet.gluon import nn

from utils import QUICK
from utils.backward import backward
from utils.cost import BYTES_PER_NUMBER, layers
from utils.densenet import DenseBlock, DenseNet, densenet_spec
from utils.memory_efficient import MemoryEfficientDenseNet
from utils.peak import peak_memory
from utils.spec import Spec
from utils.training import hybridized


def parameter_count(net: gluon.Block, trainable: bool = True) -> int:
    """Number of parameters of an initialised network.

    With `trainable=False` BatchNorm's running means and variances count too, which training
    updates without a gradient. Raises `DeferredInitializationError` before the first forward pass.
    """
    parameters = net.collect_params().values()
    return sum(p.data().size for p in parameters if p.grad_req != "null" or not trainable)


def shape_table(net: gluon.Block, input_shape: tuple[int, ...]) -> pandas.DataFrame:
    """The output shape and the trainable parameters of each layer of a sequential network.

    Runs the layers one after the other on zeros of `input_shape`, `(batch, channel, height, width)`.
    """
    X = np.zeros(input_shape, ctx=device_of(net))
    rows = []
    for layer in getattr(net, "net", net):
        X = layer(X)
        rows.append((layer_name(layer), X.shape, f"{parameter_count(layer):,}"))
    return pandas.DataFrame(rows, columns=["layer", "output shape", "parameters"])


def layer_table(net: gluon.Block, input_shape: tuple[int, ...]) -> pandas.DataFrame:
    """Each single layer of a network, in the order in which it runs (chapter 08).

    The columns are those of `cost.Layer`, but for the activations that are kept. Runs the network on zeros of
    `input_shape`, `(batch, channel, height, width)`; a concatenation in a `DenseBlock` is a layer, too.
    """
    rows: list[dict] = []
    handles = []

    def watch_input(block: gluon.Block, stage: str, name: str) -> None:
        def record(block: gluon.Block, inputs: tuple[np.ndarray, ...]) -> None:
            rows.append(row(stage, name, inputs, inputs[0]))

        handles.append(block.register_forward_pre_hook(record))

    def watch_output(block: gluon.Block, stage: str, name: str) -> None:
        def record(block: gluon.Block, inputs: tuple[np.ndarray, ...], output: np.ndarray) -> None:
            if isinstance(block, DenseBlock):
                rows.append(row(stage, name, (output,), output))
            else:
                rows.append(row(stage, name, inputs, output, block))

        handles.append(block.register_forward_hook(record))

    def watch(block: gluon.Block, stage: str, prefix: str = "") -> None:
        if isinstance(block, DenseBlock):
            # A concatenation is seen where it is read: by the next layer, and after the last as the block's output.
            for number, layer in enumerate(block.layers, 1):
                if number > 1:
                    watch_input(layer, stage, f"{number - 1} concatenation")
                watch(layer, stage, f"{number} ")
            watch_output(block, stage, f"{len(block.layers)} concatenation")
        elif block._children:
            for child in block._children.values():
                watch(child, stage, prefix)
        else:
            watch_output(block, stage, prefix + layer_name(block))

    numbers: Counter[str] = Counter()
    stages = getattr(net, "net", net)
    for block in stages if isinstance(stages, nn.HybridSequential) else [stages]:
        stage = "block" if isinstance(block, DenseBlock) else layer_name(block)
        if stage in ("block", "transition", "stage"):
            numbers[stage] += 1
            stage = f"{stage} {numbers[stage]}"
        watch(block, stage)
    try:
        with imperative(net):
            net(np.zeros(input_shape, ctx=device_of(net)))
    finally:
        for handle in handles:
            handle.detach()
    return pandas.DataFrame(rows)


def row(
    stage: str, name: str, inputs: tuple[np.ndarray, ...], output: np.ndarray, layer: gluon.Block | None = None
) -> dict:
    """A row of `layer_table`; a concatenation, which is no Gluon layer, reads as much as it writes."""
    parameters = running_statistics = multiply_adds = 0
    num_read = sum(X.size for X in inputs)
    if layer is not None:
        parameters = parameter_count(layer)
        running_statistics = parameter_count(layer, trainable=False) - parameters
    if isinstance(layer, nn.Conv2D | nn.Dense):
        # A weight's first axis is that of the output: each number of the output took all the others.
        multiply_adds = output.size * prod(layer.weight.shape[1:])
    return dict(
        stage=stage,
        layer=name,
        output_shape=output.shape,
        parameters=parameters,
        running_statistics=running_statistics,
        multiply_adds=multiply_adds,
        bytes_moved=BYTES_PER_NUMBER * (num_read + parameters + running_statistics + output.size),
    )


def multiply_adds(net: gluon.Block, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of all convolutions and linear layers on a batch of `input_shape` (chapter 08)."""
    return int(layer_table(net, input_shape)["multiply_adds"].sum())


def throughput(model: d2l.Classifier, X: np.ndarray, y: np.ndarray, num_steps: int = 4) -> float:
    """Images a second in training, measured by training `model` for some steps on one batch (chapter 12).

    Where `X`, `(batch, channel, height, width)`, and its labels `y` are, the network goes. With COURSE_QUICK set,
    one step on 32 images is measured.
    """
    if QUICK:
        X, y, num_steps = X[:32], y[:32], 1
    model.collect_params().reset_ctx(X.ctx)
    hybridized(model)
    optimizer = model.configure_optimizers()
    for step in range(num_steps + 2):
        if step == 2:  # the first two steps trace the network and settle its memory
            npx.waitall()
            start = time.perf_counter()
        with autograd.record():
            loss = model.loss(model(X), y)
        backward(model, loss)
        optimizer.step(1)
    npx.waitall()
    return num_steps * len(y) / (time.perf_counter() - start)


@contextmanager
def imperative(net: gluon.Block) -> Iterator[None]:
    """Let a hybridized network run layer by layer for a while: as one graph, it has no layers to watch."""
    blocks: list[gluon.Block] = []
    net.apply(blocks.append)
    active = [block for block in blocks if getattr(block, "_active", False)]
    for block in active:
        block._active = False
    try:
        yield
    finally:
        for block in active:
            block._active = True


def device_of(net: gluon.Block):
    """Where the parameters of an initialised network are."""
    return next(iter(net.collect_params().values())).list_ctx()[0]


def layer_name(layer: gluon.Block) -> str:
    """A sequence's own name, such as "stem"; else the kind of layer, with the window if it has one."""
    if isinstance(layer, gluon.nn.HybridSequential):
        return layer.name
    kind = type(layer).__name__
    window = getattr(layer, "_kwargs", {}).get("kernel", ())
    return f"{kind} {'x'.join(map(str, window))}" if window and "Global" not in kind else kind


def build(kind: type[DenseNet], spec: Spec) -> DenseNet:
    return hybridized(kind(spec))


def main() -> None:
    networks = {str(name): spec for name, spec in densenet_spec.items()}
    parser = argparse.ArgumentParser(
        prog="python -m utils.measure", description="Peak memory of a DenseNet in a forward pass and a training step."
    )
    parser.add_argument("network", choices=networks, help="a DenseNet of the paper")
    parser.add_argument("--side", type=int, default=32, help="pixels of the input's side; 32")
    parser.add_argument("--batch", type=int, default=1, help="images at once; 1")
    arguments = parser.parse_args()
    spec = networks[arguments.network]
    input_shape = (arguments.batch, 3, arguments.side, arguments.side)
    try:
        layers(spec, arguments.side, batch=arguments.batch)
        for title, kind in (("plain", DenseNet), ("memory-efficient", MemoryEfficientDenseNet)):
            for mode in ("forward", "training"):
                peak = peak_memory(partial(build, kind, spec), input_shape, mode)
                amount = "out of memory" if math.isinf(peak) else f"{peak / 1e6:9,.0f} MB"
                print(f"{title:18}{mode:10}{amount}", flush=True)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
