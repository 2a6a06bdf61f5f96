"""The network against the paper's arithmetic, published counts and Gluon's own DenseNet."""

from functools import partial

import mxnet as mx
import numpy
import pytest
from mxnet import autograd, np
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

from utils.densenet import (
    DenseBlock,
    DenseNet,
    activations,
    bottleneck_block,
    densenet_spec,
    stem,
    transition_block,
)
from utils.measure import parameter_count, shape_table

PLAIN_121 = densenet_spec[121] | dict(bottleneck_width=None, use_bias=True)
PLAIN_4444 = PLAIN_121 | dict(blocks=(4, 4, 4, 4))


def small_spec(initial_channels=16, growth_rate=8, bottleneck_width=None):
    sizes = dict(growth_rate=growth_rate, initial_channels=initial_channels, bottleneck_width=bottleneck_width)
    return densenet_spec[121] | sizes | dict(blocks=(2, 2))


def number_of(block, kind):
    return isinstance(block, kind) + sum(number_of(child, kind) for child in block._children.values())


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


@pytest.mark.parametrize("height, width", [(32, 32), (9, 7), (1, 1)])
def test_the_cifar_stem_keeps_height_and_width(height, width):
    block = stem(16, kind="cifar")
    block.initialize()
    assert block(np.zeros((2, 3, height, width))).shape == (2, 16, height, width)


def test_the_cifar_network_halves_the_side_in_its_transitions_only():
    X = np.zeros((1, 3, 32, 32))
    shapes = []
    for layer in DenseNet(densenet_spec["40-12"]).net[:6]:
        X = layer(X)
        shapes.append(f"{X.shape[1]}@{X.shape[2]}")
    assert shapes == ["16@32", "160@32", "160@16", "304@16", "304@8", "448@8"]


# Counts


# Of the whole family, `test_cost` holds the arithmetic to the published counts, and each network to the arithmetic.
@pytest.mark.parametrize(
    "spec, num_classes, channels, trainable, total",
    [
        pytest.param(densenet_spec[121], 10, 1, 6_957_834, 6_957_834 + 83_648, id="121, Fashion-MNIST"),
        pytest.param(densenet_spec[121], 1000, 3, 7_978_856, 8_062_504, id="121"),
        pytest.param(PLAIN_121, 10, 1, 9_850_890, None, id="121 without bottlenecks"),
        pytest.param(PLAIN_4444, 10, 1, 758_226, None, id="4-4-4-4 without bottlenecks"),
        pytest.param(densenet_spec["40-12"], 10, 3, 1_019_722, None, id="40-12"),
    ],
)
def test_parameters_are_as_many_as_published(spec, num_classes, channels, trainable, total):
    net = DenseNet(spec, num_classes)
    net(np.zeros((1, channels, 32, 32)))
    assert parameter_count(net) == trainable
    if total:
        assert parameter_count(net, trainable=False) == total


# The paper's DenseNet-264 has 265 by its own table 1.
@pytest.mark.parametrize(
    "name, number",
    [
        (121, 121),
        (161, 161),
        (169, 169),
        (201, 201),
        (264, 265),
        ("40-12", 40),
        ("100-12", 100),
        ("100-24", 100),
        ("BC-100-12", 100),
        ("BC-250-24", 250),
        ("BC-190-40", 190),
    ],
)
def test_a_network_is_named_for_its_number_of_weighted_layers(name, number):
    assert number_of(DenseNet(densenet_spec[name]), nn.Conv2D | nn.Dense) == number


# Variants


CHOSEN = (nn.Activation, nn.LeakyReLU, nn.AvgPool2D, nn.MaxPool2D, nn.Dropout)


# Activations are in the stem, four layers (twice with bottlenecks), the transition and the head,
# poolings in the stem (always maximum) and the transition, dropout in the four layers.
@pytest.mark.parametrize(
    "choices, expected",
    [
        (dict(), (7, 0, 1, 1, 0)),
        (dict(activation="leaky_relu"), (0, 7, 1, 1, 0)),
        (dict(pooling="max"), (7, 0, 0, 2, 0)),
        (dict(drop_rate=0.2), (7, 0, 1, 1, 4)),
        (dict(activation="leaky_relu", bottleneck_width=4), (0, 11, 1, 1, 0)),
        (dict(drop_rate=0.2, bottleneck_width=4), (11, 0, 1, 1, 4)),
    ],
)
def test_a_variant_is_everywhere_in_the_network(choices, expected):
    net = DenseNet(small_spec() | choices)
    assert tuple(number_of(net, kind) for kind in CHOSEN) == expected


def test_a_leaky_relu_lets_a_fifth_of_a_negative_number_pass():
    numpy.testing.assert_allclose(
        activations["leaky_relu"]()(np.array([-1.0, 0, 2])).asnumpy(), [-0.2, 0, 2], rtol=1e-6
    )


@pytest.mark.parametrize("choices", [dict(activation="leaky_relu"), dict(pooling="max"), dict(drop_rate=0.2)])
def test_a_variant_changes_no_shape_and_no_count(choices):
    variant, usual = (shape_table(DenseNet(spec), (1, 1, 45, 45)) for spec in (small_spec() | choices, small_spec()))
    assert variant.equals(usual)


def outputs_of_two_passes(drop_rate, mode):
    net = DenseNet(small_spec() | dict(drop_rate=drop_rate))
    X = np.random.uniform(size=(4, 1, 32, 32))
    with mode():
        return net(X), net(X)


def test_dropout_acts_in_training_only():
    first, second = outputs_of_two_passes(0.2, autograd.train_mode)
    assert (first != second).any()
    first, second = outputs_of_two_passes(0.2, autograd.predict_mode)
    assert (first == second).all()


def test_without_a_drop_rate_nothing_is_dropped():
    assert number_of(DenseNet(small_spec()), nn.Dropout) == 0
    first, second = outputs_of_two_passes(0, autograd.train_mode)
    assert (first == second).all()


# Running it


@pytest.mark.parametrize("mode", [autograd.predict_mode, autograd.train_mode])
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(small_spec(), id="plain"),
        pytest.param(small_spec(bottleneck_width=4), id="bottlenecks"),
        pytest.param(small_spec() | dict(stem="cifar", activation="leaky_relu", pooling="max"), id="variants"),
    ],
)
def test_hybridized_and_imperative_networks_give_the_same_output(mode, spec):
    net = DenseNet(spec)
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


# 169 and 201 are 121 with more layers in two blocks; Gluon's own take no side but 224.
@pytest.mark.parametrize("depth", [121, 161])
def test_an_imagenet_network_computes_what_gluons_own_does(depth):
    net = DenseNet(densenet_spec[depth], num_classes=1000)
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
        other = getattr(vision, f"densenet{depth}")(pretrained=False)
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
