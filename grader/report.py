"""What comes out of grading: grades.csv, a page for each student, a summary of the class, and rubric.csv."""

import base64
import csv
import html
import io
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grader.schema import Key, Lateness, Question, Result, Text, Verdict
from tools.files import write_whole

LONGEST_NAME = 240  # bytes, of the 255 that file systems allow
LONGEST_CELL = 30_000  # a spreadsheet cuts off what is longer than 32,767 characters
FORMULA = re.compile(r"(^\s*|;\s*)([=+\-@])")
BY_HAND = ("student", "question", "points", "comment")
# Discrimination is the correlation of a question's points with those for all other questions of the assignment.
STATISTICS = (
    "question",
    "most points",
    "students",
    "mean",
    "share with full points",
    "share with a part",
    "share with none",
    "discrimination",
    "median seconds",
    "most frequent remark",
)
# Of these, what the class's page says in its headings and its tables of remarks.
SHOWN_ELSEWHERE = ("question", "most points", "most frequent remark")
RUBRIC = ("question", "student", "answer", "criterion", "most points", "points", "comment")
# The columns by which Canvas's gradebook and Moodle's grading worksheet tell students apart; then those of Canvas's API
# and of Gradescope.
IDENTITY = {"id", "sis user id", "sis login id", "identifier", "id number", "username", "email address", "full name"}
IDENTITY |= {"user_id", "sid", "email"}
NAMES = {"full name"}
STYLE = """\
:root { color-scheme: light dark; }
body { max-width: 45rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
section { border-top: 1px solid gray; }
.text { white-space: pre-wrap; }
img { max-width: 100%; background: white; }
th, td { padding-right: 1rem; text-align: left; vertical-align: top; }"""


def write(
    folder: Path, key: Key, results: dict[str, Result], roster: Path | None, lateness: dict[str, Lateness]
) -> None:
    """Write all reports on `results`, by student, into `folder`; points that its rubric.csv has are taken over.

    `lateness` has all students, or none where there is no deadline.
    Raises `SystemExit` if rubric.csv or the roster is not what it has to be.
    """
    questions: list[Question | Text] = [*key["questions"], *key["texts"]]
    rubric = merged_rubric(folder / "rubric.csv", key["texts"], results) if key["texts"] else {}
    for student, result in results.items():
        for text in key["texts"]:
            verdict = verdict_by_hand(rubric.get((text["name"], student), []))
            if result["needs_look"]:
                verdict = {"points": None, "remark": "This could not be read yet."}
            result["verdicts"][text["name"]] = verdict
    change_by_hand(folder / "by_hand.csv", {question["name"]: question["points"] for question in questions}, results)
    totals = {student: after_lateness(total(result), lateness.get(student)) for student, result in results.items()}
    names_of_days = ["days late"] if lateness else []
    table = [["student", *(question["name"] for question in questions), *names_of_days, "points"]]
    for student, result in results.items():
        points = [result["verdicts"][question["name"]]["points"] for question in questions]
        days = [str(lateness[student]["days"])] if lateness else []
        table.append([inert(student), *map(as_cell, points), *days, as_cell(totals[student])])
    write_csv(folder / "grades.csv", table)
    for (student, result), name in zip(results.items(), file_names(results), strict=True):
        late = lateness.get(student)
        write_text(folder / "feedback" / f"{name}.html", feedback(student, questions, result, late))
        write_text(folder / "code" / f"{name}.py", result["code"])
    write_text(folder / "summary.html", summary(key["assignment"], questions, results, totals, lateness))
    rows = [list(statistics_of(question, results).values()) for question in questions]
    write_csv(folder / "questions.csv", [list(STATISTICS), *rows])
    print(f"{folder}: grades.csv, summary.html and the pages in feedback. Students: {len(results)}.")
    if needs_look := {student: result["needs_look"] for student, result in results.items() if result["needs_look"]}:
        print("Needs a look, since the machine failed and not the student; grade them anew with --again:")
        print(*(f"  {student}: {reason}" for student, reason in needs_look.items()), sep="\n")
    waiting = sum(points is None for points in totals.values()) - len(needs_look)
    if waiting:
        print(f"Waiting for points by hand: {waiting}. Fill in {folder / 'rubric.csv'}, then run this again.")
    if roster:
        fill(roster, folder / "lms.csv", key["assignment"], totals)


def file_names(students: Iterable[str]) -> list[str]:
    """A name for the files of each student, short enough for a file system that does not tell cases apart."""
    names: list[str] = []
    taken: set[str] = set()
    for student in students:
        start = name = student.encode()[:LONGEST_NAME].decode(errors="ignore")
        number = 2
        while name.casefold() in taken:
            name = f"{start} ({number})"
            number += 1
        taken.add(name.casefold())
        names.append(name)
    return names


def change_by_hand(path: Path, most_points: dict[str, int], results: dict[str, Result]) -> None:
    """Give the points of a teacher's table the place of the grader's, with what the teacher says about it.

    The table is made, empty, where there is none. Raises `SystemExit` if a row names no student or no question of
    those graded, or has points that the question does not have.
    """
    if not path.exists():
        write_csv(path, [list(BY_HAND)])
    for row in read_csv(path):
        if not set(BY_HAND) <= set(row):
            sys.exit(f"{path} must have the columns {', '.join(BY_HAND)}: put them back, or move the file away.")
        student, question = row["student"], row["question"]
        if student not in results or question not in most_points:
            sys.exit(f"{path}: there is no {question!r} of {student!r}: write both as grades.csv does.")
        if not is_points(row["points"], str(most_points[question])):
            sys.exit(f"{path}: {row['points']!r} for {student} is no number from 0 to {most_points[question]}.")
        verdict = results[student]["verdicts"][question]
        before = "" if verdict["points"] is None else f", {verdict['points']:g} points"
        remark = f"Given by hand. {row['comment']}\nThe grader said{before}: {verdict['remark']}"
        results[student]["verdicts"][question] = {"points": as_whole(parsed_points(row["points"])), "remark": remark}


def statistics_of(question: Question | Text, results: dict[str, Result]) -> dict[str, str]:
    """The row of a question in questions.csv, by `STATISTICS`. What cannot be computed is empty."""
    name, most_points = question["name"], question["points"]
    points: list[float] = []
    rest: list[float] = []  # what the same students have for all other questions
    for result in results.values():
        earned, in_all = result["verdicts"][name]["points"], total(result)
        if earned is not None and in_all is not None:
            points.append(earned)
            rest.append(in_all - earned)
    row = dict.fromkeys(STATISTICS, "")
    row["question"] = name
    row["most points"] = str(most_points)
    row["students"] = str(len(points))
    row["median seconds"] = median_seconds(name, results)
    if not points:
        return row
    full, none = points.count(most_points), points.count(0)
    row["mean"] = f"{statistics.mean(points):.2f}"
    row["share with full points"] = f"{full / len(points):.2f}"
    row["share with a part"] = f"{(len(points) - full - none) / len(points):.2f}"
    row["share with none"] = f"{none / len(points):.2f}"
    with suppress(statistics.StatisticsError):  # of less than two students, or of points that are all the same
        row["discrimination"] = f"{statistics.correlation(points, rest):.2f}"
    remarks = Counter(result["verdicts"][name]["remark"] for result in results.values() if name in result["verdicts"])
    row["most frequent remark"] = inert(remarks.most_common(1)[0][0])
    return row


def median_seconds(name: str, results: dict[str, Result]) -> str:
    """The median of how long the answers to a question took; empty if none came, as for a free text."""
    seconds = [result["seconds"][name] for result in results.values() if name in result["seconds"]]
    return f"{statistics.median(seconds):.3g}" if seconds else ""


def as_cell(points: float | None) -> str:
    """Points in a table, where those that are still to be given are an empty cell."""
    return "" if points is None else f"{points:g}"


def total(result: Result) -> float | None:
    """All points of a student; None while some are still to be given by hand."""
    points = 0.0
    for verdict in result["verdicts"].values():
        if verdict["points"] is None:
            return None
        points += verdict["points"]
    return as_whole(points)


def after_lateness(points: float | None, late: Lateness | None) -> float | None:
    """The points of a student without what lateness takes."""
    return points if points is None or late is None else as_whole(max(0, round(points - late["points"], 2)))


def sentence_on(late: Lateness, points: float | None) -> str:
    """What a student reads about the time of the submission; `points` are those before lateness takes any."""
    if not late["days"]:
        return f"Handed in {late['handed_in']}, in time."
    days = "1 day" if late["days"] == 1 else f"{late['days']} days"
    taken = f"up to {late['points']:g}" if points is None else f"{min(points, late['points']):g}"
    which_takes = f", which takes {taken} points" if late["points"] else ""
    return f"Handed in {late['handed_in']}, due {late['due']}: {days} late{which_takes}."


def verdict_by_hand(rows: list[dict[str, str]]) -> Verdict:
    """The verdict on a free text from its rows of the rubric, without points as long as a row has none."""
    if not rows:
        return {"points": 0, "remark": "Nothing was handed in."}
    if any(row["points"] == "" for row in rows):
        return {"points": None, "remark": "This is graded by hand."}
    remarks = [f"{row['criterion']} {row['points']} of {row['most points']} points. {row['comment']}" for row in rows]
    return {"points": as_whole(sum(parsed_points(row["points"]) for row in rows)), "remark": "\n".join(remarks)}


def parsed_points(text: str) -> float:
    """Points as a teacher may have typed them, with a point or a comma. Raises `ValueError` for what is no number."""
    return float(text.replace(",", "."))


def as_whole(points: float) -> float:
    """The points as an integer if they are one, so that tables and pages say 4 and not 4.0."""
    return int(points) if points == int(points) else points


def merged_rubric(
    path: Path, texts: list[Text], results: dict[str, Result]
) -> dict[tuple[str, str], list[dict[str, str]]]:
    """The rows by question and student who wrote something, after adding to the sheet at `path` those that are new.

    What is filled in stays. An answer that the student has changed since has new rows, and a copy of the sheet is kept.
    Raises `SystemExit` for a sheet without the columns, and for points that are no number from 0 to the most.
    """
    filled = filled_rows(path) if path.exists() else {}
    rubric: dict[tuple[str, str], list[dict[str, str]]] = {}
    for text in texts:
        for student, result in results.items():
            answer = inert(result["texts"][text["name"]])
            if not answer:
                continue
            rows = rubric.setdefault((text["name"], student), [])
            for criterion in text["rubric"]:
                row = {
                    "question": text["name"],
                    "student": inert(student),
                    "answer": answer[:LONGEST_CELL],
                    "criterion": criterion["text"],
                    "most points": str(criterion["points"]),
                    "points": "",
                    "comment": "",
                }
                if filled_in := filled.pop(row_key(row), None):
                    row["points"], row["comment"] = filled_in["points"], filled_in["comment"]
                rows.append(row)
    if filled:
        copy = path.with_name(f"rubric_{int(path.stat().st_mtime)}.csv")
        write_text(copy, path.read_text())
        print(f"{len(filled)} rows of {path} are for answers that are no longer handed in; {copy} keeps them.")
    sheet = [list(RUBRIC)]
    for rows in rubric.values():
        sheet += [[row[name] for name in RUBRIC] for row in rows]
    write_csv(path, sheet)
    return rubric


def filled_rows(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a rubric that a teacher has filled in, by `row_key`. Raises `SystemExit` as `merged_rubric` does."""
    filled = {}
    for row in read_csv(path):
        if not set(RUBRIC) <= set(row):
            sys.exit(f"{path} must have the columns {', '.join(RUBRIC)}: put them back, or move the file away.")
        if row["points"] and not is_points(row["points"], row["most points"]):
            sys.exit(f"{path}: {row['points']!r} for {row['student']} is no number from 0 to {row['most points']}.")
        if row["points"] or row["comment"]:
            filled[row_key(row)] = row
    return filled


def row_key(row: dict[str, str]) -> tuple[str, ...]:
    """What tells the rows of a rubric apart, however a spreadsheet has written the ends of an answer's lines."""
    return row["question"], row["student"], row["criterion"], " ".join(row["answer"].split())


def is_points(text: str, most_points: str) -> bool:
    """Whether a text is a number of points from 0 to the most."""
    try:
        return 0 <= parsed_points(text) <= parsed_points(most_points)
    except ValueError:
        return False


def feedback(student: str, questions: list[Question | Text], result: Result, late: Lateness | None) -> str:
    """A student's page: what was asked, what came back, the points, the lateness. It shows no hidden number."""
    parts = []
    for question in questions:
        verdict = result["verdicts"][question["name"]]
        reached = "not yet" if verdict["points"] is None else verdict["points"]
        parts.append(f"<section><h2>{question['name']}: {reached} of {question['points']} points</h2>")
        parts.append(f'<p class="text">{html.escape(verdict["remark"])}</p>')
        if note := result["notes"].get(question["name"]):
            parts.append(f"<p>{html.escape(note)}</p>")
        parts.append(MarkdownIt("commonmark", {"html": False}).render(demoted(question["task"])))
        if text := result["texts"].get(question["name"]):
            parts.append(f'<h3>Your answer</h3><p class="text">{html.escape(text)}</p>')
        parts.append("</section>")
    points = after_lateness(total(result), late)
    in_all = "Not all points are given yet." if points is None else f"{points} points in all."
    on_time = f" {sentence_on(late, total(result))}" if late else ""
    return page(student, f"<p>{in_all}{on_time}</p>" + "\n".join(parts))


def demoted(markdown: str) -> str:
    """The text with its headings two levels lower, below a question's."""
    return re.sub(r"^#", "###", markdown, flags=re.MULTILINE)


def summary(
    assignment: str,
    questions: list[Question | Text],
    results: dict[str, Result],
    totals: dict[str, float | None],
    lateness: dict[str, Lateness],
) -> str:
    """The class's page: a plot of times, and for each question one of the points, and the most frequent remarks."""
    known = [points for points in totals.values() if points is not None]
    overview = f"{len(totals)} students"
    if known:
        median, mean = statistics.median(known), statistics.mean(known)
        overview += f", {len(known)} of them graded: median {median:g}, mean {mean:.1f}"
    overview += f" of {sum(question['points'] for question in questions)} points."
    if lateness:
        num_late = sum(late["days"] > 0 for late in lateness.values())
        overview += f" {num_late} of {len(lateness)} students handed in late."
    parts = [f"<p>{overview}</p>", plot_of_seconds(questions, results)]
    for question in questions:
        verdicts = [result["verdicts"][question["name"]] for result in results.values()]
        counts = Counter(verdict["points"] for verdict in verdicts if verdict["points"] is not None)
        parts.append(f"<section><h2>{question['name']}</h2>{plot(counts, question['points'])}")
        figures: list[str] = []
        for statistic, value in statistics_of(question, results).items():
            if statistic not in SHOWN_ELSEWHERE:
                figures.append(f"{statistic}: {value or 'unknown'}")
        parts.append(f"<p>{'; '.join(figures)}.</p>")
        remarks = Counter(verdict["remark"] for verdict in verdicts).most_common(5)
        rows = "".join(f"<tr><td>{count}</td><td>{html.escape(remark)}</td></tr>" for remark, count in remarks)
        parts.append(f"<table><tr><th>students</th><th>remark</th></tr>{rows}</table></section>")
    return page(assignment, "\n".join(parts))


def plot(counts: Counter[float], most_points: int) -> str:
    """A bar for each number of points that a question can give or gave, as an image with its text."""
    points = sorted({*range(most_points + 1), *counts})
    figure = Figure(figsize=(6, 2), layout="constrained")
    axis = figure.subplots()
    axis.bar_label(axis.bar(points, [counts[value] for value in points], width=0.4, color="#4477aa"))
    axis.set(xlabel="points", ylabel="students", xticks=points)
    axis.margins(y=0.2)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    return image(figure, "; ".join(f"{value:g} points: {counts[value]} students" for value in points))


def plot_of_seconds(questions: list[Question | Text], results: dict[str, Result]) -> str:
    """A bar for the median time of each question that was answered, as an image with its text; empty for none."""
    medians = {question["name"]: median_seconds(question["name"], results) for question in questions}
    medians = {name: seconds for name, seconds in medians.items() if seconds}
    if not medians:
        return ""
    figure = Figure(figsize=(6, 0.8 + 0.4 * len(medians)), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(list(medians), list(map(float, medians.values())), height=0.5, color="#4477aa")
    axis.bar_label(bars, list(medians.values()), padding=3)
    axis.set(xlabel="median seconds of the answers")
    axis.invert_yaxis()
    axis.margins(x=0.15)
    heights = "; ".join(f"{name}: {seconds}" for name, seconds in medians.items())
    return image(figure, f"Median seconds of the answers. {heights}")


def image(figure: Figure, alt: str) -> str:
    """A figure as an image of HTML, with a text in its place."""
    svg = io.BytesIO()
    figure.savefig(svg, format="svg")
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}">'


def page(title: str, body: str) -> str:
    """A whole page of HTML; the body is HTML, the title is not."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    title = html.escape(title)
    head = f'<!doctype html><html lang="en"><head>{head}<title>{title}</title></head>'
    return f"{head}<body><h1>{title}</h1>{body}</body></html>"


def fill(roster: Path, target: Path, assignment: str, totals: dict[str, float | None]) -> None:
    """Write `roster`, a CSV from Canvas or Moodle, to `target` with the points, and say who is not in it.

    Canvas and Moodle put the student's number or name, between underscores, into the names of what a teacher downloads.
    The points go into the column of the assignment's name, or Moodle's "Grade", or a new one.
    """
    rows = read_csv(roster)
    header = list(rows[0]) if rows else []
    target_column = column_to_fill(header, assignment)
    owners: dict[int, list[str]] = {}  # the students who have this row and no other
    possible: set[int] = set()  # rows that may belong to somebody
    for student in totals:
        matching_rows = rows_of(student, rows)
        possible.update(matching_rows)
        if not matching_rows:
            print(f"{roster} has no row for {student}.")
        elif len(matching_rows) > 1:
            print(f"{roster} has {len(matching_rows)} rows that may be {student}'s, and none was filled in.")
        else:
            owners.setdefault(matching_rows[0], []).append(student)
    num_filled = 0
    for number, claimants in owners.items():
        if len(claimants) > 1:
            print(f"{' and '.join(claimants)} may be the same row of {roster}, which was not filled in.")
        else:
            rows[number][target_column] = as_cell(totals[claimants[0]])
            num_filled += 1
    missing: list[str] = []
    for number, row in enumerate(rows):
        if number not in possible and any(row[column] for column in header if column.lower() in IDENTITY):
            missing.append(" ".join(list(row.values())[:2]))
    if missing:
        print(f"Nothing was handed in by these of {roster}: {'; '.join(missing)}.")
    if target_column not in header:
        header.append(target_column)
    write_csv(target, [header] + [[row.get(column, "") for column in header] for row in rows])
    print(f"{target}: {num_filled} of {len(rows)} rows of {roster.name} filled in, in the column {target_column!r}.")


def rows_of(student: str, rows: list[dict[str, str]]) -> list[int]:
    """The rows of a roster that may be a student's: by a number or login, or, if none says that, by the full name."""
    parts = {student.lower(), *student.lower().split("_")}
    for columns in (IDENTITY - NAMES, NAMES):
        found = []
        for number, row in enumerate(rows):
            cells = [cell for column, cell in row.items() if column.lower() in columns]
            if parts & {cell.lower().removeprefix("participant ").strip() for cell in cells if cell}:
                found.append(number)
        if found:
            return found
    return []


def column_to_fill(header: list[str], assignment: str) -> str:
    """The column of a roster for the points: the assignment's name, which Canvas follows by a number, or "Grade"."""
    for column in header:
        if column == assignment or column.startswith(f"{assignment} ("):
            return column
    return "Grade" if "Grade" in header else assignment


def inert(text: str) -> str:
    """The text so that a spreadsheet can hold it and does not take it for a formula, nor a part behind a semicolon."""
    text = text.encode(errors="backslashreplace").decode()  # JSON and file names can hold halves of characters
    return FORMULA.sub(r"\1'\2", text)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header, whose separator a spreadsheet may have made a semicolon."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        sys.exit(f"{path} cannot be read ({error}): save it as CSV in UTF-8.")
    separator = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval=""))
    for number, row in enumerate(rows, 2):
        if row.pop(None, None):
            print(f"{path}: row {number} has more cells than there are columns, and those are left out.")
    return rows


def write_csv(path: Path, rows: list[list[str]]) -> None:
    """Write a table, whole or not at all, with the mark by which Excel knows UTF-8."""
    table = io.StringIO(newline="")
    csv.writer(table, quoting=csv.QUOTE_ALL).writerows(rows)
    write_text(path, f"\ufeff{table.getvalue()}")


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all, whatever halves of characters students put into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(errors="backslashreplace"))
