"""Training with a progress bar, curves, a history and a learning-rate schedule (chapter 06).

With a store several processes train together, and with a checkpoint a training can be interrupted (chapter 17).
"""

import math
import pickle
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mxnet as mx
import numpy
from d2l import mxnet as d2l
from mxnet import MXNetError, autograd, gluon, np, npx
from tqdm import tqdm

from utils import QUICK
from utils.backward import backward
from utils.data import Batches
from utils.plots import Curves
from utils.store import Store

QUICK_IMAGES = 256
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


def sgd_with_momentum(model: d2l.Classifier, weight_decay: float, store: Store | None = None) -> gluon.Trainer:
    """Stochastic gradient descent with momentum 0.9 and weight decay (chapter 06).

    Weights decay; biases and the scales and shifts of normalisation do not. With a store, the gradients of all workers
    are added up, and the network, which has to have run once, gets the parameters of worker 0's.
    Raises `ValueError` if the decay is negative.
    Source: Huang et al. 2017, section 4.2, with Nesterov's momentum and decay of all parameters.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must be at least 0, and is {weight_decay}.")
    for name, parameter in model.collect_params().items():
        parameter.wd_mult = float(name.endswith("weight"))
    options = dict(learning_rate=model.lr, momentum=MOMENTUM, wd=weight_decay)
    # In the network's order: by their names, which Gluon numbers as it goes, another network's are ordered otherwise.
    parameters = list(model.collect_params().values())
    # Not "nag", Nesterov's: with weight decay, MXNet's gives other losses from the same seed now and then.
    if store is None:
        return gluon.Trainer(parameters, "sgd", options)
    # Were the servers to take the steps, they would not hear of a new learning rate.
    optimizer = gluon.Trainer(parameters, "sgd", options, kvstore=store, update_on_kvstore=False)
    # This hands out the parameters; left to the first step, its gradient would be that of others.
    optimizer.allreduce_grads()
    npx.waitall()
    return optimizer


class Trainer(d2l.Trainer):
    """`d2l.Trainer` on the GPU if there is one, with a hybridized network and `sgd_with_momentum` (chapter 06).

    `schedule(progress)` gives the share of `model.lr` to use after `progress` (0 to 1) of the
    training; the rate is constant without one. After each epoch, `history` has one more value
    in each list: `train_loss`, `train_acc`, `val_loss`, `val_acc`, `seconds`; and one value a
    step in `step_loss`.

    With a `store` of kind "dist_sync" the processes that have one train together: each takes its part of every batch,
    and after each epoch all have the same parameters, running statistics and history. With a `checkpoint` the state
    after each epoch is written to that file, by worker 0, and `fit` goes on from what the file holds. It then
    ends as if nothing had interrupted it, unless the store compresses: what that had rounded away, and not yet sent, is
    lost.
    """

    def __init__(
        self,
        max_epochs: int,
        schedule: Callable[[float], float] | None = None,
        weight_decay: float = WEIGHT_DECAY,
        store: Store | None = None,
        checkpoint: Path | None = None,
    ):
        super().__init__(max_epochs, num_gpus=1)
        self.schedule, self.weight_decay = schedule, weight_decay
        self.store, self.checkpoint = store, checkpoint
        self.rank, self.num_workers = (store.rank, store.num_workers) if store else (0, 1)
        self.device = d2l.try_gpu()

    def prepare_data(self, data: d2l.DataModule) -> None:
        """Take the batches of `data`, of which each worker gets its part, and a quick run the first images alone.

        Raises `ValueError` if the last batch has fewer images than there are workers.
        """
        super().prepare_data(data)
        if QUICK:
            for loader in (self.train_dataloader, self.val_dataloader):
                loader.images, loader.labels = loader.images[:QUICK_IMAGES], loader.labels[:QUICK_IMAGES]
            self.num_train_batches, self.num_val_batches = len(self.train_dataloader), len(self.val_dataloader)
        self.train_dataloader.worker, self.train_dataloader.num_workers = self.rank, self.num_workers
        if (smallest := self.train_dataloader.sizes()[-1]) < self.num_workers:
            raise ValueError(
                f"The last batch has {smallest} images, too few for {self.num_workers} workers: "
                "take another batch size, or fewer workers."
            )

    def fit(self, model: d2l.Classifier, data: d2l.DataModule) -> None:
        """Train `model` on `data`, whose loaders are `Batches`.

        Raises `ValueError` before the first step if the images or labels do not fit the
        network, or the checkpoint is of another training, and `MemoryError` if a batch does not
        fit in memory. When interrupted, the network keeps its weights and `history` the epochs
        that were finished.
        """
        names = ("train_loss", "train_acc", "val_loss", "val_acc", "seconds", "step_loss")
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.curves = Curves(self.max_epochs)
        try:
            self.prepare_data(data)
            self.prepare_model(model)
            self.optim = sgd_with_momentum(model, self.weight_decay, self.store)
            first_epoch = self.resume() if self.checkpoint else 0
            self.train_batch_idx = first_epoch * self.num_train_batches
            for epoch in range(first_epoch, self.max_epochs):
                self.epoch = epoch
                self.fit_epoch()
                if self.checkpoint and self.rank == 0:
                    self.save(self.checkpoint)
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
        """Move the network to the device and hybridize it. Raises `ValueError` if images or labels do not fit it."""
        super().prepare_model(model)
        model.hybridize(False)
        for loader in (self.train_dataloader, self.val_dataloader):
            check_fit(model, loader, self.device)
        hybridized(model)

    def fit_epoch(self) -> None:
        """Take a step for each batch of training images, then add the epoch to the history."""
        start = time.perf_counter()
        if self.checkpoint:
            # What dropout draws in an epoch must not depend on whether the epochs before were in this process.
            mx.random.seed(self.epoch * self.num_workers + self.rank)
        losses, correct = [], []
        sizes = self.train_dataloader.sizes()
        description = f"epoch {self.epoch + 1}/{self.max_epochs}"
        with tqdm(total=sum(sizes), unit=" images", desc=description, disable=self.rank > 0) as bar:
            for batch, size in zip(self.train_dataloader, sizes, strict=True):
                X, y = self.prepare_batch(batch)
                self.set_learning_rate()
                with autograd.record():
                    Y_hat = self.model(X)
                    # The mean over this worker's images, as its part of the mean over all.
                    loss = self.model.loss(Y_hat, y) * (len(y) / size)
                backward(self.model, loss)
                self.optim.step(1)
                self.train_batch_idx += 1
                losses.append(loss.detach())
                correct.append(self.model.accuracy(Y_hat, y, averaged=False).sum())
                hold_back(losses)
                bar.update(size)
            numbers = np.stack([np.stack(losses), np.stack(correct)]).asnumpy()
        if self.store:
            numbers = self.store.total(numbers)
            merge_statistics(self.model, self.store)
        step_loss, num_correct = numbers
        self.record(step_loss, sizes, num_correct.sum(), time.perf_counter() - start)

    def set_learning_rate(self) -> None:
        """Give the optimizer the rate that the schedule has for the next step."""
        if self.schedule:
            progress = self.train_batch_idx / (self.max_epochs * self.num_train_batches)
            self.optim.set_learning_rate(self.model.lr * self.schedule(progress))

    def record(self, step_loss: numpy.ndarray, sizes: list[int], num_correct: float, seconds: float) -> None:
        """Add a finished epoch, with the loss and the number of images of each step, to the history."""
        val_loss, val_acc = self.validate()
        epoch = {
            "train_loss": float(numpy.average(step_loss, weights=sizes)),
            "train_acc": float(num_correct / len(self.train_dataloader.labels)),
            "val_loss": val_loss,
            "val_acc": val_acc,
            "seconds": seconds,
        }
        for name, value in epoch.items():
            self.history[name].append(value)
        self.history["step_loss"] += step_loss.tolist()
        self.curves.draw(self.history)

    def validate(self) -> tuple[float, float]:
        """Loss and accuracy on the validation images, which worker 0 alone computes."""
        found = numpy.zeros(2)
        if self.rank == 0:
            labels = self.val_dataloader.labels
            log_probabilities = predict(self.model, self.val_dataloader, self.device)
            loss = -log_probabilities[numpy.arange(len(labels)), labels].mean()
            found = numpy.array([loss, accuracy(log_probabilities, labels)])
        val_loss, val_acc = self.store.total(found) if self.store else found
        return float(val_loss), float(val_acc)

    def settings(self) -> dict[str, object]:
        """What a checkpoint has to have in common with the training that goes on from it."""
        shapes = [parameter.shape for parameter in self.model.collect_params().values()]
        return {
            "number of epochs": self.max_epochs,
            "batch size": self.train_dataloader.batch_size,
            "number of images": len(self.train_dataloader.labels),
            "learning rate": self.model.lr,
            "weight decay": self.weight_decay,
            "network": shapes,
        }

    def save(self, path: Path) -> None:
        """Write to the file all that the next epoch depends on: the old content is there until the new one is whole."""
        parameters = self.model.collect_params().values()
        with tempfile.TemporaryDirectory() as folder:
            self.optim.save_states(f"{folder}/states")
            optimizer = Path(folder, "states").read_bytes()
        state = {
            "settings": self.settings(),
            "history": self.history,
            "order": self.train_dataloader.random and self.train_dataloader.random.get_state(),
            "parameters": [parameter.data().asnumpy() for parameter in parameters],
            "optimizer": optimizer,
        }
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(pickle.dumps(state))
        part.replace(path)

    def resume(self) -> int:
        """Go back to what the checkpoint of worker 0 holds, if there is one; return how many epochs it has behind it.

        Raises `ValueError` if it is of another training.
        """
        path = self.checkpoint
        content = path.read_bytes() if path and self.rank == 0 and path.exists() else b""
        if self.store:
            content = self.store.from_first(content)
        if not content:
            return 0
        state = pickle.loads(content)
        for name, value in self.settings().items():
            if state["settings"][name] != value:
                raise ValueError(
                    f"{path} is a checkpoint of a training with another {name}: delete it, or name another file."
                )
        self.history = state["history"]
        if self.train_dataloader.random:
            self.train_dataloader.random.set_state(state["order"])
        for parameter, value in zip(self.model.collect_params().values(), state["parameters"], strict=True):
            parameter.set_data(np.array(value))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "states").write_bytes(state["optimizer"])
            self.optim.load_states(f"{folder}/states")
        return len(self.history["seconds"])


def merge_statistics(net: gluon.Block, store: Store) -> None:
    """Give the running statistics of every worker's network their mean over all workers."""
    statistics = [parameter for parameter in net.collect_params().values() if parameter.grad_req == "null"]
    if not statistics:
        return
    merged = store.total(numpy.concatenate([parameter.data().asnumpy() for parameter in statistics]))
    ends = numpy.cumsum([parameter.shape[0] for parameter in statistics])
    for parameter, mean in zip(statistics, numpy.split(merged / store.num_workers, ends[:-1]), strict=True):
        parameter.set_data(np.array(mean))


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
