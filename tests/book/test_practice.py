"""The practice page in a browser: its drills are right by utils/cost.py, and it does what a reader asks of it."""

import json
import re
from collections import defaultdict
from functools import cache
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe

from utils import cost
from utils.spec import cifar_spec, densenet_spec

PAGE = "book/practice.html"
KINDS = ("channels", "shapes", "parameters", "memory", "mistakes")
NUM_SEEDS = 150
TIMES = "\N{MULTIPLICATION SIGN}"
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
# Answers one question after the other and goes on; gives what was asked, and how much too wide the page then was.
ANSWER_ALL = """(practice, texts) => texts.map(text => {
  const [place, question] = ['.practice-place', '#practice-question'].map(part => practice.querySelector(part));
  const asked = { place: place.textContent, question: question.textContent };
  const form = practice.querySelector('form');
  form.elements.answer.value = text;
  form.requestSubmit();
  asked.sideways = document.documentElement.scrollWidth - window.innerWidth;
  form.requestSubmit();
  return asked;
})"""


@cache
def rows(read, blocks, growth_rate, width=None, compression=1, side=32, batch=1, classes=10):
    sizes = dict(initial_channels=read, blocks=blocks, growth_rate=growth_rate)
    spec = PLAIN | sizes | dict(bottleneck_width=width, compression=compression)
    return cost.layers(spec, side, channels=3, num_classes=classes, batch=batch)


def rows_on(shape, blocks, growth_rate, width=None, compression=1):
    """The layers of a network whose first block reads `shape`, `(batch, channel, height, width)`."""
    batch, read, side, _ = shape
    return rows(read, blocks, growth_rate, width, compression, side, batch)


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
    spec = densenet_spec[name]
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
    rf"{BLOCK} reads (\d+) channels\. How many channels does it return\?": lambda n, k, c: channels(
        rows(c, (n,), k), "block 1"
    ),
    rf"{BLOCK} reads (\d+) channels\. How many channels does its layer (\d+) read\?": lambda n, k, c, layer: next(
        row.output_shape[1] for row in rows(c, (n,), k) if row.layer == f"{layer} BatchNorm"
    ),
    rf"{BLOCK} and bottlenecks of (\d+) channels reads (\d+) channels\. A transition with compression (\S+) follows\. "
    r"How many channels does the transition return\?": lambda n, k, width, c, share: channels(
        rows(c, (n, 1), k, width // k, share), "transition 1"
    ),
    rf"{BLOCK} returns (\d+) channels\. How many channels does it read\?": block_read,
    rf"{NETWORK}How many channels does block 2 return\?": lambda c, blocks, k: of_network(c, blocks, k, "block 2"),
    rf"{NETWORK}How many channels reach the head\?": lambda c, blocks, k: of_network(c, blocks, k, "block 3"),
    rf"{NETWORK}How many channels does layer (\d+) of block 3 read\?": lambda c, blocks, k, layer: of_network(
        c, blocks, k, "block 3", layer
    ),
    rf"{BLOCK} reads {SHAPE}\. What shape does it return\?": lambda n, k, shape: (
        stage(rows_on(shape, (n,), k), "block 1").output_shape
    ),
    rf"A transition with compression (\S+) reads {SHAPE}\. What shape does it return\?": lambda share, shape: (
        # A block of one layer, which adds one channel, stands before it.
        stage(rows_on((shape[0], shape[1] - 1, *shape[2:]), (1, 1), 1, compression=share), "transition 1").output_shape
    ),
    rf"{BLOCK} reads {SHAPE}\. A transition with compression (\S+) follows\. What shape does the transition return\?": (
        lambda n, k, shape, share: stage(rows_on(shape, (n, 1), k, compression=share), "transition 1").output_shape
    ),
    r"DenseNet-(\S+) has (?:a stem of one 3x3 convolution|the stem of ImageNet's networks) with (\d+) channels, "
    r"blocks of (\d.*) layers, growth rate (\d+) and compression (\S+)\. It reads (\d+) colour images of (\d+) by \d+ "
    r"pixels\. What shape does (?:the )?(.*) return\?": of_published_network,
    r"A 3x3 convolution without bias reads (\d+) channels and makes (\d+)\. How many parameters does it have\?": (
        lambda c, k: parameters_in(rows(c, (1,), k), "1 Conv2D 3x3")
    ),
    r"A 1x1 convolution without bias reads (\d+) channels and makes (\d+)\. How many parameters does it have\?": (
        lambda c, k: parameters_in(rows(c, (1,), k, width=1), "1 Conv2D 1x1")
    ),
    r"A batch normalisation reads (\d+) channels\. How many parameters of it does a gradient train\?": lambda c: (
        parameters_in(rows(c, (1,), 8), "1 BatchNorm")
    ),
    r"A linear layer with bias makes (\d+) scores from (\d+) channels\. How many parameters does it have\?": (
        lambda classes, c: rows(c - 1, (1,), 1, classes=classes)[-1].parameters
    ),
    r"A plain layer of a dense block \(normalisation, ReLU, 3x3 convolution without bias\) reads (\d+) channels with "
    rf"growth rate (\d+)\. {TRAINED}": lambda c, k: stage(rows(c, (1,), k), "block 1").parameters,
    r"A transition \(normalisation, ReLU, 1x1 convolution without bias, average pooling\) with compression (\S+) reads "
    rf"(\d+) channels\. {TRAINED}": lambda share, c: (
        stage(rows(c - 1, (1, 1), 1, compression=share), "transition 1").parameters
    ),
    r"A head \(normalisation, ReLU, global average pooling, linear layer with bias\) reads (\d+) channels and makes "
    rf"(\d+) scores\. {TRAINED}": lambda c, classes: stage(rows(c - 1, (1,), 1, classes=classes), "head").parameters,
    r"A layer with a bottleneck of 4 times the growth rate reads (\d+) channels with growth rate (\d+)\. Its "
    rf"convolutions have no bias\. {TRAINED}": lambda c, k: stage(rows(c, (1,), k, width=4), "block 1").parameters,
    r"A block of (\d+) plain layers \(normalisation, ReLU, 3x3 convolution without bias\) with growth rate (\d+) reads "
    rf"(\d+) channels\. {TRAINED}": lambda n, k, c: stage(rows(c, (n,), k), "block 1").parameters,
    rf"A block of (\d+) {BLOCK_AND_BOTTLENECK} reads (\d+) channels\. Its convolutions have no bias\. {TRAINED}": (
        lambda n, width, k, c: stage(rows(c, (n,), k, width // k), "block 1").parameters
    ),
    rf"An array of 32-bit numbers has {SHAPE}\. How many bytes does it take\?": lambda shape: (
        stage(rows_on(shape, (1,), 1), "stem").activation_bytes
    ),
    r"A dense block concatenates (\(.*?\)) and \(\d+, (\d+), .*?\), both of 32-bit numbers\. How many bytes does the "
    r"new array take\?": lambda shape, k: next(
        row.activation_bytes for row in rows_on(shape, (1,), k) if row.layer == "1 concatenation"
    ),
    r"A plain layer of a dense block \(normalisation, ReLU, 3x3 convolution, concatenation\) reads "
    rf"{SHAPE} with growth rate (\d+)\. What it reads was counted before\. {KEPT}": lambda shape, k: kept(
        rows_on(shape, (1,), k)
    ),
    rf"A layer with a bottleneck of (\d+) channels reads {SHAPE} with growth rate (\d+), and its output is "
    rf"concatenated with what it read\. What it reads was counted before\. {KEPT}": lambda width, shape, k: kept(
        rows_on(shape, (1,), k, width // k)
    ),
    r"A block of (\d+) plain layers \(normalisation, ReLU, 3x3 convolution, concatenation\) with growth rate (\d+) "
    rf"reads {SHAPE}, which was counted before\. {KEPT}": lambda n, k, shape: kept(rows_on(shape, (n,), k)),
    rf"A memory-efficient block of (\d+) {BLOCK_AND_BOTTLENECK} reads {SHAPE}, which was counted before\. It computes "
    rf"normalisations, ReLUs and concatenations again\. {KEPT}": lambda n, width, k, shape: kept(
        cost.memory_efficient(rows_on(shape, (n,), k, width // k))
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
    for pattern, answer in ANSWERS.items():
        match = re.fullmatch(pattern, question.replace(TIMES, "x"))
        if match:
            return answer(*map(value, match.groups()))
    raise ValueError(f"No pattern fits {question!r}.")


def number_in_python(expression):
    return int(eval(expression.replace(TIMES, "*")))


def as_typed(answer):
    return ", ".join(map(str, answer)) if isinstance(answer, list) else str(answer)


@pytest.fixture(scope="module")
def drills(drill_scripts):
    return lambda kind, level: json.loads(drill_scripts.evaluate(MAKE, [kind, level, NUM_SEEDS]))


@pytest.fixture(scope="module")
def judge(drill_scripts):
    return lambda pairs: drill_scripts.evaluate(JUDGE, json.dumps(pairs))


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
        assert number_in_python(drill["worked"]) == drill["answer"], drill
        # Two slips may come to the same number: the first is named.
        reasons_by_number = defaultdict(list)
        for expression, reason in drill["slips"]:
            reasons_by_number[number_in_python(expression)].append(reason)
        reasons_by_number.pop(drill["answer"], None)
        for wrong, named in reasons_by_number.items():
            pairs.append((drill, str(wrong)))
            reasons.append(named)
    # Four to seven wrong numbers a drill.
    assert len(pairs) > 3 * NUM_SEEDS
    for (drill, wrong), named, judged in zip(pairs, reasons, judge(pairs), strict=True):
        assert not judged["isRight"] and named[0] in judged["says"], (drill, wrong, judged)
        assert f"The answer: {drill['worked']} = " in judged["says"]


def test_wrong_shape_says_what_is_wrong_with_each_axis(drills, judge):
    drill = drills("shapes", 2)[0]
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
        assert not judgement["isRight"] and reason in judgement["says"], (shape, judgement)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("6,144", 6144),
        ("6 144", 6144),
        ("4*16*(64 + 32)", 6144),
        (f"4 {TIMES} 16 · 96", 6144),
        ("4x16x96", 6144),
        ("2^2*16*96", 6144),
        ("6200 - 112/2", 6144),
    ],
)
def test_numbers_and_expressions_are_read(text, answer, drill_scripts):
    assert drill_scripts.evaluate("DenseNetDrills.evaluate", text) == answer


@pytest.mark.parametrize("text", ("", "many", "4*", "(4", "4)", "4k", "--", "4 5", "1..2"))
def test_what_is_no_number_gets_a_sentence_and_is_not_judged(text, drills, judge):
    (judged,) = judge([(drills("channels", 1)[0], text)])
    assert judged == {
        "error": f"'{text}' is no answer yet: type a number, or an expression such as 4*16*(64 + 32), without letters."
    }


@pytest.mark.parametrize("text", ("", "4, 5, 6", "4, 5, 6, 7, 8", "4, 5, 6, x", "4, 5.5, 6, 7"))
def test_what_is_no_shape_gets_a_sentence_and_is_not_judged(text, drills, judge):
    (judged,) = judge([(drills("shapes", 1)[0], text)])
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
            table.append((f"transition {number - 1}", (batch, made, side, side * stretch), (2 + made) * channels_in))
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
    often = {"addition", "sideBySide", "onlyLast", "wide", "doubling", "fixedWidth", "compressed", "uncompressed"}
    assert {drill["answer"] for drill in made} >= often
    for drill in made:
        told = re.fullmatch(
            r"A program should build a DenseNet with a stem of (\d+) channels, blocks of (.*) layers, growth rate "
            r"(\d+), bottlenecks of (\d+) channels and compression (\S+)\. Its input is (\(.*\)), and its stem is one "
            r"3x3 convolution\. Which mistake does its table show\?",
            drill["question"].replace(TIMES, "x"),
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


@pytest.fixture
def practice(browser, html):
    """Opens the page with a fragment, as a reader of its own; gives its element."""
    contexts, faults = [], []

    def open_at(fragment="", before="", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(before)
        tab = context.new_page()
        # The theme's own script fails where storage is forbidden.
        tab.on("pageerror", lambda error: "/_static/explorer/" in error.stack and faults.append(error))
        tab.goto(f"{(html / PAGE).as_uri()}{fragment}")
        return tab.locator("densenet-practice")

    yield open_at
    for context in contexts:
        context.close()
    assert not faults


def question(practice):
    return practice.locator("#practice-question").text_content()


def feedback(practice):
    return practice.locator(".practice-feedback").text_content()


def drills_of(practice, kind, seed):
    return practice.page.evaluate("(given) => DenseNetDrills.drillsOfSet(...given)", [kind, seed])


def answers_of(practice, kind, seed):
    """The right answers to a set, as a reader would type them."""
    return [as_typed(drill["answer"]) for drill in drills_of(practice, kind, seed)]


def wrong_answer(drill):
    if drill["kind"] == "mistakes":
        return next(choice["name"] for choice in drill["choices"] if choice["name"] != drill["answer"])
    return "1, 1, 1, 1" if drill["kind"] == "shapes" else "1"


def answer(practice, text):
    """Answer the question that is shown: type, or choose."""
    field = practice.locator("form input")
    if field.count() == 1:
        field.fill(text)
    else:
        practice.locator(f"form input[value={text}]").check()
    practice.get_by_role("button", name="Check").click()


def go_on(practice):
    practice.locator("form button").click()


def counts(practice, kind):
    """The level of a kind, and how many answers were right, of how many."""
    row = practice.locator("table").last.locator("tbody tr").nth(KINDS.index(kind))
    return tuple(int(text) for text in row.locator("td").all_text_contents())


def exported(practice):
    link = practice.get_by_role("link", name="Export the progress")
    assert link.get_attribute("download") == "densenet-practice.json"
    return json.loads(unquote(link.get_attribute("href").removeprefix("data:application/json,")))


def choose(practice, kind):
    practice.locator("select").select_option(kind)


def answer_rightly(practice):
    expected = answer_by_cost(question(practice))
    answer(practice, as_typed(list(expected) if isinstance(expected, tuple) else expected))


def test_right_and_wrong_answers_are_judged_at_once_with_the_reason(practice):
    shown = practice("#set=channels&seed=7")
    right = answers_of(shown, "channels", "7")
    drill = shown.page.evaluate("DenseNetDrills.drillsOfSet('channels', '7')[1]")
    answer(shown, right[0])
    assert feedback(shown).startswith("Right: ")
    go_on(shown)
    assert question(shown) == drill["question"] and feedback(shown) == ""
    expression, reason = next(slip for slip in drill["slips"] if eval(slip[0].replace(TIMES, "*")) != drill["answer"])
    answer(shown, expression)
    assert reason in feedback(shown) and f"The answer: {drill['worked']}" in feedback(shown)


def test_what_is_no_answer_is_not_counted(practice):
    shown = practice()
    choose(shown, "channels")
    answer(shown, "many")
    assert feedback(shown).startswith("'many' is no answer yet")
    answer_rightly(shown)
    assert feedback(shown).startswith("Right: ") and counts(shown, "channels") == (1, 1, 1)


def test_three_right_in_a_row_lead_up_and_two_wrong_ones_down(practice):
    shown = practice()
    choose(shown, "parameters")
    for number in range(3):
        answer_rightly(shown)
        assert ("on to level 2" in feedback(shown)) == (number == 2)
        go_on(shown)
    assert shown.locator(".practice-place").text_content() == "Parameters, level 2 of 3."
    for number in range(2):
        answer(shown, "1")
        assert ("back to level 1" in feedback(shown)) == (number == 1)
        go_on(shown)
    assert counts(shown, "parameters") == (1, 3, 5)


def test_all_kinds_come_in_turn_until_one_is_chosen(practice):
    shown = practice()
    places = []
    for kind in KINDS:
        places.append(shown.locator(".practice-place").text_content())
        field = shown.locator("form input").first
        if kind == "mistakes":
            field.check()
        else:
            field.fill("1, 1, 1, 1" if kind == "shapes" else "1")
        shown.get_by_role("button", name="Check").click()
        go_on(shown)
    assert len(set(places)) == len(KINDS) and shown.locator(".practice-place").text_content() == places[0]


@pytest.mark.parametrize("kind", ("all", "channels"))
def test_set_asks_everybody_the_same_ten_and_says_the_result(kind, practice):
    asked = []
    for wrong in ({3, 9}, set()):
        shown = practice(f"#set={kind}&seed=7")
        drills = enumerate(drills_of(shown, kind, "7"), 1)
        texts = [wrong_answer(drill) if number in wrong else as_typed(drill["answer"]) for number, drill in drills]
        questions = shown.evaluate(ANSWER_ALL, texts)
        for number, question_asked in enumerate(questions, 1):
            assert f"question {number} of 10" in question_asked["place"]
        asked.append([question_asked["question"] for question_asked in questions])
        result = shown.get_by_label("Result").input_value()
        told = "8 of 10 right. Wrong: 3, 9." if wrong else "10 of 10 right."
        assert result == f"DenseNet practice, set {kind}, seed 7: {told}"
        assert counts(shown, "channels") == (1, 0, 0)
    assert asked[0] == asked[1] and len(set(asked[0])) == 10
    shown.get_by_role("button", name="Answer the set again").click()
    assert question(shown) == asked[0][0]
    shown.page.evaluate("location.hash = '#set=channels&seed=8'")
    assert question(shown) != asked[0][0]


def test_set_goes_on_where_the_reader_left_it(practice):
    shown = practice("#set=memory&seed=3")
    answer(shown, answers_of(shown, "memory", "3")[0])
    shown.page.reload()
    assert "question 2 of 10" in shown.locator(".practice-place").text_content()
    shown.get_by_role("link", name="Practise freely instead").click()
    shown.locator("select").wait_for()


def test_result_can_be_copied(practice):
    allowed = ["clipboard-read", "clipboard-write"]
    refusing = "navigator.clipboard.writeText = () => Promise.reject()"
    for before, said, found in (
        ("", "Copied.", "navigator.clipboard.readText()"),
        (refusing, "The result is selected: copy it as you copy any text.", "getSelection().toString()"),
    ):
        shown = practice("#set=channels&seed=1", before=before, permissions=allowed)
        shown.evaluate(ANSWER_ALL, answers_of(shown, "channels", "1"))
        shown.get_by_role("button", name="Copy").click()
        shown.get_by_text(said).wait_for()
        assert shown.page.evaluate(found) == "DenseNet practice, set channels, seed 1: 10 of 10 right."


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("#set=colours&seed=7", "There is no set 'colours': take one of all, channels, shapes,"),
        ("#set=channels", "The seed of a set must be a whole number from 0 to 999,999, and is ''."),
        ("#set=channels&seed=-1", "The seed of a set must be a whole number from 0 to 999,999, and is '-1'."),
        ("#set=channels&seed=1000000", "The seed of a set must be a whole number from 0 to 999,999, and is '1000000'."),
        ("#set=%3Cb%3E&seed=1", "There is no set '<b>'"),
    ],
)
def test_bad_address_says_why_and_leaves_free_practice(address, expected, practice):
    shown = practice(address)
    assert shown.get_by_role("alert").text_content().startswith(expected)
    assert question(shown)


def test_links_of_the_page_lead_to_sets(practice):
    shown = practice()
    links = shown.page.locator("article a[href*='set=']")
    assert links.count() == 6
    for link in links.all():
        link.click()
        shown.locator(".practice-place", has_text="question 1 of 10").wait_for()


def test_link_past_the_menus_changes_no_question(practice):
    shown = practice("#set=channels&seed=7")
    shown.get_by_role("textbox").fill("40")
    shown.page.locator("#pst-skip-link a").press("Enter")
    shown.page.wait_for_timeout(100)
    assert shown.get_by_role("textbox").input_value() == "40"
    assert "question 1 of 10" in shown.locator(".practice-place").text_content()


def test_progress_stays_is_exported_and_is_deleted(practice):
    shown = practice()
    choose(shown, "channels")
    answer_rightly(shown)
    shown.page.reload()
    assert counts(shown, "channels") == (1, 1, 1)
    assert exported(shown)["kinds"]["channels"] == {"level": 1, "inARow": 1, "right": 1, "answered": 1}
    delete = shown.get_by_role("button", name="Delete the progress")
    shown.page.once("dialog", lambda dialog: dialog.dismiss())
    delete.click()
    assert counts(shown, "channels") == (1, 1, 1)
    shown.page.once("dialog", lambda dialog: dialog.accept())
    delete.click()
    assert counts(shown, "channels") == (1, 0, 0) and exported(shown)["kinds"]["channels"]["answered"] == 0
    assert shown.page.evaluate("localStorage.getItem('densenet-practice')") is None


def test_two_tabs_count_together(practice):
    shown = practice()
    other = shown.page.context.new_page()
    other.goto(shown.page.url)
    for element in (shown, other.locator("densenet-practice")):
        choose(element, "memory")
        answer_rightly(element)
    assert counts(element, "memory") == (1, 2, 2)


def test_page_works_where_storage_is_forbidden_and_says_so(practice):
    shown = practice(before=FORBID_STORAGE)
    assert "does not let the page keep your progress" in shown.locator(".practice-note").text_content()
    choose(shown, "channels")
    answer_rightly(shown)
    assert counts(shown, "channels") == (1, 1, 1) and exported(shown)["kinds"]["channels"]["right"] == 1


@pytest.mark.parametrize("stored", ("{", "null", "[]", '{"kinds": {"channels": {"level": 9}}, "sets": {}}'))
def test_progress_that_cannot_be_read_is_left_until_it_is_deleted(stored, practice):
    before = f"if (!sessionStorage.seen) localStorage.setItem('densenet-practice', {json.dumps(stored)})"
    shown = practice(before=f"{before}; sessionStorage.seen = 1")
    assert "cannot be read" in shown.locator(".practice-note").text_content()
    choose(shown, "channels")
    answer_rightly(shown)
    assert shown.page.evaluate("localStorage.getItem('densenet-practice')") == stored
    shown.page.once("dialog", lambda dialog: dialog.accept())
    shown.get_by_role("button", name="Delete the progress").click()
    answer_rightly(shown)
    assert shown.page.evaluate("JSON.parse(localStorage.getItem('densenet-practice')).kinds.channels.right") == 1


def test_keyboard_alone_answers_and_goes_on(practice):
    shown = practice("#set=channels&seed=7")
    keyboard = shown.page.keyboard
    shown.locator("form input").focus()
    for number, right in enumerate(answers_of(shown, "channels", "7"), 1):
        keyboard.type(right)
        keyboard.press("Enter")
        assert feedback(shown).startswith("Right: ")
        assert shown.page.evaluate("document.activeElement.textContent") == (
            "Next question" if number < 10 else "Show the result"
        )
        keyboard.press("Enter")
    assert "10 of 10 right" in shown.page.evaluate("document.activeElement.textContent")


@pytest.mark.parametrize(("kind", "theme"), [*((kind, "light") for kind in KINDS), ("mistakes", "dark")])
def test_every_kind_fits_a_phone_and_is_accessible(kind, theme, practice):
    chosen = f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    phone = dict(viewport=dict(width=360, height=740), reduced_motion="reduce")
    shown = practice(f"#set={kind}&seed=5", before=chosen, **phone)
    *others, last = [wrong_answer(drill) for drill in drills_of(shown, kind, "5")]
    assert all(asked["sideways"] <= 0 for asked in shown.evaluate(ANSWER_ALL, others))
    answer(shown, last)
    assert shown.page.evaluate(SIDEWAYS) <= 0
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(shown.page, context="densenet-practice", options=options).response
    assert not found["violations"], [rule["nodes"][0]["failureSummary"] for rule in found["violations"]]
    go_on(shown)
    assert shown.page.evaluate(SIDEWAYS) <= 0


def test_without_javascript_the_page_says_where_to_practise(practice):
    shown = practice(java_script_enabled=False)
    assert "are the place to practise" in shown.inner_text()
    assert shown.get_by_role("link").count() == 3
