"""Fashion-MNIST: found, verified, and served in batches (chapter 05).

Source: Xiao et al. 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", https://github.com/zalandoresearch/fashion-mnist.
"""

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy
import pooch
import requests
from d2l import mxnet as d2l
from mxnet import nd, np, npx

# Packagers compress the files anew, so what identifies a file is the SHA-256 of what is inside.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
HOSTS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CACHE = pooch.os_cache("fashion-mnist")
THREE_WAYS = (
    "connect to the network and run this again, or run `apt-get install --reinstall dataset-fashion-mnist` "
    "(Debian, Ubuntu), or set FASHION_MNIST to a folder that holds the four .gz files"
)


class DatasetError(Exception):
    """A file of the data set is missing, cannot be written, or is not what it should be."""


def decode(content: bytes, name: str) -> bytes:
    """What is inside a `.gz` file; raises `DatasetError` saying in a few words why it is not the file `name`."""
    if not content:
        raise DatasetError("is empty")
    try:
        decoded = gzip.decompress(content)
    except EOFError:
        raise DatasetError("is truncated") from None
    except (gzip.BadGzipFile, zlib.error):
        raise DatasetError("is not a whole gzip file") from None
    digest = hashlib.sha256(decoded).hexdigest()
    if digest == SHA256[name]:
        return decoded
    if others := [other for other in SHA256 if SHA256[other] == digest]:
        raise DatasetError(f"holds what belongs in {others[0]}")
    expected = (60000 if "train" in name else 10000, *((28, 28) if "images" in name else ()))
    if (shape := idx_shape(decoded)) is None:
        raise DatasetError("is not an IDX file")
    if shape != expected:
        raise DatasetError(f"holds an array of shape {shape} where {expected} is expected")
    raise DatasetError("has the right shape, but other bytes than the published file")


def idx_shape(decoded: bytes) -> tuple[int, ...] | None:
    """The shape that an IDX file's header states; None if it has no such header."""
    num_axes = decoded[3] if len(decoded) > 3 and decoded[:3] == b"\0\0\x08" else 0
    header = numpy.frombuffer(decoded[4 : 4 + 4 * num_axes], ">i4")
    return tuple(header.tolist()) if num_axes and len(header) == num_axes else None


def download(name: str, folder: Path) -> Path:
    """Fetch one file from the data set's own hosts into `folder`; return its path.

    The bytes go to a temporary name that is renamed when they are whole and verified.
    Raises `DatasetError` if no host serves the file or the folder cannot be written.
    """
    part = None
    fetch = pooch.HTTPDownloader(progressbar=True, timeout=20)
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=name, suffix=".part", dir=folder)
        os.close(handle)
        for host in HOSTS:
            try:
                fetch(f"{host}/{name}", part, None)
                decode(Path(part).read_bytes(), name)
                return Path(part).replace(folder / name)
            except requests.RequestException as error:
                failures.append(f"{host.split('/')[2]}: {type(error).__name__}")
            except DatasetError as error:
                failures.append(f"{host.split('/')[2]}: what it sent {error}")
    except OSError as error:
        raise DatasetError(
            f"{folder / name} cannot be written ({error.strerror}): free or choose another folder, "
            f"or get the file another way: {THREE_WAYS}."
        ) from error
    finally:
        if part:
            Path(part).unlink(missing_ok=True)
    raise DatasetError(f"{name} is not on this machine and no host served it ({'; '.join(failures)}): {THREE_WAYS}.")


def find(name: str) -> Path:
    """The first copy of a file in `$FASHION_MNIST`, Debian's folder and the cache; else download it."""
    folders = [Path(os.environ["FASHION_MNIST"])] if os.environ.get("FASHION_MNIST") else []
    folders += [DEBIAN, CACHE]
    copies = (folder / name for folder in folders if (folder / name).is_file())
    return next(copies, None) or download(name, CACHE)


def load(name: str) -> numpy.ndarray:
    """One file of the data set, verified, as bytes of shape `(image, height, width)` or `(image,)`.

    Raises `DatasetError` if the file cannot be had or is not the published one. A faulty file
    is named and left as it is.
    """
    path = find(name)
    try:
        decoded = decode(path.read_bytes(), name)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): {THREE_WAYS}.") from error
    except DatasetError as error:
        raise DatasetError(f"{path} {error}: delete it, then {THREE_WAYS}.") from None
    shape = idx_shape(decoded)
    return numpy.frombuffer(decoded, numpy.uint8, offset=4 + 4 * len(shape)).reshape(shape)


class Batches:
    """Batches of images in [0, 1], `(batch, 1, height, width)`, with labels `(batch,)`.

    The images stay bytes in one array; a batch is one slice of it. With a `seed` each pass is
    in a new order, and the same seed gives the same orders again; without one it is the stored order.
    """

    def __init__(self, images: numpy.ndarray, labels: numpy.ndarray, batch_size: int, seed: int | None = None):
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.random = None if seed is None else numpy.random.RandomState(seed)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = numpy.arange(len(self.labels))
        if self.random:
            self.random.shuffle(order)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            # NumPy scales a small batch many times faster than MXNet, which queues each operation.
            X = numpy.multiply(self.images[rows, None], 1 / 255, dtype="float32", order="C")
            yield wrapped(X), wrapped(self.labels[rows].astype("int32"))


def wrapped(array: numpy.ndarray) -> np.ndarray:
    """A NumPy array as an MXNet array on the CPU, without a copy."""
    return nd.from_numpy(array, array_cls=np.ndarray)


class FashionMNIST(d2l.DataModule):
    """The 60,000 training and 10,000 test images of Fashion-MNIST (chapter 05).

    Each image is resized to `resize` (height, width) and framed with `pad` black pixels on each
    side, once, here. Attributes `images` and `labels` map "train" and "test" to bytes,
    `(image, height, width)` and `(image,)`. Raises `DatasetError` if the files cannot be had.
    """

    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

    def __init__(self, batch_size: int = 64, resize: tuple[int, int] = (28, 28), pad: int = 0, seed: int = 0):
        super().__init__()
        self.save_hyperparameters()
        self.images, self.labels = {}, {}
        for split, prefix in (("train", "train"), ("test", "t10k")):
            self.images[split] = framed(load(f"{prefix}-images-idx3-ubyte.gz"), resize, pad)
            self.labels[split] = load(f"{prefix}-labels-idx1-ubyte.gz")

    def get_dataloader(self, train: bool) -> Batches:
        split = "train" if train else "test"
        return Batches(self.images[split], self.labels[split], self.batch_size, self.seed if train else None)

    def text_labels(self, indices) -> list[str]:
        """The names of label numbers."""
        return [self.names[int(i)] for i in indices]

    def visualize(self, batch, nrows: int = 1, ncols: int = 8, labels: list[str] | None = None) -> None:
        """Show the first images of a batch, each under its name."""
        d2l.show_images(batch[0].squeeze(1), nrows, ncols, titles=labels or self.text_labels(batch[1]))


def framed(images: numpy.ndarray, resize: tuple[int, int], pad: int) -> numpy.ndarray:
    """Bytes `(image, height, width)`, bilinearly resized, then padded with zeros on every side."""
    if images.shape[1:] != resize:
        # Resizing takes (batch, height, width, channel) and (width, height); parts bound its memory.
        parts = (np.array(part[..., None], dtype="uint8") for part in numpy.array_split(images, 20))
        images = numpy.concatenate([npx.image.resize(part, resize[::-1]).asnumpy()[..., 0] for part in parts])
    return numpy.pad(images, ((0, 0), (pad, pad), (pad, pad)))
