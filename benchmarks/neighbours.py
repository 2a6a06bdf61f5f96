"""AlexNet, VGG, ResNet and DenseNet, small and of nearly equal parameters, on Fashion-MNIST, five seeds (chapter 13).

All see the same number of training images of 32 pixels once, with one recipe; each has the learning rate, of six, that
is best for it after a short run. Prints a Markdown table of accuracies on the validation images. It takes half an hour
of a free core.
"""

from functools import partial

from benchmarks.runs import RATE_IMAGES, SEEDS, best_rates, fit, run_all, spread

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.measure import layer_table, throughput
from utils.neighbours import SMALL, SmallNetwork
from utils.runtime import machine

# isort: split
import mxnet as mx
import numpy

NUM_IMAGES, ROUNDS = 25_600, 5
# Lower ones than the other tables have, which networks without shortcuts need.
RATES = (0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2)


def train(kind: str, rate: float, seed: int, num_images: int) -> dict[str, float]:
    return fit(partial(SmallNetwork, kind, lr=rate), seed, num_images)


def sizes(kind: str) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image."""
    mx.npx.set_np()
    table = layer_table(SmallNetwork(kind), (1, 1, 32, 32))
    return int(table["parameters"].sum()), int(table["multiply_adds"].sum())


def speeds(kinds: list[str]) -> list[float]:
    """Images a second that each network learns from on one core, measured in turns; the medians."""
    mx.npx.set_np()
    batch = next(iter(FashionMNIST(batch_size=128, pad=2).train_dataloader()))
    rounds = [[throughput(SmallNetwork(kind), *batch) for kind in kinds] for _ in range(ROUNDS)]
    return numpy.median(rounds, axis=0).tolist()


def main() -> None:
    kinds = list(SMALL)
    rates = best_rates([dict(kind=kind) for kind in kinds], "neighbours", train, RATES)
    [measured] = run_all(speeds, [dict(kinds=kinds)], "neighbours")
    jobs = [
        dict(kind=kind, rate=rate, seed=seed, num_images=NUM_IMAGES)
        for kind, rate in reversed(list(zip(kinds, rates, strict=True)))
        for seed in SEEDS
    ]
    accuracies = [result["val_acc"] for result in run_all(train, jobs, "neighbours")]
    found = numpy.reshape(accuracies, (len(kinds), len(SEEDS)))[::-1]
    print(f"{NUM_IMAGES:,} images, a thread for each training on {machine()}; rates chosen after {RATE_IMAGES:,}:\n")
    print("| network | parameters | million multiply-adds | images a second | rate |", end="")
    print(*(f" seed {seed} |" for seed in SEEDS), sep="")
    print("|---" * (5 + len(SEEDS)) + "|")
    for kind, rate, speed, row in zip(kinds, rates, measured, found, strict=True):
        parameters, multiply_adds = sizes(kind)
        print(f"| {kind} | {parameters:,} | {multiply_adds / 1e6:.1f} | {speed:,.0f} | {rate} | {spread(row)} |")


if __name__ == "__main__":
    main()
