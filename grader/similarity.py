"""Which answers are alike: an existing checker says so, where it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.files import write_whole

# Copydetect (https://github.com/blingenf/copydetect) compares tokens, so that other names for variables hide nothing.
# What follows is the file for its report.
COMMAND = ["copydetect", "--test-dirs", "code", "--extensions", "py", "--disable-autoopen", "--out-file"]


def compare(folder: Path) -> None:
    """Compare the answers in the folder `code` of `folder` and write similarity.html there, or print why not."""
    # Packages of the environment that runs this have their programs beside Python.
    places = [*os.get_exec_path(), str(Path(sys.executable).parent)]
    program = shutil.which(COMMAND[0], path=os.pathsep.join(places))
    if not program:
        print(f"Nobody's answers were compared: install {COMMAND[0]} with pip, then run this again.")
        return
    with TemporaryDirectory() as temporary:
        report = Path(temporary) / "similarity.html"
        run = subprocess.run([program, *COMMAND[1:], report], cwd=folder, capture_output=True, text=True)
        if report.exists():
            write_whole(folder / report.name, report.read_bytes())
            print(f"{folder / report.name}: which answers are alike, and where.")
        else:
            print(f"{COMMAND[0]} has compared nothing ({run.stderr.strip()}): see whether it runs by hand.")
