"""Training with a progress bar, curves, a history and a learning-rate schedule (chapter 06)."""

import math
import time
from collections.abc import Callable
from contextlib import suppress

import numpy
from d2l import mxnet as d2l
from mxnet import MXNetError, autograd, gluon, np, npx
from tqdm import tqdm

from utils import QUICK
from utils.backward import backward
from utils.data import Batches
from utils.plots import Curves

QUICK_IMAGES = 640
STEPS_AHEAD = 2
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
OUT_OF_MEMORY = ("out of memory", "Failed to allocate", "bad_alloc", "larger than 2^31 elements", "ALLOC_FAILED")


def one_cycle(progress: float) -> float:
    """Share of the peak learning rate after `progress` (0 to 1) of the training.

    Rises in the first quarter, then falls to zero, both along half a cosine.
    The idea is Smith and Topin's 2018, "Super-Convergence", section 3; they use straight lines.
    """
    peak = 0.25
    phase = 1 - progress / peak if progress < peak else (progress - peak) / (1 - peak)
    return (1 + math.cos(math.pi * phase)) / 2


def sgd_with_momentum(model: d2l.Classifier, weight_decay: float) -> gluon.Trainer:
    """Stochastic gradient descent with momentum 0.9 and weight decay (chapter 06).

    Weights decay; biases and the scales and shifts of normalisation do not. Raises `ValueError` if the decay
    is negative. Source: Huang et al. 2017, section 4.2, with Nesterov's momentum and decay of all parameters.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must be at least 0, and is {weight_decay}.")
    for name, parameter in model.collect_params().items():
        parameter.wd_mult = float(name.endswith("weight"))
    options = dict(learning_rate=model.lr, momentum=MOMENTUM, wd=weight_decay)
    # Not "nag", Nesterov's: with weight decay, MXNet's gives other losses from the same seed now and then.
    return gluon.Trainer(model.collect_params(), "sgd", options)


class Trainer(d2l.Trainer):
    """`d2l.Trainer` on the GPU if there is one, with a hybridized network and `sgd_with_momentum` (chapter 06).

    `schedule(progress)` gives the share of `model.lr` to use after `progress` (0 to 1) of the
    training; the rate is constant without one. After each epoch, `history` has one more value
    in each list: `train_loss`, `train_acc`, `val_loss`, `val_acc`, `seconds`; and one value a
    step in `step_loss`.
    """

    def __init__(
        self, max_epochs: int, schedule: Callable[[float], float] | None = None, weight_decay: float = WEIGHT_DECAY
    ):
        super().__init__(max_epochs, num_gpus=1)
        self.schedule, self.weight_decay = schedule, weight_decay
        self.device = d2l.try_gpu()

    def prepare_data(self, data: d2l.DataModule) -> None:
        super().prepare_data(data)
        if QUICK:
            for loader in (self.train_dataloader, self.val_dataloader):
                loader.images, loader.labels = loader.images[:QUICK_IMAGES], loader.labels[:QUICK_IMAGES]
            self.num_train_batches, self.num_val_batches = len(self.train_dataloader), len(self.val_dataloader)

    def fit(self, model: d2l.Classifier, data: d2l.DataModule) -> None:
        """Train `model` on `data`, whose loaders are `Batches`.

        Raises `ValueError` before the first step if the images or labels do not fit the
        network, and `MemoryError` if a batch does not fit in memory. When interrupted, the
        network keeps its weights and `history` the epochs that were finished.
        """
        names = ("train_loss", "train_acc", "val_loss", "val_acc", "seconds", "step_loss")
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.curves = Curves(self.max_epochs)
        try:
            self.prepare_data(data)
            self.prepare_model(model)
            self.optim = sgd_with_momentum(model, self.weight_decay)
            self.train_batch_idx = 0
            for epoch in range(self.max_epochs):
                self.epoch = epoch
                self.fit_epoch()
            npx.waitall()
        except MXNetError as error:
            if not any(words in str(error) for words in OUT_OF_MEMORY):
                raise
            smaller = max(1, data.batch_size // 2)
            raise MemoryError(
                f"A batch of {data.batch_size} images does not fit in the memory of {self.device}: "
                f"try batch_size={smaller}."
            ) from error
        finally:
            # Work that was queued behind a failure fails too, and must not hide it.
            with suppress(MXNetError):
                npx.waitall()

    def prepare_model(self, model: d2l.Classifier) -> None:
        super().prepare_model(model)
        model.hybridize(False)
        for loader in (self.train_dataloader, self.val_dataloader):
            check_fit(model, loader, self.device)
        hybridized(model)

    def fit_epoch(self) -> None:
        start = time.perf_counter()
        sizes, losses, correct = [], [], []
        description = f"epoch {self.epoch + 1}/{self.max_epochs}"
        with tqdm(total=len(self.train_dataloader.labels), unit=" images", desc=description) as bar:
            for batch in self.train_dataloader:
                X, y = self.prepare_batch(batch)
                self.set_learning_rate()
                with autograd.record():
                    Y_hat = self.model(X)
                    loss = self.model.loss(Y_hat, y)
                backward(self.model, loss)
                self.optim.step(1)
                self.train_batch_idx += 1
                losses.append(loss.detach())
                sizes.append(len(y))
                correct.append(self.model.accuracy(Y_hat, y, averaged=False).sum())
                hold_back(losses)
                bar.update(len(y))
            step_loss, num_correct = np.stack([np.stack(losses), np.stack(correct)]).asnumpy()
        self.record(step_loss, sizes, num_correct.sum(), time.perf_counter() - start)

    def set_learning_rate(self) -> None:
        if self.schedule:
            progress = self.train_batch_idx / (self.max_epochs * self.num_train_batches)
            self.optim.set_learning_rate(self.model.lr * self.schedule(progress))

    def record(self, step_loss: numpy.ndarray, sizes: list[int], num_correct: float, seconds: float) -> None:
        """Add a finished epoch, with the loss and the number of images of each step, to the history."""
        labels = self.val_dataloader.labels
        log_probabilities = predict(self.model, self.val_dataloader, self.device)
        epoch = {
            "train_loss": float(numpy.average(step_loss, weights=sizes)),
            "train_acc": float(num_correct / len(self.train_dataloader.labels)),
            "val_loss": float(-log_probabilities[numpy.arange(len(labels)), labels].mean()),
            "val_acc": accuracy(log_probabilities, labels),
            "seconds": seconds,
        }
        for name, value in epoch.items():
            self.history[name].append(value)
        self.history["step_loss"] += step_loss.tolist()
        self.curves.draw(self.history)


def hybridized(net: gluon.Block) -> gluon.Block:
    """The network, prepared as `Trainer` prepares it."""
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def hold_back(results: list[np.ndarray]) -> None:
    """Let Python run only `STEPS_AHEAD` steps ahead of the device.

    It would queue up a whole epoch of batches in memory otherwise, and a progress bar would show
    steps asked for, not steps done. The device never waits: it has the next steps already.
    """
    if len(results) > STEPS_AHEAD:
        results[-STEPS_AHEAD - 1].wait_to_read()


def predict(model: d2l.Classifier, loader: Batches, device) -> numpy.ndarray:
    """Log-probabilities `(image, class)` of every image, in the loader's order."""
    log_probabilities = []
    for X, _ in loader:
        log_probabilities.append(npx.log_softmax(model(X.as_in_ctx(device))))
        hold_back(log_probabilities)
    return np.concatenate(log_probabilities).asnumpy()


def accuracy(scores: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Share of the rows of `scores` `(image, class)` that are highest at the label."""
    return float((scores.argmax(axis=1) == labels).mean())


def check_fit(model: d2l.Classifier, loader: Batches, device) -> None:
    """Try one blank image; raise `ValueError` if the images or labels do not fit the network."""
    num_channels = loader.images.shape[1] if loader.images.ndim == 4 else 1
    shape = (num_channels, *loader.images.shape[-2:])
    weight = next(p for name, p in model.collect_params().items() if name.endswith("weight"))
    if weight.shape and weight.shape[1] > 0 and weight.shape[1] != num_channels:
        raise ValueError(
            f"The network takes images of {weight.shape[1]} channels, and these have {num_channels}: build a "
            "new network, whose first forward pass settles its input channels."
        )
    try:
        num_classes = model(np.zeros((1, *shape), ctx=device)).shape[1]
        npx.waitall()
    except MXNetError as error:
        raise ValueError(
            f"The network cannot take images of shape (channel, height, width) = {shape}: give it larger "
            "images, or a network that halves them less often."
        ) from error
    if (highest := int(loader.labels.max())) >= num_classes:
        raise ValueError(
            f"The labels go up to {highest}, but the network tells only {num_classes} classes apart: "
            f"build it with num_classes={highest + 1}."
        )
