"""Options of the tests, what they run over, and the count of replayed cells at the end."""

# Before anything that imports MXNet, which reads the number of threads when it is imported.
import utils  # noqa: F401

# isort: split
from collections import Counter
from pathlib import Path

import pytest
import yaml
from nbval.plugin import IPyNbCell

from book.browser import open_browser
from tests.notebooks import is_compared

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser):
    parser.addoption("--chapters", type=Path, default=ROOT / "chapters", help="folder of the notebooks to check")
    parser.addoption("--book", type=Path, default=ROOT, help="folder of the _toc.yml and _build/html to check")


def pytest_generate_tests(metafunc):
    if "chapter" in metafunc.fixturenames:
        folder = metafunc.config.option.chapters
        chapters = sorted({path.with_suffix("") for kind in ("md", "ipynb") for path in folder.glob(f"*.{kind}")})
        metafunc.parametrize("chapter", chapters, ids=[chapter.name for chapter in chapters])
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages(metafunc.config))
    if "chapter_page" in metafunc.fixturenames:
        chapters = [page for page in pages(metafunc.config) if page.startswith("chapters/")]
        metafunc.parametrize("chapter_page", chapters)


def pages(config) -> list[str]:
    return pages_of(yaml.safe_load((config.option.book / "_toc.yml").read_text()))


@pytest.fixture(scope="session")
def all_pages(pytestconfig):
    return pages(pytestconfig)


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


def pages_of(toc) -> list[str]:
    """The pages that a table of contents names, at any depth."""
    if isinstance(toc, list):
        return [page for entry in toc for page in pages_of(entry)]
    if isinstance(toc, dict):
        own = [toc[key] for key in ("root", "file") if key in toc]
        return own + [page for value in toc.values() for page in pages_of(value)]
    return []


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, IPyNbCell):
            item.user_properties += [("chapter", item.path.stem), ("compared", is_compared(item.cell))]


def pytest_terminal_summary(terminalreporter):
    replayed, compared = Counter(), Counter()
    for report in terminalreporter.stats.get("passed", []):
        properties = dict(report.user_properties)
        if report.when == "call" and "chapter" in properties:
            replayed[properties["chapter"]] += 1
            compared[properties["chapter"]] += properties["compared"]
    if replayed:
        terminalreporter.section("replayed notebooks")
        for chapter in sorted(replayed):
            terminalreporter.line(line(chapter, replayed[chapter], compared[chapter]))
        terminalreporter.line(line("total", replayed.total(), compared.total()))


def line(name: str, replayed: int, compared: int) -> str:
    return f"{name}: {replayed} cells replayed, {compared} of them with outputs compared"
