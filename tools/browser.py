"""Chromium, for the tests of the rendered book and for its PDF; `python -m tools.browser` sees that there is one."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from tools.system_packages import BROWSERS

INSTALL = (sys.executable, "-m", "playwright", "install", "chromium")
NO_BROWSER = (
    "There is no Chromium: type `sudo apt-get install chromium-headless-shell`, "
    "or `.venv/bin/python -m playwright install chromium`."
)


def find_chromium(playwright: Playwright) -> str | None:
    """The path of the system's Chromium or Chrome, or of the Chromium that Playwright's installer has brought."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A Chromium without a window. Raises `SystemExit` with one sentence where there is none, or none that starts."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            sys.exit(NO_BROWSER)
        try:
            browser = playwright.chromium.launch(executable_path=path)
        except Error as error:
            # What the browser printed itself, if it did.
            reason = (error.message.partition("[err] ")[2] or error.message).splitlines()[0]
            sys.exit(f"{path} does not start ({reason}): type `sudo apt-get install chromium-headless-shell`.")
        yield browser
        browser.close()


def main() -> None:
    """Fetch Chromium with Playwright's installer where there is none; end with one sentence where that fails."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
    if path is None:
        print("Fetching Chromium, once (about 200 MB)", flush=True)
        if subprocess.run(INSTALL, capture_output=True).returncode:
            sys.exit(NO_BROWSER)
    with open_browser():
        pass


if __name__ == "__main__":
    main()
