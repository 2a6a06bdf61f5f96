"""The pages of the book, in the order of its table of contents."""

from pathlib import Path

import yaml


def pages(book: Path) -> list[str]:
    """The pages that the `_toc.yml` in the folder `book` names, at any depth, as paths without a suffix."""
    return pages_below(yaml.safe_load((book / "_toc.yml").read_text()))


def pages_below(entry: dict | list | str) -> list[str]:
    """The pages that a part of a table of contents names, at any depth."""
    names: list[str] = []
    if isinstance(entry, list):
        for part in entry:
            names += pages_below(part)
    elif isinstance(entry, dict):
        for key in ("root", "file"):
            if key in entry:
                names.append(entry[key])
        for part in entry.values():
            names += pages_below(part)
    return names
