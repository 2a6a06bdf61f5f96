"""The explorer in a browser: its numbers are those of utils/cost.py, and it does what a reader asks of it."""

import json
import random
from pathlib import Path

import pytest

from utils import cost
from utils.spec import CHOICES, densenet_spec

SCRIPT = Path(__file__).parents[2] / "book" / "_static" / "explorer" / "cost.js"
ON_PAGES = {
    "book/explorer": (2, 1),
    "chapters/04_densenet_121": (1, 1),
    "chapters/08_counting_parameters": (1, 0),
    "chapters/09_measuring_memory": (1, 0),
}
INPUTS = [(224, 3, 1000, 1), (32, 3, 10, 16), (97, 1, 10, 64), (29, 1, 7, 3)]
WRONG = {
    "growth_rate": (0, -3, 2.5, "x", None, True),
    "initial_channels": (0, 1.5, "", None),
    "blocks": ((), (3, 0), (2.5, 1), ("x",), 5, "6,6", None, (True,)),
    "bottleneck_width": (0, -1, 0.5, "4", False),
    "compression": (0, 1.5, -0.25, None, "half", True),
    "drop_rate": (1, -0.1, None, "0", False),
    "stem": ("mnist", None),
    "activation": ("gelu", 3),
    "pooling": ("", None),
    "use_bias": ("True", None, 2),
    "side": (0, -5, 7.5, "a", None, 1, 2, 3, 5, 12),
    "channels": (0, None, 1.5),
    "num_classes": (0, "ten"),
    "batch": (0, -2, True),
}
ANSWERS = """(cases) => JSON.stringify(JSON.parse(cases).map(([spec, sizes]) => {
  try {
    const layers = DenseNetCost.layers(spec, sizes);
    const stages = DenseNetCost.byStage(layers);
    const efficient = DenseNetCost.memoryEfficient(layers);
    return { layers, stages, total: [DenseNetCost.total(layers)], efficient };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { error: error.message };
  }
}))"""


def random_case(rng):
    spec = dict(
        initial_channels=rng.randint(1, 70),
        blocks=tuple(rng.randint(1, 9) for _ in range(rng.randint(1, 5))),
        growth_rate=rng.randint(1, 40),
        bottleneck_width=rng.choice((None, 1, 2, 4, 7)),
        compression=rng.choice((1, 0.5, 0.02, round(rng.uniform(0.05, 1), 2), rng.uniform(0.1, 1))),
        drop_rate=rng.choice((0, 0.2, 0.5)),
    ) | {name: rng.choice(choices) for name, choices in CHOICES.items()}
    sizes = dict(side=rng.randint(16, 300), channels=rng.randint(1, 4), num_classes=rng.randint(1, 1000))
    sizes["batch"] = rng.choice((1, 2, 16, 64))
    return spec, sizes


def spoil(rng, spec, sizes):
    """Give one setting a wrong value, take a key away, or add one."""
    name = rng.choice((*WRONG, "lacking", "unknown"))
    if name == "lacking":
        del spec[rng.choice(list(spec))]
    elif name == "unknown":
        spec["depth"] = 121
    else:
        (spec if name in spec else sizes)[name] = rng.choice(WRONG[name])


def in_python(spec, sizes):
    """What `utils.cost` says, in the form of the script."""
    try:
        rows = cost.layers(spec, **sizes)
    except ValueError as error:
        return dict(error=str(error))
    tables = dict(
        layers=rows, stages=cost.by_stage(rows), total=[cost.total(rows)], efficient=cost.memory_efficient(rows)
    )
    answer = {}
    for name, table in tables.items():
        answer[name] = [layer._asdict() | dict(output_shape=list(layer.output_shape)) for layer in table]
    return answer


@pytest.fixture(scope="module")
def arithmetic(browser):
    """The script's answers to pairs of a spec and sizes."""
    tab = browser.new_page()
    tab.add_script_tag(path=SCRIPT)
    yield lambda cases: json.loads(tab.evaluate(ANSWERS, json.dumps(cases)))
    tab.close()


def test_presets_cost_what_python_says(arithmetic):
    names = ("side", "channels", "num_classes", "batch")
    cases = [(spec, dict(zip(names, sizes, strict=True))) for spec in densenet_spec.values() for sizes in INPUTS]
    for case, answer in zip(cases, arithmetic(cases), strict=True):
        assert answer == in_python(*case), case


def test_random_specs_cost_what_python_says_and_bad_ones_get_its_sentence(arithmetic):
    rng = random.Random(0)
    cases = [random_case(rng) for _ in range(450)]
    for case in cases[300:]:
        spoil(rng, *case)
    answers = arithmetic(cases)
    for case, answer in zip(cases, answers, strict=True):
        assert answer == in_python(*case), case
    are_bad = ["error" in answer for answer in answers]
    # 32 and 149: some images are too small for their network, and one wrong side is large enough.
    assert sum(are_bad[:300]) < 100 and sum(are_bad[300:]) > 140


def test_presets_are_those_of_python(browser):
    tab = browser.new_page()
    tab.add_script_tag(path=SCRIPT)
    presets = tab.evaluate("DenseNetCost.presets")
    tab.close()
    assert presets == {str(name): spec | dict(blocks=list(spec["blocks"])) for name, spec in densenet_spec.items()}


@pytest.fixture
def explorer(browser, html):
    """Opens a page with a fragment; gives its explorer."""
    tab = browser.new_page()
    faults = []
    tab.on("pageerror", lambda error: faults.append(error))

    def open_at(fragment="", page="book/explorer"):
        tab.goto("about:blank")
        tab.goto(f"{(html / page).as_uri()}.html{fragment}")
        return tab.locator("densenet-explorer")

    yield open_at
    tab.close()
    assert not faults


def setting(explorer, name):
    return explorer.locator("input, select").and_(explorer.get_by_label(name))


def sentence(explorer):
    return explorer.get_by_role("alert").text_content()


def status(explorer):
    return explorer.locator("[aria-live]").text_content()


def fragment(explorer):
    return explorer.page.evaluate("location.hash")


@pytest.mark.parametrize(("page_with_explorer", "parts"), ON_PAGES.items())
def test_explorer_is_on_its_pages(page_with_explorer, parts, explorer):
    shown = explorer(page=page_with_explorer)
    assert (shown.locator("table").count(), shown.locator("svg").count()) == parts
    assert shown.get_by_text("With JavaScript").count() == 0


def test_address_holds_the_settings(explorer):
    shown = explorer("#network=121&side=224&batch=16")
    assert shown.locator("caption").first.text_content().startswith("DenseNet-121, input (16, 3, 224, 224).")
    assert shown.locator("tfoot td").nth(1).text_content() == "7,978,856"
    setting(shown, "blocks").fill("6, 12, 48, 32")
    assert setting(shown, "network").input_value() == "201"
    assert fragment(shown) == "#network=121&batch=16&blocks=6,12,48,32"
    setting(shown, "network").select_option("BC-100-12")
    setting(shown, "bottleneck width").fill("")
    assert fragment(shown) == "#network=BC-100-12&batch=16&bottleneck_width=None"
    assert setting(shown, "network").input_value() == ""


def test_links_of_the_page_lead_to_settings(explorer):
    shown = explorer()
    for link in (
        shown.page.get_by_role("link").filter(has=shown.page.locator("xpath=self::*[contains(@href,'=')]")).all()
    ):
        link.click()
        assert sentence(shown) == "" and fragment(shown) in link.get_attribute("href")


def test_link_past_the_menus_changes_no_setting(explorer):
    shown = explorer()
    setting(shown, "growth rate").fill("12")
    shown.page.locator("#pst-skip-link a").press("Enter")
    shown.page.wait_for_timeout(100)
    assert setting(shown, "growth rate").input_value() == "12"


def test_bad_setting_says_why_and_keeps_the_last_good_result(explorer):
    shown = explorer("#network=201&batch=16")
    setting(shown, "growth rate").fill("")
    assert sentence(shown) == "growth_rate must be a whole number above 0, and is ''."
    assert shown.locator(".explorer-layer").count() == 98 + 5
    assert fragment(shown) == "#network=201&batch=16"
    setting(shown, "growth rate").fill("12")
    assert sentence(shown) == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("#network=122", "There is no network '122': take one of"),
        ("#blocks=6,x", "each of blocks must be a whole number above 0, and is 'x'."),
        ("#side=28", "A side of 28 pixels cannot be halved often enough: take at least 29."),
        ("#depth=3", "The spec has an unknown key, 'depth'."),
        ("#stem=%3Cb%3E", "stem must be 'imagenet' or 'cifar', and is '<b>'."),
        ("#batch=1e999", "batch must be a whole number above 0, and is Infinity."),
        ("#blocks=999999999", "blocks must have at most 1,000 layers together, and have 999,999,999."),
    ],
)
def test_bad_address_says_why(address, expected, explorer):
    assert sentence(explorer(address)).startswith(expected)


def test_drawing_is_walked_by_keyboard(explorer):
    shown = explorer("#network=121")
    shown.locator(".explorer-layer[tabindex='0']").focus()
    shown.page.keyboard.press("Home")
    assert status(shown) == "Stem reads 3 channels, makes 64."
    for _ in range(10):
        shown.page.keyboard.press("ArrowRight")
    assert status(shown) == "Layer 3 of block 2 reads 192 channels, makes 32, through a bottleneck of 128."
    assert shown.locator(".explorer-arcs").get_attribute("d").count("M") == 3
    shown.page.keyboard.press("End")
    assert status(shown) == "Head reads 1,024 channels, makes 1,000 scores."
    assert shown.locator(".explorer-layer[tabindex='0']").count() == 1


def test_drawing_answers_to_mouse_and_finger(browser, html):
    context = browser.new_context(has_touch=True)
    tab = context.new_page()
    tab.goto(f"{(html / 'book/explorer.html').as_uri()}#network=121")
    shown = tab.locator("densenet-explorer")
    shown.get_by_role("img", name="layer 4 of block 1").hover()
    assert status(shown) == "Layer 4 of block 1 reads 160 channels, makes 32, through a bottleneck of 128."
    shown.get_by_role("img", name="layer 5 of block 1").tap()
    assert status(shown).startswith("Layer 5 of block 1 reads 192")
    context.close()


def test_without_javascript_the_page_says_what_to_do(browser, html):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((html / "book/explorer.html").as_uri())
    assert "python3 -m utils.cost" in tab.locator("densenet-explorer").inner_text()
    context.close()
