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
import subprocess
import sys
from pathlib import Path

REPOSITORY = "<repository>"
if not Path("../utils/runtime.py").exists():

    class SetupError(Exception):
        def _render_traceback_(self):
            return [str(self)]

    clone = f"git clone --depth 1 {REPOSITORY} course.$$ && (mv -T course.$$ course || rm -r course.$$)"
    fetch = f"export LC_ALL=C GIT_TERMINAL_PROMPT=0; test -e course || ({clone}); test -e course/utils/runtime.py"
    git = subprocess.run(fetch, shell=True, capture_output=True, text=True)
    if git.returncode:
        reasons = [line for line in git.stderr.splitlines() if "fatal: " in line or "not found" in line]
        reason = reasons[0] if reasons else "the folder `course` here is something else, so rename it"
        raise SetupError(f"{REPOSITORY} cannot be cloned ({reason}): mend that, then run this cell again.")
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
