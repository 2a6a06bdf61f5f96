"""What do bottlenecks, the activation, the pooling and dropout change in accuracy? Five seeds, equal images.

Prints a Markdown table, a row a variant, of accuracies on the validation images. The first is a DenseNet-BC of three
blocks of 8 layers, growth rate 12; the second has as many parameters without bottlenecks and compression. Each has the
learning rate, of four, that is best for it after a short run.
"""

from benchmarks.runs import RATE_IMAGES, SEEDS, best_rates, run_all, spread, train
from utils import cost
from utils.runtime import machine
from utils.spec import imagenet_spec

NUM_IMAGES = 25_600
BASE = imagenet_spec(12, 8, 8, 8)
VARIANTS = {
    "DenseNet-BC": BASE,
    "no bottleneck, no compression": BASE
    | dict(blocks=(6, 6, 6), bottleneck_width=None, compression=1, initial_channels=16),
    "leaky ReLU": BASE | dict(activation="leaky_relu"),
    "maximum pooling": BASE | dict(pooling="max"),
    "dropout of 0.2": BASE | dict(drop_rate=0.2),
}


def main() -> None:
    specs = list(VARIANTS.values())
    rates = best_rates([dict(spec=spec) for spec in specs], "variants")
    jobs = [
        dict(spec=spec, rate=rate, seed=seed, num_images=NUM_IMAGES)
        for spec, rate in zip(specs, rates, strict=True)
        for seed in SEEDS
    ]
    results = iter(run_all(train, jobs, "variants"))
    print(f"{NUM_IMAGES:,} images, a thread for each training on {machine()}; rates chosen after {RATE_IMAGES:,}:\n")
    print("| variant | parameters | rate |", *(f"seed {seed} |" for seed in SEEDS))
    print("|---" * (3 + len(SEEDS)) + "|")
    for (name, spec), rate in zip(VARIANTS.items(), rates, strict=True):
        parameters = cost.total(cost.layers(spec, side=32, channels=1, num_classes=10)).parameters
        print(f"| {name} | {parameters:,} | {rate} | {spread([next(results)['val_acc'] for _ in SEEDS])} |")


if __name__ == "__main__":
    main()
