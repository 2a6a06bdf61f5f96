"""Bytes that MXNet really keeps for the backward pass: `python pool_bytes.py PROFILE SPECS SIDE BATCH NUM_CLASSES`.

Reads `SPECS`, a list in JSON, and prints a list of numbers. MXNet's profiler looks at the memory
pool only when something is allocated, and at everything in the process: hence a process of its own.
`PROFILE` is a file that the profiler writes of its own accord, even as the process ends.
"""

import gc
import json
import sys

import mxnet as mx
from mxnet import autograd, np, npx

from utils.densenet import DenseNet
from utils.spec import Spec


def bytes_in_pool() -> float:
    npx.waitall()
    gc.collect()
    mx.profiler.dumps(reset=True)
    np.zeros(1).wait_to_read()
    line = next(line for line in mx.profiler.dumps(reset=True).splitlines() if "Memory: cpu/0" in line)
    *_, most, _average = line.split()
    return 1000 * float(most)  # MXNet's kB are 1000 bytes


def kept_bytes(spec: Spec, side: int, batch: int, num_classes: int) -> float:
    net = DenseNet(spec, num_classes)
    X = np.random.uniform(size=(batch, 3, side, side))
    # The first pass makes the parameters and the library's scratch memory.
    for _ in range(2):
        before = bytes_in_pool()
        with autograd.record():
            Y = net(X)
        difference = bytes_in_pool() - before - 4 * Y.size
        del Y
    return difference


if __name__ == "__main__":
    gc.freeze()  # what was imported stays: looking through it at each collection took most of the time
    npx.set_np()
    profile, specs, side, batch, num_classes = sys.argv[1:]
    # MXNet deletes this file before it writes it: with /dev/null here, root would lose that.
    mx.profiler.set_config(profile_memory=True, aggregate_stats=True, filename=profile)
    mx.profiler.set_state("run")
    print([kept_bytes(spec, int(side), int(batch), int(num_classes)) for spec in json.loads(specs)])
