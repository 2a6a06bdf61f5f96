"""Does density help? Plain, residual and dense networks of equal parameters, at three depths, five seeds (chapter 07).

Each network sees `IMAGES` of the training images once; then the dense ones are trained anew, for as many images as they
manage in the time of the residual network of their depth. Only validation images judge. Prints three Markdown tables:
which learning rate was taken, what the deepest plain network makes of lower ones, and the errors.
Each run adds a line to `LOG`, and a call that follows one that was stopped goes on where that was, seed by seed. It
takes 45 minutes of a free core.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils import connections
from utils.connections import DEPTHS, KINDS, Network
from utils.data import FashionMNIST
from utils.measure import throughput
from utils.runtime import machine
from utils.training import Trainer, one_cycle

# isort: split
import json
import sys
from pathlib import Path

import mxnet as mx
import numpy

LOG = Path(__file__).parent.parent / "_build" / "density.jsonl"
SEEDS, IMAGES, ROUNDS, BATCH_SIZE = range(5), 25_600, 5, 128
# The rate is chosen on a part of the images, with a seed of its own, for all networks together.
RATES, RATE_DEPTH, RATE_SEED, RATE_IMAGES = (0.05, 0.1, 0.2, 0.4), 22, 5, 12800
# What the plain network of 40 layers makes of lower rates.
LOWER_RATES = (0.01, 0.03)


def run(**job) -> dict:
    """A job of the log, such as one training; what is in the log is not done again."""
    LOG.parent.mkdir(exist_ok=True)
    LOG.touch()
    for line in LOG.read_text().splitlines():
        done = json.loads(line)
        if done["job"] == job:
            return done["result"]
    result = speeds(**job) if "question" in job else train(**job)
    with LOG.open("a") as log:
        print(json.dumps({"job": job, "result": result}), file=log)
    print(job, result, file=sys.stderr, flush=True)
    return result


def speeds(question: str, depth: int) -> dict:
    """Images a second in training of each kind, measured in turns; the medians."""
    X, y = next(iter(FashionMNIST(batch_size=BATCH_SIZE).train_dataloader()))
    networks = [Network(kind, depth) for kind in KINDS]
    rounds = [[throughput(network, X, y) for network in networks] for _ in range(ROUNDS)]
    return dict(zip(KINDS, numpy.median(rounds, axis=0).round().tolist(), strict=True))


def train(kind: str, depth: int, seed: int, rate: float, images: int) -> dict:
    """One pass over so many training images; the error in percent of the validation images."""
    mx.random.seed(seed)
    data = FashionMNIST(batch_size=BATCH_SIZE, seed=seed)
    chosen = numpy.random.RandomState(seed).permutation(len(data.labels["train"]))[:images]
    for part in (data.images, data.labels):
        part["train"] = part["train"][chosen]
    trainer = Trainer(1, one_cycle)
    trainer.fit(Network(kind, depth, lr=rate), data)
    history = {name: trainer.history[name][0] for name in ("train_loss", "train_acc", "val_loss", "val_acc", "seconds")}
    return history | {
        "error": 100 * (1 - history["val_acc"]),
        "last_loss": float(numpy.mean(trainer.history["step_loss"][-40:])),
    }


def best_rate() -> float:
    """Print the validation loss of each kind and rate, and return the rate with the lowest mean."""
    print(f"Validation loss of depth {RATE_DEPTH} after {RATE_IMAGES:,} images:\n")
    print("| rate |", " | ".join(KINDS), "| mean |\n" + "|---" * (2 + len(KINDS)) + "|")
    means = {}
    for rate in RATES:
        job = dict(depth=RATE_DEPTH, seed=RATE_SEED, rate=rate, images=RATE_IMAGES)
        losses = [run(kind=kind, **job)["val_loss"] for kind in KINDS]
        means[rate] = numpy.mean(losses)
        print(f"| {rate} |", " | ".join(f"{loss:.3f}" for loss in losses), f"| {means[rate]:.3f} |")
    return min(means, key=means.__getitem__)


def main() -> None:
    mx.npx.set_np()
    speed = {depth: run(question="images a second", depth=depth) for depth in DEPTHS}
    rate = best_rate()
    print(f"\nThe plain network of {max(DEPTHS)} layers after {IMAGES:,} images:\n")
    print("| rate | validation loss | error |\n|---|---|---|")
    for lower in LOWER_RATES:
        result = run(kind="plain", depth=max(DEPTHS), seed=RATE_SEED, rate=lower, images=IMAGES)
        print(f"| {lower} | {result['val_loss']:.3f} | {result['error']:.2f} |")
    once = [(depth, kind, IMAGES) for depth in DEPTHS for kind in KINDS]
    share = {depth: speed[depth]["dense"] / speed[depth]["residual"] for depth in DEPTHS}
    in_the_same_time = [(depth, "dense", int(IMAGES * share[depth])) for depth in DEPTHS]
    errors: dict[tuple, list[float]] = {row: [] for row in once + in_the_same_time}
    # Seed by seed, so that whatever has run when it is stopped treats all networks alike.
    for rows in (once, in_the_same_time):
        for seed in SEEDS:
            for depth, kind, images in rows:
                result = run(kind=kind, depth=depth, seed=seed, rate=rate, images=images)
                errors[depth, kind, images].append(result["error"])
    print(f"\nError in percent of the validation images, rate {rate}, on {machine()}:\n")
    print("| depth | network | parameters | million multiply-adds | images a second | images |", end="")
    print(*(f" seed {seed} |" for seed in SEEDS), sep="")
    print("|---" * (6 + len(SEEDS)) + "|")
    for (depth, kind, images), found in errors.items():
        size = kind, connections.layers_in_block(depth), connections.widths(kind, depth)
        cells = [
            str(depth),
            kind,
            f"{connections.parameters(*size):,}",
            f"{connections.multiply_adds(*size) / 1e6:.1f}",
            f"{speed[depth][kind]:,.0f}",
            f"{images:,}",
            *(f"{error:.2f}" for error in found),
        ]
        print("|", " | ".join(cells), "|")
    LOG.replace(LOG.with_suffix(".done.jsonl"))


if __name__ == "__main__":
    main()
