"""The arithmetic of what a DenseNet costs against published figures, real networks and MXNet's own memory pool."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mxnet import np

from utils import cost, measure
from utils.densenet import DenseNet, densenet_spec
from utils.spec import cifar_spec

ROOT = Path(__file__).parents[2]

SPEC_121 = densenet_spec[121]
PLAIN_121 = SPEC_121 | dict(bottleneck_width=None, use_bias=True)
PLAIN_4444 = PLAIN_121 | dict(blocks=(4, 4, 4, 4))
SMALL = SPEC_121 | dict(blocks=(2, 1), growth_rate=8, initial_channels=16)

# For one, two, three and four blocks.
SMALLEST_SIDES = {"imagenet": (1, 5, 13, 29), "cifar": (1, 2, 4, 8)}


# Published figures


@pytest.mark.parametrize(
    "name, trainable, total, billions",
    [
        (121, 7_978_856, 8_062_504, "2.834"),
        (161, 28_681_000, 28_900_936, "7.728"),
        (169, 14_149_480, 14_307_880, "3.360"),
        (201, 20_013_928, 20_242_984, "4.291"),
        (264, 33_337_704, 33_736_232, "5.752"),
    ],
)
def test_imagenet_networks_cost_what_is_published(name, trainable, total, billions):
    costs = cost.total(cost.layers(densenet_spec[name], 224))
    assert costs.parameters == trainable
    assert costs.parameters + costs.running_statistics == total
    assert f"{costs.multiply_adds / 1e9:.3f}" == billions


@pytest.mark.parametrize(
    "spec, side, channels, trainable",
    [
        pytest.param(SPEC_121, 32, 1, 6_957_834, id="121, Fashion-MNIST"),
        pytest.param(PLAIN_121, 32, 1, 9_850_890, id="121 without bottlenecks"),
        pytest.param(PLAIN_4444, 96, 1, 758_226, id="4-4-4-4 without bottlenecks"),
        pytest.param(densenet_spec["40-12"], 32, 3, 1_019_722, id="40-12"),
        pytest.param(densenet_spec["100-12"], 32, 3, 6_979_642, id="100-12"),
        pytest.param(densenet_spec["100-24"], 32, 3, 27_249_082, id="100-24"),
        pytest.param(densenet_spec["BC-100-12"], 32, 3, 769_162, id="BC-100-12"),
        pytest.param(densenet_spec["BC-250-24"], 32, 3, 15_324_406, id="BC-250-24"),
        pytest.param(densenet_spec["BC-190-40"], 32, 3, 25_624_430, id="BC-190-40"),
        pytest.param(densenet_spec["BC-100-12"], 28, 1, 768_730, id="BC-100-12, Fashion-MNIST"),
    ],
)
def test_networks_for_ten_classes_have_as_many_parameters_as_published(spec, side, channels, trainable):
    assert cost.total(cost.layers(spec, side, channels, num_classes=10)).parameters == trainable


@pytest.mark.parametrize(
    "spec, side, expected",
    [
        (SPEC_121, 224, "64@56 256@56 128@28 512@28 256@14 1024@14 512@7 1024@7"),
        (PLAIN_4444, 96, "64@24 192@24 96@12 224@12 112@6 240@6 120@3 248@3"),
    ],
)
def test_stages_end_with_the_published_shapes(spec, side, expected):
    *stages, head = (stage.output_shape for stage in cost.by_stage(cost.layers(spec, side)))
    assert " ".join(f"{channels}@{height}" for _, channels, height, _ in stages) == expected
    assert all(height == width for *_, height, width in stages)
    assert head == (1, 1000)


# Real networks


def assert_cost_is_what_the_network_measures(spec, side, channels, num_classes, batch):
    expected = measure.layer_table(DenseNet(spec, num_classes), (batch, channels, side, side))
    rows = cost.layers(spec, side, channels, num_classes, batch)
    pandas.testing.assert_frame_equal(pandas.DataFrame(rows).drop(columns="activation_bytes"), expected)


@pytest.mark.parametrize("name", densenet_spec)
def test_each_layer_of_a_published_network_costs_what_is_measured(name):
    assert_cost_is_what_the_network_measures(densenet_spec[name], 32, 3, 10, batch=2 if name == 121 else 1)


@st.composite
def specs(draw):
    growth_rate = draw(st.integers(1, 12))
    return dict(
        stem=draw(st.sampled_from(("imagenet", "cifar"))),
        initial_channels=draw(st.integers(1, 24)),
        blocks=tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))),
        growth_rate=growth_rate,
        bottleneck_width=draw(st.none() | st.integers(1, 5)),
        # A block ends with more than growth_rate channels, of which a transition keeps at least one.
        compression=draw(st.sampled_from((0.5, 1)) | st.floats(1 / (growth_rate + 1), 1)),
        use_bias=draw(st.booleans()),
        activation=draw(st.sampled_from(("relu", "leaky_relu"))),
        pooling=draw(st.sampled_from(("average", "max"))),
        drop_rate=draw(st.sampled_from((0, 0.2))),
    )


@given(specs(), st.integers(0, 20), st.integers(1, 4), st.integers(1, 12), st.integers(1, 2))
# Any two choices of two keys meet in fifty about 12 times; a layer more repeats what the one before it does.
@settings(max_examples=50, deadline=None, derandomize=True, print_blob=True)
def test_each_layer_of_any_network_costs_what_is_measured(spec, more, channels, num_classes, batch):
    side = SMALLEST_SIDES[spec["stem"]][len(spec["blocks"]) - 1] + more
    assert_cost_is_what_the_network_measures(spec, side, channels, num_classes, batch)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("num_blocks", [2, 3, 4])
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_the_smallest_side_is_the_smallest_that_the_network_takes(stem, num_blocks, pooling):
    spec = SMALL | dict(stem=stem, blocks=(1,) * num_blocks, pooling=pooling)
    smallest, net = SMALLEST_SIDES[stem][num_blocks - 1], DenseNet(spec)
    assert cost.layers(spec, smallest, num_classes=10)[-1].output_shape == (1, 10)
    assert net(np.zeros((1, 3, smallest, smallest))).shape == (1, 10)
    side = smallest - 1
    with pytest.raises(ValueError, match=f"side of {side} pixels .* at least {smallest}"):
        cost.layers(spec, side)
    with pytest.raises(mx.MXNetError):
        net(np.zeros((1, 3, side, side))).wait_to_read()


VARIANTS = [
    dict(),
    dict(bottleneck_width=None),
    dict(activation="leaky_relu"),
    dict(pooling="max"),
    dict(drop_rate=0.2),
    dict(stem="cifar"),
    dict(stem="cifar", bottleneck_width=None, compression=1, activation="leaky_relu", pooling="max", drop_rate=0.1),
    dict(blocks=(16,), bottleneck_width=None),
]


def test_mxnet_keeps_the_activations_that_the_cost_says(tmp_path):
    specs = [SPEC_121 | dict(blocks=(4, 3)) | changes for changes in VARIANTS]
    arguments = [tmp_path / "profile.json", json.dumps(specs), "32", "2", "10"]
    measured = json.loads(
        subprocess.check_output(
            [sys.executable, Path(__file__).with_name("pool_bytes.py"), *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    )
    costs = [cost.total(cost.layers(spec, 32, 3, 10, batch=2)) for spec in specs]
    # BatchNorm also keeps the batch's means and variances, as many numbers as running statistics.
    expected = [total.activation_bytes + 4 * total.running_statistics for total in costs]
    # The profiler prints kilobytes to four digits after the point: the bound is far below the smallest layer.
    numpy.testing.assert_allclose(measured, expected, rtol=1e-4)


# Sums


@pytest.mark.parametrize("name", [121, "BC-100-12"])
def test_stages_add_up_to_the_total(name):
    rows = cost.layers(densenet_spec[name], 64)
    stages = cost.by_stage(rows)
    num_blocks = len(densenet_spec[name]["blocks"])
    middle = [f"{kind} {number}" for number in range(1, num_blocks + 1) for kind in ("block", "transition")]
    assert [stage.stage for stage in stages] == ["stem", *middle[:-1], "head"]
    assert cost.total(stages) == cost.total(rows)
    for field in ("parameters", "running_statistics", "multiply_adds", "activation_bytes", "bytes_moved"):
        assert getattr(cost.total(rows), field) == sum(getattr(row, field) for row in rows)


def test_a_batch_multiplies_work_and_memory_but_no_parameters():
    for one, eight in zip(cost.layers(SMALL, 32), cost.layers(SMALL, 32, batch=8), strict=True):
        assert eight.output_shape == (8, *one.output_shape[1:])
        assert (eight.parameters, eight.running_statistics) == (one.parameters, one.running_statistics)
        assert (eight.multiply_adds, eight.activation_bytes) == (8 * one.multiply_adds, 8 * one.activation_bytes)


@pytest.mark.parametrize("bottleneck_width", [None, 4])
def test_memory_of_a_dense_block_grows_with_the_square_of_its_depth(bottleneck_width):
    spec = SMALL | dict(stem="cifar", bottleneck_width=bottleneck_width, compression=1)
    blocks = [cost.by_stage(cost.layers(spec | dict(blocks=(depth,)), 16))[1] for depth in range(1, 20)]
    channels = numpy.array([block.output_shape[1] for block in blocks])
    memory = numpy.array([block.activation_bytes for block in blocks])
    assert set(numpy.diff(channels)) == {8}
    # All channels are kept twice for each layer, concatenated and after ReLU, and are 8 more for the next layer.
    assert set(numpy.diff(memory, n=2)) == {2 * 8 * 16 * 16 * 4}


# Bad specs


def without(name):
    return {key: value for key, value in SMALL.items() if key != name}


BAD_SPECS = [
    *((SMALL | {name: size}, name) for name in ("growth_rate", "initial_channels") for size in (0, -8, 8.0, "8", None)),
    *((SMALL | dict(bottleneck_width=size), "bottleneck_width") for size in (0, -4, 4.0, "4")),
    *((SMALL | dict(blocks=blocks), "blocks") for blocks in ((), [], 4, "66", None)),
    *((SMALL | dict(blocks=(6, size)), "blocks") for size in (0, -6, 6.0, "6", None)),
    *((SMALL | dict(compression=value), "compression") for value in (0, -0.5, 1.5, float("nan"))),
    # Of 16 + 2 * 8 channels.
    (SMALL | dict(compression=0.031), "compression"),
    *((SMALL | dict(drop_rate=value), "drop_rate") for value in (-0.2, 1, float("nan"))),
    *((SMALL | {name: value}, name) for name in ("stem", "activation", "pooling") for value in ("other", None, [])),
    *((SMALL | dict(use_bias=value), "use_bias") for value in ("yes", None)),
    *((without(name), name) for name in SMALL),
    (SMALL | dict(groups=2), "groups"),
    (SMALL | dict(Groups=2), "Groups"),
    ({}, "activation"),
    *((SMALL | {name: value}, name) for name in ("compression", "drop_rate") for value in ("x", None, [0.5], True)),
    (SMALL | dict(growth_rate=True), "growth_rate"),
    (SMALL | dict(blocks=(True,)), "blocks"),
]


@pytest.mark.parametrize("spec, name", BAD_SPECS)
def test_a_bad_spec_is_refused_by_the_name_of_what_is_wrong(spec, name):
    with pytest.raises(ValueError, match=name) as by_cost:
        cost.layers(spec, 64)
    with pytest.raises(ValueError) as by_network:
        DenseNet(spec)
    assert str(by_network.value) == str(by_cost.value)
    assert "\n" not in str(by_cost.value)


@pytest.mark.parametrize("name", ["side", "channels", "num_classes", "batch"])
@pytest.mark.parametrize("size", [0, -1, 64.0, "64", None])
def test_a_bad_size_is_refused_by_its_name(name, size):
    with pytest.raises(ValueError, match=rf"^{name} .*, and is {size!r}\.$"):
        cost.layers(SMALL, **(dict(side=64) | {name: size}))


def test_a_transition_may_keep_a_single_channel():
    assert cost.by_stage(cost.layers(SMALL | dict(compression=1 / 32), 64))[2].output_shape == (1, 1, 8, 8)


# The module and its command


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)


def test_cost_needs_neither_mxnet_nor_numpy():
    process = run("-c", "import sys, utils.cost; print({'mxnet', 'numpy'} & set(sys.modules))")
    assert process.stdout == "set()\n"


def printed_rows(text):
    return [re.split(" {2,}", line.strip()) for line in text.splitlines()]


def test_the_command_prints_each_layer_and_the_sums():
    by_layer, sums = (
        printed_rows(part) for part in run("-m", "utils.cost", "121", "--side", "224").stdout.split("\n\n")
    )
    counts = ["output shape", "parameters", "running statistics", "multiply adds", "activation bytes", "bytes moved"]
    assert by_layer[0] == sums[0] == ["stage", "layer", *counts]
    # Stem, dense layers, transitions, head.
    assert len(by_layer) == 1 + 4 + 58 * 7 + 3 * 4 + 4
    assert by_layer[1] == [
        "stem",
        "Conv2D 7x7",
        "(1, 64, 112, 112)",
        "9,408",
        "0",
        "118,013,952",
        "3,211,264",
        "3,851,008",
    ]
    assert by_layer[5] == ["block 1", "1 BatchNorm", "(1, 64, 56, 56)", "128", "128", "0", "0", "1,606,656"]
    assert by_layer[11] == ["block 1", "1 concatenation", "(1, 96, 56, 56)", "0", "0", "0", "1,204,224", "2,408,448"]
    assert by_layer[-1] == ["head", "Dense", "(1, 1000)", "1,025,000", "0", "1,024,000", "0", "4,108,096"]
    stages = "stem, block 1, transition 1, block 2, transition 2, block 3, transition 3, block 4, head, all"
    assert [row[0] for row in sums[1:]] == stages.split(", ")
    assert sums[-1][:4] == ["all", "(1, 1000)", "7,978,856", "83,648"]
    assert sums[-1][4].startswith("2,834,")


@pytest.mark.parametrize(
    "arguments, name, side, options",
    [
        (["BC-100-12"], "BC-100-12", 32, dict(num_classes=10)),
        (["121"], 121, 224, dict()),
        (
            ["40-12", "--side", "28", "--channels", "1", "--classes", "7", "--batch", "16"],
            "40-12",
            28,
            dict(channels=1, num_classes=7, batch=16),
        ),
    ],
)
def test_the_command_takes_its_sizes_from_the_network_unless_told(arguments, name, side, options):
    rows = cost.layers(densenet_spec[name], side, **options)
    expected = f"{cost.as_text(rows)}\n\n{cost.as_text([*cost.by_stage(rows), cost.total(rows)])}\n"
    assert run("-m", "utils.cost", *arguments).stdout == expected


@pytest.mark.parametrize("side, smallest", [("28", "29"), ("0", "whole number above 0")])
def test_the_command_refuses_a_bad_side_in_one_line(side, smallest):
    process = run("-m", "utils.cost", "121", "--side", side)
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert smallest in process.stderr


@pytest.mark.parametrize("depth, bottleneck, nearest", [(41, False, 40), (102, True, 100)])
def test_a_depth_that_three_equal_blocks_cannot_have_is_refused(depth, bottleneck, nearest):
    with pytest.raises(ValueError, match=f"take {nearest}"):
        cifar_spec(depth, 12, bottleneck)
