"""What comes out of grading: grades.csv, a page for each student, a summary of the class, and rubric.csv."""

import base64
import csv
import html
import io
import os
import re
import statistics
import sys
from collections import Counter
from pathlib import Path
from threading import get_ident

from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

LONGEST_CELL = 30_000  # a spreadsheet cuts off what is longer than 32,767 characters
RUBRIC = ("question", "student", "answer", "criterion", "most points", "points", "comment")
# The columns by which Canvas's gradebook and Moodle's grading worksheet tell students apart.
IDENTITY = {"id", "sis user id", "sis login id", "identifier", "id number", "username", "email address", "full name"}
STYLE = """\
:root { color-scheme: light dark; }
body { max-width: 45rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
section { border-top: 1px solid gray; }
.text { white-space: pre-wrap; }
img { max-width: 100%; background: white; }
th, td { padding-right: 1rem; text-align: left; vertical-align: top; }"""


def write(folder: Path, key: dict, results: dict[str, dict], roster: Path | None) -> None:
    """Write all reports on `results`, by student, into `folder`; points that its rubric.csv has are taken over."""
    questions = key["questions"] + key["texts"]
    rubric = merged_rubric(folder / "rubric.csv", key["texts"], results) if key["texts"] else {}
    for student, result in results.items():
        for name in (text["name"] for text in key["texts"]):
            result["verdicts"][name] = by_hand(rubric.get((name, student), []))
    totals = {student: total(result) for student, result in results.items()}
    lines = [["student", *(question["name"] for question in questions), "points"]]
    for student, result in results.items():
        points = [result["verdicts"][question["name"]]["points"] for question in questions]
        lines.append([inert(student), *("" if given is None else given for given in (*points, totals[student]))])
        write_whole(folder / "feedback" / f"{student}.html", feedback(student, questions, result, totals[student]))
        write_whole(folder / "code" / f"{student}.py", result["code"])
    write_csv(folder / "grades.csv", lines)
    write_whole(folder / "summary.html", summary(key["assignment"], questions, results, totals))
    print(f"{folder}: grades.csv, summary.html and the pages in feedback. Students: {len(results)}.")
    if waiting := sum(points is None for points in totals.values()):
        print(f"Waiting for points by hand: {waiting}. Fill in {folder / 'rubric.csv'}, then run this again.")
    if roster:
        fill(roster, folder / "lms.csv", key["assignment"], totals)


def total(result: dict) -> float | None:
    """All points of a student; None while some are still to be given by hand."""
    points = [verdict["points"] for verdict in result["verdicts"].values()]
    return None if None in points else sum(points)


def by_hand(rows: list[dict]) -> dict:
    """The verdict on a free text from its rows of the rubric, without points as long as a row has none."""
    if not rows:
        return {"points": 0, "remark": "Nothing was handed in."}
    if any(row["points"] == "" for row in rows):
        return {"points": None, "remark": "This is graded by hand."}
    said = [f"{row['criterion']} {row['points']} of {row['most points']} points. {row['comment']}" for row in rows]
    return {"points": sum(number(row["points"]) for row in rows), "remark": "\n".join(said)}


def number(text: str) -> float:
    value = float(text.replace(",", "."))
    return int(value) if value.is_integer() else value


def merged_rubric(path: Path, texts: list[dict], results: dict[str, dict]) -> dict[tuple, list[dict]]:
    """The rows by question and student who wrote something, after adding to the sheet at `path` those that are new.

    What is filled in stays. An answer that the student has changed since has new rows, and a copy of the sheet is kept.
    Raises `SystemExit` for a sheet without the columns, and for points that are no number from 0 to the most.
    """
    before = read_csv(path) if path.exists() else []
    filled = {}
    for row in before:
        if not set(RUBRIC) <= set(row):
            sys.exit(f"{path} must have the columns {', '.join(RUBRIC)}: put them back, or move the file away.")
        if row["points"] and not is_points(row["points"], row["most points"]):
            sys.exit(f"{path}: {row['points']!r} for {row['student']} is no number from 0 to {row['most points']}.")
        if row["points"] or row["comment"]:
            filled[row["question"], row["student"], row["criterion"], plain(row["answer"])] = row
    rubric = {}
    for text in texts:
        for student, answer in ((student, inert(result["texts"][text["name"]])) for student, result in results.items()):
            for criterion, most in text["rubric"] if answer else []:
                values = (text["name"], inert(student), answer[:LONGEST_CELL], criterion, str(most), "", "")
                row = dict(zip(RUBRIC, values, strict=True))
                given = filled.pop((*values[:2], criterion, plain(row["answer"])), row)
                row |= {part: given[part] for part in ("points", "comment")}
                rubric.setdefault((text["name"], student), []).append(row)
    if filled:
        kept = path.with_name(f"rubric_{int(path.stat().st_mtime)}.csv")
        write_whole(kept, path.read_text())
        print(f"{len(filled)} rows of {path} are for answers that are no longer handed in; {kept} keeps them.")
    write_csv(path, [RUBRIC, *([row[name] for name in RUBRIC] for rows in rubric.values() for row in rows)])
    return rubric


def is_points(text: str, most: str) -> bool:
    try:
        return 0 <= number(text) <= number(most)
    except ValueError:
        return False


def plain(answer: str) -> str:
    """An answer without what a spreadsheet may change about it: the ends of lines."""
    return " ".join(answer.split())


def feedback(student: str, questions: list[dict], result: dict, points: float | None) -> str:
    """A student's page: what was asked, what came back, the points. It shows no hidden number."""
    parts = []
    for question in questions:
        verdict = result["verdicts"][question["name"]]
        given = "not yet" if verdict["points"] is None else verdict["points"]
        parts.append(f"<section><h2>{question['name']}: {given} of {question['points']} points</h2>")
        parts.append(f'<p class="text">{html.escape(verdict["remark"])}</p>')
        parts.append(MarkdownIt("commonmark", {"html": False}).render(demoted(question["asked"])))
        if text := result["texts"].get(question["name"]):
            parts.append(f'<h3>Your answer</h3><p class="text">{html.escape(text)}</p>')
        parts.append("</section>")
    in_all = "Not all points are given yet." if points is None else f"{points} points in all."
    return page(student, f"<p>{in_all}</p>" + "\n".join(parts))


def demoted(markdown: str) -> str:
    """The text with its headings two levels lower, below a question's."""
    return re.sub(r"^#", "###", markdown, flags=re.MULTILINE)


def summary(assignment: str, questions: list[dict], results: dict[str, dict], totals: dict) -> str:
    """The class's page: for each question a plot of the points, and the most frequent remarks."""
    known = [points for points in totals.values() if points is not None]
    said = f"{len(totals)} students"
    if known:
        said += f", {len(known)} of them graded: median {statistics.median(known):g}, mean {statistics.mean(known):.1f}"
    parts = [f"<p>{said} of {sum(question['points'] for question in questions)} points.</p>"]
    for question in questions:
        verdicts = [result["verdicts"][question["name"]] for result in results.values()]
        counts = Counter(verdict["points"] for verdict in verdicts if verdict["points"] is not None)
        parts.append(f"<section><h2>{question['name']}</h2>{plot(counts, question['points'])}")
        remarks = Counter(verdict["remark"] for verdict in verdicts).most_common(5)
        rows = "".join(f"<tr><td>{count}</td><td>{html.escape(remark)}</td></tr>" for remark, count in remarks)
        parts.append(f"<table><tr><th>students</th><th>remark</th></tr>{rows}</table></section>")
    return page(assignment, "\n".join(parts))


def plot(counts: Counter, most: int) -> str:
    """A bar for each number of points that a question can give or gave, as an image with its text."""
    points = sorted({*range(most + 1), *counts})
    figure = Figure(figsize=(6, 2), layout="constrained")
    axis = figure.subplots()
    axis.bar_label(axis.bar(points, [counts[value] for value in points], width=0.4, color="#4477aa"))
    axis.set(xlabel="points", ylabel="students", xticks=points)
    axis.margins(y=0.2)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    image = io.BytesIO()
    figure.savefig(image, format="svg")
    alt = "; ".join(f"{value:g} points: {counts[value]} students" for value in points)
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode()}">'


def page(title: str, body: str) -> str:
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
    known = {}
    for place, row in enumerate(rows):
        for name in header:
            if name.lower() in IDENTITY and row[name]:
                known.setdefault(row[name].lower().removeprefix("participant ").strip(), place)
    columns = [name for name in header if name == assignment or name.startswith(f"{assignment} (") or name == "Grade"]
    column = min(columns, key=lambda name: name == "Grade", default=assignment)
    owners = {}
    for student, points in totals.items():
        parts = [student.lower(), *student.lower().split("_")]
        place = next((known[part] for part in parts if part in known), None)
        if place is None:
            print(f"{roster} has no row for {student}.")
        elif place in owners:
            sys.exit(f"{student} and {owners[place]} are the same student in {roster}: grade one of the two.")
        else:
            owners[place] = student
            rows[place][column] = "" if points is None else f"{points:g}"
    header += [] if column in header else [column]
    write_csv(target, [header, *([row.get(name, "") for name in header] for row in rows)])
    print(f"{target}: {len(owners)} of {len(rows)} rows of {roster.name} filled in, in the column {column!r}.")


def inert(text: str) -> str:
    """The text so that a spreadsheet can hold it and does not take it for a formula."""
    text = text.encode(errors="backslashreplace").decode()  # JSON and file names can hold halves of characters
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header, whose separator a spreadsheet may have made a semicolon."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        sys.exit(f"{path} cannot be read ({error}): save it as CSV in UTF-8.")
    separator = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval=""))


def write_csv(path: Path, rows: list) -> None:
    table = io.StringIO(newline="")
    csv.writer(table).writerows(rows)
    write_whole(path, table.getvalue())


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{get_ident()}")
    part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    part.replace(path)
