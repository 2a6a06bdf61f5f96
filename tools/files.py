"""Files that are there whole or not at all."""

import os
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
