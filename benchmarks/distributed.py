"""What does training in several processes cost: seconds and bytes a step, and accuracy with compressed gradients?

Each training is started with `utils.launch`: one worker or two, a thread each, and a server, on one machine. A step is
timed in three parts, with a wait after each: computing the gradients, exchanging them through the store, and updating.
Its bytes are those that went through the loopback interface meanwhile, the work of other programs included.
Prints Markdown tables.
"""

import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet, densenet_spec
from utils.measure import parameter_count
from utils.runtime import machine
from utils.spec import imagenet_spec
from utils.store import Store
from utils.training import Trainer, one_cycle, sgd_with_momentum

# isort: split
import mxnet as mx
from mxnet import autograd, np, npx

STEPS, WARM_UP = 15, 3
WORKER_BATCH = 16
SETTINGS: dict[str, tuple[int, dict]] = {
    "one worker": (1, {}),
    "two workers": (2, {}),
    "two workers, 2bit": (2, {"type": "2bit", "threshold": 0.01}),
}
COMPRESSIONS: dict[str, dict] = {
    "none": {},
    "2bit, threshold 0.5": {"type": "2bit", "threshold": 0.5},
    "2bit, threshold 0.01": {"type": "2bit", "threshold": 0.01},
}
SMALL = imagenet_spec(12, 4, 4, 4)
SEEDS, IMAGES, BATCH_SIZE = range(5), 3200, 64


def loopback_bytes() -> int:
    """The bytes that the loopback interface has carried so far."""
    return int(Path("/sys/class/net/lo/statistics/tx_bytes").read_text())


def measure_steps(store: Store) -> dict[str, list[float]]:
    """Seconds of each part of each step of DenseNet-121, and bytes of each step, as this worker sees them."""
    net = DenseNet(densenet_spec[121])
    X, y = np.random.normal(size=(WORKER_BATCH, 1, 32, 32)), np.zeros(WORKER_BATCH)
    net(X[:1])
    net.hybridize(static_alloc=True, static_shape=True)
    optimizer = sgd_with_momentum(net, 0.0, store)
    measured: dict[str, list[float]] = {"compute": [], "exchange": [], "update": [], "bytes": []}
    for _ in range(WARM_UP + STEPS):
        carried = loopback_bytes()
        store.kv._barrier()
        times = [time.perf_counter()]
        with autograd.record():
            loss = net.loss(net(X), y)
        loss.backward()
        npx.waitall()
        times.append(time.perf_counter())
        optimizer.allreduce_grads()
        npx.waitall()
        times.append(time.perf_counter())
        optimizer.update(1)
        npx.waitall()
        times.append(time.perf_counter())
        store.kv._barrier()
        parts = [after - before for before, after in pairwise(times)]
        for part, value in zip(measured, [*parts, loopback_bytes() - carried], strict=True):
            measured[part].append(value)
        store.kv._barrier()
    return {part: values[WARM_UP:] for part, values in measured.items()}


def measure_accuracy(store: Store, seed: int) -> float:
    """Validation accuracy after one short cycle, in which the workers share each batch."""
    mx.random.seed(seed)
    data = FashionMNIST(BATCH_SIZE, seed=seed)
    for part in (data.images, data.labels):
        part["train"] = part["train"][:IMAGES]
    trainer = Trainer(1, one_cycle, store=store)
    trainer.fit(DenseNet(SMALL), data)
    return trainer.history["val_acc"][0]


def work(compression: dict, seed: int | None) -> None:
    """What a worker does that `launched` started."""
    npx.set_np()
    store = Store(compression=compression)
    found = measure_steps(store) if seed is None else measure_accuracy(store, seed)
    if store.rank == 0:
        print("found", json.dumps(found), flush=True)


def launched(num_workers: int, compression: dict, seed: int | None = None) -> Any:
    """What worker 0 of so many measures: the accuracy of a training with this seed, or steps if there is none."""
    words = ["--workers", str(num_workers), "--", sys.executable, "-m", "benchmarks.distributed"]
    run = subprocess.run(
        [sys.executable, "-m", "utils.launch", *words, json.dumps([compression, seed])],
        env=os.environ | {"OMP_NUM_THREADS": str(num_workers)},  # of which each worker gets one
        capture_output=True,
        text=True,
    )
    found = re.search(r"^worker \d+ \| found (.*)$", run.stdout, re.MULTILINE)
    if not found:
        sys.exit(run.stdout + run.stderr)
    print(num_workers, compression, seed, found[1][:100], file=sys.stderr, flush=True)
    return json.loads(found[1])


def spread(values: list[float], unit: float) -> str:
    return f"{median(values) / unit:,.0f} ({min(values) / unit:,.0f} to {max(values) / unit:,.0f})"


def main() -> None:
    npx.set_np()
    net = DenseNet(densenet_spec[121])
    net(np.zeros((1, 1, 32, 32)))
    parameters = parameter_count(net)
    print(f"On {machine()}. DenseNet-121, {parameters:,} parameters, {WORKER_BATCH} images of 32 pixels a worker;")
    print(f"medians of {STEPS} steps, with the least and the most, in milliseconds:\n")
    print("| trained by | computing | exchanging | updating | exchange to the rest | MB sent a step | predicted |")
    print("|---" * 7 + "|")
    for setting, (num_workers, compression) in SETTINGS.items():
        found = launched(num_workers, compression)
        # There and back, for each worker; compressed, a gradient of 32 bits becomes one of 2 on its way there.
        predicted = num_workers * 4 * parameters * (1 + (1 / 16 if compression else 1))
        times = [spread(found[part], 1e-3) for part in ("compute", "exchange", "update")]
        parts = zip(found["exchange"], found["compute"], found["update"], strict=True)
        ratio = median(exchange / (compute + update) for exchange, compute, update in parts)
        sent = [f"{ratio:.2f}", f"{median(found['bytes']) / 1e6:.1f}", f"{predicted / 1e6:.1f}"]
        print("|", " | ".join([setting, *times, *sent]), "|", flush=True)
    print(f"\n| compression | {' | '.join(f'seed {seed}' for seed in SEEDS)} |")
    print("|---" * (1 + len(SEEDS)) + "|")
    for name, compression in COMPRESSIONS.items():
        accuracies = [launched(2, compression, seed) for seed in SEEDS]
        print(f"| {name} | {' | '.join(f'{value:.4f}' for value in accuracies)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        work(*json.loads(sys.argv[1]))
    else:
        main()
