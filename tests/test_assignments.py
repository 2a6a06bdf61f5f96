"""The assignments: what students get, what the key holds, and what a cheat gains from the grader."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from mxnet import npx

from assignments import build, grade

ROOT = Path(__file__).parent.parent
MASTERS = sorted((ROOT / "assignments").glob("*.md"))
BLOCKS = ROOT / "assignments" / "01_blocks.md"
needs_sandbox = pytest.mark.skipif(not shutil.which("bwrap"), reason="grading needs Debian's bubblewrap")


@pytest.fixture(scope="module", autouse=True)
def numpy_interface():
    npx.set_np()


@pytest.fixture(scope="module")
def masters():
    """Each master with its key."""
    return {master: (build.read(master), build.key(build.read(master), "a seed")) for master in MASTERS}


def hand_in(notebook, path: Path) -> Path:
    nbformat.write(notebook, path)
    return path


@needs_sandbox
@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_solution_gets_all_points_and_what_students_start_from_gets_none(master, masters, tmp_path):
    notebook, key = masters[master]
    solved = grade.grade(hand_in(build.with_solutions(notebook), tmp_path / "solved.ipynb"), key)
    started = grade.grade(hand_in(build.for_students(notebook), tmp_path / "started.ipynb"), key)
    assert [solved[question["name"]]["points"] for question in key["questions"]] == [
        q["points"] for q in key["questions"]
    ]
    assert {verdict["points"] for verdict in started.values()} == {0}


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_students_notebook_and_the_book_hold_no_line_of_a_solution_or_a_hidden_test(master, masters):
    notebook, _ = masters[master]
    given = "\n".join(cell.source for cell in build.for_students(notebook).cells)
    book = "\n".join(path.read_text() for path in [*ROOT.glob("chapters/*.md"), *ROOT.glob("book/*.md")])
    secret = [build.hidden(cell) for cell in build.questions(notebook)]
    secret += [region[0] for cell in build.answers(notebook) for region in build.SOLUTION.finditer(cell.source)]
    lines = {line.strip() for text in secret for line in text.splitlines() if len(line.strip()) > 20}
    leaked = [line for line in lines if line in given or line in book]
    assert lines and not leaked


def test_key_depends_on_the_seed(masters):
    notebook, key = masters[BLOCKS]
    other = build.key(notebook, "another seed")
    assert [q["name"] for q in key["questions"]] == [q["name"] for q in other["questions"]]
    assert all(q["inputs"] != p["inputs"] for q, p in zip(key["questions"], other["questions"], strict=True))


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2.0], [1, 2], False),
        ([True], [1], False),
        ([1.0001], [1.0], True),
        ([1.01], [1.0], False),
        ([float("nan")], [1.0], False),
        ([float("inf")], [1.0], False),
        ([[1]], [1], False),
        ({"a": 1}, [1], False),
        ([1, 2, 3], [1, 2], False),
    ],
)
def test_answers_are_compared_by_type_and_floats_within_a_tolerance(answer, expected, same):
    assert grade.is_same(answer, expected) is same


HANG = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass\n"
OUTSIDE = (
    "import glob, os\nKEYS = glob.glob('/**/key.json', recursive=True) + glob.glob('/**/01_blocks*', recursive=True)\n"
)
FORGE = """
import json, os
for descriptor in range(64):
    for step in range(20):
        try:
            os.write(descriptor, (json.dumps(["answers", step, [[16, 28]] * 8]) + "\\n").encode())
        except OSError:
            pass
"""
FRAMES = """
import sys
frame, seen = sys._getframe(), {}
while frame:
    seen |= frame.f_locals
    frame = frame.f_back
QUESTIONS = seen["task"]["questions"]
def channels_read(*arguments):
    (found,) = [q["expected"][q["inputs"].index(list(arguments))] for q in QUESTIONS if "expected" in q]
    return found
"""
EQUAL = """
class Equal(list):
    def __eq__(self, other):
        return True
    def __len__(self):
        return 8
def channels_read(*_):
    return Equal()
"""
CHECKER = """
import builtins, json, sys
builtins.all = lambda *_: True
builtins.type = lambda *_: list
json.dumps = lambda value, **_: '["answers", 5, true]'
sys.modules["assignments.probes"].answer_of = lambda *_: True
def channels_read(*_):
    return True
"""
END = """
import os
for descriptor in range(3, 64):
    try:
        os.write(descriptor, b'["end"]\\n')
    except OSError:
        pass
"""
WRITE = """
import pathlib
for path in ("/usr/a_cheat", "/tmp/a_cheat", "/a_cheat"):
    try:
        pathlib.Path(path).touch()
    except OSError:
        pass
"""
# What stands in the place of the first answer; all but the first question is answered rightly.
THREATS = {
    "hangs": HANG,
    "hangs in the probe": "def channels_read(*_):\n    while True: pass",
    "ends the process": "import os; os._exit(0)",
    "ends with the words of the end": END,
    "floods": "def channels_read(*_):\n    return list(range(10**6))",
    "prints a flood": "for _ in range(10**5): print('x' * 1000)\ndef channels_read(*_): return []",
    "nests deeply": "def channels_read(*_):\n    x = []\n    for _ in range(900): x = [x]\n    return x",
    "takes all memory": "x = [bytearray(2**28) for _ in range(10**4)]",
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "equals everything": EQUAL,
    "patches the checker": CHECKER,
    "forges the protocol": FORGE + "def channels_read(*_): return []",
    "reads frames": FRAMES,
    "reads the disk": OUTSIDE + "def channels_read(*_): return KEYS or []",
    "writes where it can": WRITE,
    "uses the network": "import socket\nsocket.create_connection(('1.1.1.1', 53), timeout=2)",
    "is empty": "",
}


@pytest.fixture(scope="module")
def graded(masters, tmp_path_factory):
    """Each threat's grades."""
    folder = tmp_path_factory.mktemp("threats")
    notebook, key = masters[BLOCKS]
    submissions = []
    for number, source in enumerate(THREATS.values()):
        submission = deepcopy(build.with_solutions(notebook))
        build.answers(submission)[0].source = f"# answer: channels_read\n{source}"
        submissions.append(hand_in(submission, folder / f"{number}.ipynb"))
    limit, grade.STEP_SECONDS = grade.STEP_SECONDS, 5
    with ThreadPoolExecutor(2) as pool:
        grades = list(pool.map(lambda number: grade.grade(submissions[number], key, number), range(len(submissions))))
    grade.STEP_SECONDS = limit
    return dict(zip(THREATS, grades, strict=True))


@needs_sandbox
@pytest.mark.parametrize("name", THREATS)
def test_cheat_or_accident_costs_its_own_question_and_no_other(name, graded):
    points = [verdict["points"] for verdict in graded[name].values()]
    expected = [0, 0, 0, 0] if name == "ends with the words of the end" else [0, 2, 4, 2]
    assert points == expected, graded[name]


@needs_sandbox
def test_grading_leaves_nothing_on_the_machine(graded):
    assert not [path for path in ("/usr/a_cheat", "/tmp/a_cheat", "/a_cheat") if Path(path).exists()]


@pytest.fixture
def solved(masters, tmp_path):
    notebook, key = masters[BLOCKS]
    return hand_in(build.with_solutions(notebook), tmp_path / "solved.ipynb"), key


SPOILED = {
    "not a notebook": (lambda path: path.write_text("no JSON"), "It is not a Jupyter notebook."),
    "JSON of another kind": (lambda path: path.write_text("[1]"), "It is not a Jupyter notebook."),
    "deep JSON": (lambda path: path.write_text("[" * 10**5), "It is not a Jupyter notebook."),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff" + path.read_bytes()), "It is not a Jupyter notebook."),
    "huge": (
        lambda path: path.write_bytes(b" " * (grade.NOTEBOOK_BYTES + 1)),
        "It is not a plain file of at most 10 MB.",
    ),
    "a link": (
        lambda path: path.rename(path.with_name("x")) and path.symlink_to(path.with_name("x")),
        "It is not a plain file",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "It is not a plain file"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_file_that_is_no_submission_gets_no_points_and_says_why(name, solved):
    path, key = solved
    spoil, reason = SPOILED[name]
    spoil(path)
    assert all(v["points"] == 0 and reason in v["remark"] for v in grade.grade(path, key).values())


@needs_sandbox
def test_lost_metadata_do_not_matter_and_a_lost_name_costs_what_needs_it(solved):
    path, key = solved
    path.write_text(path.read_text().replace('"nbgrader"', '"lost"'))
    assert sum(v["points"] for v in grade.grade(path, key).values()) == 10
    path.write_text(path.read_text().replace("# answer: conv_block", "# my answer"))
    assert [v["points"] for v in grade.grade(path, key).values()] == [2, 0, 0, 2]


def test_submission_on_which_the_grader_fails_does_not_stop_the_others(solved, tmp_path, monkeypatch):
    path, key = solved
    monkeypatch.setattr(grade, "grade", lambda submission, *_: {"q": {}} if submission == path else 1 / 0)
    other = shutil.copy(path, tmp_path / "other.ipynb")
    other.write_text(other.read_text() + " ")
    fine, failed = grade.grade_all([path, other], build.json.dumps(key), tmp_path / "graded")
    assert fine == {"q": {}} and "ZeroDivisionError" in failed["check_conv_block"]["remark"]


def test_page_of_a_student_escapes_what_it_shows():
    assert "<b>" not in grade.page("<b>", [["<b>", 1, "<b>"]])


def test_two_submissions_of_one_name_are_refused(tmp_path, monkeypatch):
    files = [str(tmp_path / "a" / "x.ipynb"), str(tmp_path / "b" / "x.ipynb")]
    monkeypatch.setattr("sys.argv", ["grade", "key.json", *files, "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="the same name, x: rename one"):
        grade.main()


def test_grading_without_a_sandbox_is_refused(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SystemExit, match="Grading needs a sandbox: install bwrap"):
        grade.check_sandbox()


@needs_sandbox
def test_what_is_graded_is_not_graded_again_and_the_table_has_a_row_a_student(solved, tmp_path, monkeypatch):
    path, key = solved
    (tmp_path / "key.json").write_text(build.json.dumps(key))
    monkeypatch.setattr("sys.argv", ["grade", str(tmp_path / "key.json"), str(path), "--out", str(tmp_path / "out")])
    grade.main()
    monkeypatch.setattr(grade, "grade", None)
    grade.main()
    names = ",".join(question["name"] for question in key["questions"])
    assert (tmp_path / "out" / "grades.csv").read_text().split() == [f"student,{names},points", "solved,2,2,4,2,10"]
    assert "<td>in all</td><td>10</td>" in (tmp_path / "out" / "feedback" / "solved.html").read_text()
