"""Counts and shapes read off networks small enough to be checked by hand."""

from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import mxnet as mx
import pytest
from mxnet import gluon, np
from mxnet.gluon import nn

from utils import measure
from utils.densenet import DenseBlock, DenseNet, densenet_spec


def settled(net, *shape):
    net.initialize()
    net(np.zeros(shape))
    return net


def sequence(*layers):
    net = nn.HybridSequential()
    net.add(*layers)
    return net


def all_blocks(net):
    blocks = []
    net.apply(blocks.append)
    return blocks


def number_of_hooks(net):
    return sum(len(block._forward_hooks) + len(block._forward_pre_hooks) for block in all_blocks(net))


SMALL = densenet_spec[121] | dict(blocks=(2, 1), growth_rate=8, initial_channels=16, bottleneck_width=None)


# Parameters


@pytest.mark.parametrize("use_bias, expected", [(False, 10 * 4 * 3 * 5), (True, 10 * 4 * 3 * 5 + 10)])
def test_a_convolution_counts_its_weights_and_biases(use_bias, expected):
    net = settled(nn.Conv2D(10, kernel_size=(3, 5), use_bias=use_bias), 1, 4, 8, 8)
    assert measure.parameter_count(net) == measure.parameter_count(net, trainable=False) == expected


def test_running_statistics_count_only_when_asked_for():
    net = settled(nn.BatchNorm(), 1, 6, 8, 8)
    assert measure.parameter_count(net) == 2 * 6
    assert measure.parameter_count(net, trainable=False) == 4 * 6


def test_a_network_that_has_not_run_has_no_count():
    with pytest.raises(gluon.parameter.DeferredInitializationError):
        measure.parameter_count(DenseNet(SMALL))


# Stages


def test_the_table_of_a_small_densenet():
    net = DenseNet(SMALL, num_classes=5)
    table = measure.shape_table(net, (2, 3, 32, 32))
    assert list(table.columns) == ["layer", "output shape", "parameters"]
    assert table.values.tolist() == [
        # 7x7 convolution; two numbers for each of 16 channels
        ["stem", (2, 16, 8, 8), f"{3 * 16 * 49 + 2 * 16:,}"],
        ["DenseBlock", (2, 32, 8, 8), f"{2 * 16 + 16 * 8 * 9 + 2 * 24 + 24 * 8 * 9:,}"],
        ["transition", (2, 16, 4, 4), f"{2 * 32 + 32 * 16:,}"],
        ["DenseBlock", (2, 24, 4, 4), f"{2 * 16 + 16 * 8 * 9:,}"],
        ["head", (2, 5), f"{2 * 24 + 24 * 5 + 5:,}"],
    ]


def test_single_layers_are_listed_by_kind_and_window():
    net = sequence(nn.Conv2D(4, (3, 5)), nn.BatchNorm(), nn.MaxPool2D(2), nn.GlobalAvgPool2D(), nn.Dense(3))
    net.initialize()
    table = measure.shape_table(net, (1, 1, 9, 9))
    assert table["layer"].tolist() == ["Conv2D 3x5", "BatchNorm", "MaxPool2D 2x2", "GlobalAvgPool2D", "Dense"]
    assert table["output shape"].tolist() == [(1, 4, 7, 5), (1, 4, 7, 5), (1, 4, 3, 2), (1, 4, 1, 1), (1, 3)]
    assert table["parameters"].tolist() == ["64", "8", "0", "0", "15"]


# Single layers


def test_the_table_of_each_layer_of_a_small_network():
    net = sequence(nn.Conv2D(4, kernel_size=3, padding=1), DenseBlock(2, 3), nn.GlobalAvgPool2D(), nn.Dense(5))
    net.initialize()
    table = measure.layer_table(net, (2, 1, 6, 8))
    columns = "stage layer output_shape parameters running_statistics multiply_adds bytes_moved"
    assert table.columns.tolist() == columns.split()
    places = 2 * 6 * 8
    assert table.values.tolist() == [
        ["Conv2D 3x3", "Conv2D 3x3", (2, 4, 6, 8), 40, 0, places * 1 * 4 * 9, 4 * (places * (1 + 4) + 40)],
        ["block 1", "1 BatchNorm", (2, 4, 6, 8), 8, 8, 0, 4 * (places * (4 + 4) + 16)],
        ["block 1", "1 Activation", (2, 4, 6, 8), 0, 0, 0, 4 * places * (4 + 4)],
        ["block 1", "1 Conv2D 3x3", (2, 3, 6, 8), 111, 0, places * 4 * 3 * 9, 4 * (places * (4 + 3) + 111)],
        ["block 1", "1 concatenation", (2, 7, 6, 8), 0, 0, 0, 4 * places * (4 + 3 + 7)],
        ["block 1", "2 BatchNorm", (2, 7, 6, 8), 14, 14, 0, 4 * (places * (7 + 7) + 28)],
        ["block 1", "2 Activation", (2, 7, 6, 8), 0, 0, 0, 4 * places * (7 + 7)],
        ["block 1", "2 Conv2D 3x3", (2, 3, 6, 8), 192, 0, places * 7 * 3 * 9, 4 * (places * (7 + 3) + 192)],
        ["block 1", "2 concatenation", (2, 10, 6, 8), 0, 0, 0, 4 * places * (7 + 3 + 10)],
        ["GlobalAvgPool2D", "GlobalAvgPool2D", (2, 10, 1, 1), 0, 0, 0, 4 * (places * 10 + 2 * 10)],
        ["Dense", "Dense", (2, 5), 55, 0, 2 * 10 * 5, 4 * (2 * 10 + 55 + 2 * 5)],
    ]


def test_the_stages_of_a_densenet_are_told_apart():
    table = measure.layer_table(DenseNet(SMALL), (1, 3, 32, 32))
    stages = table["stage"].drop_duplicates().tolist()
    assert stages == ["stem", "block 1", "transition 1", "block 2", "head"]


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (partial(nn.Conv2D, 10, kernel_size=(3, 5)), (1, 4, 8, 8), 10 * 4 * 3 * 5 * 6 * 4),
        (partial(nn.Conv2D, 10, kernel_size=3, strides=2, padding=1), (2, 4, 8, 7), 10 * 4 * 3 * 3 * 2 * 4 * 4),
        (partial(nn.Conv2D, 10, kernel_size=1, groups=2), (1, 4, 8, 8), 10 * 2 * 8 * 8),
        (partial(nn.Dense, 10), (3, 4, 2, 2), 3 * 16 * 10),
        (partial(nn.Dense, 10, use_bias=False), (3, 16), 3 * 16 * 10),
        (nn.BatchNorm, (1, 4, 8, 8), 0),
    ],
)
def test_multiply_adds_are_the_weights_times_the_places_they_are_used_at(layer, shape, expected):
    assert measure.multiply_adds(sequence(settled(layer(), *shape)), shape) == expected


def test_a_hybridized_network_measures_the_same_and_stays_hybridized():
    net = DenseNet(SMALL)
    expected = measure.layer_table(net, (2, 3, 32, 32))
    net.hybridize()
    X = np.random.uniform(size=(2, 3, 32, 32))
    output = net(X)
    active = [getattr(block, "_active", None) for block in all_blocks(net)]
    assert measure.layer_table(net, (2, 3, 32, 32)).equals(expected)
    assert net.net._active
    assert [getattr(block, "_active", None) for block in all_blocks(net)] == active
    assert (net(X) == output).all()


def test_measuring_leaves_no_hooks_behind():
    net = DenseNet(SMALL)
    first = measure.layer_table(net, (2, 3, 32, 32))
    assert number_of_hooks(net) == 0
    assert measure.layer_table(net, (2, 3, 32, 32)).equals(first)


def test_measuring_that_fails_leaves_no_hooks_behind_and_the_network_hybridized():
    net = DenseNet(SMALL)
    net(np.zeros((1, 3, 32, 32)))
    net.hybridize()
    with pytest.raises(mx.MXNetError):
        measure.layer_table(net, (1, 1, 32, 32))
    assert net.net._active
    assert number_of_hooks(net) == 0


def test_throughput_is_images_a_second_of_the_steps_after_the_first_two(monkeypatch):
    net = DenseNet(densenet_spec["40-12"] | dict(blocks=(1, 1)))
    X, y = np.random.uniform(size=(4, 1, 8, 8)), np.array([0, 1, 2, 3])
    net(X)
    weights = [net.net[0][0].weight.data().copy()]
    update = gluon.Trainer.step

    def update_and_note(trainer, batch_size):
        update(trainer, batch_size)
        weights.append(net.net[0][0].weight.data().copy())

    def clock():
        """A clock for which the first steps take no time, and each later one a quarter of a second."""
        return 0.25 * max(0, len(weights) - 3)

    monkeypatch.setattr(gluon.Trainer, "step", update_and_note)
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=clock))
    assert measure.throughput(net, X, y, num_steps=3) == 4 / 0.25
    assert len(weights) == 1 + 2 + 3
    assert all((before != after).any() for before, after in pairwise(weights))
