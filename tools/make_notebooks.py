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
from tools.figures import draw_landing_figures, optimise_figures
from tools.files import exit_if_unwritten, write_whole
from tools.notebooks import CHAPTERS, execute, from_source, is_executed, keep_outputs, run_setup_again
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


def store(notebook: nbformat.NotebookNode, target: Path) -> None:
    """Write the notebook, whole or not at all. Raises `OSError` as `write_whole` does."""
    nbformat.validate(notebook)
    write_whole(target, nbformat.writes(notebook) + "\n")


def main(name: str = "") -> None:
    """Make the notebooks that NAME means, then what is made from all of them: the status, the times and the figures."""
    executed = {}
    for source in tqdm(chosen(name), unit=" chapters"):
        notebook, target = from_source(source), source.with_suffix(".ipynb")
        stored = stored_notebook(target)
        if stored and not name and is_executed(notebook, stored):
            keep_outputs(notebook, stored)
        else:
            tqdm.write(f"executing {source.name}")
            execute(notebook)
            executed[target] = notebook
        optimise_figures(notebook)
        store(notebook, target)
    write_whole(STATUS, status_table())
    write_whole(CHAPTER_TIMES, chapter_times())
    for target, notebook in executed.items():
        run_setup_again(notebook)
        store(notebook, target)
    draw_landing_figures()


if __name__ == "__main__":
    try:
        with exit_if_unwritten():
            main(" ".join(sys.argv[1:]))
    except EnvironmentProblem as error:
        sys.exit(str(error))
