"""Make each chapter's notebook from its source: chapters/NN_name.md -> chapters/NN_name.ipynb.

`python -m tools.make_notebooks` executes the chapters whose code changed, and renews the prose of the
others around their stored outputs. `python -m tools.make_notebooks 03` executes one whatever changed,
which is what a change in `utils` asks for. Figures are stored as small as they can be without loss.
"""

import re
import sys
from pathlib import Path

import nbformat
from tqdm import tqdm

from tools.environment import EnvironmentProblem
from tools.figures import draw_landing_figure, optimise_figures
from tools.files import write_whole
from tools.notebooks import CHAPTERS, execute, from_source, is_executed, keep_outputs
from tools.status import STATUS, chapter_times, status_table
from utils.runtime import CHAPTER_TIMES


def chosen(name: str) -> list[Path]:
    """The sources that NAME means: all for an empty one, else one by its number or its file name.

    Raises `SystemExit` for a name that is no chapter's.
    """
    sources = sorted(CHAPTERS.glob("*.md"))
    if not name:
        return sources
    stem = re.sub(r"^chapters/|\.(md|ipynb)$", "", name)
    number = stem.zfill(2)
    matching = [source for source in sources if stem == source.stem or source.stem.startswith(f"{number}_")]
    if not matching:
        known = ", ".join(source.stem for source in sources)
        sys.exit(f"{name!r} is no chapter: give a number, such as NAME=03, or one of {known}.")
    return matching


def stored_notebook(path: Path) -> nbformat.NotebookNode | None:
    """The committed notebook; None if there is none that can be read."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        return None
    except (ValueError, nbformat.ValidationError):
        tqdm.write(f"{path} cannot be read, so the chapter is executed anew.")
        return None


def main(name: str = "") -> None:
    for source in tqdm(chosen(name), unit=" chapters"):
        notebook, target = from_source(source), source.with_suffix(".ipynb")
        stored = stored_notebook(target)
        if stored and not name and is_executed(notebook, stored):
            keep_outputs(notebook, stored)
        else:
            tqdm.write(f"executing {source.name}")
            execute(notebook)
        optimise_figures(notebook)
        nbformat.validate(notebook)
        write_whole(target, nbformat.writes(notebook) + "\n")
    write_whole(STATUS, status_table())
    write_whole(CHAPTER_TIMES, chapter_times())
    draw_landing_figure()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EnvironmentProblem as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename} cannot be written ({error.strerror}), and is as it was: mend that, then try again.")
