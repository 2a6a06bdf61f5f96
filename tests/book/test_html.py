"""The HTML of each page is valid, by a strict parser; the check finds planted faults."""

import html5lib
import pytest


def invalid(page):
    """The errors of a strict parser: line, kind and details of each."""
    parser = html5lib.HTMLParser()
    parser.parse(page)
    return [(position[0], kind, details) for position, kind, details in parser.errors]


def test_html_is_valid(html, page):
    assert not invalid((html / f"{page}.html").read_text())


@pytest.mark.parametrize(
    "fault", ["<p><b>bold</p></b>", "<div>", "<img alt='a' alt='b'>", "<table><p></p></table>", "&nosuch;"]
)
def test_invalid_html_is_found(fault):
    page = "<!DOCTYPE html><html lang='en'><head><title>A page</title></head><body>{}</body></html>"
    assert invalid(page.format(fault)) and not invalid(page.format("<p>text</p>"))
