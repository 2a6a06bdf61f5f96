"""What a release hands out: the book as a PDF and as an archive."""

import errno
import random
import re
import resource
import shutil
import subprocess
import sys
from ctypes import c_int, create_string_buffer
from pathlib import Path
from zipfile import ZipFile

import pypdfium2.raw as pdfium
import pytest
import yaml
from pypdfium2 import PdfDocument

from tools.archive import FOLDER, write_archive
from tools.pdf import parse, print_book, target

ROOT = Path(__file__).parents[2]
PAGE = """<!DOCTYPE html><html><head><title>B</title><script src="{mathjax}"></script></head><body>
<nav class="bd-links"><a class="internal" href="#">B</a></nav>
<article class="bd-article"><h1>B</h1>{text}</article></body></html>"""


@pytest.fixture(
    scope="module",
    params=[pytest.param(4, id="every fourth page"), pytest.param(1, id="the whole book", marks=pytest.mark.all_hosts)],
)
def book(request, html, all_pages, tmp_path_factory):
    """The folder of a rendered book and its pages: the first, and those that its menu still leads to."""
    folder = tmp_path_factory.mktemp("book") / "html"
    shutil.copytree(html, folder)
    book_pages = [folder / f"{page}.html" for page in all_pages[:: request.param]]
    first = parse(book_pages[0])
    for entry in first.select("nav.bd-links a.internal"):
        if target(book_pages[0], entry["href"]) not in book_pages:
            entry.decompose()
    book_pages[0].write_text(str(first))
    return folder, book_pages


@pytest.fixture(scope="module")
def path(book, browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("pdf") / "densenet.pdf"
    print_book(browser, book[0], path)
    return path


@pytest.fixture(scope="module")
def source(path):
    """What was printed, in HTML."""
    return parse(path.with_suffix(".html"))


@pytest.fixture(scope="module")
def pdf(path):
    with PdfDocument(path) as document:
        yield document


@pytest.fixture(scope="module")
def paper(pdf):
    """The pages of the PDF, which take time to read."""
    return list(pdf)


@pytest.fixture(scope="module")
def articles(book):
    """What each page says, as rendered for the screen, but for what the PDF leaves out on purpose."""
    _, book_pages = book
    texts = [parse(page).select_one("article.bd-article") for page in book_pages]
    for page, text in zip(book_pages, texts, strict=True):
        for clutter in text.select("script, .headerlink, .toctree-wrapper"):
            clutter.decompose()
        for link in text.select("a.internal"):
            if target(page, link["href"]) not in book_pages:
                link.unwrap()
    return texts


@pytest.fixture(scope="module")
def shown(paper):
    """The text of the PDF without its white space, which differs with every line that wraps."""
    return "".join("".join(sheet.get_textpage().get_text_range().split()) for sheet in paper)


def destinations(pdf, sheet):
    """Where each link leads: the index of a page of the PDF, or an address, which is empty if it leads nowhere."""
    position, link, address = c_int(), pdfium.FPDF_LINK(), create_string_buffer(2048)
    while pdfium.FPDFLink_Enumerate(sheet, position, link):
        if place := pdfium.FPDFLink_GetDest(pdf, link):
            yield pdfium.FPDFDest_GetDestPageIndex(pdf, place)
        else:
            address.value = b""
            pdfium.FPDFAction_GetURIPath(pdf, pdfium.FPDFLink_GetAction(link), address, len(address))
            yield address.value.decode()


def test_bookmarks_of_the_pdf_name_every_part_and_page_in_order(html, pdf, articles):
    toc = yaml.safe_load((html.parent.parent / "_toc.yml").read_text())
    first, *others = (text.h1.get_text() for text in articles)
    captions = [part["caption"] for part in toc["parts"]]
    bookmarks = [(bookmark.level, bookmark.get_title()) for bookmark in pdf.get_toc()]
    # Before the first part are the headings of the first page.
    of_parts = bookmarks[bookmarks.index((0, captions[0])) :]
    assert [title for level, title in bookmarks if level == 0] == [first, *captions]
    assert [title for level, title in of_parts if level == 1] == others


def test_links_of_the_pdf_stay_inside_it_or_lead_to_the_web(pdf, paper, source, articles):
    links = [destination for sheet in paper for destination in destinations(pdf, sheet)]
    inside = [link for link in links if isinstance(link, int)]
    outside = {link.rstrip("/") for link in links if isinstance(link, str)}
    of_the_book = [link["href"] for text in articles for link in text.select("a.internal, a.external")]
    web = {link.rstrip("/") for link in of_the_book if re.match("https?://", link)}
    anchors = {f"#{element['id']}" for element in source.select("[id]")}
    # Chromium drops a link without an anchor. A link that wraps is two. Inside the whole book are 636.
    assert {link["href"] for link in source.select("a[href^='#']")} <= anchors
    assert len(inside) >= len(source.select("a[href^='#']")) >= len(of_the_book) - len(web) > 30
    assert outside >= web and all(address.startswith(("http://", "https://")) for address in outside)


def test_every_formula_of_the_pdf_is_typeset(source, shown):
    formulas = [formula.get_text().strip()[2:-2] for formula in source.select("span.math")]
    commands = {command for formula in formulas for command in re.findall(r"\\[a-z]{2,}", formula)}
    plain = [formula for formula in formulas if not re.search(r"[\\^_{}]", formula)]
    assert commands and plain
    assert not [raw for raw in (r"\(", r"\[", *commands) if raw in shown]
    assert not [formula for formula in plain if "".join(formula.split()).replace("-", "\N{MINUS SIGN}") not in shown]


def test_pdf_shows_every_figure_every_cell_and_every_answer(paper, source, articles, shown):
    images = [image for sheet in paper for image in sheet.get_objects([pdfium.FPDF_PAGEOBJ_IMAGE])]
    assert len(images) >= sum(len(text.select("img")) for text in articles) > 0
    texts = source.select(".cell_input pre, .solution .admonition-title, .details > p")
    lost = [
        text.get_text() for text in texts if not text.select(".math") and "".join(text.get_text().split()) not in shown
    ]
    assert texts and not lost


def test_book_wider_than_the_paper_is_not_printed(html, browser, tmp_path):
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=b.html">')
    mathjax = (html / "_static" / "mathjax" / "tex-chtml.js").resolve().as_uri()
    for width, fits in ((600, True), (700, False)):
        text = f'<div style="width: {width}px">wide</div>'
        (tmp_path / "b.html").write_text(PAGE.format(mathjax=mathjax, text=text))
        if fits:
            print_book(browser, tmp_path, tmp_path / "b.pdf")
        else:
            with pytest.raises(SystemExit, match="wider than the paper"):
                print_book(browser, tmp_path, tmp_path / "b.pdf")


def test_pdf_that_cannot_be_written_leaves_the_old_one(html, browser, tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=b.html">')
    mathjax = (html / "_static" / "mathjax" / "tex-chtml.js").resolve().as_uri()
    (tmp_path / "b.html").write_text(PAGE.format(mathjax=mathjax, text=""))
    (tmp_path / "b.pdf").write_text("the old one")
    write_bytes = Path.write_bytes

    def write_to_a_full_disk(path, content):
        if not content.startswith(b"%PDF"):
            return write_bytes(path, content)
        write_bytes(path, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_to_a_full_disk)
    with pytest.raises(OSError) as raised:
        print_book(browser, tmp_path, tmp_path / "b.pdf")
    assert raised.value.filename == str(tmp_path / "b.pdf")
    assert (tmp_path / "b.pdf").read_text() == "the old one"


def test_pdf_without_a_browser_says_what_to_install(tmp_path):
    environment = {"PYTHONPATH": ".", "PATH": "", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "tools.pdf"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and "install chromium" in run.stderr and run.stderr.count("\n") == 1, run.stderr


def test_archive_that_cannot_be_written_leaves_the_old_one_and_is_named(tmp_path):
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "page.html").write_bytes(random.Random(0).randbytes(5000))
    (tmp_path / "_build" / "html.zip").write_text("the old one")
    run = subprocess.run(
        [sys.executable, "-m", "tools.archive"],
        cwd=tmp_path,
        # A module compiled under this limit would be cut short as well.
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("_build/html.zip cannot be written (File too large)") and run.stderr.count("\n") == 1
    assert {path.name for path in (tmp_path / "_build").iterdir()} == {"html", "html.zip"}
    assert (tmp_path / "_build" / "html.zip").read_text() == "the old one"


def test_archive_opens_from_any_folder_and_holds_every_page(html, browser, all_pages, tmp_path):
    write_archive(html, tmp_path / "html.zip")
    folder = tmp_path / "a folder" / FOLDER
    with ZipFile(tmp_path / "html.zip") as archive:
        archive.extractall(folder.parent)
    assert [path.name for path in folder.parent.iterdir()] == [FOLDER]
    assert not [page for page in all_pages if not (folder / f"{page}.html").is_file()]
    page, failed = browser.new_page(), []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto((folder / "index.html").as_uri())
    page.wait_for_url(f"**/{all_pages[0]}.html")
    page.click("nav.bd-links a[href$='02_the_dense_block.html']")
    page.wait_for_selector("article mjx-container")
    page.close()
    assert not failed


def test_same_book_makes_the_same_archive(html, tmp_path):
    for name in ("a", "b"):
        write_archive(html, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
