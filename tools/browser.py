"""Chromium, for the tests of the rendered book and for its PDF."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's Chromium or Chrome; ends the program with one sentence where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        sys.exit("No Chromium found: install one (`apt install chromium`), then run this again.")
    with sync_playwright() as playwright:
        # Chromium refuses to run as root inside its own sandbox.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()
