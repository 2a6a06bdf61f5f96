"""Every page of the book in Chromium, without a network: whole, readable by everyone, and light, in both themes.

A page is loaded once; `visit` looks at it in every way, and each test asks one question of what it saw.
"""

import gzip
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

WIDTHS = (360, 768, 1440)
# By name, because axe-core has further tags for rules of older guidelines and for experiments.
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OUTSIDE = re.compile("^(?!file:|data:|blob:)")
FOUND_BY = {
    "growth rate": {"chapters/02_the_dense_block", "chapters/12_the_family"},
    "memory": {"chapters/09_measuring_memory", "chapters/10_memory_efficient_densenet"},
    "transition": {"chapters/03_the_transition_block"},
}

UNFOLD = """() => {
  document.querySelectorAll('details').forEach(details => { details.name = ''; details.open = true; });
  document.querySelectorAll('.toggle-button[aria-expanded=false]').forEach(button => button.click());
  document.getAnimations().forEach(animation => animation.finish());
}"""
# Most of the time would go into the contrast of thousands of words: two of each colour and size on each ground stay.
THIN_OUT = """selector => {
  const seen = {};
  const isRepeated = element => {
    const style = getComputedStyle(element), kind = [style.color, style.fontSize, style.fontWeight];
    for (let box = element; box; box = box.parentElement) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(box);
      kind.push(backgroundColor, backgroundImage, opacity);
    }
    return (seen[kind] = (seen[kind] ?? 0) + 1) > 2;
  };
  const isText = node => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const words = [...document.querySelectorAll(selector)].filter(element => [...element.childNodes].some(isText));
  for (const element of words.filter(isRepeated)) {
    [...element.childNodes].filter(isText).forEach(text => text.remove());
    // Without its cells a table would not be one.
    if (!element.childElementCount && !element.matches('td, th')) element.remove();
  }
}"""
CODE_AND_CELLS = ".highlight pre span, td, td p"
MATHEMATICS = """() => {
  const raw = element => !element.querySelector('mjx-container') && (element.innerText || element.id);
  const prose = document.querySelector('article').cloneNode(true);
  prose.querySelectorAll('pre, code, script, mjx-container').forEach(element => element.remove());
  return {
    unrendered: [...document.querySelectorAll('.math')].filter(raw).map(element => element.outerHTML),
    errors: [...document.querySelectorAll('mjx-merror')].map(element => element.innerText),
    tex: prose.textContent.match(/\\\\[([]|\\$[^$\\n]+\\$|\\\\(frac|times|sum|cdot|begin)\\b/g) || [],
  };
}"""
BROKEN = """async () => {
  await document.fonts.ready;
  const isEmpty = icon => { const box = icon.getBBox(); return icon.checkVisibility() && !(box.width && box.height); };
  return [
    ...[...document.fonts].filter(font => font.status === 'error').map(font => font.family),
    ...[...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
    ...[...document.querySelectorAll('svg.icon')].filter(isEmpty).map(icon => icon.outerHTML),
    ...[...document.querySelectorAll('i[class*="fa-"], span[class*="fa-"]')].map(icon => icon.outerHTML),
  ];
}"""
# A box that scrolls sideways must take the focus, or hold something that does.
SIDEWAYS = """() => {
  const scrolls = box => box.scrollWidth > box.clientWidth + 1 && box.checkVisibility({ visibilityProperty: true })
    && ['auto', 'scroll'].includes(getComputedStyle(box).overflowX);
  const isReached = box => [box, ...box.querySelectorAll('a[href], button, input, summary, [tabindex]')]
    .some(element => element.tabIndex >= 0);
  return {
    page: document.documentElement.scrollWidth - window.innerWidth,
    unreached: [...document.querySelectorAll('main *')].filter(box => scrolls(box) && !isReached(box))
      .map(box => box.outerHTML.slice(0, 200)),
  };
}"""
DARK_GROUNDS = """() => [...document.querySelectorAll('article img')].filter(image => {
  const [red, green, blue, alpha = 1] = getComputedStyle(image).backgroundColor.match(/[\\d.]+/g).map(Number);
  return alpha < 1 || Math.min(red, green, blue) < 200;
}).map(image => image.src)"""
# What has the focus is noted when the next key is pressed: then all that its focus sets off is over. Nothing has it at
# the beginning, and once more where the link past the menus has led.
NOTE_STOPS = """() => {
  window.walk = { stops: [], isOver: false };
  addEventListener('keydown', () => {
    if (walk.isOver) return;
    document.getAnimations().forEach(animation => animation.finish());
    const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (element === document.body) walk.isOver = walk.stops.length > 1;
    else walk.stops.push({
      element: element.outerHTML.slice(0, 200),
      text: element.innerText,
      inMain: Boolean(element.closest('main')),
      shown: (style.outlineStyle !== 'none' && style.outlineWidth !== '0px') || style.boxShadow !== 'none',
      inView: box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0
        && box.top < window.innerHeight && box.left < window.innerWidth,
    });
  }, true);
}"""
TAB_STOPS_AT_MOST = 1000


@pytest.fixture(scope="session")
def context(browser):
    with browser.new_context(reduced_motion="reduce") as context:
        context.set_offline(True)
        context.route(OUTSIDE, lambda route: route.abort())
        context.add_init_script(store_theme("light"))
        yield context


@pytest.fixture(scope="session")
def visit(html, context, all_pages):
    @cache
    def visit(page):
        tab = context.new_page()
        tab.clock.install()
        tab.set_viewport_size({"width": 1440, "height": 900})
        seen = {"requests": set(), "errors": []}
        tab.on("request", lambda request: seen["requests"].add(request.url))
        tab.on("requestfailed", lambda request: seen["errors"].append(f"{request.url}: {request.failure}"))
        tab.on("pageerror", lambda error: seen["errors"].append(str(error)))
        tab.on("console", lambda message: message.type == "error" and seen["errors"].append(message.text))
        tab.goto((html / f"{page}.html").resolve().as_uri())
        tab.evaluate("window.MathJax && MathJax.startup.promise")
        seen["mathematics"] = tab.evaluate(MATHEMATICS)
        seen["broken"] = tab.evaluate(BROKEN)
        seen["focus"] = focus_path(tab, skips=page != all_pages[0])
        tab.evaluate(UNFOLD)
        seen["sideways"] = {width: sideways(tab, width) for width in reversed(WIDTHS)}
        tab.evaluate(THIN_OUT, CODE_AND_CELLS)
        seen["violations"] = violations(tab, rules=without("color-contrast", "link-in-text-block"))
        tab.set_viewport_size({"width": max(WIDTHS), "height": 900})
        seen["violations"] += violations(tab, rules=without("color-contrast"))
        tab.evaluate(THIN_OUT, "body *")
        seen["violations"] += violations(tab, runOnly=["color-contrast"])
        choose_dark_theme(tab)
        seen["dark grounds"] = tab.evaluate(DARK_GROUNDS)
        # The theme changes only colours.
        seen["dark violations"] = violations(tab, runOnly=["color-contrast"])
        tab.close()
        return seen

    return visit


@pytest.fixture
def seen(visit, page):
    return visit(page)


def store_theme(theme):
    """A script that stores what the theme's button stores when a reader chooses."""
    return f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"


def choose_dark_theme(tab):
    """Press the page's button, which goes from the light theme by way of the system's to the dark one."""
    button = tab.locator(".theme-switch-button").first
    button.click()
    button.click()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.evaluate("document.getAnimations().forEach(animation => animation.finish())")


def sideways(tab, width):
    """What is wider than a window of this width."""
    tab.set_viewport_size({"width": width, "height": 900})
    wide = tab.evaluate(SIDEWAYS)
    if wide["unreached"]:
        # A box that scrolls becomes one that takes the focus 300 milliseconds after a change of the layout.
        tab.clock.fast_forward(400)
        wide = tab.evaluate(SIDEWAYS)
    return wide


def without(*rules):
    return {rule: {"enabled": False} for rule in rules}


def violations(tab, **options):
    # Scrolled, the page's bar covers a part of some button, which axe-core takes for too small.
    tab.evaluate("scrollTo(0, 0)")
    axe = Axe("") if tab.evaluate("'axe' in window") else Axe()
    found = axe.run(tab, options={"resultTypes": ["violations"], "runOnly": STANDARDS, "preload": False} | options)
    return [
        f"{rule['id']}: {node['html'][:300]} {node['failureSummary']}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]


def focus_path(tab, skips):
    """What the Tab key leads to until it leaves the page at the bottom; what `skips` takes the link past the menus."""
    # Half of a step's time would go into painting.
    tab.evaluate("document.documentElement.style.opacity = 0")
    tab.evaluate(NOTE_STOPS)
    tab.keyboard.down("Tab")
    if skips:
        tab.keyboard.press("Enter")
    for _ in range(TAB_STOPS_AT_MOST // 20):
        for _ in range(20):
            tab.keyboard.down("Tab")
        if tab.evaluate("walk.isOver"):
            break
    tab.keyboard.up("Tab")
    # The last keys may have gone on at the top, where the link past the menus, once focused, covers a button.
    tab.evaluate("document.activeElement.blur(); document.documentElement.style.opacity = ''")
    return tab.evaluate("walk.stops")


@cache
def file_of(address):
    return Path(unquote(urlsplit(address).path))


@cache
def sizes(path):
    """Bytes on the disk, and as a server such as GitHub Pages sends them."""
    content = path.read_bytes()
    packed = len(gzip.compress(content)) if path.suffix in {".html", ".css", ".js", ".svg"} else len(content)
    return len(content), packed


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_comes_up_in_the_theme_that_a_reader_chose(html, browser, all_pages, theme):
    with browser.new_context() as context:
        context.add_init_script(store_theme(theme))
        tab = context.new_page()
        tab.goto((html / f"{all_pages[0]}.html").resolve().as_uri())
        assert tab.evaluate("document.documentElement.dataset.theme") == theme


def test_page_asks_for_nothing_outside_the_book(seen):
    outside = [address for address in seen["requests"] if OUTSIDE.match(address)]
    assert not outside


def test_page_has_no_error(seen):
    assert not seen["errors"]


def test_fonts_icons_and_images_load(seen):
    assert not seen["broken"]


def test_mathematics_is_rendered(seen):
    assert not any(seen["mathematics"].values()), seen["mathematics"]


def test_no_violation_of_accessibility(seen):
    assert not seen["violations"], "\n\n".join(seen["violations"])


def test_colours_contrast_in_the_dark_theme(seen):
    assert not seen["dark violations"], "\n\n".join(seen["dark violations"])


@pytest.mark.parametrize("width", WIDTHS)
def test_page_never_scrolls_sideways_and_boxes_that_do_can_be_reached(seen, width):
    wide = seen["sideways"][width]
    assert wide["page"] <= 0, f"{wide['page']} pixels too wide"
    assert not wide["unreached"], wide["unreached"]


def test_figures_keep_a_light_ground_in_the_dark_theme(seen):
    assert not seen["dark grounds"]


def test_tab_key_leads_through_the_whole_page(seen, page, all_pages):
    path = seen["focus"]
    assert path[0]["text"] == "Skip to main content"
    skips = page != all_pages[0]
    assert path[1]["inMain"] == skips, f"{path[1]['element']} comes after the first stop"
    # The first page's menu leads to all; the fewest that a page has besides are 13.
    least = 10 if skips else len(all_pages)
    assert least < len(path) < TAB_STOPS_AT_MOST, f"{len(path)} stops: something keeps the focus"
    hidden = [stop["element"] for stop in path if not (stop["shown"] and stop["inView"])]
    assert not hidden, "\n".join(["the focus cannot be seen on", *hidden])


def test_page_is_light(seen, page, all_pages):
    files = {file_of(address) for address in seen["requests"] if address.startswith("file:")}
    plain, packed = map(sum, zip(*map(sizes, files), strict=True))
    limit = 1_000_000 if page == all_pages[0] else 3_000_000
    largest = sorted(((sizes(path)[0], path.name) for path in files), reverse=True)[:5]
    assert plain < limit, f"{plain:,} bytes, {packed:,} as sent with gzip; the largest: {largest}"


@pytest.mark.parametrize("words", FOUND_BY)
def test_search_finds_the_chapters(html, context, words):
    tab = context.new_page()
    tab.goto((html / "search.html").resolve().as_uri() + f"?q={words.replace(' ', '+')}")
    tab.wait_for_selector("#search-results ul.search li a")
    tab.wait_for_function("document.querySelector('#search-results .search-summary, #search-results p')?.innerText")
    links = tab.eval_on_selector_all("#search-results ul.search li a", "links => links.map(link => link.href)")
    found = {file_of(link).relative_to(html.resolve()).with_suffix("").as_posix() for link in links}
    assert found >= FOUND_BY[words]
    assert not violations(tab)
    tab.close()


def test_solution_opens_and_closes_by_keyboard(html, context, all_pages):
    chapter = next(page for page in all_pages if page.startswith("chapters/"))
    tab = context.new_page()
    tab.goto((html / f"{chapter}.html").resolve().as_uri())
    solution = tab.locator(".solution.dropdown").first
    button, text = solution.get_by_role("button").first, solution.locator("section").first
    assert not text.is_visible()
    button.focus()
    for key, state in (("Enter", "true"), ("Space", "false")):
        tab.keyboard.press(key)
        assert button.get_attribute("aria-expanded") == state
        assert text.is_visible() == (state == "true")
    tab.close()


def test_term_shows_its_definition_on_hover_and_on_focus_until_escape(html, context):
    tab = context.new_page()
    tab.goto((html / "chapters/03_the_transition_block.html").resolve().as_uri())
    term = tab.locator("a[href$='#term-compression']")
    shown = "link => getComputedStyle(link, '::after').content"
    assert term.evaluate(shown) == "none"
    for act in (term.hover, lambda: (tab.mouse.move(0, 0), term.focus())):
        act()
        assert "share of the channels" in term.evaluate(shown)
        tab.keyboard.press("Escape")
        assert term.evaluate(shown) == "none"
    tab.close()


def test_planted_faults_are_found(context):
    tab = context.new_page()
    requests = []
    tab.on("request", lambda request: requests.append(request.url))
    picture = "<img src='https://example.org/x.png' style='width: 3000px'>"
    faint = "<p class='math' style='color: #ddd'>faint</p>"
    tab.set_content(f"<html lang='en'><title>Faults</title><main><h1>Faults</h1>{picture}{faint}</main>")
    assert any(OUTSIDE.match(request) for request in requests)
    assert any(violation.startswith("image-alt") for violation in violations(tab))
    assert [violation.split(":")[0] for violation in violations(tab, runOnly=["color-contrast"])] == ["color-contrast"]
    assert tab.evaluate(SIDEWAYS)["page"] > 0
    tab.close()
