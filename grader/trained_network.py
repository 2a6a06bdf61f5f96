"""What assignment 4 shares with its grader: moved images, the budgets, and a trained network inside a notebook.

Students and the grader read images through the same `utils.data.Batches`, so both normalise them alike.
"""

import base64
import json

import numpy
from IPython.display import HTML
from mxnet import current_context, np

from utils import cost
from utils.data import Batches, FashionMNIST, load, moved_and_mirrored
from utils.densenet import DenseNet
from utils.spec import Spec
from utils.training import predict

SIDE, NUM_CLASSES, BATCH = 28, 10, 128
NUM_HELD_BACK = 4000
SEED_OF_MOVES = 0  # of the validation and test images that students see


def moved(images: numpy.ndarray, seed: int) -> numpy.ndarray:
    """Each image, bytes `(image, height, width)`, moved by up to `MOVE` pixels each way, as the seed decides."""
    return moved_and_mirrored(images, numpy.random.RandomState(seed), mirror=False)


def moved_data(batch_size: int, augment: bool = False) -> FashionMNIST:
    """Fashion-MNIST whose validation and test images have been moved, always by the same steps.

    `augment` is that of `FashionMNIST`. Raises `DatasetError` if the files cannot be had.
    """
    data = FashionMNIST(batch_size, augment=augment)
    for split in ("val", "test"):
        data.images[split] = moved(data.images[split], SEED_OF_MOVES)
    return data


def encoded(images: numpy.ndarray) -> str:
    """Images, bytes `(image, height, width)`, as a text in base 64."""
    return base64.b64encode(images.tobytes()).decode()


def held_back(seed: int) -> tuple[str, list[int]]:
    """The moved images by which the grader judges, bytes `(image, height, width)` in base 64, and their labels.

    Raises `DatasetError` if Fashion-MNIST cannot be had.
    """
    source = FashionMNIST.source
    images, labels = load(source, "t10k-images-idx3-ubyte.gz"), load(source, "t10k-labels-idx1-ubyte.gz")
    chosen = numpy.random.RandomState(seed).choice(len(labels), NUM_HELD_BACK, replace=False)
    return encoded(moved(images[chosen], (seed + 1) % 2**32)), labels[chosen].tolist()


def check_budget(spec: Spec, parameters: int, activation_bytes: int) -> None:
    """Raise `ValueError` if the network of `spec` has more parameters, or keeps more bytes for a batch of 128 images.

    Both are counted by `utils.cost` for the images of Fashion-MNIST (chapters 08 and 09).
    """
    needs = cost.total(cost.layers(spec, SIDE, 1, NUM_CLASSES, BATCH))
    if needs.parameters > parameters:
        raise ValueError(f"The network has {needs.parameters:,} parameters, and {parameters:,} are allowed.")
    if needs.activation_bytes > activation_bytes:
        raise ValueError(
            f"For a batch of {BATCH} images the network keeps {needs.activation_bytes / 1e6:.1f} MB of activations, "
            f"and {activation_bytes / 1e6:.1f} MB are allowed."
        )


def hand_in(spec: Spec, net: DenseNet, parameters: int, activation_bytes: int) -> HTML:
    """Show a link that holds the trained network of `spec`, so that the notebook holds it once it is saved.

    Raises `ValueError` if the network is over the budget (see `check_budget`), or is not that of `spec`.
    """
    check_budget(spec, parameters, activation_bytes)
    weights = [parameter.data().asnumpy().ravel() for parameter in net.collect_params().values()]
    if len(numpy.concatenate(weights)) != count_numbers(spec):
        raise ValueError("This network was not built from this spec: train one that was, and hand both in.")
    content = json.dumps(spec).encode() + b"\n" + numpy.concatenate(weights).astype("<f4").tobytes()
    link = f'href="data:application/octet-stream;base64,{base64.b64encode(content).decode()}"'
    advice = f"Your network is now in this notebook ({len(content) / 1e3:.0f} kB). Save the notebook, then hand it in."
    return HTML(f'{advice} <a download="network.bin" {link}>A copy of the network</a>')


def count_numbers(spec: Spec) -> int:
    """Parameters and running statistics of the network of `spec`."""
    counts = cost.total(cost.layers(spec, SIDE, 1, NUM_CLASSES))
    return counts.parameters + counts.running_statistics


def labels_of(network: str, images: str, parameters: int, activation_bytes: int) -> list[int]:
    """The label that a handed-in network gives to each image, from 0 to 9.

    `network` is what `hand_in` put into the notebook, `images` the bytes `(image, height, width)`, both in base 64.
    Raises `ValueError` if the network is over the budget or its weights do not fit its spec.
    """
    head, _, weights = base64.b64decode(network).partition(b"\n")
    spec, values = json.loads(head), numpy.frombuffer(weights, "<f4")
    check_budget(spec, parameters, activation_bytes)
    net = DenseNet(spec, NUM_CLASSES)
    net(np.zeros((1, 1, SIDE, SIDE)))
    if len(values) != count_numbers(spec):
        raise ValueError(f"The spec asks for {count_numbers(spec):,} numbers, and {len(values):,} were handed in.")
    for parameter in net.collect_params().values():
        parameter.set_data(np.array(values[: parameter.data().size].reshape(parameter.shape)))
        values = values[parameter.data().size :]
    pixels = numpy.frombuffer(base64.b64decode(images), numpy.uint8).reshape(-1, SIDE, SIDE)
    net.hybridize()
    scores = predict(net, Batches(pixels, numpy.zeros(len(pixels), "int32"), BATCH), current_context())
    return scores.argmax(axis=1).tolist()
