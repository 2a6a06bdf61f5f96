"""Try every external link of the rendered book, and note in links.txt on which day it last worked; `make links`."""

import datetime
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from bs4 import BeautifulSoup, SoupStrainer
from tqdm import tqdm

from tools.setup_cell import repository_address

LIST = Path(__file__).with_name("links.txt")
UNCHECKED = "unchecked"


def external_links(html: Path) -> set[str]:
    """The addresses that the text of the pages links to, but for the course's own repository."""
    articles = SoupStrainer("article")
    pages = [BeautifulSoup(page.read_text(), "html.parser", parse_only=articles) for page in html.glob("[bc]*/*.html")]
    links = {link["href"].partition("#")[0] for page in pages for link in page.select("a[href^=http]")}
    return {link for link in links if not link.startswith(repository_address())}


def read() -> dict[str, str]:
    """For each address of the list the day on which it last worked, or that nobody has tried it."""
    return {address: day for day, address in (line.split() for line in LIST.read_text().splitlines())}


def fault(address: str) -> str:
    """What is wrong with the link; nothing if it works."""
    try:
        with urlopen(Request(address, headers={"User-Agent": "Mozilla/5.0"}), timeout=20):
            return ""
    except HTTPError as error:
        return f"{error.code} {error.reason}"
    except (URLError, TimeoutError) as error:
        return str(getattr(error, "reason", error))


def try_all(links: Iterable[str], days: dict[str, str]) -> dict[str, str]:
    """The list with today's date at each link that works; prints the others."""
    tried = {}
    for address in tqdm(sorted(links), unit=" links"):
        wrong = fault(address)
        if wrong:
            tqdm.write(f"{address}: {wrong}")
        tried[address] = days.get(address, UNCHECKED) if wrong else datetime.date.today().isoformat()
        time.sleep(1)  # many of them share a host
    return tried


if __name__ == "__main__":
    days = try_all(external_links(Path("_build/html")), read())
    LIST.write_text("".join(f"{day} {address}\n" for address, day in days.items()))
    failed = sum(day != datetime.date.today().isoformat() for day in days.values())
    sys.exit(f"{failed} of {len(days)} links did not work today." if failed else None)
