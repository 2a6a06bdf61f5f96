"""How many images a second do the course's loader and Gluon's deliver, both resizing to 32 pixels and normalising?

The sides take turns in one process: `FashionMNIST` resizes once and slices bytes, in one thread, and is measured
with moved and mirrored images, too; Gluon's `DataLoader`, as `d2l.FashionMNIST` uses it but without worker
processes, resizes image by image. Prints a Markdown table.
"""

import statistics
import time
from itertools import islice

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import DEVIATION, MEAN, FashionMNIST
from utils.runtime import machine

# isort: split
from mxnet import gluon, np, npx
from mxnet.gluon.data.vision import transforms

ROUNDS, BATCHES, BATCH_SIZE, SIDE = 7, 100, 64, 32


def speed(loader) -> float:
    """Images a second over `BATCHES` batches."""
    start = time.perf_counter()
    for X, _ in islice(loader, BATCHES):
        X.wait_to_read()
    return BATCHES * BATCH_SIZE / (time.perf_counter() - start)


def main() -> None:
    npx.set_np()
    data = FashionMNIST(BATCH_SIZE)
    images = np.array(data.images["train"][..., None], dtype="uint8")
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    transform = transforms.Compose(steps)
    dataset = gluon.data.ArrayDataset(images, data.labels["train"].astype("int32")).transform_first(transform)
    loaders = {
        "Gluon": gluon.data.DataLoader(dataset, BATCH_SIZE, shuffle=True),
        "course": FashionMNIST(BATCH_SIZE, resize=(SIDE, SIDE)).train_dataloader(),
        "course, augmented": FashionMNIST(BATCH_SIZE, resize=(SIDE, SIDE), augment=True).train_dataloader(),
    }
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(ROUNDS):
        for name, loader in loaders.items():
            speeds[name].append(speed(loader))
    print(f"On {machine()}, batch size {BATCH_SIZE}:\n")
    print("| loader | images a second | ratio |\n|---|---|---|")
    for name in loaders:
        ratio = statistics.median(a / b for a, b in zip(speeds[name], speeds["Gluon"], strict=True))
        print(f"| {name} | {statistics.median(speeds[name]):,.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
