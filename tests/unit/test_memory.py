"""Peak memory measured, and the memory-efficient network against the plain one."""

import math
import subprocess
import sys

import mxnet as mx
import pytest
from mxnet import autograd, np

from utils import cost, measure
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
    with autograd.record():
        loss = net.loss(net(X), y)
    backward(net, loss)
    return float(loss)


def pairs(plain, efficient):
    return zip(plain.collect_params().values(), efficient.collect_params().values(), strict=True)


@pytest.mark.parametrize("hybridize", [False, True], ids=["imperative", "hybridized"])
@pytest.mark.parametrize("spec", WIDTHS.values(), ids=WIDTHS)
def test_gradients_and_running_statistics_are_those_of_the_plain_network(spec, hybridize):
    X, y = batch()
    plain, efficient = (network(kind, spec, X, hybridize) for kind in (DenseNet, MemoryEfficientDenseNet))
    assert step(plain, X, y) == pytest.approx(step(efficient, X, y), rel=1e-6)
    largest = max(float(abs(p.grad()).max()) for p in plain.collect_params().values() if p.grad_req != "null")
    for p, q in pairs(plain, efficient):
        values = (p.data(), q.data()) if p.grad_req == "null" else (p.grad(), q.grad())
        scale = float(abs(p.data()).max()) if p.grad_req == "null" else largest
        assert float(abs(values[0] - values[1]).max()) <= 1e-5 * scale, p.name


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
    assert all((p.data() == was).all() for p, was in zip(statistics, before, strict=True))


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
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-5)
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


def plain():
    return hybridized(DenseNet(SMALL))


def test_peak_memory_repeats_within_5_percent_and_holds_what_training_keeps():
    shape = (32, 3, 32, 32)
    first, second = (measure.peak_memory(plain, shape) for _ in range(2))
    assert second == pytest.approx(first, rel=0.05)
    kept = cost.total(cost.layers(SMALL, 32, 3, 10, batch=32)).activation_bytes
    assert kept < first < 2 * kept
    assert measure.peak_memory(plain, shape, "forward") < first / 2


def test_a_memory_efficient_network_takes_less_memory():
    shape = (32, 3, 32, 32)
    spec = SMALL | dict(blocks=(12,))
    plain, efficient = (
        measure.peak_memory(lambda kind=kind: kind(spec), shape) for kind in (DenseNet, MemoryEfficientDenseNet)
    )
    assert efficient < 0.6 * plain


def test_out_of_memory_is_a_result():
    assert measure.peak_memory(plain, (10**6, 3, 32, 32), "forward") == math.inf


def test_a_process_that_the_system_ends_counts_as_out_of_memory():
    def ended():
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    assert measure.peak_memory(ended, (1, 3, 8, 8)) == math.inf


def test_a_network_that_does_not_run_is_an_error_in_one_sentence():
    with pytest.raises(RuntimeError, match="The network cannot be measured: ValueError: growth"):
        measure.peak_memory(lambda: DenseNet(SMALL | dict(growth_rate=0)), (1, 3, 8, 8))
    with pytest.raises(ValueError, match="mode must be 'forward' or 'training', and is 'both'"):
        measure.peak_memory(plain, (1, 3, 8, 8), "both")


def test_the_command_prints_a_line_for_each_measurement():
    command = [sys.executable, "-m", "utils.measure", "memory", "40-12", "--side", "8"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [kind, mode] for kind in ("plain", "memory-efficient") for mode in ("forward", "training")
    ]
    assert all(line.endswith(" MB") for line in lines)


def test_the_command_refuses_a_side_that_is_too_small():
    command = [sys.executable, "-m", "utils.measure", "memory", "121", "--side", "8"]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.strip() == "A side of 8 pixels cannot be halved often enough: take at least 29."
