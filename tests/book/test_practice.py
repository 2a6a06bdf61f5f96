"""The practice page in a browser: its drills are right by utils/cost.py, and it does what a reader asks of it."""

import json
import re
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from mxnet import npx

from tools.cells import definitions
from utils import cost
from utils.measure import layer_table
from utils.spec import cifar_spec, densenet_spec, imagenet_spec

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "book" / "_static" / name for name in ("elements.js", "explorer/cost.js", "explorer/drills.js")]
PAGE = "book/practice.html"
KINDS = ("channels", "shapes", "parameters", "memory", "mistakes")
NUM_SEEDS = 300
MAKE = """([kind, level, numSeeds]) => JSON.stringify(Array.from({length: numSeeds}, (_, seed) =>
  DenseNetDrills.drill(kind, level, seed)))"""
JUDGE = """(pairs) => JSON.parse(pairs).map(([drill, text]) => {
  try {
    return DenseNetDrills.judge(drill, text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return {error: error.message};
  }
})"""
PLAIN = cifar_spec(40, 12)
FORBID_STORAGE = """Object.defineProperty(window, 'localStorage', {
  get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); },
})"""
SIDEWAYS = "document.documentElement.scrollWidth - window.innerWidth"


@cache
def rows(read, blocks, growth_rate, width=None, compression=1, side=32, batch=1, classes=10):
    sizes = dict(initial_channels=read, blocks=blocks, growth_rate=growth_rate)
    spec = PLAIN | sizes | dict(bottleneck_width=width, compression=compression)
    return cost.layers(spec, side, channels=3, num_classes=classes, batch=batch)


def stage(table, name):
    return next(row for row in cost.by_stage(table) if row.stage == name)


def channels(table, name):
    return stage(table, name).output_shape[1]


def parameters_in(table, *names):
    """The parameters of the layers of block 1 with these names."""
    return sum(row.parameters for row in table if row.stage == "block 1" and row.layer in names)


def block_read(num_layers, growth_rate, returned):
    return returned - (channels(rows(1, (num_layers,), growth_rate), "block 1") - 1)


def of_network(read, blocks, growth_rate, asked, layer=None):
    table = rows(read, blocks, growth_rate, width=4, compression=0.5)
    if layer:
        return next(row.output_shape[1] for row in table if (row.stage, row.layer) == (asked, f"{layer} BatchNorm"))
    return channels(table, asked)


def of_published_network(name, read, blocks, growth_rate, compression, batch, side, asked):
    spec = densenet_spec[int(name) if name.isdigit() else name]
    told = dict(initial_channels=read, blocks=blocks, growth_rate=growth_rate, compression=compression)
    assert spec | told == spec
    return stage(cost.layers(spec, side, batch=batch), asked).output_shape


def kept(table):
    return stage(table, "block 1").activation_bytes


BLOCK = r"A dense block of (\d+) layers with growth rate (\d+)"
NETWORK = r"A DenseNet has a stem of (\d+) channels, blocks of (\d.*) layers, growth rate (\d+) and compression 0.5\. "
SHAPE = r"the shape (\([\d, ]+\))"
TRAINED = r"How many parameters does a gradient train\?"
KEPT = r"How many bytes, in 32-bit numbers, does it keep for the backward pass\?"
BLOCK_AND_BOTTLENECK = r"layers with bottlenecks of (\d+) channels and growth rate (\d+)"
# What a question says, and what the answer is by utils.cost; numbers and shapes come as such.
ANSWERS = {
    rf"{BLOCK} reads (\d+) channels\. How many channels does it return\?": lambda n, k, c: (
        channels(rows(c, (n,), k), "block 1")
    ),
    rf"{BLOCK} reads (\d+) channels\. How many channels does its layer (\d+) read\?": lambda n, k, c, layer: (
        next(row.output_shape[1] for row in rows(c, (n,), k) if row.layer == f"{layer} BatchNorm")
    ),
    rf"{BLOCK} and bottlenecks of (\d+) channels reads (\d+) channels\. A transition with compression (\S+) follows\. "
    r"How many channels does the transition return\?": lambda n, k, width, c, share: (
        channels(rows(c, (n, 1), k, width // k, share), "transition 1")
    ),
    rf"{BLOCK} returns (\d+) channels\. How many channels does it read\?": block_read,
    rf"{NETWORK}How many channels does block 2 return\?": lambda c, blocks, k: of_network(c, blocks, k, "block 2"),
    rf"{NETWORK}How many channels reach the head\?": lambda c, blocks, k: of_network(c, blocks, k, "block 3"),
    rf"{NETWORK}How many channels does layer (\d+) of block 3 read\?": lambda c, blocks, k, layer: (
        of_network(c, blocks, k, "block 3", layer)
    ),
    rf"{BLOCK} reads {SHAPE}\. What shape does it return\?": lambda n, k, shape: (
        stage(rows(shape[1], (n,), k, side=shape[2], batch=shape[0]), "block 1").output_shape
    ),
    rf"A transition with compression (\S+) reads {SHAPE}\. What shape does it return\?": lambda share, shape: (
        stage(rows(shape[1] - 1, (1, 1), 1, None, share, shape[2], shape[0]), "transition 1").output_shape
    ),
    rf"{BLOCK} reads {SHAPE}\. A transition with compression (\S+) follows\. What shape does the transition return\?": (
        lambda n, k, shape, share: (
            stage(rows(shape[1], (n, 1), k, None, share, shape[2], shape[0]), "transition 1").output_shape
        )
    ),
    r"DenseNet-(\S+) has (?:a stem of one 3×3 convolution|the stem of ImageNet's networks) with (\d+) channels, "
    r"blocks of (\d.*) layers, growth rate (\d+) and compression (\S+)\. It reads (\d+) colour images of (\d+) by \d+ "
    r"pixels\. What shape does (?:the )?(.*) return\?": of_published_network,
    r"A 3×3 convolution without bias reads (\d+) channels and makes (\d+)\. How many parameters does it have\?": (
        lambda c, k: parameters_in(rows(c, (1,), k), "1 Conv2D 3x3")
    ),
    r"A 1×1 convolution without bias reads (\d+) channels and makes (\d+)\. How many parameters does it have\?": (
        lambda c, k: parameters_in(rows(c, (1,), k, width=1), "1 Conv2D 1x1")
    ),
    r"A batch normalisation reads (\d+) channels\. How many parameters of it does a gradient train\?": lambda c: (
        parameters_in(rows(c, (1,), 8), "1 BatchNorm")
    ),
    r"A linear layer with bias makes (\d+) scores from (\d+) channels\. How many parameters does it have\?": (
        lambda classes, c: rows(c - 1, (1,), 1, classes=classes)[-1].parameters
    ),
    r"A plain layer of a dense block \(normalisation, ReLU, 3×3 convolution without bias\) reads (\d+) channels with "
    rf"growth rate (\d+)\. {TRAINED}": lambda c, k: stage(rows(c, (1,), k), "block 1").parameters,
    r"A transition \(normalisation, ReLU, 1×1 convolution without bias, average pooling\) with compression (\S+) reads "
    rf"(\d+) channels\. {TRAINED}": lambda share, c: (
        stage(rows(c - 1, (1, 1), 1, compression=share), "transition 1").parameters
    ),
    r"A head \(normalisation, ReLU, global average pooling, linear layer with bias\) reads (\d+) channels and makes "
    rf"(\d+) scores\. {TRAINED}": lambda c, classes: stage(rows(c - 1, (1,), 1, classes=classes), "head").parameters,
    r"A layer with a bottleneck of 4 times the growth rate reads (\d+) channels with growth rate (\d+)\. Its "
    rf"convolutions have no bias\. {TRAINED}": lambda c, k: stage(rows(c, (1,), k, width=4), "block 1").parameters,
    r"A block of (\d+) plain layers \(normalisation, ReLU, 3×3 convolution without bias\) with growth rate (\d+) reads "
    rf"(\d+) channels\. {TRAINED}": lambda n, k, c: stage(rows(c, (n,), k), "block 1").parameters,
    rf"A block of (\d+) {BLOCK_AND_BOTTLENECK} reads (\d+) channels\. Its convolutions have no bias\. {TRAINED}": (
        lambda n, width, k, c: stage(rows(c, (n,), k, width // k), "block 1").parameters
    ),
    rf"An array of 32-bit numbers has {SHAPE}\. How many bytes does it take\?": lambda shape: (
        stage(rows(shape[1], (1,), 1, side=shape[2], batch=shape[0]), "stem").activation_bytes
    ),
    r"A dense block concatenates (\(.*?\)) and \(\d+, (\d+), .*?\), both of 32-bit numbers\. How many bytes does the "
    r"new array take\?": lambda shape, k: next(
        row.activation_bytes
        for row in rows(shape[1], (1,), k, side=shape[2], batch=shape[0])
        if row.layer == "1 concatenation"
    ),
    r"A plain layer of a dense block \(normalisation, ReLU, 3×3 convolution, concatenation\) reads "
    rf"{SHAPE} with growth rate (\d+)\. What it reads was counted before\. {KEPT}": lambda shape, k: (
        kept(rows(shape[1], (1,), k, side=shape[2], batch=shape[0]))
    ),
    rf"A layer with a bottleneck of (\d+) channels reads {SHAPE} with growth rate (\d+), and its output is "
    rf"concatenated with what it read\. What it reads was counted before\. {KEPT}": lambda width, shape, k: (
        kept(rows(shape[1], (1,), k, width // k, side=shape[2], batch=shape[0]))
    ),
    r"A block of (\d+) plain layers \(normalisation, ReLU, 3×3 convolution, concatenation\) with growth rate (\d+) "
    rf"reads {SHAPE}, which was counted before\. {KEPT}": lambda n, k, shape: (
        kept(rows(shape[1], (n,), k, side=shape[2], batch=shape[0]))
    ),
    rf"A memory-efficient block of (\d+) {BLOCK_AND_BOTTLENECK} reads {SHAPE}, which was counted before\. It computes "
    rf"normalisations, ReLUs and concatenations again\. {KEPT}": lambda n, width, k, shape: (
        kept(cost.memory_efficient(rows(shape[1], (n,), k, width // k, side=shape[2], batch=shape[0])))
    ),
}


def value(text):
    """A number, a shape or a list of numbers as a question writes it, or its word."""
    if re.fullmatch(r"\(?\d+(, \d+)*( and \d+)?\)?", text) and re.search(r"\D", text):
        return tuple(map(int, re.findall(r"\d+", text)))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def answer_by_cost(question):
    (match, answer) = next(
        (match, answer) for pattern, answer in ANSWERS.items() if (match := re.fullmatch(pattern, question))
    )
    # The name of a network is a word.
    texts = match.groups()
    values = [text if question.startswith("DenseNet-") and text == texts[0] else value(text) for text in texts]
    return answer(*values)


def as_typed(answer):
    return ", ".join(map(str, answer)) if isinstance(answer, list) else str(answer)


@pytest.fixture(scope="module")
def scripts(browser):
    """A page with the scripts that need no page."""
    tab = browser.new_page()
    for script in SCRIPTS:
        tab.add_script_tag(path=script)
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def drills(scripts):
    return lambda kind, level: json.loads(scripts.evaluate(MAKE, [kind, level, NUM_SEEDS]))


@pytest.fixture(scope="module")
def judge(scripts):
    return lambda pairs: scripts.evaluate(JUDGE, json.dumps(pairs))


@pytest.mark.parametrize("level", (1, 2, 3))
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_answers_are_those_of_python(kind, level, drills, judge):
    made = drills(kind, level)
    for drill in made:
        expected = answer_by_cost(drill["question"])
        assert drill["answer"] == (list(expected) if isinstance(expected, tuple) else expected), drill["question"]
    assert all(judged["isRight"] for judged in judge([(drill, as_typed(drill["answer"])) for drill in made]))


@pytest.mark.parametrize("level", (1, 2, 3))
@pytest.mark.parametrize("kind", ("channels", "parameters", "memory"))
def test_derivations_come_out_at_the_answers_and_slips_at_other_numbers_with_their_reasons(kind, level, drills, judge):
    pairs, reasons = [], []
    for drill in drills(kind, level):
        in_python = drill["worked"].replace("×", "*")
        assert int(eval(in_python)) == drill["answer"], drill
        for expression, reason in drill["slips"]:
            wrong = int(eval(expression.replace("×", "*")))
            if wrong != drill["answer"]:
                pairs.append((drill, str(wrong)))
                # Two slips may come to the same number: the first is named.
                reasons.append({text for text, reason in drill["slips"] if int(eval(text.replace("×", "*"))) == wrong})
    assert len(pairs) > NUM_SEEDS
    for (drill, wrong), expressions, judged in zip(pairs, reasons, judge(pairs), strict=True):
        named = [reason for text, reason in drill["slips"] if text in expressions]
        assert not judged["isRight"] and any(reason in judged["says"] for reason in named), (drill, wrong, judged)
        assert f"The answer: {drill['worked']} = " in judged["says"]


def test_wrong_shape_says_what_is_wrong_with_each_axis(drills, judge):
    (drill,) = (drill for drill in drills("shapes", 2)[:1])
    batch, made, side, _ = drill["answer"]
    typed = {
        (batch, side, side, made): "the channels come before height and width",
        (batch + 1, made, side, side): f"the batch stays {batch}, whatever the network does",
        (batch, made, 2 * side, 2 * side): f"a height of {2 * side} is one halving short",
        (batch, made, 4 * side, 4 * side): f"a height of {4 * side} is two halvings short",
        (batch, made, side // 2, side // 2): f"a height of {side // 2} is halved once too often",
        (batch, made, side + 1, side + 1): "half of an odd side is rounded down",
        (batch, made, side, side + 2): "the maps stay square",
        (batch, 2 * made, side, side): f"{2 * made} channels are what it reads",
        (batch, 3 * made + 1, side, side): f"the number of channels is not {3 * made + 1}",
    }
    judged = judge([(drill, str(shape)) for shape in typed])
    for (shape, reason), judgement in zip(typed.items(), judged, strict=True):
        assert not judgement["isRight"] and reason in judgement["says"].replace(",", "", 0), (shape, judgement)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("6,144", 6144),
        ("6 144", 6144),
        ("4*16*(64 + 32)", 6144),
        ("4 × 16 · 96", 6144),
        ("4x16x96", 6144),
        ("2^2*16*96", 6144),
        ("6200 - 112/2", 6144),
    ],
)
def test_numbers_and_expressions_are_read(text, answer, scripts):
    assert scripts.evaluate("DenseNetDrills.evaluate", text) == answer


@pytest.mark.parametrize("text", ("", "many", "4*", "(4", "4)", "4k", "--", "4 5", "1..2"))
def test_what_is_no_number_gets_a_sentence_and_is_not_judged(text, drills, judge):
    ((judged),) = judge([(drills("channels", 1)[0], text)])
    assert judged == {
        "error": f"'{text}' is no answer yet: type a number, or an expression such as 4*16*(64 + 32), without letters."
    }


@pytest.mark.parametrize("text", ("", "4, 5, 6", "4, 5, 6, 7, 8", "4, 5, 6, x", "4, 5.5, 6, 7"))
def test_what_is_no_shape_gets_a_sentence_and_is_not_judged(text, drills, judge):
    ((judged),) = judge([(drills("shapes", 1)[0], text)])
    assert judged["error"].startswith(f"'{text}' is no shape yet: type batch, channel, height and width")


def mistaken_table(name, spec, side, batch, num_classes=10):
    """The stages of a network with a mistake, put together from what utils.cost says of its parts."""
    spec = {
        "wide": dict(spec, growth_rate=4 * spec["growth_rate"], bottleneck_width=1),
        "compressed": dict(spec, compression=0.5),
        "uncompressed": dict(spec, compression=1),
    }.get(name, spec)
    channels_in, growth_rate, stretch, so_far = spec["initial_channels"], spec["growth_rate"], 1, 0
    stem = cost.by_stage(cost.layers(spec, side, 1, num_classes, batch))[0]
    table = [(stem.stage, stem.output_shape, stem.parameters)]
    side = stem.output_shape[-1]
    for number, num_layers in enumerate(spec["blocks"], 1):
        if number > 1:
            before = spec["initial_channels"] + so_far * growth_rate if name == "notHalved" else channels_in
            made = growth_rate if name == "fixedWidth" else int(before * spec["compression"])
            side //= 2
            table.append(
                (f"transition {number - 1}", (batch, made, side, side * stretch), (2 + made) * channels_in)
            )
            channels_in = made
        parameters = 0
        for layer in range(num_layers):
            made = {"doubling": growth_rate * 2**layer, "addition": channels_in}.get(name, growth_rate)
            one_layer = rows(channels_in, (1,), made, spec["bottleneck_width"])
            parameters += stage(one_layer, "block 1").parameters
            if name == "late":
                parameters += 2 * made - 2 * channels_in
            if name == "sideBySide":
                stretch *= 2
            elif name != "addition":
                channels_in += made
        if name == "onlyLast":
            channels_in = growth_rate
        so_far += num_layers
        table.append((f"block {number}", (batch, channels_in, side, side * stretch), parameters))
    means = (side // 7) ** 2 if name == "fixedPooling" else 1
    head = 2 * channels_in + (means * channels_in + 1) * num_classes
    return [*table, ("head", (batch, num_classes), head)]


def in_python(table):
    return [(row["stage"], tuple(row["output_shape"]), row["parameters"]) for row in table]


@pytest.mark.parametrize("level", (1, 2, 3))
def test_only_the_answer_gives_the_table_with_a_mistake(level, drills, judge):
    made = drills("mistakes", level)
    assert {drill["answer"] for drill in made} >= {"addition", "sideBySide", "onlyLast", "wide", "doubling", "fixedWidth"}
    for drill in made:
        told = re.fullmatch(
            r"A program should build a DenseNet with a stem of (\d+) channels, blocks of (.*) layers, growth rate (\d+), "
            r"bottlenecks of (\d+) channels and compression (\S+)\. Its input is (\(.*\)), and its stem is one 3×3 "
            r"convolution\. Which mistake does its table show\?",
            drill["question"],
        )
        first, blocks, growth_rate, width, compression, (batch, _, side, _) = map(value, told.groups())
        sizes = dict(initial_channels=first, blocks=blocks, growth_rate=growth_rate, compression=compression)
        spec = PLAIN | sizes | dict(bottleneck_width=width // growth_rate)
        found = in_python(drill["found"])
        assert found == mistaken_table(drill["answer"], spec, side, batch)
        if level == 1:
            assert in_python(drill["expected"]) == mistaken_table("none", spec, side, batch)
        names = [choice["name"] for choice in drill["choices"]]
        assert len(names) == len(set(names)) >= 4 and drill["answer"] in names
        for name in set(names) - {drill["answer"]}:
            assert found != mistaken_table(name, spec, side, batch), (drill["question"], name)
    pairs = [(drill, choice["name"]) for drill in made for choice in drill["choices"]]
    for (drill, name), judged in zip(pairs, judge(pairs), strict=True):
        assert judged["isRight"] == (name == drill["answer"])
        assert judged["isRight"] or re.match(r"No: then .* would (have|return) .*, but here it ", judged["says"])


def test_table_without_a_mistake_is_the_one_of_python():
    spec = PLAIN | dict(blocks=(2, 3, 4), growth_rate=8, bottleneck_width=4, compression=0.5)
    stages = cost.by_stage(cost.layers(spec, 56, 1, 10, batch=8))
    assert mistaken_table("none", spec, 56, 8) == [(row.stage, row.output_shape, row.parameters) for row in stages]


@pytest.fixture(scope="module")
def chapter(pytestconfig):
    """What the chapter on mistakes defines."""
    npx.set_np()
    notebook = nbformat.read(pytestconfig.option.chapters / "15_debugging_by_shapes.ipynb", 4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    namespace = {}
    exec(next(source for source in code if "from mxnet" in source), namespace)
    wanted = {"spec", "build"} | set(re.findall(r"^(?:class|def) (\w+)", "\n".join(code), re.MULTILINE))
    for name, definition in chain.from_iterable(map(definitions, code[2:])):
        if name in wanted:
            exec(definition, namespace)
    return namespace


@pytest.mark.parametrize(
    ("name", "built", "changes"),
    [
        ("none", "build()", {}),
        ("addition", "build(WidenedSumBlock, widths=(32, 32))", dict(compression=1)),
        (
            "sideBySide",
            "build(SideBySideBlock, channels=16, widths=(16, 16))",
            dict(initial_channels=16, compression=1),
        ),
        ("onlyLast", "build(LastOnlyBlock, widths=(8, 8))", {}),
        ("wide", "build(make_layer=wide_layer, widths=(112, 248))", {}),
        ("doubling", "build(DoublingBlock, widths=(72, 540))", {}),
        ("fixedWidth", "build(widths=(16, 16))", {}),
        ("notHalved", "build(widths=(40, 88))", {}),
        ("compressed", "build()", dict(compression=1)),
        ("uncompressed", "build(widths=(80, 176))", {}),
        ("late", "build(make_layer=late_layer)", {}),
        ("fixedPooling", "build(make_head=fixed_head)", {}),
    ],
)
def test_mistaken_tables_are_those_of_the_chapters_networks(name, built, changes, chapter, scripts):
    side = 224 if name == "fixedPooling" else 32
    table = layer_table(eval(built, chapter), (1, 1, side, side))
    stages = [
        (name, rows["output shape"].iloc[-1], rows["parameters"].sum()) for name, rows in table.groupby("stage", sort=False)
    ]
    spec = imagenet_spec(16, 3, 6, 4) | changes
    arguments = [name, spec | dict(blocks=list(spec["blocks"])), dict(side=side, channels=1, num_classes=10)]
    found = scripts.evaluate("(given) => DenseNetDrills.tableOf(...given)", arguments)
    assert in_python(found) == stages
