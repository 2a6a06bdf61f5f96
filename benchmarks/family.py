"""How large a DenseNet pays on Fashion-MNIST? Five networks of one recipe, five seeds: in equal time, on equal images.

In equal time each network sees as many training images as it manages in `SECONDS` on one core, by its own speed,
measured in turns with the others; on equal images all see the same number. Each has the learning rate, of four, that
is best for it after a short run. Prints a Markdown table of validation accuracies for each of the two.
"""

import statistics

from benchmarks.runs import RATE_IMAGES, SEEDS, best_rates, run_all, spread, train

# Before mxnet, which reads the number of threads when it is imported.
from utils import cost
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.measure import throughput
from utils.runtime import machine
from utils.spec import Spec, imagenet_spec

# isort: split
import mxnet as mx

SECONDS, NUM_IMAGES, ROUNDS = 60, 12_800, 5
NETWORKS = [(8, 2, 2, 2), (16, 3, 6, 4), (16, 3, 6, 12, 8), (24, 6, 12, 24), (32, 6, 12, 24, 16)]


def speeds(specs: list[Spec]) -> list[float]:
    """Images a second that each network learns from on one core, measured in turns; the medians."""
    mx.npx.set_np()
    batch = next(iter(FashionMNIST(batch_size=128, pad=2).train_dataloader()))
    rounds = [[throughput(DenseNet(spec), *batch) for spec in specs] for _ in range(ROUNDS)]
    return [statistics.median(speed) for speed in zip(*rounds, strict=True)]


def main() -> None:
    specs = [imagenet_spec(*sizes) for sizes in NETWORKS]
    rates = best_rates([dict(spec=spec) for spec in specs], "family")
    [measured] = run_all(speeds, [dict(specs=specs)], "family")
    for title, sizes in (
        (f"{SECONDS} s on one core each", [int(SECONDS * speed) for speed in measured]),
        (f"{NUM_IMAGES:,} images each", [NUM_IMAGES] * len(specs)),
    ):
        networks = list(zip(specs, rates, sizes, strict=True))
        jobs = [
            dict(spec=spec, rate=rate, seed=seed, num_images=num_images)
            for spec, rate, num_images in reversed(networks)
            for seed in SEEDS
        ]
        results = iter(run_all(train, jobs, "family"))
        accuracies = [[next(results)["val_acc"] for _ in SEEDS] for _ in specs][::-1]
        print(f"{title}, a thread for each training on {machine()}; rates chosen after {RATE_IMAGES:,} images:\n")
        print("| growth rate | blocks | parameters | rate | images a second | images |", end="")
        print(*(f" seed {seed} |" for seed in SEEDS), sep="")
        print("|---" * (6 + len(SEEDS)) + "|")
        for (spec, rate, num_images), speed, found in zip(networks, measured, accuracies, strict=True):
            blocks = "-".join(map(str, spec["blocks"]))
            parameters = cost.total(cost.layers(spec, side=32, channels=1, num_classes=10)).parameters
            print(f"| {spec['growth_rate']} | {blocks} | {parameters:,} | {rate} |", end="")
            print(f" {speed:,.0f} | {num_images:,} | {spread(found)} |")
        print()


if __name__ == "__main__":
    main()
