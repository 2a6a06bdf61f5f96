"""What tells one DenseNet from another: its spec, a dictionary of sizes and choices (chapters 04 and 12).

The recipes and `densenet_spec` are printed in these chapters, word for word but for their docstrings.
"""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, TypedDict


class Spec(TypedDict):
    """The ten keys that a spec has, no more and no fewer; `check_spec` refuses what they do not allow.

    The sections and tables named below are those of Huang et al. 2017.
    """

    # The layers before the first block: "imagenet", a 7x7 convolution and 3x3 maximum pooling, which divide
    # the side by four (table 1), or "cifar", one 3x3 convolution, which keeps it (section 3, "Implementation Details").
    stem: Literal["imagenet", "cifar"]
    # Channels that the stem makes, above 0: twice the growth rate, or 16 without bottlenecks (same section).
    initial_channels: int
    # Layers of each dense block, one or more numbers above 0 (table 1); a transition stands between two blocks.
    blocks: tuple[int, ...]
    # Channels that each layer of a block adds, above 0: k in the paper (section 3, "Growth rate").
    growth_rate: int
    # Channels between the two convolutions of a layer, in growth rates, above 0: 4 (section 3, "Bottleneck layers").
    # None is a layer of a single 3x3 convolution.
    bottleneck_width: int | None
    # Share of its channels that a transition keeps, rounded down, above 0 and at most 1: theta in the paper, 0.5
    # with compression and 1 without (section 3, "Compression").
    compression: float
    # Whether the convolutions have biases: the published networks have none (the authors' code).
    use_bias: bool
    # What follows each batch normalisation: "relu" (section 3, "Composite function"), or "leaky_relu", with slope
    # 0.2, which the paper has not.
    activation: Literal["relu", "leaky_relu"]
    # How a transition halves the side: "average" (section 3, "Pooling layers"), or "max", which the paper has not.
    pooling: Literal["average", "max"]
    # Share of the numbers that each layer of a block adds which training sets to zero, at least 0 and below 1:
    # 0.2 where the paper trains without augmentation (section 4.2), 0 elsewhere.
    drop_rate: float


def imagenet_spec(growth_rate: int, *blocks: int) -> Spec:
    """The recipe of the published ImageNet networks: bottlenecks, compression one half, no biases (chapter 04).

    Source: Huang et al. 2017, table 1.
    """
    return dict(
        stem="imagenet",
        initial_channels=2 * growth_rate,
        blocks=blocks,
        growth_rate=growth_rate,
        bottleneck_width=4,
        compression=0.5,
        use_bias=False,
        activation="relu",
        pooling="average",
        drop_rate=0,
    )


# For images of 28 pixels, whose side the stem keeps: most layers stand where the side is halved (chapter 06).
small_spec = imagenet_spec(16, 1, 3, 6) | dict(stem="cifar", initial_channels=16)
# Nearly twice as many parameters, for the network that is trained for longer and stored.
stored_spec = small_spec | dict(blocks=(1, 5, 10))

densenet_spec: dict[int | str, Spec] = {
    121: imagenet_spec(32, 6, 12, 24, 16),
    161: imagenet_spec(48, 6, 12, 36, 24),
    169: imagenet_spec(32, 6, 12, 32, 32),
    201: imagenet_spec(32, 6, 12, 48, 32),
    264: imagenet_spec(32, 6, 12, 64, 48),
}


def cifar_spec(depth: int, growth_rate: int, bottleneck: bool = False) -> Spec:
    """The recipe of the published CIFAR networks: three equal blocks; with `bottleneck`, DenseNet-BC (chapter 12).

    `depth` counts layers with weights: the stem's, the transitions' and the classifier, which are
    four, and one for each layer of a block, or two with bottlenecks.
    Raises `ValueError` for a depth that three equal blocks cannot have.
    Source: Huang et al. 2017, section 3, "Implementation Details".
    """
    num_layers, left_over = divmod(depth - 4, 6 if bottleneck else 3)
    if left_over:
        raise ValueError(f"No three equal blocks make a depth of {depth}: take {depth - left_over}.")
    spec = imagenet_spec(growth_rate, num_layers, num_layers, num_layers) | dict(stem="cifar")
    return spec if bottleneck else spec | dict(initial_channels=16, bottleneck_width=None, compression=1)


densenet_spec |= {
    "40-12": cifar_spec(40, 12),
    "100-12": cifar_spec(100, 12),
    "100-24": cifar_spec(100, 24),
    "BC-100-12": cifar_spec(100, 12, bottleneck=True),
    "BC-250-24": cifar_spec(250, 24, bottleneck=True),
    "BC-190-40": cifar_spec(190, 40, bottleneck=True),
}

CHOICES = {
    "stem": ("imagenet", "cifar"),
    "activation": ("relu", "leaky_relu"),
    "pooling": ("average", "max"),
    "use_bias": (False, True),
}


def check_spec(spec: Mapping[str, Any]) -> None:
    """Raise `ValueError`, in a sentence that says what to change, if `spec`, any dictionary, is no `Spec`."""
    expected = set(densenet_spec[121])
    if wrong := expected ^ set(spec):
        name = min(wrong, key=str)
        raise ValueError(f"The spec {'lacks' if name in expected else 'has an unknown key,'} {name!r}.")
    for name in ("growth_rate", "initial_channels"):
        check_size(name, spec[name])
    if not isinstance(spec["blocks"], tuple | list) or not spec["blocks"]:
        raise ValueError(f"blocks must be a tuple of one or more numbers of layers, and is {spec['blocks']!r}.")
    for num_layers in spec["blocks"]:
        check_size("each of blocks", num_layers)
    if spec["bottleneck_width"] is not None:
        check_size("bottleneck_width, unless it is None,", spec["bottleneck_width"])
    if not (is_number(spec["compression"], Real) and 0 < spec["compression"] <= 1):
        raise ValueError(f"compression must be above 0 and at most 1, and is {spec['compression']!r}.")
    if not (is_number(spec["drop_rate"], Real) and 0 <= spec["drop_rate"] < 1):
        raise ValueError(f"drop_rate must be at least 0 and below 1, and is {spec['drop_rate']!r}.")
    for name, choices in CHOICES.items():
        if spec[name] not in choices:
            raise ValueError(f"{name} must be {choices[0]!r} or {choices[1]!r}, and is {spec[name]!r}.")
    num_channels = spec["initial_channels"]
    for block, num_layers in enumerate(spec["blocks"][:-1], 1):
        read = num_channels + num_layers * spec["growth_rate"]
        num_channels = int(read * spec["compression"])
        if num_channels == 0:
            raise ValueError(
                f"compression {spec['compression']} leaves none of the {read} channels of block {block}: "
                "take a larger share."
            )


def check_size(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a whole number above zero."""
    if not (is_number(value, Integral) and value > 0):
        raise ValueError(f"{name} must be a whole number above 0, and is {value!r}.")


def is_number(value: object, kind: type) -> bool:
    """Whether `value` is of the abstract `kind` of number; True and False, which Python counts among them, are not."""
    return isinstance(value, kind) and not isinstance(value, bool)
