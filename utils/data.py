"""Fashion-MNIST: found, verified, and served in batches (chapter 05).

Source: Xiao et al. 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", https://github.com/zalandoresearch/fashion-mnist.
"""

import gzip
import hashlib
import math
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, SupportsInt
from urllib.parse import urlsplit

import numpy
import pooch
import requests
from d2l import mxnet as d2l
from mxnet import nd, np, npx


class Published(NamedTuple):
    """What a file of the data set holds: the shape of its array, and the SHA-256 of its unpacked bytes.

    Packagers compress the files anew, so the packed bytes differ from copy to copy.
    """

    shape: tuple[int, ...]
    sha256: str


PUBLISHED = {
    "train-images-idx3-ubyte.gz": Published(
        (60000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte.gz": Published(
        (60000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte.gz": Published(
        (10000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte.gz": Published(
        (10000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}
HOSTS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
# The last so many of the published training images are the validation split.
NUM_VALIDATION = 5000
# Mean and standard deviation of the pixels of the training images, from 0 to 1; chapter 05 computes them.
MEAN, DEVIATION = 0.286, 0.353
# Pixels by which augmentation moves an image at most.
MOVE = 2
CACHE = Path(pooch.os_cache("fashion-mnist"))
THREE_WAYS = (
    "connect to the network and run this again, or run `apt-get install --reinstall dataset-fashion-mnist` "
    "(Debian, Ubuntu), or set FASHION_MNIST to a folder that holds the four .gz files"
)


class DatasetError(Exception):
    """A file of the data set is missing, cannot be written, or is not what it should be.

    The message is one sentence that says what to do next: all that a notebook shows.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


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
    expected = PUBLISHED[name]
    digest = hashlib.sha256(decoded).hexdigest()
    if digest == expected.sha256:
        return decoded
    for other, published in PUBLISHED.items():
        if digest == published.sha256:
            raise DatasetError(f"holds what belongs in {other}")
    shape = idx_shape(decoded)
    if shape is None:
        raise DatasetError("is not an IDX file")
    if shape != expected.shape:
        raise DatasetError(f"holds an array of shape {shape} where {expected.shape} is expected")
    raise DatasetError("has the right shape, but other bytes than the published file")


def idx_shape(decoded: bytes) -> tuple[int, ...] | None:
    """The shape that the header of an IDX file of bytes states; None if there is no such header."""
    if len(decoded) < 4 or not decoded.startswith(b"\0\0\x08"):
        return None
    num_axes = decoded[3]
    sizes = decoded[4 : 4 + 4 * num_axes]
    return struct.unpack(f">{num_axes}i", sizes) if len(sizes) == 4 * num_axes else None


def fetch(host: str, name: str, folder: Path) -> Path:
    """Download one file under a temporary name, and rename it once it is whole and verified; return its path."""
    # Not with pooch.retrieve, which knows a file by its packed bytes alone, and makes it for its owner's eyes only,
    # under a temporary name that does not tell what it was if the process is killed.
    part = folder / f"{name}.{secrets.token_hex(4)}.part"
    try:
        pooch.HTTPDownloader(progressbar=True, timeout=20)(f"{host}/{name}", part, None)
        decode(part.read_bytes(), name)
        return part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)


def clear_away_killed_downloads(folder: Path) -> None:
    """Delete the temporary files that no process has written to for an hour."""
    for part in folder.glob("*-ubyte.gz*.part"):
        # It may be another user's, or just be deleted by another process.
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def download(name: str, folder: Path) -> Path:
    """Fetch one file from the first of the data set's own hosts that serves it into `folder`; return its path.

    Raises `DatasetError` if no host serves the file or the folder cannot be written.
    """
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_away_killed_downloads(folder)
        for host in HOSTS:
            try:
                return fetch(host, name, folder)
            except requests.RequestException as error:
                reason = type(error).__name__
            except DatasetError as error:
                reason = f"what it sent {error}"
            except OSError as error:
                # The disk's errors have a number; what requests raises for a missing certificate bundle has none.
                if error.errno is not None:
                    raise
                reason = str(error)
            failures.append(f"{urlsplit(host).netloc}: {reason}")
    except OSError as error:
        raise DatasetError(
            f"{folder / name} cannot be written ({error.strerror}): make room or get access there, "
            f"or set XDG_CACHE_HOME to another folder, or get the file another way: {THREE_WAYS}."
        ) from error
    raise DatasetError(f"{name} is not on this machine and no host served it ({'; '.join(failures)}): {THREE_WAYS}.")


def find_in_own_folder(name: str, folder: Path) -> Path:
    """The path of a file in the folder that `$FASHION_MNIST` names. Raises `DatasetError` if it is not there."""
    try:
        # The way through a folder is open only if it is one and may be searched.
        (folder / "..").stat()
    except OSError as error:
        problem = f"cannot be used ({error.strerror})"
    else:
        missing = [file for file in PUBLISHED if not (folder / file).is_file()]
        if name not in missing:
            return folder / name
        problem = f"lacks {', '.join(missing)}"
    raise DatasetError(
        f"FASHION_MNIST names {folder}, which {problem}: "
        "set it to a folder that holds the four .gz files, or unset it, so that the course looks elsewhere."
    )


def find(name: str) -> Path:
    """The path of a file of the data set on this machine, to which it is downloaded if need be.

    If `$FASHION_MNIST` names a folder, the file has to be there; else it is looked for in the folder of
    Debian's package and in the cache, into which it is downloaded. Raises `DatasetError` if it cannot be had.
    """
    if own := os.environ.get("FASHION_MNIST"):
        return find_in_own_folder(name, Path(own).absolute())
    for folder in (DEBIAN, CACHE):
        with suppress(OSError):  # it may not be searched
            if (folder / name).is_file():
                return folder / name
    return download(name, CACHE)


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
    shape = PUBLISHED[name].shape
    # The header is four bytes, and four more for each axis.
    return numpy.frombuffer(decoded, numpy.uint8, offset=4 + 4 * len(shape)).reshape(shape)


class Batches:
    """Batches of normalised images, `(batch, 1, height, width)`, with labels `(batch,)`.

    The images stay bytes in one array; a batch is one slice of it. With a `seed` each pass is
    in a new order, and the same seed gives the same orders again; without one it is the stored order.
    With `augment`, which needs a seed, each image is moved and may be mirrored, anew in each pass.
    Where `num_workers` processes train together, each sets its number `worker`, from 0 on, and gets its own part of
    each batch: the parts, put together, are the batches that one process alone would get.
    """

    def __init__(
        self,
        images: numpy.ndarray,
        labels: numpy.ndarray,
        batch_size: int,
        seed: int | None = None,
        augment: bool = False,
    ) -> None:
        self.images, self.labels, self.batch_size, self.augment = images, labels, batch_size, augment
        self.random = None if seed is None else numpy.random.RandomState(seed)
        if augment and not self.random:
            raise ValueError("augment draws random numbers, so it needs a seed.")
        self.worker, self.num_workers = 0, 1

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def sizes(self) -> list[int]:
        """How many images each batch has, those of all workers together."""
        last = len(self.labels) - self.batch_size * (len(self) - 1)
        return [self.batch_size] * (len(self) - 1) + [last]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = numpy.arange(len(self.labels))
        if self.random:
            self.random.shuffle(order)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            images = self.images[rows]
            if self.augment and self.random:
                images = moved_and_mirrored(images, self.random)
            first, behind = (len(rows) * number // self.num_workers for number in (self.worker, self.worker + 1))
            images, rows = images[first:behind], rows[first:behind]
            # NumPy scales a small batch many times faster than MXNet, which queues each operation.
            X = numpy.multiply(images[:, None], 1 / (255 * DEVIATION), dtype="float32", order="C")
            X -= MEAN / DEVIATION
            yield wrapped(X), wrapped(self.labels[rows].astype("int32"))


def moved_and_mirrored(images: numpy.ndarray, random: numpy.random.RandomState) -> numpy.ndarray:
    """Bytes `(image, height, width)`, each image moved by up to `MOVE` pixels each way and mirrored half of the time.

    What moves in from outside is black. Source: He et al. 2016, section 4.2, who move by four pixels.
    """
    num_images, height, width = images.shape
    larger = numpy.pad(images, ((0, 0), (MOVE, MOVE), (MOVE, MOVE)))
    windows = numpy.lib.stride_tricks.sliding_window_view(larger, (1, height, width))
    down, right = random.randint(2 * MOVE + 1, size=(2, num_images))
    moved = windows[numpy.arange(num_images), down, right, 0]
    mirrored = random.randint(2, size=num_images) == 1
    moved[mirrored] = moved[mirrored, :, ::-1]
    return moved


def wrapped(array: numpy.ndarray) -> np.ndarray:
    """A NumPy array as an MXNet array on the CPU, without a copy."""
    return nd.from_numpy(array, array_cls=np.ndarray)


class FashionMNIST(d2l.DataModule):
    """Fashion-MNIST in three splits: 55,000 images to train on, 5,000 to choose by, 10,000 to test with (chapter 05).

    Each image is resized to `resize` (height, width) and framed with `pad` black pixels on each
    side, once, here. Attributes `images` and `labels` map "train", "val" and "test" to bytes,
    `(image, height, width)` and `(image,)`; "val" holds the last 5,000 published training images.
    With `augment` the training images are moved and mirrored. Raises `DatasetError` if the files cannot be had.
    """

    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

    def __init__(
        self,
        batch_size: int = 64,
        resize: tuple[int, int] = (28, 28),
        pad: int = 0,
        seed: int = 0,
        augment: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        images = framed(load("train-images-idx3-ubyte.gz"), resize, pad)
        labels = load("train-labels-idx1-ubyte.gz")
        self.images = {
            "train": images[:-NUM_VALIDATION],
            "val": images[-NUM_VALIDATION:],
            "test": framed(load("t10k-images-idx3-ubyte.gz"), resize, pad),
        }
        self.labels = {
            "train": labels[:-NUM_VALIDATION],
            "val": labels[-NUM_VALIDATION:],
            "test": load("t10k-labels-idx1-ubyte.gz"),
        }

    def get_dataloader(self, train: bool) -> Batches:
        """The batches of the training images, shuffled, or of the validation images in their stored order."""
        if train:
            return Batches(self.images["train"], self.labels["train"], self.batch_size, self.seed, self.augment)
        return Batches(self.images["val"], self.labels["val"], self.batch_size)

    def test_dataloader(self) -> Batches:
        """The batches of the test images in their stored order: read them once, when everything is chosen."""
        return Batches(self.images["test"], self.labels["test"], self.batch_size)

    def text_labels(self, indices: Iterable[SupportsInt]) -> list[str]:
        """The names of the classes with these numbers."""
        return [self.names[int(index)] for index in indices]

    def visualize(
        self, batch: tuple[np.ndarray, np.ndarray], nrows: int = 1, ncols: int = 8, labels: list[str] | None = None
    ) -> None:
        """Show the first images of a batch, `(batch, 1, height, width)` with `(batch,)`, each under its name."""
        d2l.show_images(batch[0].squeeze(1), nrows, ncols, titles=labels or self.text_labels(batch[1]))


def framed(images: numpy.ndarray, resize: tuple[int, int], pad: int) -> numpy.ndarray:
    """Bytes `(image, height, width)`, bilinearly resized, then padded with zeros on every side."""
    if images.shape[1:] != resize:
        # Resizing takes (batch, height, width, channel) and (width, height); parts bound its memory.
        parts = (np.array(part[..., None], dtype="uint8") for part in numpy.array_split(images, 20))
        images = numpy.concatenate([npx.image.resize(part, resize[::-1]).asnumpy()[..., 0] for part in parts])
    return numpy.pad(images, ((0, 0), (pad, pad), (pad, pad)))
