"""Trainings for the tables of accuracies: as many at once as there are cores, all on the same terms.

Each result is a line of a log in `_build`, so a call that follows one that was stopped goes on where that was.
Nothing here reads the test images.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

# Before mxnet, which reads the number of threads when it is imported.
from utils import CORES
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.spec import Spec
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx
import numpy
from d2l import mxnet as d2l

LOGS = Path(__file__).parent.parent / "_build"
SEEDS = range(5)
BATCH_SIZE = 128
# The learning rate is chosen for each network alone, on a part of the images, with a seed of its own.
RATES, RATE_SEED, RATE_IMAGES = (0.05, 0.1, 0.2, 0.4), 5, 12_800


def run_all(function: Callable[..., Any], jobs: list[dict], log_name: str, threads: int = 1) -> list[Any]:
    """The results of `function(**job)` for all jobs, in their order; one that is in the log is not done again.

    Each job has so many threads, and a core for each. The jobs that take longest should come first. `function` must be
    importable, and what it returns fit for JSON.
    """
    LOGS.mkdir(exist_ok=True)
    log = LOGS / f"{log_name}.jsonl"
    log.touch()
    done = {key: result for key, result in map(json.loads, log.read_text().splitlines())}
    os.environ["OMP_NUM_THREADS"] = str(threads)
    waiting = {key: job for job in jobs if (key := name_of(function, job)) not in done}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, CORES // threads), context) as pool, log.open("a") as lines:
        running = {pool.submit(function, **job): key for key, job in waiting.items()}
        for future in as_completed(running):
            key = running[future]
            done[key] = future.result()
            print(json.dumps([key, done[key]]), file=lines, flush=True)
            print(key, done[key], file=sys.stderr, flush=True)
    return [done[name_of(function, job)] for job in jobs]


def name_of(function: Callable, job: dict) -> str:
    return f"{function.__name__} {json.dumps(job)}"


def train(spec: Spec, rate: float, seed: int, num_images: int) -> dict[str, float]:
    """Train a DenseNet with `fit`."""
    return fit(partial(DenseNet, spec, lr=rate), seed, num_images)


def fit(make_network: Callable[[], d2l.Classifier], seed: int, num_images: int) -> dict[str, float]:
    """Train a network on `num_images` training images of 32 pixels, in one cycle; what the validation images say.

    The images are drawn without repetition as long as there are new ones.
    """
    mx.npx.set_np()
    mx.random.seed(seed)
    data = FashionMNIST(batch_size=BATCH_SIZE, pad=2, seed=seed)
    order = numpy.random.RandomState(seed).permutation(len(data.labels["train"]))
    for part in (data.images, data.labels):
        part["train"] = part["train"][numpy.resize(order, num_images)]
    trainer = Trainer(1, one_cycle)
    trainer.fit(make_network(), data)
    return {name: trainer.history[name][0] for name in ("val_loss", "val_acc", "seconds")}


def best_rates(
    networks: list[dict],
    log_name: str,
    train: Callable[..., dict[str, float]] = train,
    rates: tuple[float, ...] = RATES,
) -> list[float]:
    """For each network the learning rate with the lowest validation loss after `RATE_IMAGES` images.

    A network is what `train` needs to know of it beside rate, seed and number of images, such as a spec.
    """
    jobs = [
        dict(**network, rate=rate, seed=RATE_SEED, num_images=RATE_IMAGES)
        for network in reversed(networks)
        for rate in rates
    ]
    losses = [result["val_loss"] for result in run_all(train, jobs, log_name)]
    # A training that ran away has no loss: it is not a number.
    best = numpy.nanargmin(numpy.reshape(losses, (len(networks), len(rates))), axis=1)
    return [rates[number] for number in reversed(best)]


def spread(accuracies: list[float]) -> str:
    """The cells of a table: an accuracy for each seed."""
    return " | ".join(f"{accuracy:.4f}" for accuracy in accuracies)
