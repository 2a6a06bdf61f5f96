"""The rendered book as one PDF: its pages one after the other, printed by Chromium; `make pdf` runs this."""

import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser

from tools.browser import open_browser
from tools.files import exit_if_unwritten, write_whole

HTML, PDF = Path("_build/html"), Path("_build/densenet.pdf")
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


def only(element: BeautifulSoup | Tag, selector: str) -> Tag:
    """The first element that matches. Raises `ValueError` where there is none: the theme has changed."""
    match = element.select_one(selector)
    if match is None:
        raise ValueError(f"The page has no {selector}.")
    return match


def attribute(element: Tag, name: str) -> str:
    """An attribute that HTML does not split into a list; empty if the element has none of this name."""
    return str(element.get(name, ""))


def target(page: Path, link: str) -> Path:
    """The file that a relative link on `page` leads to."""
    path = unquote(urlsplit(link).path)
    return (page.parent / path).resolve() if path else page


def make_links_absolute(page: Path, element: BeautifulSoup | Tag) -> None:
    """Let the files that `element` of `page` loads be found from any folder."""
    for tag in element.select("[src], link[href]"):
        key = "src" if tag.get("src") else "href"
        if not urlsplit(attribute(tag, key)).scheme:
            tag[key] = target(page, attribute(tag, key)).as_uri()


def article(page: Path, anchor_of: dict[Path, str], level: int) -> Tag:
    """The text of `page`, its headings at `level` and below, its anchors and links changed to those of one file."""
    text = only(parse(page), "article.bd-article")
    for clutter in text.select("script, .headerlink, .toctree-wrapper, details.hide > summary"):
        clutter.decompose()
    make_links_absolute(page, text)
    for element in text.select("[id]"):
        element["id"] = f"{anchor_of[page]}/{element['id']}"
    text["id"] = anchor_of[page]
    for summary in text.select("summary"):
        summary.name = "p"
        summary["class"] = "summary"
    for details in text.select("details"):
        details.name = "div"
        details["class"] = " ".join(["details", *(details.get("class") or [])])
    for heading in text.select("h1, h2, h3, h4"):
        heading.name = f"h{int(heading.name[1]) + level - 1}"
    for link in text.select("a[href]"):
        address = urlsplit(attribute(link, "href"))
        linked_page = target(page, attribute(link, "href"))
        if address.scheme:
            continue
        if linked_page not in anchor_of:
            link.unwrap()
        elif address.fragment:
            link["href"] = f"#{anchor_of[linked_page]}/{address.fragment}"
        else:
            link["href"] = f"#{anchor_of[linked_page]}"
    return text


def mathjax(pages: Iterable[Path]) -> list[Tag]:
    """The scripts of the first page that has mathematics: the others do without."""
    for page in pages:
        head = only(parse(page), "head")
        make_links_absolute(page, head)
        scripts = [tag for tag in head.select("script") if "MathJax" in tag.text or "mathjax" in attribute(tag, "src")]
        if scripts:
            return scripts
    return []


def one_page(html: Path) -> BeautifulSoup:
    """The whole book: the first page as the title, the contents, then the parts in the order of the navigation."""
    refresh = only(parse(html / "index.html"), "meta[http-equiv=Refresh]")
    root = html / attribute(refresh, "content").partition("url=")[2]
    book = parse(root)
    first, *entries = [entry.extract() for entry in book.select("nav.bd-links .caption-text, nav.bd-links a.internal")]
    pages = [root] + [target(root, attribute(entry, "href")) for entry in entries if entry.name == "a"]
    anchor_of = {page: page.relative_to(html).with_suffix("").as_posix() for page in pages}
    credit = [line.extract() for line in book.select("footer .component-author, footer .copyright")]
    head, body = only(book, "head"), only(book, "body")
    for script in head.select("script, link[rel=preload]"):
        script.decompose()
    make_links_absolute(root, head)
    head.extend(mathjax(pages))
    head.append(book.new_tag("link", rel="stylesheet", href=STYLE.as_uri()))
    only(head, "title").string = first.get_text(strip=True)
    only(book, "html")["data-theme"] = "light"

    title = article(root, anchor_of, level=1)
    only(title, "h1").insert_after(*credit)
    contents = book.new_tag("nav", id="contents")
    contents.extend(entries)
    body.clear()
    body.extend([title, contents])
    for entry in entries:
        if entry.name == "a":
            page = target(root, attribute(entry, "href"))
            entry["href"] = f"#{anchor_of[page]}"
            body.append(article(page, anchor_of, level=2))
        else:
            body.append(book.new_tag("h1", string=entry.get_text()))
    anchors = {attribute(element, "id") for element in book.select("[id]")}
    for link in book.select("a[href^='#']"):
        anchor = attribute(link, "href")
        if anchor[1:] not in anchors:  # a setting of the explorer, a set of drills
            link["href"] = anchor.rpartition("/")[0]
    return book


def print_book(browser: Browser, html: Path, pdf: Path) -> None:
    """Print the book in the folder `html` on A4.

    Raises `SystemExit` if something in the book is wider than the paper, and `OSError`, with an older PDF left as it
    was, where the PDF cannot be written.
    """
    source = pdf.with_suffix(".html").resolve()
    write_whole(source, str(one_page(html.resolve())))
    # As wide as the text on the paper.
    page = browser.new_page(viewport={"width": 665, "height": 900}, color_scheme="light")
    page.emulate_media(media="print")
    # On a busy machine, the mathematics of the whole book takes more than the 30 seconds that Playwright waits.
    page.goto(source.as_uri(), timeout=300_000)
    page.evaluate("MathJax.startup.promise")
    if not page.evaluate(SHRINK):
        sys.exit(f"Something in the book is wider than the paper: find it in {source}, and give it a width in {STYLE}.")
    write_whole(pdf, page.pdf(outline=True, tagged=True, prefer_css_page_size=True, print_background=True))
    page.close()


def main() -> None:
    with exit_if_unwritten(), open_browser() as browser:
        print_book(browser, HTML, PDF)
    print(PDF.resolve())


if __name__ == "__main__":
    main()
