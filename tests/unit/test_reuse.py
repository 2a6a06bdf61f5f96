"""The map of which layers use what, on networks whose weights are set by hand."""

import numpy
import pytest
from matplotlib import pyplot as plt
from mxnet import np

from utils.densenet import DenseNet
from utils.reuse import prune, readers, reuse_map, show_reuse, sources
from utils.spec import imagenet_spec

INPUT, GROWTH = 5, 3


def network(*blocks, **changes):
    plain = dict(bottleneck_width=None, compression=1, initial_channels=INPUT, stem="cifar")
    net = DenseNet(imagenet_spec(GROWTH, *blocks) | plain | changes, num_classes=4)
    net(np.zeros((1, 1, 8, 8)))
    return net


def value(source, reader):
    return (source + 1) / 8 + reader


def paint(net, block):
    """Give every pair of source and reader weights of one size, with alternating signs."""
    for reader, (_, weight) in enumerate(readers(net, block)):
        painted = numpy.empty(weight.shape, dtype="float32")
        for source, channels in enumerate(sources(net, block)[: reader + 1]):
            painted[:, channels] = value(source, reader)
        painted[::2] *= -1
        weight.set_data(np.array(painted))


def expected(num_layers):
    pairs = numpy.full((num_layers + 1, num_layers + 1), numpy.nan)
    for source, reader in zip(*numpy.triu_indices(num_layers + 1), strict=True):
        pairs[source, reader] = value(source, reader)
    return pairs


@pytest.mark.parametrize("width", [None, 2])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_map_holds_the_mean_absolute_weight_of_each_pair(width, block):
    net = network(3, 1, 2, bottleneck_width=width)
    paint(net, block)
    numpy.testing.assert_allclose(reuse_map(net, block), expected([3, 1, 2][block - 1]))


def test_last_reader_is_the_transition_or_the_classifier():
    net = network(3, 2)
    assert readers(net, 1)[-1][1] is net.net[2][2].weight
    assert readers(net, 2)[-1][1] is net.net[-1][-1].weight
    assert len(readers(net, 1)) == 4


def test_bottleneck_is_read_by_its_1x1_convolution():
    shapes = [weight.shape for _, weight in readers(network(2, bottleneck_width=2), 1)]
    assert shapes == [(6, INPUT, 1, 1), (6, INPUT + GROWTH, 1, 1), (4, INPUT + 2 * GROWTH)]


def test_sources_are_the_input_and_each_layers_channels_without_gap():
    assert sources(network(2, 1), 1) == [slice(0, 5), slice(5, 8), slice(8, 11)]
    assert sources(network(2, 1), 2) == [slice(0, 11), slice(11, 14)]


def test_channels_of_a_source_are_those_that_its_layer_made():
    net = network(2)
    block = net.net[1]
    X = np.random.uniform(size=(1, INPUT, 8, 8))
    made = block.layers[0](X)
    numpy.testing.assert_allclose(block(X)[:, sources(net, 1)[1]].asnumpy(), made.asnumpy(), rtol=1e-4, atol=1e-5)


def test_scaled_map_multiplies_by_the_size_of_the_scale():
    net = network(2)
    paint(net, 1)
    for scale, _ in readers(net, 1):
        factors = numpy.ones(scale.shape, dtype="float32")
        factors[INPUT : INPUT + GROWTH] = -2
        scale.set_data(np.array(factors))
    by_hand = expected(2)
    by_hand[1] *= 2
    numpy.testing.assert_allclose(reuse_map(net, 1, scaled=True), by_hand)
    numpy.testing.assert_allclose(reuse_map(net, 1), expected(2))


def test_scaled_map_weighs_each_channel_by_its_own_scale():
    net = network(1)
    scale, weight = readers(net, 1)[0]
    channel = numpy.arange(INPUT, dtype="float32")
    weight.set_data(np.array(numpy.broadcast_to(channel[:, None, None], weight.shape)))
    scale.set_data(np.array(channel))
    assert reuse_map(net, 1, scaled=True)[0, 0] == pytest.approx((channel**2).mean())


@pytest.mark.parametrize("block", [0, 3, -1])
def test_block_that_does_not_exist_is_named(block):
    with pytest.raises(ValueError, match=f"blocks 1 to 2, and no block {block}"):
        reuse_map(network(1, 1), block)


def test_network_that_never_ran_is_refused():
    plain = dict(bottleneck_width=None, initial_channels=INPUT)
    with pytest.raises(ValueError, match="run it once"):
        reuse_map(DenseNet(imagenet_spec(GROWTH, 1) | plain), 1)


def test_pruning_sets_the_weights_of_the_pairs_to_zero_and_no_other():
    net = network(2, 1)
    paint(net, 1)
    prune(net, [(1, 0, 1), (1, 2, 2)])
    pruned = expected(2)
    pruned[0, 1] = pruned[2, 2] = 0
    numpy.testing.assert_allclose(reuse_map(net, 1), pruned)
    assert (reuse_map(net, 2)[[0, 0, 1], [0, 1, 1]] > 0).all()


def test_figure_frames_the_source_that_each_reader_uses_least():
    least = expected(2)
    least[1, 2] = 0.01
    show_reuse([least, expected(1)])
    panels = plt.gcf().axes[:2]
    frames = [[(round(patch.get_x()), round(patch.get_y())) for patch in axes.patches] for axes in panels]
    assert frames == [[(1, 0), (2, 1)], [(1, 0)]]
    assert [axes.get_xticklabels()[-1].get_text() for axes in panels] == ["transition", "classifier"]
    plt.close()
