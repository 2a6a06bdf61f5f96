"""Every page cleaned up on its way out: light, without outside addresses, and accessible where the theme is not.

The theme loads all of Font Awesome for a dozen icons, and MathJax without mathematics; Jupyter Book adds Thebe, which
the course does not use. The rest gives HTML the meaning that it lacks for a screen reader. Elements are searched for by
name, since by a CSS selector a search takes five times as long. `_config.yml` names `CleanPages` as Sphinx's template
bridge.
"""

import gc
import re
from functools import cache
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from bs4 import BeautifulSoup
from sphinx.jinja2glue import BuiltinTemplateLoader

# Font Awesome Free's icons are licensed under CC BY 4.0; LICENSE-text and the page "How to use this course" credit it.
FONT_AWESOME = "theme/pydata_sphinx_theme/static/vendor/fontawesome/*/js/all.min.js"
ICON = re.compile(r'<(i|span) class="([^"]*?\bfa-(?!solid|brands|regular)([a-z-]+)[^"]*)"([^>]*)></\1>')
UNUSED_FILES = "fontawesome|thebe"
UNUSED_CODE = "THEBE_JS_URL|kernelName ="


@cache
def font_awesome_script() -> str:
    """Font Awesome's script with all of its icons, in the copy that the theme brings."""
    (script,) = Path(pydata_sphinx_theme.__file__).parent.glob(FONT_AWESOME)
    return script.read_text()


@cache
def icon_drawing(name: str) -> str:
    """The icon's view box and path as the inside of an `<svg>`; a solid icon comes last in Font Awesome's script."""
    drawings = re.findall(rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"\]', font_awesome_script())
    width, height, path = drawings[-1]
    return f'viewBox="0 0 {width} {height}" fill="currentColor"><path d="{path}"></path>'


def icon_as_svg(icon: re.Match[str]) -> str:
    """The `<svg>` in place of an element that `ICON` matched, with the element's classes and attributes."""
    _, classes, name, attributes = icon.groups()
    return f'<svg class="icon {classes}"{attributes} aria-hidden="true" {icon_drawing(name)}</svg>'


def remove_unused_files(soup: BeautifulSoup) -> None:
    """Take out the styles and scripts that the page loads and does not use."""
    files, code = UNUSED_FILES, UNUSED_CODE
    if not soup.find(class_="math"):
        files, code = f"{files}|mathjax", rf"{code}|window\.MathJax"
    for element in soup.find_all(["link", "script"]):
        address = element.get("href") or element.get("src") or ""
        if re.search(files, f"{address} {element.get('type', '')}") or (not address and re.search(code, element.text)):
            element.decompose()


def make_accessible(soup: BeautifulSoup) -> None:
    """Give elements the roles, names and classes by which a screen reader, a keyboard or the style knows them."""
    for element in soup.find_all("div", class_="sidebar-primary-items__start"):
        element["role"] = "banner"
    for element in soup.find_all("header", class_="bd-header"):
        element["role"] = "presentation"
    # Docutils makes a list whose children are no list items, with a role that ARIA 1.3 gave up.
    for element in soup.find_all("div", class_=["citation-list", "citation"]):
        del element["role"]
    # Boxes that scroll can be reached by keyboard: the theme's script sees to code, but not to tables.
    for element in soup.find_all("div", class_="pst-scrollable-table-container"):
        element["tabindex"] = "0"
    # The corner of a table heads nothing.
    for head in soup.find_all("th"):
        if not head.get_text(strip=True):
            head.name = "td"
    if quiz := soup.find("section", id="quiz"):
        for answer in quiz.find_all("details"):
            (summary,) = answer.find_all("summary")
            reply = answer.get_text().replace(summary.get_text(), "", 1).strip()
            answer["class"] = "right" if reply.startswith("Right.") else "wrong"
    # Sphinx-exercise gives the text of each exercise the same name.
    for text in soup.find_all("section", id=["exercise-content", "solution-content"]):
        del text["id"]
    # It begins the link of a solution with a space, which is underlined.
    for solution in soup.find_all("div", class_="solution"):
        for link in solution.select(":scope > .admonition-title > a"):
            link.string = link.get_text().strip()
            link.insert_before(" ")
    for element in soup.find_all("meta", attrs={"name": "viewport"})[1:]:
        element.decompose()


def clean_page(page: str) -> str:
    """The HTML of a whole page, cleaned up."""
    soup = BeautifulSoup(page, "html.parser")
    remove_unused_files(soup)
    make_accessible(soup)
    return ICON.sub(icon_as_svg, str(soup))


class CleanPages(BuiltinTemplateLoader):
    """Sphinx's template bridge: it renders as Sphinx does, and cleans up whole pages, but not the parts of a page."""

    def init(self, *arguments: Any, **options: Any) -> None:
        super().init(*arguments, **options)
        # A fifth of the build would go into searches for garbage among trees that are all in use.
        gc.set_threshold(100_000)

    def render(self, template: str, context: dict) -> str:  # type: ignore[override]  # as in Sphinx's own
        text = super().render(template, context)
        return clean_page(text) if "<html" in text else text
