"""How long does it take to grade a submission beside importing MXNet, and does the grader's memory grow with the class?

The submissions are the solution of assignment 1, each with a comment of its own. First importing and grading take turns
on one core, then a class is graded on all cores. Prints two Markdown tables.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from mxnet import npx

from grader import build, grade
from utils import CORES
from utils.runtime import machine

ROUNDS, CLASSES = 7, (20, 200)


def hand_in(notebook: nbformat.NotebookNode, folder: Path, number: int) -> dict[str, Path]:
    """The submissions of a class."""
    submissions = {}
    for student in range(number):
        build.answer_cells(notebook)[0].source += f"\n# {student}"
        submissions[str(student)] = folder / f"{student}.ipynb"
        nbformat.write(notebook, submissions[str(student)])
    return submissions


def main() -> None:
    npx.set_np()
    master = build.read(Path("assignments/01_blocks.md"))
    key, solution = build.make_key(master, "benchmark"), build.with_solutions(master)
    content = nbformat.writes(solution).encode()
    sides = {
        "import MXNet": lambda: subprocess.run([sys.executable, "-c", "import mxnet"], check=True),
        "grade a submission": lambda: grade.grade(content, key),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    print(f"On {machine()}:\n")
    print("| one after the other | seconds | ratio |\n|---|---|---|")
    for name in sides:
        ratio = statistics.median(a / b for a, b in zip(taken[name], taken["import MXNet"], strict=True))
        print(f"| {name} | {statistics.median(taken[name]):.1f} | {ratio:.2f} |")
    print(f"\n| submissions on {CORES} cores | seconds a submission and core | memory of the grader |\n|---|---|---|")
    for number in CLASSES:
        with tempfile.TemporaryDirectory() as folder:
            submissions = hand_in(solution, Path(folder), number)
            start = time.perf_counter()
            results = grade.grade_all(submissions, json.dumps(key), Path(folder) / "graded")
            wall = time.perf_counter() - start
        assert all(verdict["points"] for result in results.values() for verdict in result["verdicts"].values())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"| {number} | {wall * CORES / number:.1f} | {memory / 1e6:.0f} MB |")


if __name__ == "__main__":
    main()
