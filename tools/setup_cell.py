"""The first code cell of every chapter and assignment: it fetches the course where there is none, and calls `setup`."""

from functools import cache
from pathlib import Path

import yaml

CONFIG = Path(__file__).parent.parent / "_config.yml"
# What stands for the setup cell in a chapter's source, and what it becomes. On Colab and Kaggle there is the notebook
# alone. A clone gets its name when it is whole, so that an interrupted one is not taken for the course; where another
# notebook's clone has got it first, that one serves both.
SETUP_MARK = "device = setup()"
SETUP_CELL = """\
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = "<repository>"


class SetupError(Exception):
    def _render_traceback_(self):
        return [str(self)]


if not Path("../utils/runtime.py").exists():
    course, clone = Path("course").absolute(), Path(f"course.{time.time_ns()}")
    if not course.exists():
        if not shutil.which("git"):
            how = "install it (Debian, Ubuntu: `sudo apt-get install git`), then run this cell again"
            raise SetupError(f"The course is fetched with git, which is not installed here: {how}.")
        fetch = f"LC_ALL=C GIT_TERMINAL_PROMPT=0 git clone --depth 1 {REPOSITORY} {clone}"
        git = subprocess.run(fetch, shell=True, capture_output=True, text=True)
        if git.returncode:
            reason = next((line for line in git.stderr.splitlines() if "fatal: " in line), "git did not say why")
            raise SetupError(f"{REPOSITORY} cannot be cloned ({reason}): mend that, then run this cell again.")
        try:
            clone.rename(course)
        except OSError:
            shutil.rmtree(clone)
    if not Path("course/utils/runtime.py").exists():
        raise SetupError(f"{course} is not this course but has its name: rename it, then run this cell again.")
    os.chdir("course/chapters")
sys.path.insert(0, "..")
from utils.runtime import setup

device = setup("<chapter>")"""


@cache
def repository_address() -> str:
    """Where the course is published, as `_config.yml` says."""
    return yaml.safe_load(CONFIG.read_text())["repository"]["url"]


def setup_cell(chapter: str) -> str:
    """The first code cell of the chapter with this file name, the same in all but the chapter's number."""
    return SETUP_CELL.replace("<repository>", repository_address()).replace("<chapter>", chapter.partition("_")[0])
