"""How large a DenseNet pays on Fashion-MNIST? Networks of the same recipe, each trained for the same time.

Prints a Markdown table, a row a network, with its accuracy on the validation images. The time is turned into a
number of images first, by each network's own speed, measured in turns, so that other work on the machine costs no
network its training.
"""

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.measure import parameter_count, throughput
from utils.runtime import SEED, machine
from utils.spec import imagenet_spec
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx
import numpy

SECONDS, ROUNDS = 200, 5
NETWORKS = [(8, 2, 2, 2), (16, 3, 6, 4), (16, 3, 6, 12, 8), (24, 6, 12, 24), (32, 6, 12, 24, 16)]


def main() -> None:
    mx.npx.set_np()
    specs = [imagenet_spec(*sizes) for sizes in NETWORKS]
    batch = next(iter(FashionMNIST(batch_size=128, pad=2).train_dataloader()))
    rounds = [[throughput(DenseNet(spec), *batch) for spec in specs] for _ in range(ROUNDS)]
    print(f"On {machine()}, {SECONDS} s each:\n")
    print("| growth rate | blocks | parameters | images a second | val_acc |\n|---|---|---|---|---|")
    for spec, speed in zip(specs, numpy.median(rounds, axis=0), strict=True):
        mx.random.seed(SEED)
        data = FashionMNIST(batch_size=128, pad=2)
        num_images = len(data.labels["train"])
        chosen = numpy.resize(numpy.random.RandomState(SEED).permutation(num_images), int(SECONDS * speed))
        for part in (data.images, data.labels):
            part["train"] = part["train"][chosen]
        net, trainer = DenseNet(spec, lr=0.1), Trainer(1, one_cycle)
        trainer.fit(net, data)
        cells = [
            str(spec["growth_rate"]),
            "-".join(map(str, spec["blocks"])),
            f"{parameter_count(net):,}",
            f"{speed:,.0f}",
            f"{trainer.history['val_acc'][0]:.3f}",
        ]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
