"""Counts and shapes read off networks small enough to be checked by hand."""

# Before mxnet, which reads the number of threads when it is imported.
from utils import measure, runtime
from utils.densenet import DenseNet, densenet_spec

# isort: split
import pytest
from mxnet import gluon, np
from mxnet.gluon import nn


@pytest.fixture(autouse=True)
def numpy_interface():
    runtime.setup()


def settled(net, *shape):
    net.initialize()
    net(np.zeros(shape))
    return net


@pytest.mark.parametrize("use_bias, expected", [(False, 10 * 4 * 3 * 5), (True, 10 * 4 * 3 * 5 + 10)])
def test_a_convolution_counts_its_weights_and_biases(use_bias, expected):
    net = settled(nn.Conv2D(10, kernel_size=(3, 5), use_bias=use_bias), 1, 4, 8, 8)
    assert measure.parameter_count(net) == measure.parameter_count(net, trainable=False) == expected


def test_running_statistics_count_only_when_asked_for():
    net = settled(nn.BatchNorm(), 1, 6, 8, 8)
    assert measure.parameter_count(net) == 2 * 6
    assert measure.parameter_count(net, trainable=False) == 4 * 6


def test_densenet_121_has_83648_running_statistics():
    net = DenseNet(densenet_spec[121])
    net(np.zeros((1, 3, 32, 32)))
    assert measure.parameter_count(net, trainable=False) - measure.parameter_count(net) == 83_648


def test_a_network_that_has_not_run_has_no_count():
    with pytest.raises(gluon.parameter.DeferredInitializationError):
        measure.parameter_count(DenseNet(densenet_spec[121]))


def test_the_table_of_a_small_densenet():
    spec = dict(
        growth_rate=8, blocks=(2, 1), initial_channels=16, bottleneck_width=None, compression=0.5, use_bias=False
    )
    net = DenseNet(spec, num_classes=5)
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
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, kernel_size=(3, 5)), nn.BatchNorm(), nn.MaxPool2D(2), nn.GlobalAvgPool2D(), nn.Dense(3))
    net.initialize()
    table = measure.shape_table(net, (1, 1, 9, 9))
    assert table["layer"].tolist() == ["Conv2D 3x5", "BatchNorm", "MaxPool2D 2x2", "GlobalAvgPool2D", "Dense"]
    assert table["output shape"].tolist() == [(1, 4, 7, 5), (1, 4, 7, 5), (1, 4, 3, 2), (1, 4, 1, 1), (1, 3)]
    assert table["parameters"].tolist() == ["64", "8", "0", "0", "15"]
