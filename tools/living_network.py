"""Write the numbers of the page "The living network": `python -m tools.living_network`.

They go into book/_static/living/numbers.js: the network of chapters/trained/living.params with its weights as integers
of eight bits, and 50 test garments. Beside it lie pictures of the page, for readers without JavaScript. Prints how
large all are, and the test accuracy before and after.
"""

import base64
import json
from pathlib import Path

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import DEVIATION, MEAN, FashionMNIST
from utils.densenet import DenseBlock, DenseNet
from utils.quantisation import dequantised, quantised
from utils.training import accuracy, predict

# isort: split
import mxnet as mx
import numpy
from d2l import mxnet as d2l
from mxnet.gluon import nn

from tools.browser import open_browser
from tools.figures import optimised
from tools.files import write_whole
from tools.train_networks import RECIPES, TRAINED

STATIC = Path(__file__).parent.parent / "book" / "_static"
SCRIPT = STATIC / "living" / "numbers.js"
# Of which part of the element there is a picture.
PICTURES = {
    STATIC / "living" / "picture.png": 'show="garments answer"',
    STATIC / "living" / "block.png": 'show="answer" block="1"',
}
GARMENTS_OF_A_CLASS = 5


def trained_network() -> DenseNet:
    """The network as it was trained."""
    mx.npx.set_np()
    net = DenseNet(RECIPES["living"].spec)
    net.load_parameters(str(TRAINED / "living.params"), ctx=d2l.try_gpu())
    return net


def layers(net: DenseNet) -> list[nn.HybridBlock]:
    """The normalisations, convolutions and the linear layer, in the order of the forward pass."""
    parts: list[nn.HybridBlock] = []
    for stage in net.net:
        groups = stage.layers if isinstance(stage, DenseBlock) else [stage]
        parts += [part for group in groups for part in group]
    return [part for part in parts if isinstance(part, nn.BatchNorm | nn.Conv2D | nn.Dense)]


def quantise(net: DenseNet) -> None:
    """Give the network the weights that the page has: those that whole numbers of eight bits can say."""
    for layer in layers(net):
        if not isinstance(layer, nn.BatchNorm):
            layer.weight.set_data(mx.np.array(dequantised(*quantised(layer.weight.data().asnumpy()))))


def as_text(numbers: numpy.ndarray, kind: str = "float32") -> str:
    """The array's numbers of this kind, one after the other, in base 64."""
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()


def numbers_of(layer: nn.HybridBlock) -> dict[str, object]:
    """What the page has to know of a layer.

    Of a normalisation, what it multiplies each channel with and then adds; of a convolution or a linear layer the
    weights' shape, integers and scales, and the biases.
    """
    if isinstance(layer, nn.BatchNorm):
        scales = layer.gamma.data() / mx.np.sqrt(layer.running_var.data() + layer._kwargs["eps"])
        shifts = layer.beta.data() - layer.running_mean.data() * scales
        return dict(scales=as_text(scales.asnumpy()), shifts=as_text(shifts.asnumpy()))
    weights = layer.weight.data().asnumpy()
    integers, scales = quantised(weights)
    biases = numpy.zeros(len(weights)) if layer.bias is None else layer.bias.data().asnumpy()
    numbers = dict(integers=as_text(integers, "int8"), scales=as_text(scales), biases=as_text(biases))
    return dict(shape=list(weights.shape), **numbers)


def chosen_garments(labels: numpy.ndarray) -> numpy.ndarray:
    """The places `(class * 5,)` of the first five garments of each class."""
    return numpy.concatenate([numpy.flatnonzero(labels == label)[:GARMENTS_OF_A_CLASS] for label in range(10)])


def script() -> str:
    """The text of numbers.js."""
    data, net = FashionMNIST(), trained_network()
    labels = data.labels["test"]
    garments = chosen_garments(labels)
    numbers = dict(
        spec=net.spec,
        mean=MEAN,
        deviation=DEVIATION,
        classes=FashionMNIST.names,
        layers=[numbers_of(layer) for layer in layers(net)],
        labels=labels[garments].tolist(),
        images=as_text(data.images["test"][garments], "uint8"),
    )
    comment = (
        "// Written by `python -m tools.living_network`: a trained network and test garments; arrays are in base 64."
    )
    return f'{comment}\n"use strict";\n\nconst LIVING_NUMBERS = {json.dumps(numbers)};\n'


def picture(attributes: str) -> bytes:
    """What the element with these attributes shows at first, as a PNG."""
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 752, "height": 1200})
        page.set_content(f"<living-network {attributes}></living-network>")
        for name in ("elements.css", "living/living.css"):
            page.add_style_tag(path=STATIC / name)
        page.add_style_tag(content="body { margin: 8px; font-family: sans-serif; }")
        page.add_style_tag(content=".living-status { display: none; } .living-status + * { margin-top: 1rem; }")
        for name in ("elements.js", "living/numbers.js", "living/network.js", "living/living.js"):
            page.add_script_tag(path=STATIC / name)
        page.wait_for_function("document.querySelector('.living-total')?.textContent !== ''")
        return optimised(page.locator("living-network").screenshot())


def main() -> None:
    """Write the script and the pictures; print their sizes, and the accuracy on all test images before and after."""
    write_whole(SCRIPT, script())
    for path, attributes in PICTURES.items():
        write_whole(path, picture(attributes))
    for path in (SCRIPT, *PICTURES):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    data, net = FashionMNIST(batch_size=250), trained_network()
    for what in ("as trained", "with weights of eight bits"):
        scores = predict(net, data.test_dataloader(), d2l.try_gpu())
        print(f"test accuracy {what}: {accuracy(scores, data.labels['test']):.4f}")
        quantise(net)


if __name__ == "__main__":
    main()
