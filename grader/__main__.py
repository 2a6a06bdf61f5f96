"""What a teacher runs: `python -m grader build NAME` and `python -m grader grade KEY SUBMISSIONS... --out FOLDER`."""

import argparse
import io
import sys
from pathlib import Path

from grader.deadline import deadline_of
from grader.grade import explain as explain_submission
from grader.grade import grade_class
from utils import CORES


def main(words: list[str] | None = None) -> None:
    """Run the command of `words`, or of the command line. Raises `SystemExit` with a sentence if something fails."""
    parser = argparse.ArgumentParser(prog="python -m grader", description="Make and grade assignments.")
    commands = parser.add_subparsers(dest="command", required=True)

    build = commands.add_parser("build", help="make an assignment's notebooks and its key")
    build.add_argument("name", nargs="?", default="", help="the name of a master, such as 01_blocks")
    build.add_argument("--masters", type=Path, default=Path("assignments"), help="folder of masters (assignments)")

    grade = commands.add_parser("grade", help="grade the submissions of an assignment")
    grade.add_argument("key", type=Path, help="key.json, as `build` wrote it")
    grade.add_argument("submissions", type=Path, nargs="+", help="notebooks, or folders of notebooks")
    grade.add_argument("--out", type=Path, required=True, help="folder for grades.csv, pages, summary and rubric.csv")
    grade.add_argument("--roster", type=Path, help="CSV from Canvas or Moodle, to be filled with points as lms.csv")
    grade.add_argument("--due", metavar="TIME", default="", help="until when submissions are in time: 2026-03-01T23:59")
    grade.add_argument("--times", type=Path, help="CSV with the columns student and time, for --due")
    grade.add_argument(
        "--late-per-day",
        metavar="PERCENT",
        type=float,
        default=0,
        help="what each day after --due that has begun takes of all points (0)",
    )
    grade.add_argument("--jobs", type=int, default=CORES, help=f"how many to grade at a time ({CORES})")
    grade.add_argument("--again", metavar="STUDENT", nargs="+", default=[], help="grade these anew")
    grade.add_argument("--unsafe-no-sandbox", action="store_true", help="let a student's code use network and files")

    explain = commands.add_parser("explain", help="grade one submission and show what each probe asked and got")
    explain.add_argument("key", type=Path, help="key.json, as `build` wrote it")
    explain.add_argument("submission", type=Path, help="a notebook")

    arguments = parser.parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        if arguments.command == "build":
            # Imports MXNet, which takes seconds and which grading does without.
            from grader.build import build as build_assignment

            build_assignment(arguments.name, arguments.masters)
        elif arguments.command == "explain":
            explain_submission(arguments.key, arguments.submission)
        else:
            grade_class(
                arguments.key,
                arguments.submissions,
                arguments.out,
                roster=arguments.roster,
                deadline=deadline_of(arguments.due, arguments.times, arguments.late_per_day),
                safe=not arguments.unsafe_no_sandbox,
                jobs=max(1, arguments.jobs),
                again=arguments.again,
            )
    except OSError as error:
        sys.exit(
            f"{error.filename or arguments.command} cannot be read or written ({error.strerror or error}): "
            "mend that, then run this again; nothing was left half written."
        )


if __name__ == "__main__":
    main()
