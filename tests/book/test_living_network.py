"""The living network in a browser: it computes what MXNet computes, and does what a reader asks of it."""

import re
from itertools import product
from pathlib import Path

import numpy
import pytest
from mxnet import np

from tools.living_network import SCRIPT, quantise, script, trained_network
from utils.data import FashionMNIST
from utils.reuse import prune

STATIC = Path(__file__).parents[2] / "book" / "_static"
PAGES = (
    "book/index",
    "book/living_network",
    "chapters/01_why_concatenate",
    "chapters/02_the_dense_block",
    "chapters/14_what_the_layers_reuse",
)
NUM_IMAGES = 200
LOGITS = """([pictures, off]) => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const on = LivingNetwork.allOn(network);
  for (const name of off) on[network.nodes.findIndex(node => node.name === name)].fill(false);
  return pictures.map(picture => [...LivingNetwork.forward(network, picture, on).at(-1)]);
}"""
# For some pixels of each node's maps: the map's value there, and the sum of its terms.
SUMS = """(picture) => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const on = LivingNetwork.allOn(network);
  on[1][3] = false;
  const maps = LivingNetwork.forward(network, picture, on);
  return network.nodes.slice(1, -1).flatMap(({ channels, side, name }, place) =>
    [[0, 0], [1, side - 1], [side - 1, 3], [4, 5]].map(([row, column]) => {
      const terms = LivingNetwork.terms(network, maps, on, place + 1, channels - 1, row, column);
      const value = maps[place + 1][((channels - 1) * side + row) * side + column];
      return [name, value, terms.reduce((sum, term) => sum + term.sum, 0)];
    }));
}"""
# The first and last row and column of the picture of which a change changes one pixel of a node, and the receptive
# field there. Of the network, the nodes up to that one are computed.
SEEN = """([picture, name, row, column, off]) => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const index = network.nodes.findIndex(node => node.name === name);
  network.nodes.splice(index + 1);
  const on = LivingNetwork.allOn(network);
  for (const source of off) on[network.nodes.findIndex(node => node.name === source)].fill(false);
  const { channels, side } = network.nodes[index];
  const values = pixels => {
    const maps = LivingNetwork.forward(network, pixels, on)[index];
    return Array.from({ length: channels }, (_, channel) => maps[(channel * side + row) * side + column]).join();
  };
  const before = values(picture);
  const isSeen = isChanged => values(picture.map((byte, place) => (isChanged(place) ? 255 - byte : byte))) !== before;
  const lines = [...Array(28).keys()];
  const rows = lines.filter(line => isSeen(place => Math.floor(place / 28) === line));
  const columns = lines.filter(line => isSeen(place => place % 28 === line));
  const found = { top: rows[0], bottom: rows.at(-1), left: columns[0], right: columns.at(-1) };
  return [found, LivingNetwork.receptiveField(network, on, index, row, column)];
}"""
# The pixels of each map, by its name.
MAPS = """() => Object.fromEntries([...document.querySelectorAll('.living-map')].map(
  map => [map.getAttribute('aria-label'), map.firstChild.toDataURL()]))"""
# Width and height of the picture on an element's ground.
BACKGROUND = """async (element) => {
  const picture = new Image();
  picture.src = getComputedStyle(element).backgroundImage.match(/url\\("(.*)"\\)/)[1];
  await picture.decode();
  return [picture.naturalWidth, picture.naturalHeight];
}"""


@pytest.fixture(scope="module")
def pictures():
    return FashionMNIST().images["test"][:NUM_IMAGES]


@pytest.fixture(scope="module")
def compute(browser):
    """Runs a function of JavaScript beside the network's scripts."""
    tab = browser.new_page()
    tab.add_script_tag(path=SCRIPT)
    tab.add_script_tag(path=STATIC / "living" / "network.js")
    yield tab.evaluate
    tab.close()


@pytest.fixture
def net():
    """The trained network with the weights that the page has."""
    net = trained_network()
    quantise(net)
    return net


def logits_of(net, pictures):
    return net(np.array((pictures[:, None] / 255 - 0.286) / 0.353, dtype="float32")).asnumpy()


def test_numbers_are_those_of_the_trained_network():
    assert SCRIPT.read_text() == script(), "run `python -m tools.living_network`"
    # 86 kB with weights of eight bits; 112 kB with sixteen.
    assert SCRIPT.stat().st_size < 100_000


def test_page_is_at_most_400_kb_heavier_than_others():
    files = [*(STATIC / "living").iterdir(), STATIC / "elements.js"]
    assert sum(path.stat().st_size for path in files) < 400_000


def test_logits_are_those_of_mxnet(compute, pictures, net):
    found = numpy.array(compute(LOGITS, [pictures.reshape(-1, 784).tolist(), []]))
    assert found.shape == (NUM_IMAGES, 10)
    assert abs(found - logits_of(net, pictures)).max() < 1e-4


@pytest.mark.parametrize(("block", "source"), product((1, 2, 3), (0, 1, 2)))
def test_source_that_is_off_is_one_whose_weights_are_zero(block, source, compute, pictures, net):
    names = [f"layer {source} of block {block}" if source else ["stem", "transition 1", "transition 2"][block - 1]]
    unpruned = logits_of(net, pictures[:20])
    prune(net, [(block, source, reader) for reader in range(source, 3)])
    expected = logits_of(net, pictures[:20])
    found = numpy.array(compute(LOGITS, [pictures[:20].reshape(-1, 784).tolist(), names]))
    assert abs(found - expected).max() < 1e-4 < abs(expected - unpruned).max()


def test_terms_of_a_pixel_add_up_to_it(compute, pictures):
    for name, value, total in compute(SUMS, pictures[0].reshape(-1).tolist()):
        assert abs(value - total) < 1e-5 * max(1, abs(value)), name


@pytest.mark.parametrize(
    ("name", "row", "column", "off"),
    [
        ("stem", 10, 12, []),
        ("layer 2 of block 1", 1, 20, []),
        ("layer 2 of block 1", 14, 13, ["layer 1 of block 1"]),
        ("transition 1", 6, 7, []),
        ("layer 1 of block 2", 6, 7, []),
    ],
)
def test_pixel_depends_on_its_receptive_field_alone(name, row, column, off, compute, pictures):
    found, field = compute(SEEN, [pictures[0].reshape(-1).tolist(), name, row, column, off])
    assert found == field


@pytest.fixture
def open_page(browser, html):
    """Opens a page on a narrow screen that has a mouse, fingers and a keyboard; it asks for nothing but files."""
    context = browser.new_context(has_touch=True, viewport={"width": 360, "height": 800})
    tab = context.new_page()
    faults = []
    tab.on("pageerror", lambda error: faults.append(error))
    tab.on("request", lambda request: request.url.startswith("file:") or faults.append(request.url))

    def open_page(page):
        tab.goto((html / f"{page}.html").as_uri())
        tab.wait_for_selector(".living-status")
        return tab

    yield open_page
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
    context.close()
    assert not faults


@pytest.fixture
def tab(open_page):
    return open_page("book/living_network")


def status(tab):
    return tab.locator(".living-status").text_content()


def total(tab):
    """How many garments are right, once all have been judged."""
    tab.wait_for_function("document.querySelector('.living-total').textContent")
    return int(tab.locator(".living-total").text_content().split()[0])


def frame(tab):
    """The rows and columns that the frame on the picture encloses."""
    rect = tab.locator(".living-frame").first
    x, y, width, height = (int(rect.get_attribute(name)) for name in ("x", "y", "width", "height"))
    return y, y + height - 1, x, x + width - 1


def test_garments_are_walked_by_keyboard_and_named(tab):
    tab.get_by_role("radio").first.focus()
    for _ in range(45):
        tab.keyboard.press("ArrowRight")
    assert status(tab).startswith("The network says ") and status(tab).endswith(" %, and it is an ankle boot.")
    total(tab)
    assert tab.get_by_role("radio").nth(45).get_attribute("aria-label").startswith("ankle boot 1")


@pytest.mark.parametrize("device", ["mouse", "finger", "keyboard"])
def test_picture_is_drawn_with(device, tab):
    board = tab.get_by_role("application")
    tab.get_by_role("button", name="Empty").click()
    tab.wait_for_function("!document.querySelector('.living-status').textContent.includes('and it is')")
    empty = tab.locator(".living-answers").inner_text()
    if device == "keyboard":
        board.focus()
        for key in ("ArrowUp", "Space", "ArrowLeft", "Space", "Space", "Delete"):
            tab.keyboard.press(key)
    elif device == "mouse":
        board.hover(position={"x": 80, "y": 40})
        tab.mouse.down()
        board.hover(position={"x": 80, "y": 200})
        tab.mouse.up()
    else:
        board.tap(position={"x": 80, "y": 100})
    drawn = tab.wait_for_function(
        "before => { const now = document.querySelector('.living-answers').innerText; return now !== before && now; }",
        arg=empty,
    )
    assert drawn and status(tab).startswith(("The network says", "Brush at"))


def test_source_is_switched_off_and_on(tab):
    everything = total(tab)
    switch = tab.get_by_role("group", name="transition 1: 32 channels").get_by_role("checkbox")
    switch.uncheck()
    assert status(tab).startswith("Transition 1 is off. The network says ")
    assert tab.locator(".living-off").count() == 32
    assert total(tab) < everything
    switch.check()
    assert total(tab) == everything and tab.locator(".living-off").count() == 0


def test_channel_is_switched_off(tab):
    tab.get_by_role("button", name="channel 3 of layer 1 of block 2").click()
    tab.get_by_label("this channel is on").uncheck()
    assert status(tab).startswith("Channel 3 of layer 1 of block 2 is off.")
    assert tab.locator(".living-off").count() == 1
    assert (
        tab.get_by_role("group", name="layer 1 of block 2").get_by_role("checkbox").evaluate("box => box.indeterminate")
    )


def test_maps_are_walked_by_keyboard_and_say_what_their_layer_reads(tab):
    tab.locator(".living-map").first.focus()
    assert status(tab) == "The stem reads the picture and makes 16 channels."
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
    reads = "32 channels, 16 of the stem, 8 of layer 1 of block 1 and 8 of layer 2 of block 1,"
    assert status(tab) == f"Transition 1 reads {reads} and makes 32 channels."
    assert tab.locator(".living-read").count() == 3
    tab.keyboard.press("End")
    tab.keyboard.press("Enter")
    assert tab.locator(".living-pixel .living-title").text_content() == "One pixel of channel 7 of layer 2 of block 3"


def test_pixel_is_taken_apart_step_by_step(tab):
    tab.get_by_role("button", name="channel 2 of layer 2 of block 1").click()
    tab.get_by_role("spinbutton", name="row").fill("0")
    tab.get_by_role("spinbutton", name="column").fill("5")
    assert "It sees rows 0 to 3 and columns 2 to 8" in tab.locator(".living-pixel").inner_text()
    assert frame(tab) == (0, 3, 2, 8)
    step = tab.get_by_role("slider")
    step.focus()
    tab.keyboard.press("End")
    assert step.input_value() == "23"
    text = tab.locator(".living-pixel").inner_text()
    (value,) = re.findall(r"the map is (\S+?)\. ", text)
    assert f"together {value}." in text and "Number 24 of 24, channel 7 of layer 1 of block 1, adds" in text
    # Above the first row there is nothing to read.
    assert tab.locator(".living-windows td").all_text_contents()[:3] == ["·", "·", "·"]


def test_pointing_at_a_pixel_frames_its_receptive_field(tab):
    box = tab.get_by_role("button", name="channel 0 of transition 1").bounding_box()
    tab.get_by_role("button", name="channel 0 of transition 1").hover(
        position={"x": box["width"] * 7.5 / 14, "y": box["height"] * 3.5 / 14}
    )
    assert frame(tab) == (3, 10, 11, 18)


def test_each_question_has_a_setting(tab):
    totals = [total(tab)]
    for button in tab.locator(".living-presets button").all():
        button.click()
        assert status(tab).endswith(".")
        totals.append(total(tab))
    assert tab.locator(".living-off").count() == 0
    # 45 of 50 garments at first, 5 to 16 where something is off, and in the end, with everything on, 45 again.
    assert min(totals) < 20 and totals[-1] == totals[0] > 40


def answers(tab):
    """The lengths of the ten bars, in percent."""
    return [float(bar.get_attribute("width")) for bar in tab.locator(".living-now").all()]


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1440, 900)])
def test_landing_page_holds_the_network_in_its_first_screen_still_until_it_is_touched(width, height, open_page):
    tab = open_page("book/index")
    tab.set_viewport_size({"width": width, "height": height})
    for part in (".living-board", ".living-answers"):
        box = tab.locator(part).bounding_box()
        assert box["y"] > 0 and box["y"] + box["height"] <= height, part
    still = tab.locator("living-network").inner_html()
    tab.wait_for_timeout(300)
    assert tab.locator("living-network").inner_html() == still
    before = answers(tab)
    tab.get_by_role("application").tap(position={"x": 20, "y": 100})
    tab.wait_for_function("document.querySelector('.living-status').textContent.startsWith('The network says')")
    assert answers(tab) != before
    tab.get_by_role("button", name="Another garment").click()
    assert status(tab).endswith(" %, and it is a pullover.")


def test_source_of_one_block_that_is_off_changes_the_maps_of_its_readers_alone(open_page):
    tab = open_page("chapters/01_why_concatenate")
    maps, before = tab.evaluate(MAPS), answers(tab)
    tab.get_by_role("button", name="Switch off layer 1 of block 1").click()
    assert status(tab).startswith("Layer 1 of block 1 is off. The network says ") and answers(tab) != before
    changed = {name for name, map in tab.evaluate(MAPS).items() if map != maps[name]}
    assert len(maps) == 32 and changed == {f"channel {channel} of layer 2 of block 1" for channel in range(8)}
    tab.get_by_role("button", name="Switch everything on").click()
    assert tab.evaluate(MAPS) == maps and answers(tab) == before


def test_one_block_shows_what_its_layers_read_and_what_their_pixels_see(open_page):
    tab = open_page("chapters/02_the_dense_block")
    tab.locator(".living-map").first.focus()
    for _ in range(3):
        tab.keyboard.press("ArrowDown")
    parts = "16 of the stem and 8 of layer 1 of block 1,"
    assert status(tab) == f"Layer 2 of block 1 reads 24 channels, {parts} and makes 8 channels."
    assert tab.locator(".living-read").count() == 2
    tab.keyboard.press("Enter")
    assert status(tab).startswith("This is row 14, column 14 of channel 0 of layer 2 of block 1. It sees rows 11 to 17")
    assert frame(tab) == (11, 17, 11, 17)
    layer_1 = tab.get_by_role("button", name="channel 5 of layer 1 of block 1")
    box = layer_1.bounding_box()
    layer_1.tap(position={"x": box["width"] * 20.5 / 28, "y": box["height"] * 6.5 / 28})
    top, bottom, left, right = frame(tab)
    # A finger's place is told in whole pixels of the screen, each of which is nearly one of the map.
    assert (bottom - top, right - left) == (4, 4) and abs(top - 4) <= 1 and abs(left - 18) <= 1
    assert tab.locator(".living-network").get_by_role("checkbox").count() == 0


def test_answers_follow_the_sources_and_channels_of_block_3(open_page):
    tab = open_page("chapters/14_what_the_layers_reuse")
    everything, before = total(tab), answers(tab)
    tab.get_by_role("button", name="Switch off layer 1 of block 3").click()
    # 16 garments instead of 45.
    assert total(tab) < everything / 2 and answers(tab) != before
    tab.get_by_role("button", name="Switch off the input of block 3").click()
    # All garments get one name, which is that of five.
    assert total(tab) == 5 and tab.locator(".living-right", has_text="5").count() == 1
    tab.get_by_role("button", name="Switch everything on").click()
    channel = tab.get_by_role("button", name="channel 3 of layer 2 of block 3")
    channel.focus()
    tab.keyboard.press("Enter")
    assert status(tab).startswith("Channel 3 of layer 2 of block 3 is off. The network says ")
    assert channel.get_attribute("aria-pressed") == "false" and answers(tab) != before
    channel.tap()
    assert channel.get_attribute("aria-pressed") == "true" and answers(tab) == before


@pytest.mark.parametrize("page_with_network", PAGES)
def test_without_javascript_there_is_a_picture_and_a_sentence(page_with_network, browser, html):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((html / f"{page_with_network}.html").as_uri())
    assert "JavaScript" in tab.locator("living-network p").inner_text()
    shown = tab.locator("living-network").get_by_role("img")
    box = shown.bounding_box()
    width, height = shown.evaluate(BACKGROUND)
    assert box["width"] > 300 and abs(box["height"] / box["width"] - height / width) < 0.01
    context.close()


def test_picture_for_readers_without_javascript_is_not_loaded_for_others(browser, html):
    tab = browser.new_page()
    loaded = []
    tab.on("request", lambda request: loaded.append(request.url))
    tab.goto((html / "book/index.html").as_uri())
    assert any(url.endswith("numbers.js") or "numbers.js?" in url for url in loaded)
    assert not [url for url in loaded if "/living/" in url and ".png" in url]
    tab.close()
