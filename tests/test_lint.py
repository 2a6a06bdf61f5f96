"""Spelling of all text, and validity of each page's HTML; each check finds a planted fault."""

import subprocess
import sys
from pathlib import Path

import html5lib
import pytest

ROOT = Path(__file__).parent.parent
TEXT = ("*.md", "*.py", "*.js", "*.css", "*.yml", "*.toml", "Makefile", ".ci/run")


def misspelled(*paths):
    """What codespell says of the files, a line a word; `nd` is a module of MXNet."""
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list=nd", *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


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
    (tmp_path / "page.md").write_text("The transition halves the chanels.\n")
    assert "channels" in misspelled(tmp_path)


def test_html_is_valid(html, page):
    assert not invalid((html / f"{page}.html").read_text())


@pytest.mark.parametrize(
    "fault", ["<p><b>bold</p></b>", "<div>", "<img alt='a' alt='b'>", "<table><p></p></table>", "&nosuch;"]
)
def test_invalid_html_is_found(fault):
    page = "<!DOCTYPE html><html lang='en'><head><title>A page</title></head><body>{}</body></html>"
    assert invalid(page.format(fault)) and not invalid(page.format("<p>text</p>"))
