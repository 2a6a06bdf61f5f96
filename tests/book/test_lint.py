"""Spelling, prose, HTML of each page, the list of external links; each check finds a planted fault."""

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import html5lib
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook

from tools import links

ROOT = Path(__file__).parents[2]
TEXT = ("*.md", "*.py", "*.js", "*.css", "*.yml", "*.toml", "Makefile", ".ci/run")


def misspelled(*paths):
    """What codespell says of the files, a line a word; `nd` is a module of MXNet."""
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list=nd", *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def badly_said(folder):
    """What proselint says of the files in a folder, a line a remark."""
    # It takes multiply-adds for an adverb. The quotes that Sphinx makes curly are not asked for in code.
    off = {"misc.phrasal_adjectives.ly": False, "typography.symbols.curly_quotes": False}
    config = folder.with_suffix(".json")
    config.write_text(json.dumps({"checks": off}))
    command = [sys.executable, "-m", "proselint", "check", "--config", config, folder]
    return subprocess.run(command, capture_output=True, text=True).stdout


def sentences(page):
    """A page's paragraphs and captions without code and formulas, a mark after each: they do not run on."""
    article = BeautifulSoup(page, "html.parser").select_one("article.bd-article")
    for other in article.select("pre, code, .math, table, .citation"):
        other.replace_with("…")
    texts = [" ".join(text.get_text().split()) for text in article.select("p, figcaption, dd")]
    return "\n\n".join(f"{text} ∎" for text in texts)


def invalid(page):
    """The errors of a strict parser: line, kind and details of each."""
    parser = html5lib.HTMLParser()
    parser.parse(page)
    return [(position[0], kind, details) for position, kind, details in parser.errors]


def test_words_are_spelled_right():
    listed = subprocess.run(["git", "ls-files", *TEXT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(listed.stdout.split()) > 50
    assert not misspelled(*listed.stdout.split())


def test_misspelled_word_is_found(tmp_path):
    (tmp_path / "page.md").write_text("The transition halves the channels.\n".replace("nn", "n"))
    assert "channels" in misspelled(tmp_path)


def test_prose_repeats_no_word_and_has_no_cliche(html, all_pages, tmp_path):
    for page in all_pages:
        (tmp_path / f"{page.replace('/', '-')}.md").write_text(sentences((html / f"{page}.html").read_text()))
    assert not badly_said(tmp_path)


def test_bad_prose_is_found(tmp_path):
    (tmp_path / "page.md").write_text("A block block grows. At the end of the day, that is very large.")
    remarks = badly_said(tmp_path)
    assert all(kind in remarks for kind in ("lexical_illusions", "cliches", "weasel_words")), remarks


@pytest.mark.parametrize(("code", "command"), [("import os", "check"), ("x = {1 : 2}", "format --check")])
def test_fault_in_the_code_of_a_notebook_is_found(code, command, tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), tmp_path / "chapter.ipynb")
    run = [sys.executable, "-m", "ruff", *command.split(), "--config", ROOT / "pyproject.toml", tmp_path]
    assert "chapter.ipynb" in subprocess.run(run, capture_output=True, text=True).stdout


def test_html_is_valid(html, page):
    assert not invalid((html / f"{page}.html").read_text())


@pytest.mark.parametrize(
    "fault", ["<p><b>bold</p></b>", "<div>", "<img alt='a' alt='b'>", "<table><p></p></table>", "&nosuch;"]
)
def test_invalid_html_is_found(fault):
    page = "<!DOCTYPE html><html lang='en'><head><title>A page</title></head><body>{}</body></html>"
    assert invalid(page.format(fault)) and not invalid(page.format("<p>text</p>"))


def test_list_of_links_names_every_external_link_of_the_book_and_no_other(html):
    assert set(links.read()) == links.external_links(html), "book/links.txt is stale: run `make links`"


def test_external_link_of_a_page_is_found(tmp_path):
    text = "<article><a href='https://example.org/#a'>there</a><a href='b.html'>here</a></article>"
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.html").write_text(f"<a href='https://menu.org'>menu</a>{text}")
    assert links.external_links(tmp_path) == {"https://example.org/"}


def test_broken_link_keeps_its_old_date_and_a_working_one_gets_todays(tmp_path, capsys):
    (tmp_path / "page.html").write_text("here")
    with ThreadingHTTPServer(("localhost", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        works, broken = (f"http://localhost:{server.server_port}/{name}.html" for name in ("page", "gone"))
        days = links.try_all([works, broken], {broken: "2026-01-01", works: links.UNCHECKED})
        server.shutdown()
    assert days[broken] == "2026-01-01" and days[works] > "2026-01-01"
    assert f"{broken}: 404" in capsys.readouterr().out
