"""How heavy are the pages of the course, and how soon are they there, beside the same pages made two other ways?

The peers are Jupyter Book with its default settings, and Sphinx with the theme of Dive into Deep Learning. All are made
here of the same sources, served compressed, and loaded in Chromium with an empty cache on what Lighthouse takes for a
phone: 1.6 Mbit/s, 150 ms, a processor slowed 4 times. Requests to other hosts are blocked and counted. The sides take
turns. Prints two Markdown tables, and how long the living network takes for one answer.
"""

import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser

from tools.browser import open_browser
from utils.runtime import machine

ROOT = Path(__file__).parent.parent
ROUNDS = 3
COURSE, JUPYTER_BOOK, SPHINX = "the course", "Jupyter Book, default settings", "Sphinx, theme of d2l"
SPHINX_PACKAGES = ("mxtheme==0.3.17", "sphinxcontrib-jquery==4.1")
NETWORK = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
PAGES = {"landing page": "book/index", "mathematics": "chapters/08_counting_parameters", "tables": "book/status"}
JUPYTER_BOOK_CONFIG = """
only_build_toc_files: true
execute: {execute_notebooks: "off"}
bibtex_bibfiles: [book/references.bib]
sphinx: {extra_extensions: [sphinx_exercise]}
"""
SPHINX_CONFIG = """
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


# Medians of 50 forward passes over different garments, in milliseconds.
FORWARD = """() => {
  const network = LivingNetwork.build(LIVING_NUMBERS);
  const times = LivingNetwork.garments(LIVING_NUMBERS).map(({ picture }) => {
    const start = performance.now();
    LivingNetwork.forward(network, picture);
    return performance.now() - start;
  });
  return times.sort((a, b) => a - b)[times.length / 2];
}"""
# Most milliseconds that an answer may take on a processor slowed so many times.
FORWARD_LIMITS = {1: 50, 4: 300}


class Compressed(SimpleHTTPRequestHandler):
    """Serves text files that lie compressed on the disk."""

    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        if self.path.partition("?")[0].endswith(TEXT):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def build(folder: Path) -> dict[str, Path]:
    """Make the book in each way, its text files compressed; return the folders of the pages, by who made them."""
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    books = {
        COURSE: folder / "course" / "_build" / "html",
        JUPYTER_BOOK: folder / "stock" / "_build" / "html",
        SPHINX: folder / "d2l",
    }
    jupyter_book = [Path(sys.executable).with_name("jupyter-book"), "build", "--quiet"]
    run([*jupyter_book, ROOT, "--path-output", folder / "course"])
    sources = folder / "sources"
    shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(".*", "_build", "[01]*.md"))
    (sources / "_config.yml").write_text(JUPYTER_BOOK_CONFIG)
    run([*jupyter_book, sources, "--path-output", folder / "stock"])
    (sources / "conf.py").write_text(SPHINX_CONFIG)
    uv = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    run([uv, "pip", "install", "--quiet", "--no-deps", "--target", folder / "packages", *SPHINX_PACKAGES])
    environment = os.environ | {"PYTHONPATH": str(folder / "packages")}
    run([sys.executable, "-m", "sphinx", "-q", sources, books[SPHINX]], env=environment)
    for book in books.values():
        for path in book.rglob("*"):
            if path.suffix in TEXT:
                path.write_bytes(gzip.compress(path.read_bytes()))
    return books


def load(browser: Browser, address: str) -> Counter[str]:
    """Load a page as a phone would.

    Returns its bytes by kind, all of them as `sent` and `unpacked`, the numbers of requests answered and `blocked`, and
    what `OBSERVE` saw: times in seconds, and `blocking`, the seconds beyond 50 ms of the tasks after the first paint.
    """
    page = browser.new_page(
        viewport={"width": 412, "height": 823}, device_scale_factor=1.75, is_mobile=True, has_touch=True
    )
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
    tasks = seen.pop("tasks")
    measured: Counter[str] = Counter(seen)
    measured["blocking"] = sum(seconds - 0.05 for start, seconds in tasks if start >= seen["first"])
    measured["blocked"] = len({url for url, _, _ in files if url.startswith("https:")})
    for url, sent, unpacked in files:
        if not url.startswith("https:"):
            measured["requests"] += 1
            measured["sent"] += sent
            measured["unpacked"] += unpacked
            measured[KINDS.get(Path(urlsplit(url).path).suffix, "other")] += sent
    return measured


def serve(folder: Path) -> str:
    """Serve a folder from now on; return the address."""
    server = ThreadingHTTPServer(("localhost", 0), partial(Compressed, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://localhost:{server.server_port}"


def print_sizes(loads: dict[tuple[str, str], list[Counter[str]]]) -> None:
    """Print what each page weighs, in kB, from its first load: the others are alike."""
    print("| kB as sent | | HTML | style | script | font | image | all | unpacked | requests | blocked |")
    print("|---" * 11 + "|")
    for (page, maker), rounds in loads.items():
        first = rounds[0]
        sizes = [first[key] / 1e3 for key in ("HTML", "style", "script", "font", "image", "sent", "unpacked")]
        cells = [f"{size:.0f}" for size in sizes]
        print(f"| {page} | {maker} | {' | '.join(cells)} | {first['requests']} | {first['blocked']} |")


def print_times(loads: dict[tuple[str, str], list[Counter[str]]]) -> None:
    """Print the medians over the rounds; `ratio` is that of the largest paint to the course's in the same round."""
    print("| | | first paint, s | largest paint, s | ratio | blocking, s | layout shift |\n" + "|---" * 7 + "|")
    for (page, maker), rounds in loads.items():
        ratios = [
            measured["largest"] / course["largest"]
            for measured, course in zip(rounds, loads[page, COURSE], strict=True)
        ]
        medians = {
            key: statistics.median(measured[key] for measured in rounds)
            for key in ("first", "largest", "blocking", "shift")
        }
        medians["ratio"] = statistics.median(ratios)
        cells = [f"{medians[key]:.2f}" for key in ("first", "largest", "ratio", "blocking", "shift")]
        print(f"| {page} | {maker} | {' | '.join(cells)} |")


def print_forward_times(browser: Browser, address: str) -> None:
    """Print how long the living network takes for one answer, and how long it may."""
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    page.goto(address)
    for slowed, limit in FORWARD_LIMITS.items():
        session.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        speed = f"on a processor slowed {slowed} times" if slowed > 1 else "at full speed"
        print(f"An answer of the living network takes {page.evaluate(FORWARD):.0f} ms {speed}, and may take {limit}.")
    page.close()


def main() -> None:
    """Make the books, load their pages in turn, and print the tables."""
    loads: dict[tuple[str, str], list[Counter[str]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        addresses = {maker: serve(book) for maker, book in build(Path(folder)).items()}
        for _, page, maker in product(range(ROUNDS), PAGES, addresses):
            loads[page, maker].append(load(browser, f"{addresses[maker]}/{PAGES[page]}.html"))
        print_sizes(loads)
        print(f"\nOn {machine()}, as a phone:\n")
        print_times(loads)
        print(f"\nOn {machine()}:\n")
        print_forward_times(browser, f"{addresses[COURSE]}/book/living_network.html")


if __name__ == "__main__":
    main()
