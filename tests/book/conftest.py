"""The rendered book, and a browser to look at it; where one is missing, the run ends with one sentence."""

import pytest

from tools.browser import open_browser
from tools.contents import pages


def end_run(session, sentence):
    # Not pytest.exit, at which pytest-xdist trips.
    session.shouldstop = sentence
    raise pytest.fail.Exception(sentence, pytrace=False) from None


@pytest.fixture(scope="session")
def all_pages(pytestconfig):
    return pages(pytestconfig.option.book)


@pytest.fixture(scope="session")
def html(pytestconfig, request):
    folder = pytestconfig.option.book / "_build" / "html"
    if not folder.exists():
        end_run(request.session, f"There is no rendered book in {folder}: run `make book` first.")
    return folder


@pytest.fixture(scope="session")
def browser(request):
    try:
        with open_browser() as browser:
            yield browser
    except SystemExit as missing:
        end_run(request.session, str(missing))
