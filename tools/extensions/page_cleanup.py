"""Every page mended on its way out: light, without outside addresses, and accessible where the theme is not.

The theme loads all of Font Awesome for a dozen icons, and MathJax without mathematics; Jupyter Book adds Thebe, which
the course does not use. The rest gives HTML the meaning that it lacks for a screen reader.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from bs4 import BeautifulSoup

FONT_AWESOME = "theme/pydata_sphinx_theme/static/vendor/fontawesome/*/js/all.min.js"
ICON = re.compile(r'<(i|span) class="([^"]*?\bfa-(?!solid|brands|regular)([a-z-]+)[^"]*)"([^>]*)></\1>')
UNUSED = "[href*=fontawesome], [src*=fontawesome], [href*=thebe], [src*=thebe], [type*=thebe]"
UNUSED_CODE = ("THEBE_JS_URL", "kernelName =")


@cache
def font_awesome() -> str:
    (script,) = Path(pydata_sphinx_theme.__file__).parent.glob(FONT_AWESOME)
    return script.read_text()


@cache
def shape(icon: str) -> str:
    """The icon's view box and path, from Font Awesome's own script; solid icons come last in it."""
    found = re.findall(rf'[{{,]"?{icon}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"\]', font_awesome())
    width, height, path = found[-1]
    return f'viewBox="0 0 {width} {height}" fill="currentColor"><path d="{path}"></path>'


def drawn(match: re.Match) -> str:
    _, classes, icon, attributes = match.groups()
    return f'<svg class="icon {classes}"{attributes} aria-hidden="true" {shape(icon)}</svg>'


def lighten(soup: BeautifulSoup) -> None:
    for element in soup.select(UNUSED):
        element.decompose()
    for script in soup.select("script:not([src])"):
        if any(code in script.text for code in UNUSED_CODE):
            script.decompose()
    if not soup.select_one(".math"):
        for script in soup.select("script"):
            if "mathjax" in script.get("src", "") or "window.MathJax" in script.text:
                script.decompose()


def clarify(soup: BeautifulSoup) -> None:
    for element in soup.select(".sidebar-primary-items__start"):
        element["role"] = "banner"
    for element in soup.select("header.bd-header"):
        element["role"] = "presentation"
    # Docutils makes a list whose children are no list items, with a role that ARIA 1.3 gave up.
    for element in soup.select(".citation-list, .citation"):
        del element["role"]
    # Boxes that scroll can be reached by keyboard: the theme's script sees to code, but not to tables.
    for element in soup.select(".pst-scrollable-table-container"):
        element["tabindex"] = "0"
    # The corner of a table heads nothing.
    for head in soup.select("th"):
        if not head.get_text(strip=True):
            head.name = "td"
    for answer in soup.select("#quiz details"):
        reply = answer.get_text().replace(answer.summary.get_text(), "", 1).strip()
        answer["class"] = "right" if reply.startswith("Right.") else "wrong"
    # Sphinx-exercise gives the text of each exercise the same name.
    for text in soup.select("#exercise-content, #solution-content"):
        del text["id"]
    # It begins the link of a solution with a space, which is underlined.
    for link in soup.select(".solution > .admonition-title > a"):
        link.string.replace_with(link.string.strip())
        link.insert_before(" ")
    for element in soup.select("meta[name=viewport] ~ meta[name=viewport]"):
        element.decompose()


def mend(page: str) -> str:
    soup = BeautifulSoup(page, "html.parser")
    lighten(soup)
    clarify(soup)
    return ICON.sub(drawn, str(soup))


def mend_pages(app) -> None:
    """The theme renders parts of a page by the same method; only whole pages are mended."""
    render = app.builder.templates.render

    def render_and_mend(template: str, context: dict[str, Any]) -> str:
        text = render(template, context)
        return mend(text) if "<html" in text else text

    app.builder.templates.render = render_and_mend


def setup(app) -> dict[str, bool]:
    app.connect("builder-inited", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
