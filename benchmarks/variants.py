"""What do bottlenecks, the activation, the pooling and dropout change in accuracy? Five seeds, one epoch each.

Prints a Markdown table, a row a variant, of accuracies on the validation images. The first is a DenseNet-BC of three
blocks of 8 layers, growth rate 12; the second has as many parameters without bottlenecks and compression.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils import cost
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.runtime import machine
from utils.spec import imagenet_spec
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx

BASE = imagenet_spec(12, 8, 8, 8)
VARIANTS = {
    "DenseNet-BC": BASE,
    "no bottleneck, no compression": BASE
    | dict(blocks=(6, 6, 6), bottleneck_width=None, compression=1, initial_channels=16),
    "leaky ReLU": BASE | dict(activation="leaky_relu"),
    "maximum pooling": BASE | dict(pooling="max"),
    "dropout of 0.2": BASE | dict(drop_rate=0.2),
}
SEEDS = range(5)


def main() -> None:
    mx.npx.set_np()
    print(f"On {machine()}, validation accuracy:\n")
    print("| variant | parameters |", *(f"seed {seed} |" for seed in SEEDS))
    print("|---" * (2 + len(SEEDS)) + "|")
    for name, spec in VARIANTS.items():
        parameters = cost.total(cost.layers(spec, side=32, channels=1, num_classes=10)).parameters
        print(f"| {name} | {parameters:,} |", end="", flush=True)
        for seed in SEEDS:
            mx.random.seed(seed)
            trainer = Trainer(1, one_cycle)
            trainer.fit(DenseNet(spec, lr=0.1), FashionMNIST(batch_size=128, pad=2, seed=seed))
            print(f" {trainer.history['val_acc'][0]:.3f} |", end="", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
