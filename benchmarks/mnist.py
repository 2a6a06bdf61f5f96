"""Does a DenseNet of at most 300,000 parameters reach 99.2 percent on MNIST in 15 minutes on two cores? (chapter 16)

Network and learning rate are the pair with the lowest validation loss after a short run, with a seed of its own. The
chosen network, of those that are small enough, is trained with three seeds, a thread for each training, and reads the
test images once at the end. Prints two Markdown tables.
"""

import time

# Before mxnet, which reads the number of threads when it is imported.
from benchmarks.runs import RATE_IMAGES, RATE_SEED, run_all
from utils import cost
from utils.data import MNIST
from utils.densenet import DenseNet
from utils.runtime import machine
from utils.spec import Spec, imagenet_spec, small_spec
from utils.training import Trainer, accuracy, one_cycle, predict

# isort: split
import mxnet as mx

NETWORKS = {
    "the claim's, growth rate 24": imagenet_spec(24, 4, 4, 4),
    "the same, growth rate 20": imagenet_spec(20, 4, 4, 4),
    "chapter 06's": small_spec,
}
MAX_PARAMETERS = 300_000
RATES = (0.1, 0.2)
EPOCHS, SEEDS = 2, range(3)


def validate(spec: Spec, rate: float) -> float:
    """The validation loss of a DenseNet after a short run."""
    _, trainer = trained(spec, rate, 1, RATE_SEED, RATE_IMAGES)
    return trainer.history["val_loss"][0]


def test(spec: Spec, rate: float, seed: int) -> dict[str, float]:
    """Train a DenseNet on all training images; what validation and test images say at the end, and what it took.

    The seconds are the processor's, so that other programs on the machine do not count.
    """
    start = time.process_time()
    data, trainer = trained(spec, rate, EPOCHS, seed)
    seconds = time.process_time() - start
    log_probabilities = predict(trainer.model, data.test_dataloader(), trainer.device)
    return {
        "val_acc": trainer.history["val_acc"][-1],
        "test_acc": accuracy(log_probabilities, data.labels["test"]),
        "seconds": seconds,
    }


def trained(spec: Spec, rate: float, epochs: int, seed: int, num_images: int | None = None) -> tuple[MNIST, Trainer]:
    """The data set and its trainer after `epochs` in one cycle over the first `num_images` training images, moved."""
    mx.npx.set_np()
    mx.random.seed(seed)
    data = MNIST(batch_size=64, seed=seed, augment=True)
    for part in (data.images, data.labels):
        part["train"] = part["train"][:num_images]
    trainer = Trainer(epochs, one_cycle)
    trainer.fit(DenseNet(spec, lr=rate), data)
    return data, trainer


def parameters(name: str) -> int:
    return cost.total(cost.layers(NETWORKS[name], side=28, channels=1, num_classes=10)).parameters


def main() -> None:
    pairs = [(name, rate) for name in NETWORKS for rate in RATES]
    short_runs = run_all(validate, [dict(spec=NETWORKS[name], rate=rate) for name, rate in pairs], "mnist")
    losses = dict(zip(pairs, short_runs, strict=True))
    chosen, rate = min((pair for pair in pairs if parameters(pair[0]) <= MAX_PARAMETERS), key=losses.__getitem__)
    results = run_all(test, [dict(spec=NETWORKS[chosen], rate=rate, seed=seed) for seed in SEEDS], "mnist")
    print(f"A thread for each training on {machine()}; validation losses after {RATE_IMAGES:,} images:\n")
    print("| network | parameters |", *(f"rate {rate} |" for rate in RATES))
    print("|---" * (2 + len(RATES)) + "|")
    for name in NETWORKS:
        print(f"| {name} | {parameters(name):,} |", *(f"{losses[name, other]:.4f} |" for other in RATES))
    print(f"\nThe chosen network, {chosen}, at rate {rate} after {EPOCHS} epochs:\n")
    print("| seed | validation accuracy | test accuracy | processor seconds |\n" + "|---" * 4 + "|")
    for seed, result in zip(SEEDS, results, strict=True):
        print(f"| {seed} | {result['val_acc']:.4f} | {result['test_acc']:.4f} | {result['seconds']:.0f} |")


if __name__ == "__main__":
    main()
