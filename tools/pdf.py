"""The rendered book as one PDF: its pages one after the other, printed by Chromium; `make pdf` runs this."""

import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser

from tools.browser import open_browser

STYLE = Path(__file__).with_suffix(".css")
# A table, a formula or an output that is wider than the paper shrinks until it fits.
SHRINK = """() => {
  for (const wide of document.querySelectorAll("table, pre, mjx-container[display]")) {
    const room = wide.parentElement.clientWidth;
    if (wide.scrollWidth > room) wide.style.zoom = (room - 8) / wide.scrollWidth;
  }
  return document.documentElement.scrollWidth <= innerWidth;
}"""


def parse(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(), "html.parser")


def target(page: Path, link: str) -> Path:
    """The file that a relative link on `page` leads to."""
    path = unquote(urlsplit(link).path)
    return (page.parent / path).resolve() if path else page


def load_from_anywhere(page: Path, element: Tag) -> None:
    for tag in element.select("[src], link[href]"):
        key = "src" if tag.get("src") else "href"
        if not urlsplit(tag[key]).scheme:
            tag[key] = target(page, tag[key]).as_uri()


def article(page: Path, anchor_of: dict[Path, str], level: int) -> Tag:
    """The text of `page`, its headings at `level` and below, its anchors and links changed to those of one file."""
    text = parse(page).select_one("article.bd-article")
    for clutter in text.select("script, .headerlink, .toctree-wrapper, details.hide > summary"):
        clutter.decompose()
    load_from_anywhere(page, text)
    for element in text.select("[id]"):
        element["id"] = f"{anchor_of[page]}/{element['id']}"
    text["id"] = anchor_of[page]
    for summary in text.select("summary"):
        summary.name, summary["class"] = "p", "summary"
    for details in text.select("details"):
        details.name, details["class"] = "div", ["details", *details.get("class", [])]
    for heading in text.select("h1, h2, h3, h4"):
        heading.name = f"h{int(heading.name[1]) + level - 1}"
    for link in text.select("a[href]"):
        linked, parts = target(page, link["href"]), urlsplit(link["href"])
        if not parts.scheme and linked in anchor_of:
            link["href"] = "#" + "/".join(filter(None, (anchor_of[linked], parts.fragment)))
        elif not parts.scheme:
            link.unwrap()
    return text


def mathjax(pages: Iterable[Path]) -> list[Tag]:
    """The scripts of the first page that has mathematics: the others do without."""
    for page in pages:
        head = parse(page).head
        load_from_anywhere(page, head)
        scripts = [tag for tag in head.select("script") if "MathJax" in tag.text or "mathjax" in tag.get("src", "")]
        if scripts:
            return scripts
    return []


def one_page(html: Path) -> BeautifulSoup:
    """The whole book: the first page as the title, the contents, then the parts in the order of the navigation."""
    refresh = parse(html / "index.html").select_one("meta[http-equiv=Refresh]")
    root = html / refresh["content"].partition("url=")[2]
    book = parse(root)
    entries = [entry.extract() for entry in book.select("nav.bd-links .caption-text, nav.bd-links a.internal")]
    anchor_of = {
        page: page.relative_to(html).with_suffix("").as_posix()
        for page in (target(root, entry["href"].removeprefix("#")) for entry in entries if entry.name == "a")
    }
    credit = [line.extract() for line in book.select("footer .component-author, footer .copyright")]
    for script in book.head.select("script, link[rel=preload]"):
        script.decompose()
    load_from_anywhere(root, book.head)
    book.head.extend(mathjax(anchor_of))
    book.head.append(book.new_tag("link", rel="stylesheet", href=STYLE.as_uri()))
    book.html["data-theme"] = "light"
    book.body.clear()
    book.title.string = entries[0].get_text(strip=True)

    title = article(root, anchor_of, level=1)
    title.h1.insert_after(*credit)
    contents = book.new_tag("nav", id="contents")
    contents.extend(entries[1:])
    book.body.extend([title, contents])
    for entry in entries[1:]:
        if entry.name == "a":
            page = target(root, entry["href"])
            entry["href"] = f"#{anchor_of[page]}"
            book.body.append(article(page, anchor_of, level=2))
        else:
            book.body.append(book.new_tag("h1", string=entry.get_text()))
    anchors = {element["id"] for element in book.select("[id]")}
    for link in book.select("a[href^='#']"):
        if link["href"][1:] not in anchors:  # a setting of the explorer
            link["href"] = link["href"].rpartition("/")[0]
    return book


def print_book(browser: Browser, html: Path, pdf: Path) -> None:
    source = pdf.with_suffix(".html").resolve()
    source.write_text(str(one_page(html.resolve())))
    # As wide as the text on the paper.
    page = browser.new_page(viewport={"width": 665, "height": 900}, color_scheme="light")
    page.emulate_media(media="print")
    page.goto(source.as_uri())
    page.evaluate("MathJax.startup.promise")
    if not page.evaluate(SHRINK):
        sys.exit(f"Something in the book is wider than the paper: find it in {source}, and give it a width in {STYLE}.")
    page.pdf(path=pdf, outline=True, tagged=True, prefer_css_page_size=True, print_background=True)
    page.close()


if __name__ == "__main__":
    with open_browser() as browser:
        print_book(browser, Path("_build/html"), Path("_build/densenet.pdf"))
    print(Path("_build/densenet.pdf").resolve())
