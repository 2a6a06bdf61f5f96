"""How much do accuracies vary from seed to seed, and what does a schedule do to them? (chapter 06)

Prints a Markdown table of validation accuracies of the chapter's network, a row a seed and a column a way to train.
The floor that the chapter asserts lies below its last column. It takes six minutes a row on one free core.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.runtime import machine
from utils.spec import small_spec
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx

# Epochs and schedule.
WAYS = {"one-cycle": (1, one_cycle), "constant rate": (1, None), "two epochs": (2, one_cycle)}


def main() -> None:
    mx.npx.set_np()
    print(f"On {machine()}:\n")
    print("| seed |", " | ".join(WAYS), "|\n" + "|---" * (1 + len(WAYS)) + "|")
    for seed in range(5):
        accuracies = []
        for epochs, schedule in WAYS.values():
            mx.random.seed(seed)
            trainer = Trainer(epochs, schedule)
            trainer.fit(DenseNet(small_spec, lr=0.1), FashionMNIST(batch_size=64, seed=seed, augment=True))
            accuracies.append(f"{trainer.history['val_acc'][-1]:.4f}")
        print(f"| {seed} |", " | ".join(accuracies), "|", flush=True)


if __name__ == "__main__":
    main()
