"""One missing tool is one message: without a browser, or without a rendered book, a run ends at its first test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXECUTABLE = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


@pytest.fixture
def python(tmp_path):
    """Runs Python with these arguments, where no program is found and Playwright has brought no browser."""
    environment = os.environ | {"PATH": "", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*arguments):
        return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("tests", "processes", "sentence"),
    [("test_explorer", 2, "There is no Chromium: type"), ("test_html", 0, "There is no rendered book in")],
)
def test_run_that_lacks_something_ends_with_one_sentence(tests, processes, sentence, python, tmp_path):
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    options = ["-p", "no:cacheprovider", f"--numprocesses={processes}", f"--book={tmp_path}"]
    run = python("-m", "pytest", *options, f"tests/book/{tests}.py")
    assert run.returncode == pytest.ExitCode.INTERRUPTED, run.stdout
    assert f"Interrupted: {sentence}" in run.stdout
    errors = [line for line in run.stdout.splitlines() if line.startswith("ERROR tests/")]
    assert 1 <= len(errors) <= max(1, processes), run.stdout


def test_chromium_that_playwright_brought_is_found_and_one_that_does_not_start_says_why(python):
    executable = Path(python("-c", EXECUTABLE).stdout.strip())
    executable.parent.mkdir(parents=True)
    executable.write_text("#!/bin/sh\necho 'cannot open libnss3.so' >&2; exit 127\n")
    executable.chmod(0o755)
    run = python("-m", "tools.browser")
    assert run.returncode == 1
    assert run.stderr.startswith(f"{executable} does not start (cannot open libnss3.so): type"), run.stderr
    assert run.stderr.count("\n") == 1
