"""Peak memory, measured in a process of its own (chapter 09).

A process that has once used memory does not give all of it back: MXNet keeps what it took of a GPU,
malloc some of the rest. So each measurement has a fresh process, forked from one that has only imported.
"""

import ctypes
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import cloudpickle
from d2l import mxnet as d2l
from mxnet import MXNetError, autograd, context, gluon, np, npx
from mxnet.context import Context

from utils.backward import backward
from utils.cost import BYTES_PER_NUMBER
from utils.training import OUT_OF_MEMORY

NUM_STEPS = 2  # the second takes more than the first, and as much as each later one
M_MMAP_THRESHOLD = -3  # malloc.h
ADDRESSABLE_BYTES = 2**47  # a program's half of the addresses of an x86-64 or ARM processor


def peak_memory(build: Callable[[], gluon.Block], input_shape: tuple[int, ...], mode: str = "training") -> float:
    """Most bytes that a network takes at any time: in a training step, or with mode "forward" in a forward pass.

    `build()` returns the network, initialised and, if it should be, hybridized; `input_shape` is
    `(batch, channel, height, width)`. On a processor, the bytes are the growth of the process's
    resident set: parameters, gradients, input, activations and scratch memory are in it, the
    libraries are not, nor what malloc would keep for later use. On a GPU they are what MXNet's
    pool took, which is rounded up. Infinite if memory runs out.
    Raises `ValueError` for another mode and for an input that no machine can hold, and `RuntimeError` if the
    network does not run.
    """
    if mode not in ("forward", "training"):
        raise ValueError(f"mode must be 'forward' or 'training', and is {mode!r}.")
    if BYTES_PER_NUMBER * prod(input_shape) > ADDRESSABLE_BYTES:
        raise ValueError(f"No machine can hold an input of shape {input_shape}: take fewer or smaller images.")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["utils.fork_server"])
    reader, writer = processes.Pipe(duplex=False)
    process = processes.Process(target=report, args=(writer, cloudpickle.dumps((build, input_shape, mode))))
    # The server imports what PYTHONPATH reaches, whatever sys.path says (CPython issue 117378).
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        process.start()
    writer.close()
    try:
        peak, problem = reader.recv()
    except EOFError:  # it was ended from outside
        process.join()
        if process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"The process that measures ended with exit code {process.exitcode}.") from None
        peak, problem = math.inf, None
    process.join()
    if problem:
        raise RuntimeError(f"The network cannot be measured: {problem}")
    return peak


def report(writer: Connection, task: bytes) -> None:
    """What the new process does: measure, send `(peak, problem)`, and end."""
    # If memory runs out, the system should end this process and no other.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    npx.set_np()
    try:
        build, input_shape, mode = cloudpickle.loads(task)
        writer.send((measure(build, input_shape, mode, d2l.try_gpu()), None))
    except MemoryError:
        writer.send((math.inf, None))
    except Exception as error:
        is_out_of_memory = isinstance(error, MXNetError) and any(words in str(error) for words in OUT_OF_MEMORY)
        writer.send((math.inf, None) if is_out_of_memory else (None, f"{type(error).__name__}: {error}"))
    # MXNet sometimes aborts on its way out after an allocation has failed.
    os._exit(0)


def measure(build: Callable[[], gluon.Block], input_shape: tuple[int, ...], mode: str, device: Context) -> int:
    """What `peak_memory` returns, in this process (chapter 09)."""
    wake_libraries(mode, device)
    baseline = used(device)
    if device.device_type == "cpu":
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    net = build()
    net.collect_params().reset_ctx(device)
    run(net, input_shape, mode, device)
    return used(device, peak=True) - baseline


def wake_libraries(mode: str, device: Context) -> None:
    """Let malloc and the libraries take what they take but once, which a small network makes them do."""
    # Let malloc give back each large piece at once. What it keeps for later depends on what came before.
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 * 1024)
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(8, 3), gluon.nn.BatchNorm(), gluon.nn.Activation("relu"), gluon.nn.Dense(2))
    net.initialize(ctx=device)
    run(net, (1, 3, 16, 16), mode, device)


def run(net: gluon.Block, input_shape: tuple[int, ...], mode: str, device: Context) -> None:
    """Run `NUM_STEPS` forward passes or training steps on a batch of ones of this shape, all of class 0."""
    X, y = np.ones(input_shape, ctx=device), np.zeros(input_shape[0], ctx=device)
    if mode == "forward":
        for _ in range(NUM_STEPS):
            net(X).wait_to_read()
        return
    # Settles the shapes, so that the trainer finds all parameters; as in training, because after a prediction MXNet
    # puts weights in another order, at a moment of its own, and what the first step takes would depend on when.
    with autograd.train_mode():
        net(X[:1])
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    for _ in range(NUM_STEPS):
        with autograd.record():
            loss = loss_function(net(X), y).mean()
        backward(net, loss)
        trainer.step(1)
        npx.waitall()


def used(device: Context, peak: bool = False) -> int:
    """Bytes of the device in use; with `peak`, the most so far (on a GPU the same: MXNet gives nothing back)."""
    npx.waitall()
    if device.device_type == "gpu":
        free, total = context.gpu_memory_info(device.device_id)
        return total - free
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes, _ = status["VmHWM" if peak else "VmRSS"].split()
    return 1024 * int(kilobytes)
