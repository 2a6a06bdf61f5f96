"""Options of the tests, how they end a run, what they run over, how chapters are replayed, and the count of cells."""

# Before anything that imports MXNet, which reads the number of threads when it is imported.
import utils  # noqa: F401

# isort: split
import gc
import os
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest
from nbval.plugin import IPyNbCell

from tools import frameworks
from tools.cells import is_compared, replay_settings
from tools.contents import pages
from tools.environment import EnvironmentProblem

ROOT = Path(__file__).parent


@pytest.fixture(scope="session")
def end_run(request):
    """A function that ends the whole run with one sentence, where what many tests need is missing."""

    def end(sentence: str) -> NoReturn:
        # Not pytest.exit, at which pytest-xdist trips.
        request.session.shouldstop = sentence
        raise pytest.fail.Exception(sentence, pytrace=False) from None

    return end


def pytest_addoption(parser):
    parser.addoption("--chapters", type=Path, default=ROOT / "chapters", help="folder of the notebooks to check")
    parser.addoption("--book", type=Path, default=ROOT, help="folder of the _toc.yml and _build/html to check")


@cache
def why_no_frameworks() -> str:
    """Why the frameworks that a chapter imports cannot be had; empty if they are there, or could be installed."""
    try:
        frameworks.make()
    except EnvironmentProblem as error:
        return str(error)
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    # A kernel takes over the environment when its notebook's first cell is set up.
    if not isinstance(item, IPyNbCell):
        return (yield)
    if frameworks.are_imported(item.path.read_text()) and (reason := why_no_frameworks()):
        pytest.skip(reason)
    with patch.dict(os.environ, replay_settings(item.path)):
        return (yield)


def pytest_generate_tests(metafunc):
    if "chapter" in metafunc.fixturenames:
        folder = metafunc.config.option.chapters
        chapters = sorted({path.with_suffix("") for kind in ("md", "ipynb") for path in folder.glob(f"*.{kind}")})
        metafunc.parametrize("chapter", chapters, ids=[chapter.name for chapter in chapters])
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages(metafunc.config.option.book))
    if "chapter_page" in metafunc.fixturenames:
        chapters = [page for page in pages(metafunc.config.option.book) if page.startswith("chapters/")]
        metafunc.parametrize("chapter_page", chapters)


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, IPyNbCell):
            item.user_properties += [("chapter", item.path.stem), ("compared", is_compared(item.cell))]


def pytest_collection_finish():
    """Half of the time in which a page becomes a tree would go into a search for garbage among all that was there."""
    gc.freeze()
    gc.set_threshold(100_000)


def pytest_sessionfinish(session):
    """A test that is skipped protects nothing: where CI is set, it counts as failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if "CI" in os.environ and reporter and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    replayed, compared, tests = Counter(), Counter(), defaultdict(Counter)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if "chapter" not in (properties := dict(getattr(report, "user_properties", ()))):
                tests[str(Path(report.nodeid.partition("::")[0]).parent)][outcome] += 1
            elif outcome == "passed":
                replayed[properties["chapter"]] += 1
                compared[properties["chapter"]] += properties["compared"]
    terminalreporter.section("summary")
    for folder, outcomes in sorted(tests.items()):
        terminalreporter.line(f"{folder}: {', '.join(f'{number} {outcome}' for outcome, number in outcomes.items())}")
    for chapter in sorted(replayed):
        terminalreporter.line(line(chapter, replayed[chapter], compared[chapter]))
    if replayed:
        terminalreporter.line(line("all chapters", replayed.total(), compared.total()))
    if "CI" in os.environ and terminalreporter.stats.get("skipped"):
        terminalreporter.line("Tests were skipped, which counts as a failure where CI is set.")


def line(name: str, replayed: int, compared: int) -> str:
    return f"{name}: {replayed} cells replayed, {compared} of them with outputs compared"
