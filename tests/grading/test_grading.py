"""Grading a class: which files are submissions, and what tables and pages come out. No student's code runs here."""

import base64
import csv
import io
import json
import re

import nbformat
import pytest

from grader import grade, report, sandbox, similarity, students
from grader.__main__ import main
from grader.schema import KEY_VERSION, Key, Outcome

KEY: Key = {
    "version": KEY_VERSION,
    "assignment": "05_test",
    "cells": [{"name": "double"}],
    "questions": [
        {
            "name": "double",
            "points": 4,
            "task": "## Double\n\nWrite `double`.",
            "probe": "",
            "inputs": [[1], [2]],
            "edges": ["the smallest"],
            "expected": [20, 40],
            "shares": [],
            "seconds": 10,
        }
    ],
    "texts": [
        {
            "name": "why",
            "points": 3,
            "task": "## Why",
            "rubric": [{"text": "It says why.", "points": 2}, {"text": "It is short.", "points": 1}],
        }
    ],
}


def notebook(answer: str = "20, 40", text: str = "Because.") -> str:
    cells = [
        nbformat.v4.new_code_cell(f"# answer: double\n[{answer}]"),
        nbformat.v4.new_markdown_cell(f"<!-- answer: why -->\n\n{text}"),
    ]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


@pytest.fixture
def handed_in(tmp_path, monkeypatch):
    """A folder with three submissions, and a sandbox that answers what the first cell lists; figures stay empty."""
    (tmp_path / "handed_in").mkdir()
    for name, content in {"ada": notebook(), "bob": notebook("20, 50"), "eve": "no JSON"}.items():
        (tmp_path / "handed_in" / f"{name}.ipynb").write_text(content)
    (tmp_path / "key.json").write_text(json.dumps(KEY))
    monkeypatch.setattr(report.Figure, "savefig", lambda *_, **__: None)
    monkeypatch.setattr(sandbox, "check", lambda safe=True: None)
    monkeypatch.setattr(sandbox, "run_steps", lambda steps, *_: [Outcome(), answered(eval(steps[0]["source"]))])
    return tmp_path / "handed_in"


def answered(answers):
    """What came back of a probe that answered so to each call."""
    return Outcome([[answer] for answer in answers])


def record_steps(monkeypatch):
    """Replace the sandbox by one that answers nothing; return the list of what it will be sent."""
    sent = []

    def run_steps(steps, *_):
        sent.append(steps)
        return [Outcome() for _ in steps]

    monkeypatch.setattr(sandbox, "run_steps", run_steps)
    return sent


def run(folder, *more):
    """Grade from the command line; return the folder of the reports."""
    out = folder.parent / "out"
    main(["grade", str(folder.parent / "key.json"), str(folder), "--out", str(out), *map(str, more)])
    return out


def table(path):
    return list(csv.reader(path.open(newline="", encoding="utf-8-sig")))


def fill_in(path, points):
    rows = report.read_csv(path)
    for row in rows:
        row["points"] = points(row)
    report.write_csv(path, [report.RUBRIC, *([row[name] for name in report.RUBRIC] for row in rows)])


def test_reports_hold_points_and_remarks_and_wait_for_what_is_graded_by_hand(handed_in, capsys):
    out = run(handed_in)
    assert table(out / "grades.csv") == [
        ["student", "double", "why", "points"],
        ["ada", "4", "", ""],
        ["bob", "2", "", ""],
        ["eve", "0", "0", "0"],
    ]
    assert "Waiting for points by hand: 2. Fill in" in capsys.readouterr().out
    bob = (out / "feedback" / "bob.html").read_text()
    assert "1 of 2 answers were right." in bob and "Write <code>double</code>." in bob and "Because." in bob
    assert not any(hidden in bob for hidden in ("40", "50"))
    summary = (out / "summary.html").read_text()
    assert "<td>1</td><td>Right.</td>" in summary and 'alt="0 points: 1 students; 1 points: 0 students;' in summary
    assert (out / "code" / "ada.py").read_text() == "# answer: double\n[20, 40]"


@pytest.mark.parametrize(
    ("answers", "points", "remark"),
    [
        ([[20], [41]], 2, "1 of 2 answers were right."),
        ([[20.0], [40]], 4, "Right."),
        ([[20.5], [40]], 2, "1 of 2 answers were right."),
        (
            [[None], [None]],
            0,
            "0 of 2 answers were right. Each was None, where a whole number was asked for.",
        ),
        ([[True], [{}]], 0, "0 of 2 answers were right."),
        ([[True], [True]], 0, "0 of 2 answers were right. Each was True or False, where a whole number was asked for."),
        ([[20]], 2, "1 of 2 answers were right. To 1 no answer came: the code failed or ran for too long."),
        ([[], [40]], 2, "1 of 2 answers were right. To 1 no answer came: the code failed or ran for too long."),
    ],
)
def test_part_of_the_answers_gets_part_of_the_points_and_a_remark_without_hidden_numbers(answers, points, remark):
    assert grade.verdict(KEY["questions"][0], Outcome(answers)) == {"points": points, "remark": remark}


@pytest.mark.parametrize(("num_right", "points"), [(0, 0), (1, 0), (2, 0.5), (7, 1.5), (8, 2)])
def test_points_for_a_part_are_rounded_down_to_half_a_point(num_right, points):
    assert grade.partial_points(2, num_right, 8) == points


def test_share_of_right_answers_decides_the_points_where_shares_are_given():
    shares = [{"share": share, "points": points} for share, points in ((0.5, 1), (0.75, 3), (1.0, 4))]
    question = KEY["questions"][0] | {"expected": [[1, 2, 3, 4]], "shares": shares}
    for answers, points in (([[1, 2, 3, 4]], 4), ([[1, 2, 3, 9]], 3), ([[1, 2]], 1), ([[9]], 0), ([], 0), ([1], 0)):
        assert grade.verdict(question, answered(answers))["points"] == points


@pytest.mark.parametrize(
    ("answers", "points"),
    [
        ([[0.75, [1, 2, 3, 9]], [0.5, [5, 9]]], 4),
        ([[0.751, [1, 2, 3, 9]], [0.499, [5, 9]]], 4),
        ([[0.76, [1, 2, 3, 9]], [0.5, [5, 9]]], 2),
        ([[0.75, [1, 2, 3, 9]]], 2),
        ([[0.75, [1, 2, 3, 9]], [1, [5, 6]]], 2),
        ([[float("nan"), [1, 2, 3, 9]], [0.6, [5, 9]]], 0),
        ([0.75, 0.5], 0),
        ([], 0),
    ],
)
def test_shares_that_a_student_states_are_compared_with_what_they_are(answers, points):
    question = KEY["questions"][0] | {"expected": [[1, 2, 3, 4], [5, 6]], "reported_within": 0.0015}
    assert grade.verdict(question, answered(answers))["points"] == points


def test_points_in_the_rubric_are_merged_and_survive_another_run(handed_in):
    out = run(handed_in)
    fill_in(out / "rubric.csv", lambda row: {"It says why.": "1,5", "It is short.": "1"}[row["criterion"]])
    for _ in range(2):
        run(handed_in)
        assert table(out / "grades.csv")[1:] == [
            ["ada", "4", "2.5", "6.5"],
            ["bob", "2", "2.5", "4.5"],
            ["eve", "0", "0", "0"],
        ]
    assert "It says why. 1,5 of 2 points." in (out / "feedback" / "ada.html").read_text()


def test_rubric_saved_by_a_spreadsheet_is_read(handed_in):
    out = run(handed_in)
    fill_in(out / "rubric.csv", lambda row: "1")
    text = (out / "rubric.csv").read_text(encoding="utf-8-sig").replace(",", ";")
    (out / "rubric.csv").write_text(text, encoding="utf-8-sig")
    run(handed_in)
    assert table(out / "grades.csv")[1] == ["ada", "4", "2", "6"]


def test_another_answer_asks_for_points_anew_and_the_sheet_before_is_kept(handed_in, capsys):
    out = run(handed_in)
    fill_in(out / "rubric.csv", lambda row: "1")
    (handed_in / "ada.ipynb").write_text(notebook(text="Another reason."))
    run(handed_in)
    assert table(out / "grades.csv")[1:3] == [["ada", "4", "", ""], ["bob", "2", "2", "4"]]
    assert "2 rows of" in capsys.readouterr().out
    assert "Because." in next(out.glob("rubric_*.csv")).read_text().split("bob")[0]


@pytest.mark.parametrize("points", ["3", "-1", "two", "nan"])
def test_points_that_a_criterion_does_not_have_are_refused_and_the_sheet_stays(points, handed_in):
    out = run(handed_in)
    fill_in(out / "rubric.csv", lambda row: points)
    before = (out / "rubric.csv").read_text()
    with pytest.raises(SystemExit, match=f"'{points}' for ada is no number from 0 to 2"):
        run(handed_in)
    assert (out / "rubric.csv").read_text() == before


def test_what_is_graded_is_not_graded_again_unless_it_changed(handed_in, monkeypatch):
    run(handed_in)
    sent = record_steps(monkeypatch)
    run(handed_in)
    assert not sent
    (handed_in / "bob.ipynb").write_text(notebook("7, 8"))
    run(handed_in)
    assert ["7, 8" in steps[0]["source"] for steps in sent] == [True]


def test_sandbox_is_sent_no_expected_answer(handed_in, monkeypatch):
    sent = record_steps(monkeypatch)
    run(handed_in)
    assert len(sent) == 2
    for cell, question in sent:
        assert set(cell) == {"source"} and set(question) == {"probe", "inputs", "seconds"}


def test_submission_on_which_the_grader_fails_does_not_stop_the_others(handed_in):
    (handed_in / "bob.ipynb").write_text(notebook("1 / 0"))
    out = run(handed_in)
    assert [row[1] for row in table(out / "grades.csv")[1:]] == ["4", "", "0"]
    assert "ZeroDivisionError" in (out / "feedback" / "bob.html").read_text()


def test_grades_are_written_before_the_pages(handed_in, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "feedback", fail)
    with pytest.raises(SystemExit, match="No space left on device"):
        run(handed_in)
    assert [row[:2] for row in table(handed_in.parent / "out" / "grades.csv")[1:3]] == [["ada", "4"], ["bob", "2"]]


def run_steps_in_turn(monkeypatch, *outcomes):
    """Replace the sandbox by one that gives back these outcomes of a probe, one after the other, or raises them."""
    left = list(outcomes)

    def run_steps(*_):
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return [Outcome(), outcome]

    monkeypatch.setattr(sandbox, "run_steps", run_steps)
    return left


RIGHT = Outcome([[20], [40]])


def test_page_says_what_was_taken_for_the_answer_where_that_is_not_plain(handed_in, monkeypatch):
    twice = nbformat.reads(notebook(), 4)
    twice.cells.insert(0, nbformat.v4.new_code_cell("# answer: double\n[0, 0]"))
    (handed_in / "ada.ipynb").write_text(nbformat.writes(twice))
    monkeypatch.setattr(sandbox, "run_steps", lambda steps, *_: [*[Outcome()] * (len(steps) - 1), RIGHT])
    page = (run(handed_in) / "feedback" / "ada.html").read_text()
    assert "<p>2 cells are called double, and none of them was run: the lowest counts most.</p>" in page


@pytest.mark.parametrize("failure", [Outcome(failure=sandbox.TOO_LONG), Outcome(failure=sandbox.ENDED)])
def test_what_ended_by_time_or_a_signal_is_graded_once_more_before_it_counts(failure, handed_in, monkeypatch, capsys):
    for name in ("bob", "eve"):
        (handed_in / f"{name}.ipynb").unlink()
    left = run_steps_in_turn(monkeypatch, failure, RIGHT)
    out = run(handed_in)
    assert not left and table(out / "grades.csv")[1][1] == "4"
    assert "Graded once more, alone, since the machine may have been too busy: ada." in capsys.readouterr().out
    run(handed_in)  # what counts is stored


def test_failure_that_is_confirmed_is_the_students(handed_in, monkeypatch, capsys):
    for name in ("bob", "eve"):
        (handed_in / f"{name}.ipynb").unlink()
    left = run_steps_in_turn(monkeypatch, *[Outcome([[20]], failure=sandbox.TOO_LONG)] * 2)
    for _ in range(2):
        assert table(run(handed_in) / "grades.csv")[1][1] == "2"
    assert not left and "Needs a look" not in capsys.readouterr().out


def test_machines_failure_gives_no_points_stands_in_a_list_and_is_not_stored(handed_in, monkeypatch, capsys):
    for name in ("bob", "eve"):
        (handed_in / f"{name}.ipynb").unlink()
    failure = sandbox.MachineError("The sandbox did not start within 60 seconds.")
    run_steps_in_turn(monkeypatch, failure, failure, RIGHT)
    assert table(run(handed_in) / "grades.csv")[1] == ["ada", "", "", ""]
    printed = capsys.readouterr().out
    assert "Needs a look" in printed and "  ada: MachineError: The sandbox did not start" in printed
    assert table(run(handed_in) / "grades.csv")[1][1] == "4"


def test_student_is_graded_anew_when_the_teacher_asks_or_the_grader_or_the_key_has_changed(handed_in, monkeypatch):
    run(handed_in)
    sent = record_steps(monkeypatch)
    run(handed_in, "--again", "ada")
    assert len(sent) == 1
    with pytest.raises(SystemExit, match=r"There is no submission of zoe: name a student as grades\.csv does"):
        run(handed_in, "--again", "zoe")
    monkeypatch.setattr(grade, "version", lambda: b"another")
    run(handed_in)
    assert len(sent) == 3
    (handed_in.parent / "key.json").write_text(json.dumps({**KEY, "texts": []}))
    run(handed_in)
    assert len(sent) == 5


def test_as_many_are_graded_at_a_time_as_the_teacher_says(handed_in, monkeypatch):
    slots = []
    monkeypatch.setattr(sandbox, "run_steps", lambda steps, slot, safe: slots.append(slot) or [Outcome(), RIGHT])
    run(handed_in, "--jobs", "1")
    assert slots == [0, 0]


def test_without_a_sandbox_no_more_than_one_submission_is_graded(handed_in):
    with pytest.raises(SystemExit, match="--unsafe-no-sandbox grades one submission"):
        run(handed_in, "--unsafe-no-sandbox")


def test_statistics_of_questions_stand_in_a_table_and_on_the_class_page(handed_in):
    (handed_in / "kim.ipynb").write_text(notebook("1, 2"))
    run(handed_in)
    fill_in(handed_in.parent / "out" / "rubric.csv", lambda row: "1" if row["student"] in ("ada", "bob") else "0")
    out = run(handed_in)
    double, why = report.read_csv(out / "questions.csv")
    assert (double["mean"], double["students"]) == ("1.50", "4")
    shares = [double[f"share with {part}"] for part in ("full points", "a part", "none")]
    assert shares == ["0.25", "0.25", "0.50"] and 0.5 < float(double["discrimination"]) < 1
    assert why["share with none"] == "0.50"
    assert f"discrimination: {double['discrimination']}" in (out / "summary.html").read_text()


def test_median_time_of_the_answers_to_a_question_stands_in_the_table_and_in_a_plot_with_its_text(
    handed_in, monkeypatch
):
    (handed_in / "kim.ipynb").write_text(notebook("5, 6"))
    # The third ended before it had answered, which says nothing about the question.
    outcomes = [Outcome([[20], [40]], seconds=0.25), Outcome([[20], [40]], seconds=0.5), Outcome(failure="It ended.")]
    run_steps_in_turn(monkeypatch, *outcomes)
    out = run(handed_in, "--jobs", "1")
    double, why = report.read_csv(out / "questions.csv")
    assert double["median seconds"] == "0.375" and why["median seconds"] == ""
    summary = (out / "summary.html").read_text()
    assert 'alt="Median seconds of the answers. double: 0.375"' in summary and "median seconds: 0.375" in summary


def test_class_page_has_figures_of_points_and_seconds():
    results = {"ada": {**grade.ungraded(KEY, ""), "seconds": {"double": 0.5}}}
    page = report.summary("05_test", KEY["questions"], results, {"ada": 0}, {})
    drawn = [base64.b64decode(image) for image in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)]
    assert len(drawn) == 2 and all(b"<svg" in figure and b"<path" in figure for figure in drawn)


def test_points_by_hand_replace_the_graders_and_survive_another_run(handed_in):
    out = run(handed_in)
    report.write_csv(out / "by_hand.csv", [report.BY_HAND, ("bob", "double", "3,5", "A typing mistake.")])
    for _ in range(2):
        assert table(run(handed_in) / "grades.csv")[2][1] == "3.5"
    page = (out / "feedback" / "bob.html").read_text()
    assert (
        "Given by hand. A typing mistake." in page and "The grader said, 2 points: 1 of 2 answers were right." in page
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("zoe", "double", "1", ""), "there is no 'double' of 'zoe'"),
        (("bob", "triple", "1", ""), "there is no 'triple' of 'bob'"),
        (("bob", "double", "5", ""), "'5' for bob is no number from 0 to 4"),
    ],
)
def test_points_by_hand_that_cannot_be_are_refused(row, sentence, handed_in):
    out = run(handed_in)
    report.write_csv(out / "by_hand.csv", [report.BY_HAND, row])
    with pytest.raises(SystemExit, match=sentence):
        run(handed_in)


TIMES = "student,time\nada,2026-03-01T23:59\nbob,2026-03-03T00:30\neve,2026-03-02 00:00\n"


def run_late(handed_in, times=TIMES, due="2026-03-01T23:59", percent="10"):
    """Grade with a deadline."""
    (handed_in.parent / "times.csv").write_text(times)
    return run(handed_in, "--due", due, "--times", handed_in.parent / "times.csv", "--late-per-day", percent)


def test_each_day_that_has_begun_takes_its_percentage_of_all_points(handed_in):
    fill_in(run(handed_in) / "rubric.csv", lambda row: "1")
    out = run_late(handed_in)
    assert table(out / "grades.csv") == [
        ["student", "double", "why", "days late", "points"],
        ["ada", "4", "2", "0", "6"],
        ["bob", "2", "2", "2", "2.6"],
        ["eve", "0", "0", "1", "0"],
    ]
    pages = {name: (out / "feedback" / f"{name}.html").read_text() for name in ("ada", "bob", "eve")}
    assert "2.6 points in all." in pages["bob"]
    assert "Handed in 2026-03-03 00:30, due 2026-03-01 23:59: 2 days late, which takes 1.4 points." in pages["bob"]
    assert "Handed in 2026-03-01 23:59, in time." in pages["ada"]
    assert "1 day late, which takes 0 points." in pages["eve"]
    assert "2 of 3 students handed in late." in (out / "summary.html").read_text()


def test_lateness_does_not_change_the_statistics_of_a_question(handed_in):
    fill_in(run(handed_in) / "rubric.csv", lambda row: "1")
    before = table(run(handed_in) / "questions.csv")
    assert table(run_late(handed_in, percent="100") / "questions.csv") == before
    assert [row[-1] for row in table(handed_in.parent / "out" / "grades.csv")[1:]] == ["6", "0", "0"]


def test_points_that_wait_to_be_given_by_hand_wait_with_a_deadline_too(handed_in):
    out = run_late(handed_in)
    assert table(out / "grades.csv")[2] == ["bob", "2", "", "2", ""]
    assert "2 days late, which takes up to 1.4 points." in (out / "feedback" / "bob.html").read_text()


@pytest.mark.parametrize(
    "times",
    [
        "user_id,submitted_at\n4711,2026-03-02T01:00:00Z\n4712,2026-03-01T22:59:00Z\n",
        "SID,Submission Time\n4711,2026-03-01 23:59:01 +0000\n4712,2026-03-01 22:59:00 -0000\n",
    ],
    ids=["Canvas", "Gradescope"],
)
def test_times_of_canvas_and_gradescope_are_read_as_they_are(times, handed_in):
    for path in handed_in.iterdir():
        path.unlink()
    for name in ("lada_4711_99_a", "bob_4712_98_a"):
        (handed_in / f"{name}.ipynb").write_text(notebook())
    out = run_late(handed_in, times, "2026-03-02T00:59+01:00")
    assert [row[:1] + row[3:4] for row in table(out / "grades.csv")[1:]] == [["bob_4712", "0"], ["lada_4711", "1"]]


def test_times_in_moodles_grading_worksheet_are_read_as_they_are(handed_in):
    for path in handed_in.iterdir():
        path.unlink()
    (handed_in / "Ada L._4711_x").mkdir()
    (handed_in / "Ada L._4711_x" / "a.ipynb").write_text(notebook())
    rows = 'Participant 4711,Ada L.,"Monday, 2 March 2026, 12:01 AM"\nParticipant 4712,Bob,-\n'
    out = run_late(handed_in, f"Identifier,Full name,Last modified (submission)\n{rows}")
    assert table(out / "grades.csv")[1][3] == "1"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"times": TIMES.replace("2026-03-03T00:30", "3.3.26")}, r"times\.csv: '3\.3\.26' of bob is no time"),
        ({"times": TIMES.replace("2026-03-03T00:30", "")}, r"times\.csv: '' of bob is no time"),
        ({"times": TIMES.replace("00:30", "00:30Z")}, r"'2026-03-03T00:30Z' of bob .* offset .* --due"),
        ({"times": TIMES.replace("bob", "rob")}, r"times\.csv has no row for bob: add one"),
        ({"times": f"{TIMES}ada,2026-03-01T12:00\n"}, r"times\.csv has 2 rows for ada: keep one"),
        ({"times": TIMES.replace("time", "when")}, r"times\.csv must have a row for each student, with the columns"),
        ({"times": "student,time\n"}, r"times\.csv must have a row for each student, with the columns"),
        ({"due": "2026-03-01"}, "--due: '2026-03-01' is no time"),
        ({"percent": "-1"}, "--late-per-day must be from 0 to 100"),
    ],
)
def test_deadline_that_cannot_be_kept_stops_before_anything_is_graded(change, sentence, handed_in, monkeypatch):
    sent = record_steps(monkeypatch)
    with pytest.raises(SystemExit, match=sentence):
        run_late(handed_in, **change)
    assert not sent and not (handed_in.parent / "out").exists()


def test_deadline_needs_a_table_of_times(handed_in):
    with pytest.raises(SystemExit, match="--due needs --times"):
        run(handed_in, "--due", "2026-03-01T23:59")
    with pytest.raises(SystemExit, match="--times and --late-per-day need --due"):
        run(handed_in, "--late-per-day", "10")


@pytest.fixture
def checker(handed_in, monkeypatch):
    """A program in the place of the checker of similarity, which is found by PATH and has its script given."""

    def install(script: str) -> None:
        program = handed_in.parent / "bin" / similarity.COMMAND[0]
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return install


def test_checker_of_similarity_compares_the_code_of_all_students_where_it_is_installed(checker, handed_in, capsys):
    checker('for last; do :; done; ls "$2" > "$last"')
    out = run(handed_in)
    assert (out / "similarity.html").read_text().split() == ["ada.py", "bob.py", "eve.py"]
    assert f"{out / 'similarity.html'}: which answers are alike" in capsys.readouterr().out


def test_checker_of_similarity_that_fails_is_named_and_the_report_before_stays(checker, handed_in, capsys):
    checker("echo no tokens >&2; exit 0")
    (handed_in.parent / "out").mkdir()
    (handed_in.parent / "out" / "similarity.html").write_text("before")
    out = run(handed_in)
    assert "copydetect has compared nothing (no tokens)" in capsys.readouterr().out
    assert (out / "similarity.html").read_text() == "before" and (out / "grades.csv").exists()


def test_checker_of_similarity_that_is_not_installed_is_asked_for_in_one_sentence(handed_in, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    out = run(handed_in)
    assert "Nobody's answers were compared: install copydetect" in capsys.readouterr().out
    assert not (out / "similarity.html").exists()


def test_teacher_sees_what_each_probe_asked_and_got(handed_in, capsys):
    main(["explain", str(handed_in.parent / "key.json"), str(handed_in / "bob.ipynb")])
    printed = capsys.readouterr().out
    assert "double: 2 of 4 points" in printed
    assert "right (the smallest): 1 -> 20, expected 20" in printed and "WRONG: 2 -> 50, expected 40" in printed


CANVAS = "Student,ID,Section,05_test (77)\nPoints Possible,,,7\nAda L.,4711,A,\nBob,4712,A,\nZoe,4713,A,\n"
MOODLE = "Identifier,Full name,Grade\nParticipant 4711,Ada L.,\nParticipant 4712,Bob,\n"


@pytest.mark.parametrize(
    ("roster", "names", "filled"),
    [
        (CANVAS, ("lada_4711_99_05_test.ipynb", "bob_LATE_4712_98_05_test.ipynb"), ["7", "6", "4", ""]),
        (MOODLE, ("Ada L._4711_assignsubmission_file/05_test.ipynb", "Bob_4712_x/05_test.ipynb"), ["6", "4"]),
        ("Username,Email\nada,a@b.c\nbob,b@b.c\n", ("ada.ipynb", "bob.ipynb"), ["6", "4"]),
    ],
)
def test_roster_of_canvas_and_moodle_is_filled_with_points(roster, names, filled, handed_in):
    contents = [(handed_in / f"{name}.ipynb").read_text() for name in ("ada", "bob")]
    for path in handed_in.iterdir():
        path.unlink()
    for name, content in zip(names, contents, strict=True):
        (handed_in / name).parent.mkdir(exist_ok=True)
        (handed_in / name).write_text(content)
    (handed_in.parent / "roster.csv").write_text(roster)
    out = run(handed_in)
    fill_in(out / "rubric.csv", lambda row: "1")
    run(handed_in, "--roster", handed_in.parent / "roster.csv")
    assert [row[-1] for row in table(out / "lms.csv")[1:]] == filled
    before = list(csv.reader(roster.splitlines()))
    assert [row[:2] for row in table(out / "lms.csv")] == [row[:2] for row in before]


def test_folder_under_the_given_path_names_the_student_whatever_the_files_are_called(tmp_path):
    for student in ("ada", "bob"):
        for folder in ("05_test", "05_test/.ipynb_checkpoints", "__MACOSX"):
            (tmp_path / student / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / student / folder / "05_test.ipynb").touch()
    (tmp_path / "eve").mkdir()
    (tmp_path / "eve" / "ada.ipynb").touch()
    found = students.find([tmp_path], "05_test")
    assert {student: path.parent.name for student, path in found.items()} == {
        "ada": "05_test",
        "bob": "05_test",
        "eve": "eve",
    }
    assert list(students.find([tmp_path / "ada"], "05_test")) == ["ada"]
    assert list(students.find([tmp_path / "ada" / "05_test" / "05_test.ipynb"], "05_test")) == ["05_test"]


def test_notebook_that_answers_the_questions_counts_and_the_other_is_named(tmp_path, capsys):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "answers.ipynb").write_text(notebook())
    (tmp_path / "ada" / "notes.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook()))
    assert students.find([tmp_path], "05_test", ["double", "why"]) == {"ada": tmp_path / "ada" / "answers.ipynb"}
    printed = capsys.readouterr().out
    assert "ada: " in printed and "answers.ipynb counts, and not" in printed and "notes.ipynb." in printed


def test_last_of_several_submissions_in_canvas_counts(tmp_path):
    for name in (
        "lada_4711_98_05_test",
        "lada_LATE_4711_99_05_test-1",
        "lada_4711_97_05_test-2",
        "bob_4712_96_05_test",
    ):
        (tmp_path / f"{name}.ipynb").write_text(notebook())
    found = students.find([tmp_path], "05_test", ["double", "why"])
    assert {student: path.stem for student, path in found.items()} == {
        "bob_4712": "bob_4712_96_05_test",
        "lada_4711": "lada_LATE_4711_99_05_test-1",
    }


def test_file_that_is_no_notebook_is_named_with_its_student_while_all_others_are_graded(handed_in, capsys):
    (handed_in / "zoe").mkdir()
    (handed_in / "zoe" / "answers.pdf").write_bytes(b"%PDF")
    (handed_in / "kim.zip").write_bytes(b"PK")
    out = run(handed_in)
    assert [row[0] for row in table(out / "grades.csv")[1:]] == ["ada", "bob", "eve", "kim", "zoe"]
    printed = capsys.readouterr().out
    assert "answers.pdf. This is not a Jupyter notebook." in printed and "kim has handed in" in printed


def test_name_has_one_form_of_unicode_whatever_the_file_system_made_of_it(tmp_path):
    (tmp_path / "Zoe\u0301.ipynb").write_text(notebook())
    assert list(students.find([tmp_path], "05_test", ["double"])) == ["Zo\u00e9"]


def rename(handed_in, **names):
    """Give the notebooks of ada and bob these names, and remove all others."""
    for path in handed_in.iterdir():
        path.rename(handed_in / f"{names[path.stem]}.ipynb") if path.stem in names else path.unlink()


def test_namesakes_in_two_forms_of_unicode_are_two_students_and_both_are_named(handed_in, capsys):
    rename(handed_in, ada="Zoe\u0301", bob="Zo\u00e9")
    (handed_in / "kim.ipynb").write_text(notebook())
    out = run(handed_in)
    assert [row[:2] for row in table(out / "grades.csv")[1:]] == [["Zoe\\u0301", "4"], ["Zo\\xe9", "2"], ["kim", "4"]]
    assert "Zoe\\u0301 and Zo\\xe9 look alike and are graded as different students" in capsys.readouterr().out
    assert len(list((out / "feedback").iterdir())) == 3


def test_names_that_differ_by_case_alone_have_pages_that_every_file_system_tells_apart(handed_in, capsys):
    rename(handed_in, ada="Kim", bob="kim")
    (handed_in.parent / "roster.csv").write_text("Username\nkim\n")
    out = run(handed_in, "--roster", handed_in.parent / "roster.csv")
    assert [row[:2] for row in table(out / "grades.csv")[1:]] == [["Kim", "4"], ["kim", "2"]]
    for folder, kind in (("feedback", "html"), ("code", "py")):
        assert {path.name for path in (out / folder).iterdir()} == {f"Kim.{kind}", f"kim (2).{kind}"}
    assert "1 of 2 answers were right" in (out / "feedback" / "kim (2).html").read_text()
    assert table(out / "lms.csv")[1:] == [["kim", ""]]
    printed = capsys.readouterr().out
    assert "Kim and kim look alike and are graded as different students" in printed
    assert "Kim and kim may be the same row of" in printed


def test_name_that_is_not_utf_8_is_printed_and_written_with_escapes(handed_in, monkeypatch):
    rename(handed_in, ada="Zo\udce9", bob="Bob")  # as Latin-1 wrote it
    (handed_in / "Zo\udce9.ipynb").write_text("no JSON")
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", printed)
    out = run(handed_in)
    assert [row[:2] for row in table(out / "grades.csv")[1:]] == [["Bob", "2"], ["Zo\\udce9", "0"]]
    assert (out / "feedback" / "Zo\\udce9.html").exists()
    printed.seek(0)
    assert "Zo\\udce9 has handed in" in printed.read()


def test_long_name_of_a_folder_has_a_page(handed_in):
    rename(handed_in, ada="ada")
    (handed_in / ("\u00e9" * 127)).mkdir()
    (handed_in / "ada.ipynb").rename(handed_in / ("\u00e9" * 127) / "ada.ipynb")
    (page,) = (run(handed_in) / "feedback").iterdir()
    assert page.stem == "\u00e9" * 120


def test_no_submissions_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="There are no submissions"):
        students.find([tmp_path / "empty"], "05_test")


def test_number_tells_namesakes_apart_and_a_name_that_two_have_fills_no_row(handed_in, capsys):
    for path in handed_in.iterdir():
        path.unlink()
    for folder, answer in (("Ada L._4712_x", "20, 40"), ("Ada L._nobody_x", "20, 50")):
        (handed_in / folder).mkdir()
        (handed_in / folder / "05_test.ipynb").write_text(notebook(answer, ""))
    rows = "Identifier,Full name,Grade\nParticipant 4711,Ada L.,\nParticipant 4712,Ada L.,\nParticipant 4713,Zoe,,x\n"
    (handed_in.parent / "roster.csv").write_text(rows)
    out = run(handed_in, "--roster", handed_in.parent / "roster.csv")
    assert [row[-1] for row in table(out / "lms.csv")[1:]] == ["", "4", ""]
    printed = capsys.readouterr().out
    assert "has 2 rows that may be Ada L._nobody_x's, and none was filled in" in printed
    assert "row 4 has more cells than there are columns" in printed
    assert "Nothing was handed in by these" in printed and "Participant 4713 Zoe." in printed


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("  =1+1", "  '=1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("a; @x", "a; '@x"),
        ("'=1", "'=1"),
        ("1-1", "1-1"),
    ],
)
def test_formula_is_defused_behind_blanks_and_semicolons_once(text, cell):
    assert report.inert(text) == report.inert(report.inert(text)) == cell


def test_tables_begin_with_the_mark_by_which_excel_knows_utf_8(handed_in):
    out = run(handed_in)
    for path in out.glob("*.csv"):
        assert path.read_bytes().startswith(b"\xef\xbb\xbf")


SPOILED = {
    "not a notebook": (lambda path: path.write_text("no JSON"), "This is not a Jupyter notebook."),
    "JSON of another kind": (lambda path: path.write_text("[1]"), "This is not a Jupyter notebook."),
    "deep JSON": (lambda path: path.write_text("[" * 10**5), "This is not a Jupyter notebook."),
    "no Unicode": (lambda path: path.write_bytes(b"\xff" + path.read_bytes()), "This is not a Jupyter notebook."),
    "huge": (
        lambda path: path.write_bytes(b" " * (students.NOTEBOOK_BYTES + 1)),
        "This is not a plain file of at most 10 MB.",
    ),
    "a link": (
        lambda path: (path.rename(path.parents[1] / "x"), path.symlink_to(path.parents[1] / "x")),
        "This is not a plain file",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_file_that_is_no_submission_gets_no_points_and_says_why(name, handed_in):
    spoil, reason = SPOILED[name]
    spoil(handed_in / "ada.ipynb")
    out = run(handed_in)
    assert [row[1] for row in table(out / "grades.csv")[1:]] == ["0", "2", "0"]
    assert reason in (out / "feedback" / "ada.html").read_text()


def test_linked_folder_is_no_submission(handed_in, tmp_path):
    (tmp_path / "away").mkdir()
    (handed_in / "ada.ipynb").rename(tmp_path / "away" / "ada.ipynb")
    (handed_in / "link").symlink_to(tmp_path / "away")
    with pytest.raises(students.SubmissionError, match="not a plain file"):
        students.read(handed_in / "link" / "ada.ipynb")
    assert students.find([handed_in], "05_test").get("ada") is None
    assert table(run(handed_in) / "grades.csv")[-1][1] == "0"


@pytest.mark.parametrize("name", ["..", "=1+1", "<b>x", "a b;c", "\udcff", "x" * 240])
def test_strange_file_names_and_texts_do_no_harm(name, handed_in):
    for path in handed_in.iterdir():
        path.unlink()
    for path in (handed_in / f"{name}.ipynb", handed_in / "ada.ipynb"):
        path.write_text(notebook().replace("Because.", "=1 <script> \\ud800"))
    out = run(handed_in)
    shown = name.encode(errors="backslashreplace").decode()
    assert sorted(path.name for path in (out / "feedback").iterdir()) == sorted([f"{shown}.html", "ada.html"])
    cells = [cell for path in (out / "grades.csv", out / "rubric.csv") for row in table(path) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    pages = "".join(path.read_text() for path in out.rglob("*.html"))
    assert "<script>" not in pages and "<b>x" not in pages


def test_grading_without_a_sandbox_is_refused(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SystemExit, match="install what has choom and prlimit and taskset and bwrap"):
        sandbox.check()


def test_sandbox_that_does_not_start_is_refused_and_the_risk_of_none_is_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: ["false"])
    with pytest.raises(SystemExit, match="--unsafe-no-sandbox grades one submission without namespaces"):
        sandbox.check()


def test_file_that_is_no_key_is_refused(handed_in, monkeypatch):
    (handed_in.parent / "key.json").write_text("{")
    with pytest.raises(SystemExit, match=r"is not a key .*: make one with `make assignment`"):
        run(handed_in)


def test_key_of_another_version_of_the_grader_is_refused(handed_in):
    (handed_in.parent / "key.json").write_text(json.dumps({**KEY, "version": 1}))
    with pytest.raises(SystemExit, match=r"key\.json is not a key of this version of the grader: make it anew"):
        run(handed_in)


def test_folder_that_cannot_be_written_is_named_in_one_sentence(handed_in):
    (handed_in.parent / "out").write_text("a file")
    with pytest.raises(SystemExit, match=r"out.* cannot be read or written"):
        run(handed_in)
