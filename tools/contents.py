"""The pages of the book, in the order of its table of contents."""

from pathlib import Path

import yaml


def pages(book: Path) -> list[str]:
    """The pages that the `_toc.yml` in the folder `book` names, at any depth."""
    return pages_below(yaml.safe_load((book / "_toc.yml").read_text()))


def pages_below(entry: dict | list | str) -> list[str]:
    """The pages that a part of a table of contents names, at any depth."""
    if isinstance(entry, list):
        return [page for child in entry for page in pages_below(child)]
    if isinstance(entry, dict):
        own = [entry[key] for key in ("root", "file") if key in entry]
        return own + [page for child in entry.values() for page in pages_below(child)]
    return []
