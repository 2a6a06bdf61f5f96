"""Every page cleaned up on its way out: light, without outside addresses, and accessible where the theme is not.

The theme loads all of Font Awesome for a dozen icons, and MathJax without mathematics; Jupyter Book adds Thebe, which
the course does not use. The rest gives HTML the meaning that it lacks for a screen reader. `_config.yml` names
`CleanPages` as Sphinx's template bridge.
"""

import re
from functools import cache
from pathlib import Path

import pydata_sphinx_theme
from bs4 import BeautifulSoup
from sphinx.jinja2glue import BuiltinTemplateLoader

# Font Awesome Free's icons are licensed under CC BY 4.0; LICENSE-text and the page "How to use this course" credit it.
FONT_AWESOME = "theme/pydata_sphinx_theme/static/vendor/fontawesome/*/js/all.min.js"
ICON = re.compile(r'<(i|span) class="([^"]*?\bfa-(?!solid|brands|regular)([a-z-]+)[^"]*)"([^>]*)></\1>')
UNUSED_ELEMENTS = (
    "link[href*=fontawesome]",
    "script[src*=fontawesome]",
    "[href*=thebe]",
    "[src*=thebe]",
    "[type*=thebe]",
)
UNUSED_CODE = ("THEBE_JS_URL", "kernelName =")


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
    elements, code = list(UNUSED_ELEMENTS), list(UNUSED_CODE)
    if not soup.select_one(".math"):
        elements.append("script[src*=mathjax]")
        code.append("window.MathJax")
    for element in soup.select(", ".join(elements)):
        element.decompose()
    for script in soup.select("script:not([src])"):
        if any(fragment in script.text for fragment in code):
            script.decompose()


def make_accessible(soup: BeautifulSoup) -> None:
    """Give elements the roles, names and classes by which a screen reader, a keyboard or the style knows them."""
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
        (summary,) = answer.select("summary")
        reply = answer.get_text().replace(summary.get_text(), "", 1).strip()
        answer["class"] = "right" if reply.startswith("Right.") else "wrong"
    # Sphinx-exercise gives the text of each exercise the same name.
    for text in soup.select("#exercise-content, #solution-content"):
        del text["id"]
    # It begins the link of a solution with a space, which is underlined.
    for link in soup.select(".solution > .admonition-title > a"):
        link.string = link.get_text().strip()
        link.insert_before(" ")
    for element in soup.select("meta[name=viewport] ~ meta[name=viewport]"):
        element.decompose()


def clean_page(page: str) -> str:
    """The HTML of a whole page, cleaned up."""
    soup = BeautifulSoup(page, "html.parser")
    remove_unused_files(soup)
    make_accessible(soup)
    return ICON.sub(icon_as_svg, str(soup))


class CleanPages(BuiltinTemplateLoader):
    """Sphinx's template bridge: it renders as Sphinx does, and cleans up whole pages, but not the parts of a page."""

    def render(self, template: str, context: dict) -> str:  # type: ignore[override]  # as in Sphinx's own
        text = super().render(template, context)
        return clean_page(text) if "<html" in text else text
