"""When students handed in, by a teacher's table of times, and what each day after the deadline takes."""

import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from grader.report import read_csv, rows_of
from grader.schema import Lateness

# The columns of the time of a submission: ours, that of Canvas's API, of Gradescope's table of grades, and of Moodle's
# grading worksheet.
TIME_COLUMNS = {"time", "submitted_at", "submission time", "last modified (submission)"}
MOODLE = "%A, %d %B %Y, %I:%M %p"  # as in "Monday, 2 March 2026, 12:01 AM"


@dataclass(frozen=True)
class Deadline:
    """When an assignment is due, the table of the times of the submissions, and what a day takes."""

    due: datetime
    times: Path
    percent_per_day: float  # of all points of the assignment, for each day that has begun


def deadline_of(due: str, times: Path | None, percent_per_day: float) -> Deadline | None:
    """The deadline as it was typed, or None if there is none. Raises `SystemExit` if a part is missing or wrong."""
    if not due:
        if times or percent_per_day:
            sys.exit("--times and --late-per-day need --due, the time until which submissions are in time.")
        return None
    if not times:
        sys.exit("--due needs --times, a CSV with the columns student and time.")
    if not 0 <= percent_per_day <= 100:
        sys.exit("--late-per-day must be from 0 to 100, the percentage of all points that each day takes.")
    return Deadline(read_time(due, "--due:", ""), times, percent_per_day)


def lateness_of(students: Collection[str], deadline: Deadline, most_points: int) -> dict[str, Lateness]:
    """How late each of the students handed in an assignment of `most_points` points.

    Raises `SystemExit` for a student who has not exactly one row in the table, and for a time that cannot be read or
    compared with the deadline.
    """
    path = deadline.times
    rows = [{column.lower(): cell for column, cell in row.items()} for row in read_csv(path)]
    time_column = next((column for row in rows for column in row if column in TIME_COLUMNS), None)
    if time_column is None:
        sys.exit(f"{path} must have a row for each student, with the columns student, as in grades.csv, and time.")
    found = {student: [row for row in rows if row.get("student") == student] for student in students}
    for student in students:
        found[student] = found[student] or [rows[number] for number in rows_of(student, rows)]
    if missing := [student for student in students if not found[student]]:
        sys.exit(f"{path} has no row for {', '.join(missing)}: add one for each, with the time of the submission.")
    lateness: dict[str, Lateness] = {}
    for student in students:
        if len(found[student]) > 1:
            sys.exit(f"{path} has {len(found[student])} rows for {student}: keep one.")
        (row,) = found[student]
        time = read_time(row[time_column], f"{path}:", f" of {student}")
        if (time.tzinfo is None) != (deadline.due.tzinfo is None):
            sys.exit(
                f"{path}: {row[time_column]!r} of {student} cannot be compared with {deadline.due}: write an offset "
                "from UTC, such as +01:00, into all times and into --due, or into none of them."
            )
        days = max(0, -((deadline.due - time) // timedelta(days=1)))
        lateness[student] = {
            "handed_in": show(time),
            "due": show(deadline.due),
            "days": days,
            "points": min(most_points, round(most_points * days * deadline.percent_per_day / 100, 2)),
        }
    return lateness


def show(time: datetime) -> str:
    """A time as people read it, to the minute, or to the second if it is not a whole minute."""
    return time.isoformat(" ", "seconds" if time.second else "minutes")


def read_time(text: str, where: str, whose: str) -> datetime:
    """The time in a text, to the second. Raises `SystemExit` if it is none, or a date without a time."""
    with suppress(ValueError):
        return datetime.strptime(text.strip(), MOODLE)
    with suppress(ValueError):
        time = datetime.fromisoformat(text.strip())
        if ":" in text:  # at which end of a day is a date?
            return time.replace(microsecond=0)
    sys.exit(f"{where} {text!r}{whose} is no time: write it as 2026-03-01T23:59, with +01:00 behind it for an offset.")
