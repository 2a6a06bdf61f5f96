"""Make each chapter's notebook from its source: chapters/NN_name.md -> chapters/NN_name.ipynb.

`python -m tools.make_notebooks` executes the chapters whose code changed, and renews the prose of the
others around their stored outputs. `python -m tools.make_notebooks 03` executes one whatever changed,
which is what a change in `utils` asks for. Figures are stored as small as they can be without loss.
"""

import sys

import nbformat
from tqdm import tqdm

from tools.figures import draw_landing_figure, optimise_figures
from tools.notebooks import CHAPTERS, execute, from_source, is_executed, keep_outputs
from tools.status import STATUS, status_table


def main(name: str = "") -> None:
    sources = sorted(CHAPTERS.glob(f"{name}*.md"))
    if not sources:
        sys.exit(f"No chapter's file name starts with {name!r}: give its number, such as NAME=03.")
    for source in tqdm(sources, unit=" chapters"):
        notebook, target = from_source(source), source.with_suffix(".ipynb")
        stored = nbformat.read(target, as_version=4) if target.exists() else None
        if stored and not name and is_executed(notebook, stored):
            keep_outputs(notebook, stored)
        else:
            tqdm.write(f"executing {source.name}")
            execute(notebook)
        optimise_figures(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, target)
    STATUS.write_text(status_table())
    draw_landing_figure()


if __name__ == "__main__":
    main(*sys.argv[1:])
