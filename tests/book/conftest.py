"""The rendered book, and a browser to look at it; where one is missing, the run ends with one sentence."""

from pathlib import Path

import pytest

from tools.browser import open_browser
from tools.contents import pages

STATIC = Path(__file__).parents[2] / "book" / "_static"


@pytest.fixture(scope="session")
def all_pages(pytestconfig):
    return pages(pytestconfig.option.book)


@pytest.fixture(scope="session")
def html(pytestconfig, end_run):
    folder = pytestconfig.option.book / "_build" / "html"
    if not folder.exists():
        end_run(f"There is no rendered book in {folder}: run `make book` first.")
    return folder


@pytest.fixture(scope="session")
def browser(end_run):
    try:
        with open_browser() as browser:
            yield browser
    except SystemExit as missing:
        end_run(str(missing))


@pytest.fixture(scope="session")
def drill_scripts(browser):
    """An empty page with the scripts of the practice page that need no page."""
    tab = browser.new_page()
    for script in ("elements.js", "explorer/cost.js", "explorer/drills.js"):
        tab.add_script_tag(path=STATIC / script)
    yield tab
    tab.close()
