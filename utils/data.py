"""Fashion-MNIST, MNIST and CIFAR-10: found, verified, and served in batches (chapters 05 and 16)."""

import gzip
import hashlib
import io
import math
import os
import secrets
import struct
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, SupportsInt
from urllib.parse import urlsplit

import numpy
import pooch
import requests
from d2l import mxnet as d2l
from mxnet import nd, np, npx


class IDX(NamedTuple):
    """What a packed IDX file holds: the shape of its array, and the SHA-256 of its unpacked bytes.

    Packagers compress the files anew, so the packed bytes differ from copy to copy.
    """

    shape: tuple[int, ...]
    sha256: str


class Archive(NamedTuple):
    """An archive that is known by the MD5 of its packed bytes, the checksum that its author publishes."""

    md5: str


@dataclass
class Source:
    """Where the files of a data set are looked for, where they are downloaded from, and how each is recognised."""

    # The environment variable that names a folder of one's own, and what this folder has to hold, in words.
    variable: str
    contents: str
    hosts: tuple[str, ...]
    cache: Path
    files: dict[str, IDX | Archive]
    # The package of Debian and Ubuntu that brings the files, if there is one, and its folder.
    package: str = ""
    debian: Path | None = None

    @property
    def ways(self) -> str:
        """The ways to get the files, as the end of a sentence."""
        package = f"run `apt-get install --reinstall {self.package}` (Debian, Ubuntu), or " if self.package else ""
        return (
            f"connect to the network and run this again, or {package}"
            f"set {self.variable} to a folder that holds {self.contents}"
        )


# The last so many of the published training images are the validation split.
NUM_VALIDATION = 5000
# Mean and standard deviation of the pixels of Fashion-MNIST's training images, from 0 to 1; chapter 05 computes them.
MEAN, DEVIATION = 0.286, 0.353
# Pixels by which augmentation moves an image at most.
MOVE = 2


class DatasetError(Exception):
    """A file of the data set is missing, cannot be written, or is not what it should be.

    The message is one sentence that says what to do next: all that a notebook shows.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def decode(source: Source, name: str, content: bytes) -> bytes:
    """What is inside a `.gz` file, or an archive as it is.

    Raises `DatasetError` saying in a few words why it is not the file `name`.
    """
    if not content:
        raise DatasetError("is empty")
    expected = source.files[name]
    if isinstance(expected, Archive):
        if hashlib.md5(content).hexdigest() != expected.md5:
            raise DatasetError("is not the published file, whose MD5 sum is another")
        return content
    try:
        decoded = gzip.decompress(content)
    except EOFError:
        raise DatasetError("is truncated") from None
    except (gzip.BadGzipFile, zlib.error):
        raise DatasetError("is not a whole gzip file") from None
    digest = hashlib.sha256(decoded).hexdigest()
    if digest == expected.sha256:
        return decoded
    for other, published in source.files.items():
        if isinstance(published, IDX) and digest == published.sha256:
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


def fetch(source: Source, host: str, name: str, folder: Path) -> Path:
    """Download one file under a temporary name, and rename it once it is whole and verified; return its path."""
    # Not with pooch.retrieve, which knows a file by its packed bytes alone, and makes it for its owner's eyes only,
    # under a temporary name that does not tell what it was if the process is killed.
    part = folder / f"{name}.{secrets.token_hex(4)}.part"
    try:
        pooch.HTTPDownloader(progressbar=True, timeout=20)(f"{host}/{name}", part, None)
        decode(source, name, part.read_bytes())
        return part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)


def clear_away_killed_downloads(folder: Path) -> None:
    """Delete the temporary files that no process has written to for an hour."""
    for part in folder.glob("*.gz*.part"):
        # It may be another user's, or just be deleted by another process.
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def download(source: Source, name: str, folder: Path) -> Path:
    """Fetch one file from the first of the data set's own hosts that serves it into `folder`; return its path.

    Raises `DatasetError` if no host serves the file or the folder cannot be written.
    """
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_away_killed_downloads(folder)
        for host in source.hosts:
            try:
                return fetch(source, host, name, folder)
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
            f"or set XDG_CACHE_HOME to another folder, or get the file another way: {source.ways}."
        ) from error
    raise DatasetError(f"{name} is not on this machine and no host served it ({'; '.join(failures)}): {source.ways}.")


def find_in_own_folder(source: Source, name: str, folder: Path) -> Path:
    """The path of a file in the folder that the data set's variable names. Raises `DatasetError` if it is not there."""
    try:
        # The way through a folder is open only if it is one and may be searched.
        (folder / "..").stat()
    except OSError as error:
        problem = f"cannot be used ({error.strerror})"
    else:
        missing = [file for file in source.files if not (folder / file).is_file()]
        if name not in missing:
            return folder / name
        problem = f"lacks {', '.join(missing)}"
    raise DatasetError(
        f"{source.variable} names {folder}, which {problem}: "
        f"set it to a folder that holds {source.contents}, or unset it, so that the course looks elsewhere."
    )


def find(source: Source, name: str) -> Path:
    """The path of a file of the data set on this machine, to which it is downloaded if need be.

    If the data set's variable names a folder, the file has to be there; else it is looked for in the folder of
    Debian's package, if there is one, and in the cache, into which it is downloaded.
    Raises `DatasetError` if it cannot be had.
    """
    if own := os.environ.get(source.variable):
        return find_in_own_folder(source, name, Path(own).absolute())
    for folder in filter(None, (source.debian, source.cache)):
        with suppress(OSError):  # it may not be searched
            if (folder / name).is_file():
                return folder / name
    return download(source, name, source.cache)


def read(source: Source, name: str) -> bytes:
    """One file of a data set, verified: what is inside a `.gz` file, or an archive as it is.

    Raises `DatasetError` if the file cannot be had or is not the published one. A faulty file
    is named and left as it is.
    """
    path = find(source, name)
    try:
        return decode(source, name, path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): {source.ways}.") from error
    except DatasetError as error:
        raise DatasetError(f"{path} {error}: delete it, then {source.ways}.") from None


def load(source: Source, name: str) -> numpy.ndarray:
    """One IDX file of a data set as bytes of shape `(image, height, width)` or `(image,)`.

    Raises `DatasetError` as `read` does.
    """
    decoded = read(source, name)
    shape = idx_shape(decoded)
    assert shape is not None  # or the file would have been refused
    # The header is four bytes, and four more for each axis.
    return numpy.frombuffer(decoded, numpy.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def idx_files(*checksums: str) -> dict[str, IDX | Archive]:
    """The four files of a data set in MNIST's format: training images and labels, test images and labels."""
    shapes: dict[str, tuple[int, ...]] = {
        "train-images-idx3-ubyte.gz": (60000, 28, 28),
        "train-labels-idx1-ubyte.gz": (60000,),
        "t10k-images-idx3-ubyte.gz": (10000, 28, 28),
        "t10k-labels-idx1-ubyte.gz": (10000,),
    }
    return {name: IDX(shapes[name], checksum) for name, checksum in zip(shapes, checksums, strict=True)}


class Batches:
    """Batches of normalised images, `(batch, channel, height, width)`, with labels `(batch,)`.

    The images stay bytes in one array, `(image, height, width)` if there is one channel, else
    `(image, channel, height, width)`; a batch is one slice of it. With a `seed` each pass is
    in a new order, and the same seed gives the same orders again; without one it is the stored order.
    With `augment`, which needs a seed, each image is moved and may be mirrored, anew in each pass; it
    is only moved if `mirror` is False. `mean` and `deviation` are numbers, or arrays `(channel, 1, 1)`.
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
        mirror: bool = True,
        mean: float | numpy.ndarray = MEAN,
        deviation: float | numpy.ndarray = DEVIATION,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.augment, self.mirror, self.mean, self.deviation = augment, mirror, mean, deviation
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
                images = moved_and_mirrored(images, self.random, self.mirror)
            first, behind = (len(rows) * number // self.num_workers for number in (self.worker, self.worker + 1))
            images, rows = images[first:behind], rows[first:behind]
            if images.ndim == 3:
                images = images[:, None]
            # NumPy scales a small batch many times faster than MXNet, which queues each operation.
            X = numpy.multiply(images, 1 / (255 * self.deviation), dtype="float32", order="C")
            X -= self.mean / self.deviation
            yield wrapped(X), wrapped(self.labels[rows].astype("int32"))


def moved_and_mirrored(images: numpy.ndarray, random: numpy.random.RandomState, mirror: bool = True) -> numpy.ndarray:
    """Bytes `(image, ..., height, width)`, each image moved by up to `MOVE` pixels each way.

    It is mirrored half of the time, unless `mirror` is False. What moves in from outside is black.
    Source: He et al. 2016, section 4.2, who move by four pixels.
    """
    height, width = images.shape[-2:]
    larger = numpy.pad(images, [(0, 0)] * (images.ndim - 2) + [(MOVE, MOVE)] * 2)
    view = numpy.lib.stride_tricks.sliding_window_view
    windows = view(larger, (height, width), axis=(-2, -1))  # type: ignore[call-overload]  # it takes several axes
    down, right = random.randint(2 * MOVE + 1, size=(2, len(images)))
    moved = windows[numpy.arange(len(images)), ..., down, right, :, :]
    if mirror:
        mirrored = random.randint(2, size=len(images)) == 1
        moved[mirrored] = moved[mirrored, ..., ::-1]
    return moved


def wrapped(array: numpy.ndarray) -> np.ndarray:
    """A NumPy array as an MXNet array on the CPU, without a copy."""
    return nd.from_numpy(array, array_cls=np.ndarray)


class Dataset(d2l.DataModule):
    """Images in three splits, of which the last 5,000 published training images are the one to choose by.

    Each image is resized to `resize` (height, width) and framed with `pad` black pixels on each
    side, once, here. Attributes `images` and `labels` map "train", "val" and "test" to bytes,
    `(image, height, width)`, or with colours `(image, channel, height, width)`, and `(image,)`.
    With `augment` the training images are moved, and mirrored if `mirror` is True.
    Raises `DatasetError` if the files cannot be had.
    """

    source: Source
    names: tuple[str, ...]
    mirror = True
    mean: float | numpy.ndarray
    deviation: float | numpy.ndarray

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
        images, labels, test_images, test_labels = self.published()
        images = framed(images, resize, pad)
        self.images = {
            "train": images[:-NUM_VALIDATION],
            "val": images[-NUM_VALIDATION:],
            "test": framed(test_images, resize, pad),
        }
        self.labels = {"train": labels[:-NUM_VALIDATION], "val": labels[-NUM_VALIDATION:], "test": test_labels}

    def published(self) -> list[numpy.ndarray]:
        """Training images and their labels, test images and their labels, as published."""
        return [load(self.source, name) for name in self.source.files]

    def batches(self, split: str, seed: int | None = None, augment: bool = False) -> Batches:
        """The batches of a split, "train", "val" or "test", as `Batches` makes them with this seed."""
        images, labels = self.images[split], self.labels[split]
        return Batches(images, labels, self.batch_size, seed, augment, self.mirror, self.mean, self.deviation)

    def get_dataloader(self, train: bool) -> Batches:
        """The batches of the training images, shuffled, or of the validation images in their stored order."""
        return self.batches("train", self.seed, self.augment) if train else self.batches("val")

    def test_dataloader(self) -> Batches:
        """The batches of the test images in their stored order: read them once, when everything is chosen."""
        return self.batches("test")

    def text_labels(self, indices: Iterable[SupportsInt]) -> list[str]:
        """The names of the classes with these numbers."""
        return [self.names[int(index)] for index in indices]

    def visualize(
        self, batch: tuple[np.ndarray, np.ndarray], nrows: int = 1, ncols: int = 8, labels: list[str] | None = None
    ) -> None:
        """Show the first images of a batch, `(batch, channel, height, width)` with `(batch,)`, under their names."""
        images = (batch[0].asnumpy() * self.deviation + self.mean).transpose(0, 2, 3, 1)
        d2l.show_images(np.array(images), nrows, ncols, titles=labels or self.text_labels(batch[1]))


class FashionMNIST(Dataset):
    """Fashion-MNIST: 55,000 images to train on, 5,000 to choose by, 10,000 to test with (chapter 05).

    Source: Xiao et al. 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", https://github.com/zalandoresearch/fashion-mnist.
    """

    source = Source(
        variable="FASHION_MNIST",
        contents="the four .gz files",
        hosts=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
        cache=Path(pooch.os_cache("fashion-mnist")),
        files=idx_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        package="dataset-fashion-mnist",
        debian=Path("/usr/share/datasets/fashion-mnist"),
    )
    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    mean, deviation = MEAN, DEVIATION


class MNIST(Dataset):
    """MNIST, handwritten digits, in the same splits and format as `FashionMNIST`; none is mirrored (chapter 16).

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", section III.A. The hosts are
    those that torchvision and TensorFlow Datasets download it from.
    """

    source = Source(
        variable="MNIST",
        contents="the four .gz files",
        hosts=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
        cache=Path(pooch.os_cache("mnist")),
        files=idx_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    )
    names = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    mirror = False
    mean, deviation = 0.1307, 0.3082


class CIFAR10(Dataset):
    """CIFAR-10 in three colours: 45,000 images to train on, 5,000 to choose by, 10,000 to test with (chapter 16).

    Mean and deviation are those of the training images, for each channel. The binary version and its MD5 are from the
    author's page, https://www.cs.toronto.edu/~kriz/cifar.html.
    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """

    source = Source(
        variable="CIFAR10",
        contents="cifar-10-binary.tar.gz",
        hosts=("https://www.cs.toronto.edu/~kriz",),
        cache=Path(pooch.os_cache("cifar-10")),
        files={"cifar-10-binary.tar.gz": Archive("c32a1d4ab5d03f1284b67883e8d87530")},
    )
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(self, batch_size: int = 64, seed: int = 0, augment: bool = False) -> None:
        super().__init__(batch_size, (32, 32), 0, seed, augment)
        pixels = self.images["train"]
        self.mean = pixels.mean(axis=(0, 2, 3))[:, None, None] / 255
        # Squares of bytes fit in 16 bits, a quarter of the memory that NumPy's own deviation takes.
        square = numpy.square(pixels, dtype="uint16").mean(axis=(0, 2, 3))[:, None, None] / 255**2
        self.deviation = numpy.sqrt(square - self.mean**2)

    def published(self) -> list[numpy.ndarray]:
        (name,) = self.source.files
        parts = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
        rows = []
        with tarfile.open(fileobj=io.BytesIO(read(self.source, name))) as archive:
            for part in parts:
                file = archive.extractfile(f"cifar-10-batches-bin/{part}.bin")
                assert file is not None  # the archive is the published one
                # A row for each image: its label, then all its red bytes, green bytes and blue bytes.
                rows.append(numpy.frombuffer(file.read(), numpy.uint8).reshape(-1, 1 + 3 * 32 * 32))
        arrays = []
        for split in (numpy.concatenate(rows[:5]), rows[5]):
            arrays += [split[:, 1:].reshape(-1, 3, 32, 32), split[:, 0]]
        return arrays


def framed(images: numpy.ndarray, resize: tuple[int, int], pad: int) -> numpy.ndarray:
    """Bytes `(image, ..., height, width)`, padded with zeros on every side.

    Images of one channel, `(image, height, width)`, are first resized bilinearly if need be.
    """
    if images.shape[-2:] != resize:
        # Resizing takes (batch, height, width, channel) and (width, height); parts bound its memory.
        parts = (np.array(part[..., None], dtype="uint8") for part in numpy.array_split(images, 20))
        images = numpy.concatenate([npx.image.resize(part, resize[::-1]).asnumpy()[..., 0] for part in parts])
    return numpy.pad(images, [(0, 0)] * (images.ndim - 2) + [(pad, pad)] * 2)
