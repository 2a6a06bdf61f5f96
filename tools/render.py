"""Render the book from the committed notebooks: `make book` runs this."""

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "_build"
STRICT = ("--quiet", "-W", "-n", "--keep-going")
# What a program prints when it cannot write, and what to do then.
CANNOT_WRITE = {
    "No space left on device": "free 200 MB",
    "Permission denied": "remove it, or make it yours",
    "Read-only file system": "clone the course into a folder of your own",
}


def render() -> None:
    """Render _build/html. Raises `SystemExit`, with one sentence where the folder cannot be written."""
    builder = Path(sys.executable).with_name("jupyter-book")
    book = subprocess.run([builder, "build", ROOT, *STRICT], capture_output=True, text=True)
    if book.returncode == 0:
        return
    output = book.stdout + book.stderr
    for reason, remedy in CANNOT_WRITE.items():
        if reason in output:
            sys.exit(f"{BUILD} cannot be written ({reason}): {remedy}, then type the command again.")
    sys.exit(f"{output}\nThe book was not rendered, for the reasons above.")


def main() -> None:
    try:
        BUILD.mkdir(exist_ok=True)
        # Two at once would write the same files.
        with (BUILD / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            render()
    except OSError as error:
        remedy = CANNOT_WRITE.get(error.strerror or "", "make room for it")
        sys.exit(f"{BUILD} cannot be written ({error.strerror}): {remedy}, then type the command again.")
    print(f"Read the book: {(BUILD / 'html' / 'index.html').as_uri()}")


if __name__ == "__main__":
    main()
