"""How heavy are the pages of the course, and how soon are they there, beside the same pages made two other ways?

The peers are Jupyter Book with its default settings, and Sphinx with the theme of Dive into Deep Learning. All are made
here of the same sources, served compressed, and loaded in Chromium with an empty cache on what Lighthouse takes for a
phone: 1.6 Mbit/s, 150 ms, a processor slowed 4 times. Requests to other hosts are blocked and counted. The sides take
turns. Prints two Markdown tables.
"""

import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser

from tools.browser import open_browser
from utils.runtime import machine

ROOT = Path(__file__).parent.parent
ROUNDS, THEME = 3, ("mxtheme==0.3.17", "sphinxcontrib-jquery==4.1")
NETWORK = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
PHONE = dict(viewport={"width": 412, "height": 823}, device_scale_factor=1.75, is_mobile=True, has_touch=True)
PAGES = {"landing page": "book/index", "mathematics": "chapters/07_counting_parameters", "tables": "book/status"}
JUPYTER_BOOK = """
only_build_toc_files: true
execute: {execute_notebooks: "off"}
bibtex_bibfiles: [book/references.bib]
sphinx: {extra_extensions: [sphinx_exercise]}
"""
SPHINX = """
extensions = ["sphinx_external_toc", "myst_nb", "sphinx_exercise", "sphinxcontrib.bibtex", "sphinxcontrib.jquery"]
external_toc_exclude_missing = True
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "dollarmath"]
bibtex_bibfiles = ["book/references.bib"]
html_theme = "mxtheme"
from docutils.parsers.rst.directives.admonitions import Note
setup = lambda app: app.add_directive("margin", Note)
"""
# What the browser sees: when it paints, how far the page shifts, tasks of over 50 ms, in which the page cannot answer.
OBSERVE = """
window.seen = {first: 0, largest: 0, shift: 0, tasks: []};
const watch = (type, see) =>
  new PerformanceObserver(list => list.getEntries().forEach(see)).observe({type, buffered: true});
watch("paint", entry => { if (entry.name == "first-contentful-paint") seen.first = entry.startTime / 1e3; });
watch("largest-contentful-paint", entry => { seen.largest = entry.startTime / 1e3; });
watch("longtask", entry => { seen.tasks.push([entry.startTime / 1e3, entry.duration / 1e3]); });
watch("layout-shift", entry => { seen.shift += entry.value; });
window.files = () => ["navigation", "resource"].flatMap(type => performance.getEntriesByType(type)).map(
  file => [file.name, file.transferSize, file.decodedBodySize]);
"""
TEXT = (".html", ".css", ".js", ".svg")
KINDS = {".html": "HTML", ".css": "style", ".js": "script", ".woff2": "font", ".png": "image", ".svg": "image"}


class Compressed(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        if self.path.partition("?")[0].endswith(TEXT):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def build(folder: Path) -> dict[str, Path]:
    """Make the book in each way; return the folders of the pages."""
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    sources, jupyter_book = folder / "sources", [Path(sys.executable).with_name("jupyter-book"), "build", "--quiet"]
    shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(".*", "_build", "[01]*.md"))
    (sources / "_config.yml").write_text(JUPYTER_BOOK)
    run([*jupyter_book, ROOT, "--path-output", folder / "course"])
    run([*jupyter_book, sources, "--path-output", folder / "stock"])
    (sources / "conf.py").write_text(SPHINX)
    uv = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    run([uv, "pip", "install", "--quiet", "--no-deps", "--target", folder / "theme", *THEME])
    environment = os.environ | {"PYTHONPATH": str(folder / "theme")}
    run([sys.executable, "-m", "sphinx", "-q", sources, folder / "d2l"], env=environment)
    books = [folder / "course" / "_build" / "html", folder / "stock" / "_build" / "html", folder / "d2l"]
    for path in (path for book in books for path in book.rglob("*") if path.suffix in TEXT):
        path.write_bytes(gzip.compress(path.read_bytes()))
    return dict(zip(("the course", "Jupyter Book, default settings", "Sphinx, theme of d2l"), books, strict=True))


def load(browser: Browser, address: str) -> Counter[str]:
    """Load a page; return its bytes by kind and what `OBSERVE` saw."""
    page = browser.new_page(**PHONE)
    page.add_init_script(OBSERVE)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setBlockedURLs", {"urls": ["https://*"]})
    session.send("Network.emulateNetworkConditions", NETWORK)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.goto(address, wait_until="networkidle", timeout=120_000)
    page.wait_for_function("seen.largest")
    page.wait_for_timeout(3000)  # formulas are set when the rest is there
    seen, files = page.evaluate("[seen, files()]")
    page.close()
    blocking = sum(took - 0.05 for start, took in seen.pop("tasks") if start >= seen["first"])
    elsewhere = {url for url, *_ in files if url.startswith("https:")}
    taken = Counter(seen | {"blocking": blocking, "blocked": len(elsewhere)})
    for url, transferred, unpacked in files:
        if url not in elsewhere:
            taken.update({"requests": 1, KINDS.get(Path(urlsplit(url).path).suffix, "other"): transferred})
            taken.update(sent=transferred, unpacked=unpacked)
    return taken


def main() -> None:
    loads = {}
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        books = build(Path(folder))
        servers = {
            name: ThreadingHTTPServer(("localhost", 0), partial(Compressed, directory=books[name])) for name in books
        }
        for server in servers.values():
            threading.Thread(target=server.serve_forever, daemon=True).start()
        for _, page, name in product(range(ROUNDS), PAGES, books):
            address = f"http://localhost:{servers[name].server_port}/{PAGES[page]}.html"
            loads.setdefault((page, name), []).append(load(browser, address))
    print("| kB as sent | | HTML | style | script | font | image | all | unpacked | requests | blocked |")
    print("|---" * 11 + "|")
    for (page, name), (one, *_) in loads.items():
        sizes = (one[key] / 1e3 for key in ("HTML", "style", "script", "font", "image", "sent", "unpacked"))
        print(f"| {page} | {name} |", *(f"{size:.0f} |" for size in sizes), f"{one['requests']} | {one['blocked']} |")
    print(f"\nOn {machine()}, as a phone:\n")
    print("| | | first paint, s | largest paint, s | ratio | blocking, s | layout shift |\n" + "|---" * 7 + "|")
    for (page, name), rounds in loads.items():
        for one, course in zip(rounds, loads[page, "the course"], strict=True):
            one["ratio"] = one["largest"] / course["largest"]
        columns = [[one[key] for one in rounds] for key in ("first", "largest", "ratio", "blocking", "shift")]
        print(f"| {page} | {name} |", *(f"{statistics.median(column):.2f} |" for column in columns))


if __name__ == "__main__":
    main()
