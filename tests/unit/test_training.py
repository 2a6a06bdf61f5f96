"""Training of a tiny network on images whose textures tell the classes apart."""

# Before mxnet, which reads the number of threads when it is imported.
from utils import plots, training
from utils.data import Batches
from utils.densenet import DenseNet
from utils.spec import imagenet_spec
from utils.store import Store
from utils.training import Trainer, accuracy, one_cycle, predict, sgd_with_momentum

# isort: split
import os
import subprocess
import sys
import warnings
from pathlib import Path

import mxnet as mx
import numpy
import pytest
from d2l import mxnet as d2l
from mxnet import autograd, gluon, np

SPEC = imagenet_spec(8, 2, 2) | dict(bottleneck_width=None)


class Textures(d2l.DataModule):
    """Noise under horizontal stripes, vertical stripes, checks, or nothing: classes 0 to 3."""

    def __init__(self, batch_size=32, number=128, side=32, seed=0):
        super().__init__()
        self.save_hyperparameters()
        random = numpy.random.RandomState(7)
        i, j = numpy.indices((side, side)) // 4
        textures = numpy.stack([i % 2, j % 2, (i + j) % 2, 0 * i])
        self.labels = random.randint(0, 4, number).astype("uint8")
        self.images = (random.randint(0, 128, (number, side, side)) + 127 * textures[self.labels]).astype("uint8")

    def get_dataloader(self, train):
        return Batches(self.images, self.labels, self.batch_size, self.seed if train else None)


class InterruptedInItsSecondPass(Batches):
    passes = 0

    def __iter__(self):
        self.passes += 1
        for number, batch in enumerate(super().__iter__()):
            if self.passes == 2 and number == 2:
                raise KeyboardInterrupt
            yield batch


@pytest.fixture
def data():
    return Textures()


@pytest.fixture
def model():
    return DenseNet(SPEC, num_classes=4)


def weights(model):
    """Copies of all parameters, running statistics and those not yet settled included."""
    parameters = model.collect_params().values()
    return [parameter.data().asnumpy() if parameter._data else None for parameter in parameters]


def fit_anew(data, max_epochs=2, schedule=None, seed=1):
    """The history of a new network's training."""
    mx.random.seed(seed)
    trainer = Trainer(max_epochs, schedule)
    trainer.fit(DenseNet(SPEC, num_classes=4), data)
    return trainer.history


# Learning


def test_the_loss_falls_and_the_classes_are_learned():
    history = fit_anew(Textures(number=256), max_epochs=6, schedule=one_cycle)
    # Ten seeds gave at most 0.06, 0.11, and an accuracy of 1.
    assert history["train_loss"][-1] < 0.15 * history["train_loss"][0]
    assert history["val_loss"][-1] < 0.25
    assert history["train_acc"][-1] > 0.95
    assert history["val_acc"][-1] > 0.95


def test_training_equals_a_plain_loop_also_with_a_partial_last_batch():
    data = Textures(batch_size=48)
    assert [len(y) for _, y in data.train_dataloader()] == [48, 48, 32]
    history = fit_anew(data)

    mx.random.seed(1)
    model, losses = DenseNet(SPEC, num_classes=4), []
    # The trainer settles shapes, and with them draws the weights, on a blank image.
    model(np.zeros((1, 1, 32, 32)))
    parameters = model.collect_params()
    decaying = [parameter for name, parameter in parameters.items() if name.endswith("weight")]
    others = [parameter for name, parameter in parameters.items() if not name.endswith("weight")]
    options = {"learning_rate": model.lr, "momentum": 0.9}
    optimizers = [gluon.Trainer(decaying, "sgd", options | {"wd": 5e-4}), gluon.Trainer(others, "sgd", options)]
    loader = data.train_dataloader()
    for _ in range(2):
        for X, y in loader:
            with autograd.record():
                loss = model.loss(model(X), y)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step(1)
            losses.append(float(loss))
    numpy.testing.assert_allclose(history["step_loss"], losses, rtol=1e-3)


def test_the_same_seed_gives_the_same_losses_to_the_last_bit(data):
    first, same, other = fit_anew(data), fit_anew(data), fit_anew(data, seed=2)
    for name in ("train_loss", "train_acc", "val_loss", "val_acc", "step_loss"):
        assert first[name] == same[name]
    assert first["step_loss"] != other["step_loss"]


# History


def test_the_history_has_a_value_for_each_epoch_and_each_step(data):
    history = fit_anew(data, max_epochs=3)
    lengths = {name: len(values) for name, values in history.items()}
    epochs = dict(train_loss=3, train_acc=3, val_loss=3, val_acc=3, seconds=3)
    assert lengths == epochs | dict(step_loss=3 * len(data.train_dataloader()))


def test_the_training_loss_is_the_mean_over_images_not_over_batches():
    history = fit_anew(Textures(batch_size=120), max_epochs=1)
    expected = numpy.average(history["step_loss"], weights=[120, 8])
    assert history["train_loss"] == [pytest.approx(expected, rel=1e-5)]


def test_the_training_accuracy_is_that_of_the_batches_as_they_were_met(data, model):
    # With a learning rate of zero only BatchNorm's running statistics change, and training does not read them.
    trainer = Trainer(1, schedule=lambda progress: 0.0)
    trainer.fit(model, data)
    met = []
    for X, y in data.train_dataloader():
        with autograd.train_mode():
            met += (model(X).asnumpy().argmax(axis=1) == y.asnumpy()).tolist()
    assert trainer.history["train_acc"] == [pytest.approx(numpy.mean(met))]


def test_the_validation_loss_and_accuracy_are_those_of_the_predictions(data, model):
    trainer = Trainer(2)
    trainer.fit(model, data)
    log_probabilities = predict(model, data.val_dataloader(), trainer.device)
    assert trainer.history["val_acc"][-1] == accuracy(log_probabilities, data.labels)
    expected = -numpy.mean([row[label] for row, label in zip(log_probabilities, data.labels, strict=True)])
    assert trainer.history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)


def test_a_second_fit_starts_a_new_history(data, model):
    trainer = Trainer(1)
    trainer.fit(model, data)
    first = trainer.history
    trainer.fit(model, data)
    assert len(first["train_loss"]) == len(trainer.history["train_loss"]) == 1
    assert trainer.history["train_loss"] < first["train_loss"]


def test_the_device_is_read_as_often_in_few_steps_as_in_many(monkeypatch):
    reads = []
    # item, float, int, bool and tolist all read through asnumpy.
    read = np.ndarray.asnumpy

    def counted_read(array):
        reads.append(array.shape)
        return read(array)

    monkeypatch.setattr(np.ndarray, "asnumpy", counted_read)
    fit_anew(Textures(batch_size=64))
    in_two_steps = len(reads)
    fit_anew(Textures(batch_size=8))
    assert 0 < in_two_steps == len(reads) - in_two_steps


# Checkpoints


def with_dropout():
    mx.random.seed(1)
    return DenseNet(SPEC | dict(drop_rate=0.2), num_classes=4)


def test_a_training_that_was_interrupted_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    class Interrupted(Textures):
        def get_dataloader(self, train):
            kind = InterruptedInItsSecondPass if train else Batches
            return kind(self.images, self.labels, self.batch_size, *((self.seed, True) if train else ()))

    class NotInterrupted(Interrupted):
        def get_dataloader(self, train):
            return Batches(self.images, self.labels, self.batch_size, *((self.seed, True) if train else ()))

    whole, first, second = (Trainer(3, one_cycle, checkpoint=tmp_path / name) for name in "abb")
    expected = with_dropout()
    whole.fit(expected, NotInterrupted())
    model = with_dropout()
    with pytest.raises(KeyboardInterrupt):
        first.fit(model, Interrupted())
    assert len(first.history["seconds"]) == 1
    # Whoever goes on has neither the network nor the random numbers of before.
    mx.random.seed(9)
    model = DenseNet(SPEC | dict(drop_rate=0.2), num_classes=4)
    second.fit(model, NotInterrupted())
    for value, other in zip(weights(model), weights(expected), strict=True):
        numpy.testing.assert_array_equal(value, other)
    for name in ("train_loss", "train_acc", "val_loss", "val_acc", "step_loss"):
        assert second.history[name] == whole.history[name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size", "number", "spec"),
    [
        ("number of epochs", 2, 32, 64, SPEC),
        ("batch size", 1, 16, 64, SPEC),
        ("number of images", 1, 32, 96, SPEC),
        ("network", 1, 32, 64, SPEC | dict(growth_rate=4)),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_kept(name, epochs, batch_size, number, spec, tmp_path):
    path = tmp_path / "checkpoint"
    Trainer(1, checkpoint=path).fit(DenseNet(SPEC, num_classes=4), Textures(number=64))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"is a checkpoint of a training with another {name}: delete it, or name"):
        Trainer(epochs, checkpoint=path).fit(DenseNet(spec, num_classes=4), Textures(batch_size, number))
    assert path.read_bytes() == before


# Several workers, for whom one stands in; test_cluster.py has real ones


class StandIn:
    """A store for two workers, of whom the other has the numbers of this one, and adds 1 to each."""

    rank, num_workers = 0, 2

    def total(self, numbers):
        return 2 * numbers + 1


def test_running_statistics_become_their_mean_over_the_workers(model):
    model(np.zeros((1, 1, 32, 32)))
    before = weights(model)
    training.merge_statistics(model, StandIn())
    parameters = model.collect_params().values()
    changes = [value - old for value, old in zip(weights(model), before, strict=True)]
    assert {parameter.grad_req for parameter in parameters} == {"write", "null"}
    for parameter, change in zip(parameters, changes, strict=True):
        numpy.testing.assert_allclose(change, 0.5 if parameter.grad_req == "null" else 0, rtol=1e-6)


def test_a_last_batch_with_fewer_images_than_workers_is_refused(model):
    with pytest.raises(ValueError, match="The last batch has 1 images, too few for 2 workers: take another batch size"):
        Trainer(1, store=StandIn()).fit(model, Textures(batch_size=3, number=64))


def test_a_store_without_a_launcher_says_what_to_type():
    with pytest.raises(ValueError, match="no server to connect to: start this program with"):
        Store("dist_sync")


def test_a_second_store_in_a_process_is_refused(monkeypatch):
    # MXNet would wait forever for servers that welcome a worker once.
    monkeypatch.setenv("DMLC_PS_ROOT_URI", "127.0.0.1")
    monkeypatch.setattr(Store, "is_made", True)
    with pytest.raises(ValueError, match="This process has a store already, and cannot have two: use that one"):
        Store()


# Learning rate


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of each step, as the optimizer takes it."""
    seen = []
    step = gluon.Trainer.step

    def noted_step(optimizer, *args):
        seen.append(optimizer.learning_rate)
        step(optimizer, *args)

    monkeypatch.setattr(gluon.Trainer, "step", noted_step)
    return seen


def test_the_learning_rate_follows_one_cycle_over_the_whole_training(rates, data):
    model = DenseNet(SPEC, num_classes=4, lr=0.3)
    Trainer(4, one_cycle).fit(model, data)
    assert rates == pytest.approx([0.3 * one_cycle(step / 16) for step in range(16)])
    assert rates[0] == 0
    assert rates.index(max(rates)) == 4 and max(rates) == pytest.approx(0.3)
    assert rates[:5] == sorted(rates[:5]) and rates[4:] == sorted(rates[4:], reverse=True)


def test_the_learning_rate_is_constant_without_a_schedule(rates, data):
    model = DenseNet(SPEC, num_classes=4, lr=0.3)
    Trainer(2).fit(model, data)
    assert rates == [0.3] * 8


@pytest.mark.parametrize("progress, share", [(0, 0), (1 / 12, 0.25), (0.25, 1), (0.5, 0.75), (1, 0)])
def test_one_cycle_rises_in_a_quarter_and_falls_in_the_rest_along_half_a_cosine(progress, share):
    assert one_cycle(progress) == pytest.approx(share, abs=1e-12)


# Optimizer


def test_weight_decay_shrinks_the_weights_and_neither_normalisation_nor_biases(model):
    model(np.zeros((1, 1, 32, 32)))
    optimizer = sgd_with_momentum(model, weight_decay=0.5)
    before = {name: parameter.data().asnumpy() for name, parameter in model.collect_params().items()}
    with autograd.record():
        loss = 0 * model(np.zeros((2, 1, 32, 32))).sum()
    loss.backward()
    optimizer.step(1)
    for name, parameter in model.collect_params().items():
        if parameter.grad_req == "write":
            share = 1 - 0.5 * model.lr if name.endswith("weight") else 1
            numpy.testing.assert_allclose(parameter.data().asnumpy(), share * before[name], rtol=1e-5, err_msg=name)


def test_a_negative_weight_decay_is_refused(data, model):
    with pytest.raises(ValueError, match=r"weight_decay must be at least 0, and is -0\.1"):
        Trainer(1, weight_decay=-0.1).fit(model, data)


# Prediction


def test_predictions_are_log_probabilities_in_stored_order(model):
    data = Textures(batch_size=4, number=10)
    Trainer(2).fit(model, data)
    together = predict(model, data.val_dataloader(), d2l.try_gpu())
    assert together.shape == (10, 4)
    numpy.testing.assert_allclose(numpy.exp(together).sum(axis=1), 1, rtol=1e-5)
    alone = [
        predict(model, Batches(data.images[i : i + 1], data.labels[i : i + 1], 1), d2l.try_gpu()) for i in range(10)
    ]
    numpy.testing.assert_allclose(together, numpy.concatenate(alone), rtol=1e-4, atol=1e-5)


def test_val_accuracy_is_the_share_of_rows_that_are_highest_at_the_label():
    scores = numpy.array([[0.0, -1, -2], [-1, 0, -2], [-1, -2, 0], [0, -2, -1]])
    assert accuracy(scores, numpy.array([0, 1, 1, 2])) == 0.5


# Images, labels and networks that do not fit


def test_a_network_for_three_channels_is_refused_before_any_step(data, model):
    model(np.zeros((1, 3, 32, 32)))
    before = weights(model)
    with pytest.raises(ValueError, match="The network takes images of 3 channels, and these have 1"):
        Trainer(1).fit(model, data)
    for old, new in zip(before, weights(model), strict=True):
        numpy.testing.assert_array_equal(old, new)


def test_images_that_are_too_small_are_refused_before_any_step(rates, model):
    with pytest.raises(ValueError, match=r"\(channel, height, width\) = \(1, 4, 4\)"):
        Trainer(1).fit(model, Textures(side=4))
    assert rates == []


def test_labels_out_of_range_are_refused_with_the_number_of_classes_to_use(rates, data):
    with pytest.raises(ValueError, match="tells only 3 classes apart: build it with num_classes=4"):
        Trainer(1).fit(DenseNet(SPEC, num_classes=3), data)
    assert rates == []


def test_a_network_that_fits_loses_nothing_by_being_tried(data, model):
    model(np.zeros((1, 1, 32, 32)))
    before = weights(model)
    training.check_fit(model, data.train_dataloader(), d2l.try_gpu())
    for old, new in zip(before, weights(model), strict=True):
        numpy.testing.assert_array_equal(old, new)


# Failures of the device


def fail_on_batches(model, message, monkeypatch, also=lambda: None):
    """Let the network take one image, as the check does, and fail on more."""
    forward = model.forward

    def failing(X):
        if len(X) > 1:
            also()
            raise mx.MXNetError(message)
        return forward(X)

    monkeypatch.setattr(model, "forward", failing)


@pytest.mark.parametrize("batch_size, smaller", [(64, 32), (9, 4), (2, 1)])
def test_out_of_memory_names_a_smaller_batch_size(monkeypatch, model, batch_size, smaller):
    fail_on_batches(model, "cudaMalloc retry failed: out of memory", monkeypatch)
    with pytest.raises(MemoryError, match=f"batch of {batch_size} images .* try batch_size={smaller}"):
        Trainer(1).fit(model, Textures(batch_size))


def test_other_failures_are_passed_on(monkeypatch, data, model):
    fail_on_batches(model, "Check failed: something else", monkeypatch)
    with pytest.raises(mx.MXNetError, match="something else"):
        Trainer(1).fit(model, data)


def test_an_illegal_memory_access_is_not_taken_for_lack_of_memory(monkeypatch, data, model):
    fail_on_batches(model, "CUDA: an illegal memory access was encountered", monkeypatch)
    with pytest.raises(mx.MXNetError, match="illegal memory access"):
        Trainer(1).fit(model, data)


def doomed_work():
    """Work that fails on the device, later, as all that waits for memory does once memory has run out."""
    mx.nd.random.normal(0, -1, (2, 2))


def test_work_that_fails_after_lack_of_memory_does_not_hide_it(monkeypatch, data, model):
    fail_on_batches(model, "Failed to allocate CPU Memory", monkeypatch, also=doomed_work)
    with pytest.raises(MemoryError, match="try batch_size=16"):
        Trainer(1).fit(model, data)


OUT_OF_MEMORY = """
import os, resource
from test_training import DenseNet, SPEC, Textures, Trainer
from mxnet import npx

npx.set_np()
Trainer(1).fit(DenseNet(SPEC, num_classes=4), Textures())
data, model, trainer = Textures(batch_size=4096, number=4096), DenseNet(SPEC, num_classes=4), Trainer(1)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 100 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    trainer.fit(model, data)
except Exception as error:
    print(type(error).__name__, error, flush=True)
# MXNet may crash when it cleans up after this.
os._exit(0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits on memory as Linux has them")
def test_memory_that_really_runs_out_is_told_with_a_smaller_batch_size():
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(folder.parents[1])])}
    command = [sys.executable, "-c", OUT_OF_MEMORY]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert "MemoryError A batch of 4096 images does not fit in the memory of cpu(0): try batch_size=2048." in run.stdout


# Interruption


def test_an_interrupted_training_keeps_what_it_finished(monkeypatch, data, model):
    loader = InterruptedInItsSecondPass(data.images, data.labels, data.batch_size, seed=0)
    monkeypatch.setattr(data, "train_dataloader", lambda: loader)
    trainer = Trainer(3)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(model, data)
    names = ("train_loss", "train_acc", "val_loss", "val_acc", "seconds")
    assert [len(trainer.history[name]) for name in names] == [1] * 5
    assert len(trainer.history["step_loss"]) == len(loader)

    log_probabilities = predict(model, data.val_dataloader(), trainer.device)
    numpy.testing.assert_allclose(numpy.exp(log_probabilities).sum(axis=1), 1, rtol=1e-5)
    interrupted = trainer.history["train_loss"]
    trainer.fit(model, Textures())
    assert len(trainer.history["train_loss"]) == 3
    assert trainer.history["train_loss"][-1] < interrupted[0]


# What a reader sees


@pytest.mark.parametrize("batch_size", [32, 48])
def test_the_progress_bar_counts_images_to_the_end(capsys, batch_size):
    fit_anew(Textures(batch_size), max_epochs=2)
    err = capsys.readouterr().err
    for epoch in (1, 2):
        last = [line for line in err.replace("\r", "\n").splitlines() if line.startswith(f"epoch {epoch}/2")][-1]
        assert "100%" in last and "128/128" in last and "images/s" in last


def test_outside_a_notebook_nothing_is_drawn(capsys, data):
    fit_anew(data)
    assert "Figure" not in capsys.readouterr().out


@pytest.mark.parametrize("steps_per_epoch", [4, 20, 50])
def test_the_curves_are_whole_and_redrawn_in_place(monkeypatch, steps_per_epoch):
    shown = []

    class Output:
        update = shown.append

    monkeypatch.setattr(plots, "get_ipython", lambda: "a notebook")
    monkeypatch.setattr(plots.display, "display", lambda figure, display_id: (shown.append(figure), Output())[1])
    curves = plots.Curves(max_epochs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epochs in (1, 2):
            history = {name: [0.5] * epochs for name in ("train_acc", "val_loss", "val_acc")}
            curves.draw(history | dict(step_loss=[1.0] * epochs * steps_per_epoch))
    assert len(shown) == 2
    lines = {line.get_label(): line for line in shown[-1].axes[0].get_lines()}
    assert set(lines) == {"train_loss", "val_loss", "train_acc", "val_acc"}
    x, y = lines["train_loss"].get_data()
    assert numpy.isfinite(y).all()
    assert 0 < min(x) < max(x) < 2
