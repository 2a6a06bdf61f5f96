"""The network against the paper's arithmetic, published counts and Gluon's own DenseNet."""

# Before mxnet, which reads the number of threads when it is imported.
from utils import runtime
from utils.densenet import DenseBlock, DenseNet, bottleneck_block, densenet_spec, transition_block
from utils.measure import parameter_count

# isort: split
from functools import partial

import mxnet as mx
import numpy
import pytest
from mxnet import autograd, np
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

PLAIN_121 = densenet_spec[121] | dict(bottleneck_width=None, use_bias=True)
PLAIN_4444 = PLAIN_121 | dict(blocks=(4, 4, 4, 4))


@pytest.fixture(autouse=True)
def numpy_interface():
    runtime.setup()


def small_spec(initial_channels=16, growth_rate=8, bottleneck_width=None):
    spec = dict(growth_rate=growth_rate, initial_channels=initial_channels, bottleneck_width=bottleneck_width)
    return spec | dict(blocks=(2, 2), compression=0.5, use_bias=False)


# Shapes


@pytest.mark.parametrize("make_layer", [None, bottleneck_block, partial(bottleneck_block, width=2)])
@pytest.mark.parametrize(
    "num_layers, growth_rate, channels", [(1, 1, 1), (2, 10, 3), (3, 12, 16), (4, 32, 64), (6, 5, 7)]
)
def test_each_layer_of_a_dense_block_adds_the_growth_rate(num_layers, growth_rate, channels, make_layer):
    block = DenseBlock(num_layers, growth_rate, make_layer) if make_layer else DenseBlock(num_layers, growth_rate)
    block.initialize()
    assert block(np.zeros((2, channels, 5, 6))).shape == (2, channels + num_layers * growth_rate, 5, 6)


def test_a_dense_block_carries_its_input_along_unchanged():
    block = DenseBlock(2, 10)
    block.initialize()
    X = np.random.uniform(size=(4, 3, 8, 8))
    assert (block(X)[:, :3] == X).all()


def test_the_first_layers_output_does_not_depend_on_later_layers():
    block = DenseBlock(2, 10)
    block.initialize()
    X = np.random.uniform(size=(4, 3, 8, 8))
    Y = block(X)
    assert (Y[:, 3:13] == block.layers[0](X)).all()
    assert (Y[:, 13:] == block.layers[1](Y[:, :13])).all()


def test_a_transition_after_a_dense_block_has_the_textbook_shapes():
    block, transition = DenseBlock(2, 10), transition_block(10)
    block.initialize()
    transition.initialize()
    Y = block(np.zeros((4, 3, 8, 8)))
    assert Y.shape == (4, 23, 8, 8)
    assert transition(Y).shape == (4, 10, 4, 4)


@pytest.mark.parametrize(
    "spec, side, expected",
    [
        (densenet_spec[121], 224, "64@56 256@56 128@28 512@28 256@14 1024@14 512@7 1024@7"),
        (PLAIN_4444, 96, "64@24 192@24 96@12 224@12 112@6 240@6 120@3 248@3"),
    ],
)
def test_stem_blocks_and_transitions_have_the_published_shapes(spec, side, expected):
    X = np.zeros((1, 3, side, side))
    shapes = []
    for layer in DenseNet(spec).net[:8]:
        X = layer(X)
        assert X.shape[2] == X.shape[3]
        shapes.append(f"{X.shape[1]}@{X.shape[2]}")
    assert " ".join(shapes) == expected


def test_images_of_29_pixels_are_large_enough_and_28_are_not():
    net = DenseNet(densenet_spec[121])
    assert net(np.zeros((1, 1, 29, 29))).shape == (1, 10)
    with pytest.raises(mx.MXNetError):
        net(np.zeros((1, 1, 28, 28))).wait_to_read()


@pytest.mark.parametrize("height, width", [(29, 29), (32, 32), (33, 47), (96, 64)])
def test_one_network_takes_images_of_many_sizes(height, width):
    net = DenseNet(small_spec(), num_classes=7)
    net(np.zeros((1, 1, 32, 32)))
    assert net(np.zeros((2, 1, height, width))).shape == (2, 7)


# Counts


@pytest.mark.parametrize(
    "spec, num_classes, channels, trainable, total",
    [
        pytest.param(densenet_spec[121], 10, 1, 6_957_834, 6_957_834 + 83_648, id="121, Fashion-MNIST"),
        pytest.param(densenet_spec[121], 1000, 3, 7_978_856, 8_062_504, id="121"),
        pytest.param(densenet_spec[161], 1000, 3, 28_681_000, 28_900_936, id="161"),
        pytest.param(densenet_spec[169], 1000, 3, 14_149_480, 14_307_880, id="169"),
        pytest.param(densenet_spec[201], 1000, 3, 20_013_928, 20_242_984, id="201"),
        pytest.param(densenet_spec[264], 1000, 3, 33_337_704, 33_736_232, id="264"),
        pytest.param(PLAIN_121, 10, 1, 9_850_890, None, id="121 without bottlenecks"),
        pytest.param(PLAIN_4444, 10, 1, 758_226, None, id="4-4-4-4 without bottlenecks"),
    ],
)
def test_parameters_are_as_many_as_published(spec, num_classes, channels, trainable, total):
    net = DenseNet(spec, num_classes)
    net(np.zeros((1, channels, 32, 32)))
    assert parameter_count(net) == trainable
    if total:
        assert parameter_count(net, trainable=False) == total


def weighted_layers(block):
    own = isinstance(block, nn.Conv2D | nn.Dense)
    return own + sum(weighted_layers(child) for child in block._children.values())


# The paper's DenseNet-264 has 265 by its own table 1.
@pytest.mark.parametrize("name, number", [(121, 121), (161, 161), (169, 169), (201, 201), (264, 265)])
def test_a_network_is_named_for_its_number_of_weighted_layers(name, number):
    assert weighted_layers(DenseNet(densenet_spec[name])) == number


# Running it


@pytest.mark.parametrize("mode", [autograd.predict_mode, autograd.train_mode])
@pytest.mark.parametrize("bottleneck_width", [None, 4])
def test_hybridized_and_imperative_networks_give_the_same_output(mode, bottleneck_width):
    net = DenseNet(small_spec(bottleneck_width=bottleneck_width))
    X = np.random.uniform(size=(4, 1, 32, 32))
    with mode():
        expected = net(X).asnumpy()
        net.hybridize(static_alloc=True, static_shape=True)
        # Twice, because the first call traces the network and the second runs what was traced.
        for _ in range(2):
            numpy.testing.assert_allclose(net(X).asnumpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("growth_rate", [8, 12, 24, 32])
@pytest.mark.parametrize("initial_channels", [16, 24, 64])
def test_every_width_can_be_trained(initial_channels, growth_rate):
    net = DenseNet(small_spec(initial_channels, growth_rate))
    net.hybridize(static_alloc=True, static_shape=True)
    X, y = np.random.uniform(size=(4, 1, 32, 32)), np.array([0, 1, 2, 3])
    for _ in range(2):
        with autograd.record():
            loss = net.loss(net(X), y)
        loss.backward()
    for name, parameter in net.collect_params().items():
        if parameter.grad_req != "null":
            gradient = parameter.grad().asnumpy()
            assert numpy.isfinite(gradient).all(), name
            assert gradient.any(), name


def test_densenet_121_computes_what_gluons_own_does():
    net = DenseNet(densenet_spec[121], num_classes=1000)
    random = numpy.random.RandomState(0)
    X = random.uniform(size=(1, 3, 224, 224)).astype("float32")
    net(np.array(X))
    values = []
    for name, parameter in net.collect_params().items():
        # Fresh from initialization, BatchNorm does nothing and the comparison would not see it.
        if name.endswith(("gamma", "running_var")):
            parameter.set_data(np.array(random.uniform(0.5, 1.5, parameter.shape)))
        elif name.endswith(("beta", "running_mean", "bias")):
            parameter.set_data(np.array(random.normal(0, 0.2, parameter.shape)))
        values.append(parameter.data().asnumpy())
    logits = net(np.array(X)).asnumpy()

    # Gluon's own is written for the legacy arrays, from before the NumPy interface.
    with mx.util.np_array(False), mx.util.np_shape(False):
        other = vision.densenet121(pretrained=False)
        other.initialize()
        other(mx.nd.array(X))
        parameters = list(other.collect_params().values())
        assert [parameter.shape for parameter in parameters] == [value.shape for value in values]
        for parameter, value in zip(parameters, values, strict=True):
            parameter.set_data(mx.nd.array(value))
        other_logits = other(mx.nd.array(X)).asnumpy()
        for trainable in (True, False):
            assert parameter_count(other, trainable) == parameter_count(net, trainable)

    # With random statistics nothing keeps the logits small: compare them on their own scale.
    scale = abs(logits).max()
    numpy.testing.assert_allclose(logits / scale, other_logits / scale, rtol=0, atol=1e-5)
