"""Files that are there whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it, so that a full disk or an interruption leaves the old one.

    Raises `OSError` with the path as its `filename`.
    """
    part = path.with_name(f".{os.getpid()}.{get_ident()}")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def exit_if_unwritten() -> Iterator[None]:
    """End the program with one sentence if `write_whole` cannot write a file."""
    try:
        yield
    except OSError as error:
        sys.exit(f"{error.filename} cannot be written ({error.strerror}), and is as it was: mend that, then try again.")
