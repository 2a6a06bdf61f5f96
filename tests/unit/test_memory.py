"""Peak memory measured, and the memory-efficient network against the plain one."""

import math
import os
import re
import signal
import sys
from pathlib import Path

import mxnet as mx
import pytest
from mxnet import autograd, nd, np, npx

from tools.cells import definitions
from tools.notebooks import code, from_source
from utils import cost, measure, memory_efficient
from utils.backward import backward
from utils.densenet import DenseNet
from utils.memory_efficient import MemoryEfficientDenseBlock, MemoryEfficientDenseNet
from utils.spec import densenet_spec, imagenet_spec
from utils.training import hybridized

SMALL = densenet_spec["BC-100-12"] | dict(blocks=(4, 3))
WIDTHS = {
    "plain, growth rate 12": densenet_spec["40-12"] | dict(blocks=(3, 2)),
    "bottlenecks, growth rate 12": SMALL,
    "growth rate 5, biases": SMALL | dict(growth_rate=5, initial_channels=7, use_bias=True),
    "ImageNet stem, growth rate 16": imagenet_spec(16, 3, 2),
    "leaky ReLU": SMALL | dict(activation="leaky_relu"),
    "dropout, maximum pooling": SMALL | dict(drop_rate=0.3, pooling="max"),
    "layouts of 8 and 16 channels": SMALL | dict(blocks=(6, 6)),
    "one layer": SMALL | dict(blocks=(1,)),
}


def batch(seed=0, side=32):
    mx.random.seed(seed)
    return np.random.uniform(size=(4, 3, side, side)), np.arange(4)


def network(kind, spec, X, hybridize=False):
    mx.random.seed(1)
    net = kind(spec)
    net(X)
    return hybridized(net) if hybridize else net


def step(net, X, y):
    mx.random.seed(2)  # dropout draws
    with autograd.record():
        loss = net.loss(net(X), y)
    backward(net, loss)
    return float(loss)


def pairs(plain, efficient):
    return zip(plain.collect_params().values(), efficient.collect_params().values(), strict=True)


def differing(plain, efficient):
    """The parameters whose gradients, or running statistics, differ by more than rounding."""
    trained = [p for p in plain.collect_params().values() if p.grad_req != "null"]
    largest_gradient = max(float(abs(p.grad()).max()) for p in trained)
    names = []
    for p, q in pairs(plain, efficient):
        if p.grad_req == "null":
            difference, scale = abs(p.data() - q.data()), float(abs(p.data()).max())
        else:
            difference, scale = abs(p.grad() - q.grad()), largest_gradient
        # Numbers of 24 bits, added up in another order; a gradient that is left out is wrong by its own size.
        if not float(difference.max()) <= 1e-5 * scale:
            names.append(p.name)
    return names


@pytest.mark.parametrize("hybridize", [False, True], ids=["imperative", "hybridized"])
@pytest.mark.parametrize("spec", WIDTHS.values(), ids=WIDTHS)
def test_gradients_and_running_statistics_are_those_of_the_plain_network(spec, hybridize):
    # A ReLU that reads 0 but for rounding lets a gradient through in one network and not in the other: with four
    # threads, one of 158,000 of the ImageNet stem's network did so on the first batch, and a sum over the pixels of a
    # map was off by a thousandth. What is computed wrongly is wrong on every batch.
    names_by_batch = []
    for seed in range(3):
        X, y = batch(seed)
        plain, efficient = (network(kind, spec, X, hybridize) for kind in (DenseNet, MemoryEfficientDenseNet))
        assert step(plain, X, y) == pytest.approx(step(efficient, X, y), rel=1e-6)
        names_by_batch.append(differing(plain, efficient))
        if not names_by_batch[-1]:
            return
    pytest.fail(f"On each batch these differ: {names_by_batch}")


def test_gradients_and_running_statistics_are_right_where_the_forward_pass_moves_the_statistics(monkeypatch):
    """As on a GPU, where cuDNN moves them; on a processor, oneDNN does so in the backward pass."""
    X, y = batch()
    plain, efficient = (network(kind, SMALL, X) for kind in (DenseNet, MemoryEfficientDenseNet))
    step(plain, X, y)
    normalise, go_back = nd.BatchNorm, memory_efficient.backward_operator

    def forward(X, gamma, beta, running_mean, running_variance, use_global_stats, **options):
        settings = options | dict(use_global_stats=use_global_stats, output_mean_var=True)
        Y, mean, inverse_deviation = normalise(X, gamma, beta, running_mean, running_variance, **settings)
        if not use_global_stats:
            running_mean[:] = 0.9 * running_mean + 0.1 * mean
            running_variance[:] = 0.9 * running_variance + 0.1 * (inverse_deviation**-2 - options["eps"])
        return (Y, mean, inverse_deviation) if options.get("output_mean_var") else Y

    def backward_operator(name, inputs, outputs, **options):
        if name == "BatchNorm":
            *inputs, running_mean, running_variance = inputs
            inputs = [*inputs, running_mean.copy(), running_variance.copy()]
        go_back(name, inputs, outputs, **options)

    with monkeypatch.context() as patch:
        patch.setattr(nd, "BatchNorm", forward)
        patch.setattr(memory_efficient, "backward_operator", backward_operator)
        step(efficient, X, y)
        npx.waitall()
    assert not differing(plain, efficient)


def test_a_network_that_has_never_run_learns_its_shapes_in_its_first_recorded_pass():
    X, y = batch()
    mx.random.seed(1)
    fresh = MemoryEfficientDenseNet(SMALL)
    mx.random.seed(1)
    plain = DenseNet(SMALL)
    step(fresh, X, y)
    step(plain, X, y)
    for p, q in pairs(plain, fresh):
        q.set_data(p.data())
    for net in (plain, fresh):
        step(net, X, y)
    assert not differing(plain, fresh)


def test_gradients_add_up_where_they_should():
    X, y = batch()
    net = network(MemoryEfficientDenseNet, SMALL, X)
    step(net, X, y)
    trained = [p for p in net.collect_params().values() if p.grad_req != "null"]
    once = [p.grad().copy() for p in trained]
    for parameter in trained:
        parameter.grad_req = "add"
        parameter.grad()[:] = 0
    for _ in range(2):
        step(net, X, y)
    largest = max(float(abs(gradient).max()) for gradient in once)
    for parameter, gradient in zip(trained, once, strict=True):
        assert np.allclose(parameter.grad(), 2 * gradient, rtol=1e-4, atol=1e-5 * largest), parameter.name


def test_what_is_recorded_for_prediction_goes_back_as_in_the_plain_network():
    X, y = batch()
    found = []
    for kind in (DenseNet, MemoryEfficientDenseNet):
        net = network(kind, SMALL, X)
        X.attach_grad()
        with autograd.record(train_mode=False):
            loss = net.loss(net(X), y)
        loss.backward()
        found.append(X.grad.copy())
    assert float(abs(found[0]).max()) > 0
    assert np.allclose(*found, rtol=1e-5, atol=1e-8)


def test_running_statistics_move_once_in_a_step():
    X, y = batch()
    net = network(MemoryEfficientDenseNet, SMALL, X)
    norm = net.net[1].layers[0][0]
    step(net, X, y)
    assert norm.running_mean.data().max() > 0
    expected = 0.1 * net.net[0](X).mean(axis=(0, 2, 3))
    assert np.allclose(norm.running_mean.data(), expected, rtol=1e-4, atol=1e-6)


def test_a_recorded_forward_pass_leaves_the_running_statistics():
    X, _ = batch()
    net = network(MemoryEfficientDenseNet, SMALL, X)
    statistics = net.collect_params(".*running_.*").values()
    before = [p.data().copy() for p in statistics]
    with autograd.record():
        net(X).wait_to_read()
    for parameter, value in zip(statistics, before, strict=True):
        assert (parameter.data() == value).all(), parameter.name


def test_losses_are_those_of_the_plain_network_for_20_steps():
    losses = []
    for kind in (DenseNet, MemoryEfficientDenseNet):
        X, y = batch()
        net = network(kind, SMALL, X, hybridize=True)
        optimizer = net.configure_optimizers()
        losses.append([])
        for _ in range(20):
            losses[-1].append(step(net, X, y))
            optimizer.step(1)
    # Two steps differ in the last digits only: another order of additions. Each step multiplies the difference.
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-5)
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    # Four images are learned by heart: if no gradient arrived, the losses would be equal and stay.
    assert losses[0][-1] < losses[0][0] / 2


def test_predictions_and_saved_parameters_are_those_of_the_plain_network(tmp_path):
    X, _ = batch()
    plain = network(DenseNet, SMALL, X)
    plain.save_parameters(str(tmp_path / "net.params"))
    efficient = MemoryEfficientDenseNet(SMALL)
    efficient.load_parameters(str(tmp_path / "net.params"))
    assert (efficient(X) == plain(X)).all()


def test_the_gradient_of_a_block_reaches_its_input():
    mx.random.seed(0)
    block = MemoryEfficientDenseBlock(2, 3)
    block.initialize()
    X = np.random.uniform(size=(2, 4, 8, 8))
    block(X)
    X.attach_grad()
    with autograd.record():
        loss = (block(X) ** 2).sum()
    backward(block, loss)
    found = X.grad.copy()
    with autograd.record():
        Y = X
        for layer in block.layers:
            Y = np.concatenate((Y, layer(Y)), axis=1)
        loss = (Y**2).sum()
    loss.backward()
    assert np.allclose(found, X.grad, rtol=1e-5, atol=1e-5 * float(abs(X.grad).max()))


def test_going_back_without_a_recorded_forward_pass_says_so():
    with pytest.raises(RuntimeError, match=r"inside autograd.record\(\)"):
        MemoryEfficientDenseBlock(1, 2).backward()


def test_an_optimizer_step_after_loss_backward_alone_is_refused():
    X, y = batch()
    net = network(MemoryEfficientDenseNet, SMALL, X)
    optimizer = net.configure_optimizers()
    with autograd.record():
        loss = net.loss(net(X), y)
    loss.backward()
    with pytest.raises(UserWarning, match="has not been updated by backward"):
        optimizer.step(1)


def test_a_block_keeps_what_cost_counts():
    spec = SMALL | dict(drop_rate=0.3)
    X, _ = batch()
    net = network(MemoryEfficientDenseNet, spec, X)
    with autograd.record():
        net(X)
    few_layers = cost.memory_efficient(cost.layers(spec, 32, 3, 10, batch=4))
    counted = {stage.stage: stage.activation_bytes for stage in cost.by_stage(few_layers)}
    for number, block in ((1, net.net[1]), (2, net.net[3])):
        _, Y, layers = block.kept
        numbers = Y.size + sum(layer.mask.size + sum(array.size for array in layer.kept) for layer in layers)
        assert 4 * numbers == counted[f"block {number}"]


# Peak memory

SHAPE = (16, 3, 16, 16)
DEEP = imagenet_spec(16, 12) | dict(stem="cifar")
# What the backward pass of the plain network reads again.
LAYERS = cost.layers(DEEP, 16, 3, 10, batch=16)
KEPT = cost.total(LAYERS).activation_bytes
KEPT_EFFICIENTLY = cost.total(cost.memory_efficient(LAYERS)).activation_bytes
# Beside it: the gradients on their way back, and the scratch memory that oneDNN takes, other on each processor.
# 36 MB as SSE41, 41 MB with AVX-512; MXNet's libraries, which must not count, are more than 200 MB.
BESIDE = 100e6


def plain():
    return hybridized(DenseNet(DEEP))


def efficient():
    return MemoryEfficientDenseNet(DEEP)


def test_peak_memory_repeats_and_holds_what_training_keeps():
    first, second = (measure.peak_memory(plain, SHAPE) for _ in range(2))
    # They differ by less than 1 percent; a process that had measured before would find most of the memory taken.
    assert second == pytest.approx(first, rel=0.05)
    assert KEPT < first < KEPT + BESIDE


@pytest.mark.parametrize("name", ["measure", "used"])
def test_chapter_prints_the_lines_that_measure_as_the_library_holds_them(name):
    root = Path(__file__).parents[2]
    library = dict(definitions((root / "utils" / "peak.py").read_text()))
    cells = code(from_source(root / "chapters" / "09_measuring_memory.md"))
    chapter = [printed for cell in cells for defined, printed in definitions(cell) if defined == name]
    assert chapter == [library[name]]


def test_a_forward_pass_alone_keeps_nothing_for_a_backward_pass():
    # 23 to 28 MB. If it kept what the backward pass reads, that would come on top.
    assert measure.peak_memory(plain, SHAPE, "forward") < KEPT


def test_a_memory_efficient_network_holds_one_layer_at_a_time():
    # 55 to 58 MB, of which 20 MB are kept; 73 MB or more if MXNet may work ahead of the layer whose turn it is.
    # After the step, when its peak is over, 24 MB.
    assert KEPT_EFFICIENTLY + 20e6 < measure.peak_memory(efficient, SHAPE) < KEPT_EFFICIENTLY + 46e6


def test_out_of_memory_is_a_result():
    # 3 * 10**9 numbers, more than an array of MXNet may have: no memory is filled.
    assert measure.peak_memory(plain, (10**6, 3, 32, 32), "forward") == math.inf


def test_an_input_that_no_machine_can_hold_is_refused():
    with pytest.raises(ValueError, match=r"No machine can hold an input of shape \(1000000000000, 3, 32, 32\): take"):
        measure.peak_memory(plain, (10**12, 3, 32, 32))


def test_a_process_that_the_system_ends_counts_as_out_of_memory():
    def ended():
        os.kill(os.getpid(), signal.SIGKILL)

    assert measure.peak_memory(ended, (1, 3, 8, 8)) == math.inf


def test_a_network_that_does_not_run_is_an_error_in_one_sentence():
    with pytest.raises(RuntimeError, match="The network cannot be measured: ValueError: growth"):
        measure.peak_memory(lambda: DenseNet(SMALL | dict(growth_rate=0)), (1, 3, 8, 8))


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be 'forward' or 'training', and is 'both'"):
        measure.peak_memory(plain, (1, 3, 8, 8), "both")


# The command


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["utils.measure", *arguments])
    measure.main()


def test_the_command_prints_a_line_for_each_measurement(monkeypatch, capsys):
    command(monkeypatch, "40-12", "--side", "8")
    lines = capsys.readouterr().out.splitlines()
    expected = ["plain forward", "plain training", "memory-efficient forward", "memory-efficient training"]
    assert [" ".join(line.split()[:2]) for line in lines] == expected
    assert all(re.search(r" +\d[\d,]* MB$", line) for line in lines)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["121", "--side", "8"], r"A side of 8 pixels cannot be halved often enough: take at least 29\."),
        (["121", "--side", "224", "--batch", "0"], r"batch must be a whole number above 0, and is 0\."),
        (["40-12", "--batch", "9" * 20], r"No machine can hold an input of shape \(9{20}, 3, 32, 32\): take fewer .*"),
        (["40-12", "--side", "9" * 20], r"No machine can hold an input of shape \(1, 3, 9{20}, 9{20}\): take fewer .*"),
    ],
)
def test_the_command_refuses_bad_sizes_in_a_sentence(monkeypatch, capsys, arguments, sentence):
    with pytest.raises(SystemExit, match=rf"^{sentence}$"):
        command(monkeypatch, *arguments)
    assert capsys.readouterr().out == ""
