"""How much do accuracies vary from seed to seed, and what do a schedule and augmentation do to them? (chapter 06)

Prints a Markdown table of validation accuracies of the chapter's network, a row a seed and a column a way to train.
The floor that the chapter asserts lies below its last column. It takes five minutes a row on one free core.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.runtime import machine
from utils.spec import small_spec
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx

# Epochs, schedule, and whether the images are augmented.
WAYS = {
    "one-cycle": (1, one_cycle, True),
    "constant rate": (1, None, True),
    "not augmented": (1, one_cycle, False),
    "two epochs": (2, one_cycle, True),
}


def main() -> None:
    mx.npx.set_np()
    print(f"On {machine()}:\n")
    print("| seed |", " | ".join(WAYS), "|\n" + "|---" * (1 + len(WAYS)) + "|")
    for seed in range(5):
        accuracies = []
        for epochs, schedule, augment in WAYS.values():
            mx.random.seed(seed)
            trainer = Trainer(epochs, schedule)
            trainer.fit(DenseNet(small_spec, lr=0.1), FashionMNIST(batch_size=64, seed=seed, augment=augment))
            accuracies.append(f"{trainer.history['val_acc'][-1]:.4f}")
        print(f"| {seed} |", " | ".join(accuracies), "|", flush=True)


if __name__ == "__main__":
    main()
