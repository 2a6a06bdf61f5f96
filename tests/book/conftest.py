"""The rendered book, and a browser to look at it."""

import pytest

from tools.browser import open_browser
from tools.contents import pages


@pytest.fixture(scope="session")
def all_pages(pytestconfig):
    return pages(pytestconfig.option.book)


@pytest.fixture(scope="session")
def html(pytestconfig):
    folder = pytestconfig.option.book / "_build" / "html"
    if not folder.exists():
        pytest.skip("no rendered book")
    return folder


@pytest.fixture(scope="session")
def browser():
    with open_browser() as browser:
        yield browser
