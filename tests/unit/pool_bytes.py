"""Bytes that MXNet really keeps for the backward pass: `python -m tests.kept PROFILE SPECS SIDE BATCH NUM_CLASSES`.

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


def bytes_in_pool() -> float:
    npx.waitall()
    gc.collect()
    mx.profiler.dumps(reset=True)
    np.zeros(1).wait_to_read()
    line = next(line for line in mx.profiler.dumps(reset=True).splitlines() if "Memory: cpu/0" in line)
    # Name, count, least, most, average. MXNet's kB are 1000 bytes.
    return 1000 * float(line.split()[-2])


def kept_bytes(spec: dict, side: int, batch: int, num_classes: int) -> float:
    net = DenseNet(spec, num_classes)
    X = np.random.uniform(size=(batch, 3, side, side))
    # The first pass makes the parameters and the library's scratch memory.
    for _ in range(2):
        before = bytes_in_pool()
        with autograd.record():
            Y = net(X)
        kept = bytes_in_pool() - before - 4 * Y.size
        del Y
    return kept


if __name__ == "__main__":
    npx.set_np()
    profile, specs, *sizes = sys.argv[1:]
    # MXNet deletes this file before it writes it: with /dev/null here, root would lose that.
    mx.profiler.set_config(profile_memory=True, aggregate_stats=True, filename=profile)
    mx.profiler.set_state("run")
    print([kept_bytes(spec, *map(int, sizes)) for spec in json.loads(specs)])
