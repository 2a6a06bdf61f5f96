"""How much do accuracies vary from seed to seed? Chapter 06's training, one epoch, ten times.

Prints a Markdown table, a row a seed. The floors that chapter 06 asserts lie below all of it.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet, densenet_spec
from utils.runtime import machine
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx


def main() -> None:
    mx.npx.set_np()
    print(f"On {machine()}:\n")
    print("| seed | train_acc | test_acc |\n|---|---|---|")
    for seed in range(10):
        mx.random.seed(seed)
        trainer = Trainer(1, one_cycle)
        trainer.fit(DenseNet(densenet_spec[121], lr=0.2), FashionMNIST(batch_size=128, pad=2, seed=seed))
        print(f"| {seed} | {trainer.history['train_acc'][0]:.3f} | {trainer.history['test_acc'][0]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
