"""AlexNet, VGG, ResNet and DenseNet, small and of nearly equal parameters, on Fashion-MNIST, five seeds (chapter 13).

All see the same number of training images of 32 pixels once, with one recipe; each has the learning rate, of six, that
is best for it after a short run. Prints a Markdown table of accuracies on the validation images. It takes half an hour
of a free core.
"""

from functools import partial

from benchmarks.runs import RATE_IMAGES, SEEDS, best_rates, fit, run_all, spread

# Before mxnet, which reads the number of threads when it is imported.
from utils.measure import layer_table
from utils.neighbours import SMALL, SmallNetwork
from utils.runtime import machine

# isort: split
import mxnet as mx
import numpy

NUM_IMAGES = 25_600
# Lower ones than the other tables have, which networks without shortcuts need.
RATES = (0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2)


def train(kind: str, rate: float, seed: int, num_images: int) -> dict[str, float]:
    return fit(partial(SmallNetwork, kind, lr=rate), seed, num_images)


def sizes(kind: str) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image."""
    mx.npx.set_np()
    table = layer_table(SmallNetwork(kind), (1, 1, 32, 32))
    return int(table["parameters"].sum()), int(table["multiply_adds"].sum())


def main() -> None:
    kinds = list(SMALL)
    rates = best_rates([dict(kind=kind) for kind in kinds], "neighbours", train, RATES)
    jobs = [
        dict(kind=kind, rate=rate, seed=seed, num_images=NUM_IMAGES)
        for kind, rate in reversed(list(zip(kinds, rates, strict=True)))
        for seed in SEEDS
    ]
    accuracies = [result["val_acc"] for result in run_all(train, jobs, "neighbours")]
    found = numpy.reshape(accuracies, (len(kinds), len(SEEDS)))[::-1]
    print(f"{NUM_IMAGES:,} images, a thread for each training on {machine()}; rates chosen after {RATE_IMAGES:,}:\n")
    print("| network | parameters | million multiply-adds | rate |", end="")
    print(*(f" seed {seed} |" for seed in SEEDS), sep="")
    print("|---" * (4 + len(SEEDS)) + "|")
    for kind, rate, row in zip(kinds, rates, found, strict=True):
        parameters, multiply_adds = sizes(kind)
        print(f"| {kind} | {parameters:,} | {multiply_adds / 1e6:.1f} | {rate} | {spread(row)} |")


if __name__ == "__main__":
    main()
