"""The assignments: what students get, what the key holds, and what a cheat gains from the grader."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from textwrap import dedent

import nbformat
import numpy
import psutil
import pytest
from mxnet import np, npx
from nbclient import NotebookClient

from grader import build, grade, sandbox
from grader.trained_network import hand_in, moved, moved_data
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.spec import imagenet_spec

ROOT = Path(__file__).parents[2]
MASTERS = sorted((ROOT / "assignments").glob("*.md"))
BLOCKS, COUNTING, NETWORK = MASTERS[0], MASTERS[1], MASTERS[3]
needs_sandbox = pytest.mark.usefixtures("working_sandbox")


@pytest.fixture(scope="module", autouse=True)
def numpy_interface():
    npx.set_np()


@pytest.fixture(scope="module")
def masters():
    """Each master with its key."""
    return {master: (build.read(master), build.make_key(build.read(master), "a seed")) for master in MASTERS}


def points(notebook, key) -> list:
    """The points for each question of a notebook."""
    graded = grade.grade(nbformat.writes(notebook).encode(), key)
    return [verdict["points"] for verdict in graded["verdicts"].values()]


def solved(notebook):
    """The notebook with solutions, run from top to bottom."""
    solution = build.with_solutions(notebook)
    for cell in solution.cells:
        # Assignment 3 measures networks of these depths, for most of its time. The same code measures one layer.
        cell.source = cell.source.replace("num_layers in (4, 8, 16):", "num_layers in (1,):")
        cell.source = cell.source.replace("measured(DenseNet, 4)", "measured(DenseNet, 1)")
    NotebookClient(solution, timeout=1800).execute(cwd=str(ROOT / "assignments"))
    return solution


@needs_sandbox
@pytest.mark.parametrize("master", [master for master in MASTERS if master != NETWORK], ids=lambda path: path.stem)
def test_solution_runs_from_top_to_bottom_and_gets_all_points(master, masters):
    notebook, key = masters[master]
    solution = solved(notebook)
    assert points(solution, key) == [question["points"] for question in key["questions"]]
    printed = "".join(output.text for output in solution.cells[-1].outputs)
    assert "this notebook can be handed in" in printed


FEW = 500
FEW_IMAGES = f"""
for split in ("val", "test"):
    data.images[split], data.labels[split] = data.images[split][:{FEW}], data.labels[split][:{FEW}]
"""


def ask_for_few_images(key) -> None:
    """Let the questions of the assignment with a network ask for the labels of the first images alone."""
    for question in key["questions"]:
        for arguments, labels in zip(question["inputs"], question["expected"], strict=True):
            images = base64.b64decode(arguments[-1])
            arguments[-1] = base64.b64encode(images[: len(images) // len(labels) * FEW]).decode()
            del labels[FEW:]


@needs_sandbox
@pytest.mark.parametrize("quick", ["1", pytest.param("", marks=pytest.mark.all_hosts)], ids=["quick", "in full"])
def test_trained_network_gets_the_points_of_its_accuracy(quick, masters, monkeypatch):
    monkeypatch.setenv("COURSE_QUICK", quick)
    notebook, key = deepcopy(masters[NETWORK])
    if quick:
        (training,) = (cell for cell in notebook.cells if "trainer.fit" in cell.source)
        training.source = training.source.replace("net = DenseNet", f"{FEW_IMAGES}net = DenseNet")
        ask_for_few_images(key)
    solution = solved(notebook)
    key["questions"][0]["shares"] = [{"share": 0.2, "points": 4}, {"share": 0.865, "points": 5}]
    state_what_was_printed(solution, key["questions"][1])
    graded = graded_with(solution, key)
    assert graded["verdicts"]["network"]["points"] == (4 if quick else 5), graded["verdicts"]
    assert graded["verdicts"]["accuracies"]["points"] == 1, graded["verdicts"]
    assert "sampling error" in graded["texts"]["report"]


def graded_with(notebook, key):
    return grade.grade(nbformat.writes(notebook).encode(), key)


def state_what_was_printed(solution, question) -> None:
    """Put the accuracies that the notebook shows into the cell that reports them."""
    printed = "".join(output.get("text", "") for cell in solution.cells for output in cell.get("outputs", []))
    lines = ["# answer: accuracies", "num_designs = 1"]
    for split, labels in zip(("validation", "test"), question["expected"], strict=True):
        found = re.search(rf"accuracy on the {split} images: ([0-9.]+)", printed)
        assert found
        share = round(float(found[1]), 3)
        error = round((share * (1 - share) / len(labels)) ** 0.5, 4)
        lines += [f"{split}_accuracy = {share}", f"{split}_error = {error}"]
    build.answer_cells(solution)[1].source = "\n".join(lines)


@needs_sandbox
@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_what_students_start_from_gets_no_points(master, masters):
    notebook, key = masters[master]
    assert set(points(build.for_students(notebook), key)) == {0}


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_assignment_has_ten_points_and_an_answer_before_each_check(master, masters):
    _, key = masters[master]
    assert sum(question["points"] for question in key["questions"] + key["texts"]) == 10
    assert [question["name"] for question in key["questions"]] == [c["name"] for c in key["cells"] if "source" not in c]
    assert all(question["task"].startswith("## ") for question in key["questions"] + key["texts"])


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_students_notebook_and_the_book_hold_no_line_of_a_solution_or_a_hidden_test(master, masters):
    notebook, _ = masters[master]
    students = "\n".join(cell.source for cell in build.for_students(notebook).cells)
    book = "\n".join(path.read_text() for path in [*ROOT.glob("chapters/*.md"), *ROOT.glob("book/*.md")])
    secret = [build.hidden_tests(cell) for cell in notebook.cells if build.role(cell) in ("check", "text")]
    secret += [region[0] for cell in notebook.cells for region in build.SOLUTION.finditer(cell.source + "\n")]
    lines = {line.strip() for text in secret for line in text.splitlines() if len(line.strip()) > 20}
    leaked = [line for line in lines if line in students or line in book]
    assert lines and not leaked


def mutants_of(notebook) -> dict[str, int]:
    """How many mistakes the hidden tests of each answer in code name."""
    names = {}
    for cell in notebook.cells:
        if build.role(cell) == "check":
            tests = {}
            exec(build.hidden_tests(cell), tests)
            names[build.name_of(cell)] = len(tests.get("mutants", {}))
    return names


@pytest.mark.parametrize("master", [master for master in MASTERS if master != NETWORK], ids=lambda path: path.stem)
def test_every_question_names_six_mistakes_and_gives_none_of_them_all_points(master, masters):
    notebook, _ = masters[master]
    assert min(mutants_of(notebook).values()) >= 6
    # Networks take long; `make assignment` tries all seeds.
    build.check_mutants(notebook, num_seeds=2 if master == BLOCKS else build.NUM_SEEDS)


LAZY = {
    "layer_parameters": """
        layer = nn.HybridSequential()
        convolutions = [nn.Conv2D(width * growth_rate, 1, use_bias=False), nn.Conv2D(growth_rate, side, use_bias=False)]
        layer.add(nn.BatchNorm(), convolutions[0], nn.BatchNorm(), convolutions[1])
        layer.initialize()
        layer(np.zeros((1, in_channels, 8, 8)))
        return sum(p.data().size for p in layer.collect_params().values() if p.grad_req != "null")""",
    "block_parameters": """
        total, between = 0, width * growth_rate
        for _ in range(num_layers):
            total += (2 + between) * in_channels + between * (2 + growth_rate * side**2)
            in_channels += growth_rate
        return total""",
}


@needs_sandbox
def test_copy_of_a_check_and_a_loop_where_a_formula_is_asked_get_no_points(masters):
    notebook, key = masters[COUNTING]
    submission = build.with_solutions(notebook)
    for cell in build.answer_cells(submission):
        if lazy := LAZY.get(build.name_of(cell)):
            head = cell.source[: cell.source.index(":\n") + 1]
            cell.source = head + lazy.replace("\n    ", "\n")
    assert points(submission, key) == [0, 0, 3, 3]


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2.0], [1, 2], True),
        ([1, 2.5], [1, 2], False),
        ([float("nan")], [1], False),
        ([1], [1.0], False),
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
OUTSIDE = """
import os
KEYS = []
for folder, folders, files in os.walk("/"):
    # Systems and packages have many files and bring no key; /proc leads back to the same files.
    folders[:] = set(folders) - {"proc", "usr", "lib", "include"}
    KEYS += [file for file in files if file == "key.json" or file.startswith("01_blocks")]
def channels_read(*_):
    assert not KEYS
    return []
"""
FORGE = """
import json, os
for descriptor in range(64):
    for step in range(20):
        try:
            os.write(descriptor, (json.dumps(["answer", [16, 28]]) + "\\n").encode())
        except OSError:
            pass
"""
FRAMES = """
import sys
def channels_read(*arguments):
    frame, seen = sys._getframe(), {}
    while frame:
        seen |= frame.f_locals
        frame = frame.f_back
    step = seen["step"]
    return step["expected"][step["inputs"].index(list(arguments))]
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
json.dumps = lambda value, **_: '["answer", true]'
sys.modules["grader.fingerprint"].fingerprint = lambda *_: True
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
BLAME_ANOTHER = """
import os, time
for descriptor in range(3, 16):
    try:
        os.write(descriptor, b'["done", 2]\\n')
    except OSError:
        pass
time.sleep(999)
"""
DRIP = """
import os, time
while True:
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, b'"')
        except OSError:
            pass
    time.sleep(0.5)
"""
WRITE = """
import pathlib
for path in ("/usr/a_cheat", "/tmp/a_cheat", "/a_cheat"):
    try:
        pathlib.Path(path).touch()
    except OSError:
        pass
"""
NAMES = """
def channels_read(*arguments):
    raise type(f"asked {arguments}", (Exception,), {})
"""
# Each built-in exception could stand for a number.
FAILURES = """
def channels_read(initial, *_):
    raise [ValueError, KeyError, OSError][initial % 3]
"""
# What stands in the place of an answer. First come those that end the sandbox, for what is above them runs once more.
THREATS = {
    "hangs": HANG,
    "drips": DRIP,
    "ends_the_process": "import os; os._exit(0)",
    "ends_with_the_words_of_the_end": END + "os._exit(0)",
    "takes_all_memory": "x = [bytearray(2**28) for _ in range(10**4)]",
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "patches_the_checker": CHECKER,
    "forges_the_protocol": FORGE + "def channels_read(*_): return []",
    "hangs_in_the_probe": "def channels_read(*_):\n    while True: pass",
    "floods": "def channels_read(*_):\n    return list(range(10**5))",
    "prints_a_flood": "for _ in range(10**5): print('x' * 1000)\ndef channels_read(*_): return []",
    "nests_deeply": "def channels_read(*_):\n    x = []\n    for _ in range(900): x = [x]\n    return x",
    "equals_everything": EQUAL,
    "reads_frames": FRAMES,
    "reads_the_disk": OUTSIDE,
    "writes_where_it_can": WRITE,
    "uses_the_network": "import socket\nsocket.create_connection(('1.1.1.1', 53), timeout=2)",
    "tells_what_was_asked": NAMES,
    "fails_for_what_was_asked": FAILURES,
    "is_half_a_character": "x = '\ud800'",
    "is_empty": "",
}


def cheating(notebook, source: str):
    """The solution with another source in the place of its first answer."""
    submission = deepcopy(build.with_solutions(notebook))
    build.answer_cells(submission)[0].source = f"# answer: channels_read\n{source}"
    return json.dumps(submission).encode()


@pytest.fixture(scope="module")
def graded(masters):
    """The verdicts on one submission, in which each threat answers a question of its own, and is followed by what is
    right.

    What is right needs a seventh of these seconds, and a third of this memory.
    """
    notebook, key = deepcopy(masters[BLOCKS])
    submission = build.with_solutions(notebook)
    right_cell, question = build.answer_cells(submission)[0], json.dumps(key["questions"][0])
    cells, names, questions = [], [], []
    for threat, source in THREATS.items():
        for name, answer in ((threat, f"# answer: channels_read\n{source}"), (f"below_{threat}", right_cell.source)):
            cells.append(nbformat.v4.new_code_cell(answer.replace("channels_read", name)))
            names.append({"name": name})
            questions.append(json.loads(question.replace("channels_read", name)))
    place = submission.cells.index(right_cell)
    submission.cells[place:place] = cells
    place = key["cells"].index({"name": "channels_read"})
    key["cells"][place:place] = names
    key["questions"][:0] = questions
    for question in key["questions"]:
        question["seconds"] = 1 if question["name"] in THREATS else 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "STEP_SECONDS", 2)
        patch.setattr(sandbox, "MEMORY_BYTES", 2**30)
        patch.setattr(sandbox, "SUBMISSION_SECONDS", 240 * len(THREATS))
        return grade.grade(json.dumps(submission).encode(), key)["verdicts"]


@needs_sandbox
@pytest.mark.parametrize("name", THREATS)
def test_cheat_or_accident_costs_its_own_question_and_not_the_next(name, graded):
    assert [graded[name]["points"], graded[f"below_{name}"]["points"]] == [0, 2], graded[name]


@needs_sandbox
def test_answers_that_need_mxnet_get_their_points_below_all_threats(graded, masters):
    _, key = masters[BLOCKS]
    assert [graded[question["name"]]["points"] for question in key["questions"]] == [2, 2, 4, 2]


@needs_sandbox
def test_remarks_say_what_went_wrong_and_nothing_of_what_was_asked(graded):
    remarks = {name: graded[name]["remark"] for name in THREATS}
    assert remarks["hangs"] == remarks["drips"] == "The code ran for too long."
    assert remarks["hangs_in_the_probe"] == remarks["tells_what_was_asked"]
    assert remarks["forges_the_protocol"] == "The code wrote what only the grader's own code may write."
    assert remarks["ends_the_process"] == "The code ended its process."
    assert remarks["tells_what_was_asked"] == remarks["fails_for_what_was_asked"]
    assert remarks["tells_what_was_asked"].startswith("0 of 8 answers were right. To 8 no answer came: the code failed")
    # It has come to the end of its search, and found nothing.
    assert remarks["reads_the_disk"] == "0 of 8 answers were right."
    assert remarks["uses_the_network"] == "The code stopped with OSError."


def recorded_attempts(monkeypatch) -> list:
    """What each sandbox will have given back; no more than ten are started."""
    attempts, run_once = [], sandbox.run_once

    def recorded(*arguments):
        assert len(attempts) < 10
        attempts.append(run_once(*arguments))
        return attempts[-1]

    monkeypatch.setattr(sandbox, "run_once", recorded)
    return attempts


@needs_sandbox
def test_blaming_another_step_gets_no_points_and_is_not_tried_again_and_again(masters, monkeypatch):
    notebook, key = masters[BLOCKS]
    monkeypatch.setattr(sandbox, "STEP_SECONDS", 1)
    attempts = recorded_attempts(monkeypatch)
    verdicts = grade.grade(cheating(notebook, BLAME_ANOTHER), key)["verdicts"]
    assert {verdict["points"] for verdict in verdicts.values()} == {0}
    # The second leaves out what was blamed, and blames it again.
    assert len(attempts) == 2


@needs_sandbox
def test_cells_that_never_end_take_together_no_longer_than_a_submission_may(masters, monkeypatch):
    notebook, key = masters[BLOCKS]
    submission = build.with_solutions(notebook)
    submission.cells[3:3] = [nbformat.v4.new_code_cell(HANG) for _ in range(60)]
    monkeypatch.setattr(sandbox, "STEP_SECONDS", 1)
    monkeypatch.setattr(sandbox, "SUBMISSION_SECONDS", 3)
    attempts = recorded_attempts(monkeypatch)
    assert set(points(submission, key)) == {0}
    # Each hangs for a second.
    assert len(attempts) <= 3


@needs_sandbox
def test_grading_leaves_nothing_on_the_machine(graded):
    assert not [path for path in ("/usr/a_cheat", "/tmp/a_cheat", "/a_cheat") if Path(path).exists()]


def recipe(first_words: str) -> str:
    """The lines of the page on teaching that stand, indented, below the paragraph that begins so."""
    lines = (ROOT / "book" / "teaching.md").read_text().partition(f"\n{first_words}")[2].split("\n\n", 1)[1]
    found = re.match(r"(?:(?: {4}.*)?\n)+", lines)
    assert found
    return dedent(found[0])


# The masters are public: this runs the solutions of those that the machine has.
LOADER = """
from pathlib import Path
for master in Path("/autograder").rglob("01_blocks.md"):
    for cell in master.read_text().split("```{code-cell} ipython3")[1:]:
        source = cell.split("```")[0].split("---")[-1]
        if "# answer: " in source:
            exec(source)
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    open("/proc/self/comm", "w").write("left-behind")
    time.sleep(99)
"""


@pytest.fixture(scope="module")
def gradescope(masters, tmp_path_factory):
    """A function that hands in to a container as the page's recipe for Gradescope sets it up; it returns the result."""
    folder = tmp_path_factory.mktemp("gradescope")
    folder.chmod(0o755)
    for name in ("source", "submission", "results", "bin"):
        (folder / name).mkdir()
    (folder / "source" / "key.json").write_text(json.dumps(masters[BLOCKS][1]))
    parts = " ".join(str(ROOT / name) for name in ("grader", "utils", "tools", "assignments", "Makefile"))
    programs = {
        "apt-get": "true",
        "git": f"mkdir -p $3/.git && cp -r {parts} $3",
        # As `make environment` would, which has to be a command of the Makefile.
        "make": f'{shutil.which("make")} --dry-run "$@" && ln -s {sys.prefix} .venv',
    }
    for name, script in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    container = ["bwrap", "--bind", str(folder), "/autograder"]
    for place in Path("/").iterdir():
        if place.is_symlink():
            container += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir() and place.name not in ("root", "autograder"):
            container += ["--dev-bind", str(place), str(place)]
    # Root's folder is closed, and may hold the Python that runs the tests.
    for place in (Path(sys.base_prefix), Path(sys.prefix), ROOT):
        if Path("/root") in place.parents:
            for outer in reversed(place.parents[:-1]):
                container += ["--perms", "0755", "--dir", str(outer)]
            container += ["--ro-bind", str(place), str(place)]
    if os.geteuid() == 0:
        container += ["--cap-add", "ALL"]
    environment = {"PATH": "/autograder/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}

    def run_in_container(script: str) -> None:
        command = [*container, "bash", "-e", "-c", script]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert not run.returncode, run.stdout + run.stderr

    run_in_container(recipe("In `setup.sh`"))

    def hand_in(notebook) -> dict:
        (folder / "submission" / "answers.ipynb").write_text(nbformat.writes(notebook))
        run_in_container(recipe("The script `run_autograder`"))
        return json.loads((folder / "results" / "results.json").read_text())

    return folder, hand_in


@needs_sandbox
def test_recipe_for_gradescope_grades_and_leaves_nothing_that_answers_the_questions(gradescope, masters):
    folder, hand_in = gradescope
    assert (folder / "course" / "key.json").stat().st_mode & 0o777 == 0o600
    assert not list(folder.rglob("0*.md")) and not (folder / "course" / ".git").exists()
    assert not list((folder / "source").iterdir())
    notebook, _ = masters[BLOCKS]
    right = hand_in(build.with_solutions(notebook))
    assert right["score"] == 10 and "Right." in right["output"] and right["output_format"] == "html"
    loader = nbformat.v4.new_code_cell(f"# answer: channels_read\n{DAEMON + LOADER}")
    assert hand_in(nbformat.v4.new_notebook(cells=[loader]))["score"] == 0
    left = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "left-behind"]
    if os.geteuid() != 0:  # all has one user, and what outlives the grader ends with the container
        for process in left:
            process.kill()
    # What was killed may wait for the system to take note of it.
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive


@needs_sandbox
def test_sandbox_shows_of_the_course_what_students_need_and_no_more():
    look = f"import os; print(*os.listdir({str(ROOT)!r}), *os.listdir({str(ROOT / 'grader')!r}))"
    command = sandbox.command(0, look)
    shown = subprocess.run(command, env=sandbox.ENVIRONMENT, capture_output=True, text=True, check=True).stdout.split()
    students = {"__init__.py", "confine.py", "student_process.py", "fingerprint.py", "trained_network.py"}
    assert set(shown) - {".venv"} == {"utils", "grader", *students}


def test_run_without_bubblewrap_ends_with_one_sentence_on_what_to_install(tmp_path):
    for program in ("choom", "prlimit", "setpriv", "taskset"):
        (tmp_path / program).symlink_to("/usr/bin/true")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", Path(__file__).with_name("test_sandbox.py")]
    environment = {**os.environ, "PATH": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, run.stdout + run.stderr
    assert "Interrupted: Grading needs a sandbox: install what has bwrap" in run.stdout
    assert "apt-get install bubblewrap" in run.stdout and "skipped" not in run.stdout
    assert [line[:12] for line in run.stdout.splitlines() if line.startswith("ERROR ")] == ["ERROR tests/"]


@needs_sandbox
def test_lost_metadata_a_lost_name_and_new_cells_do_not_matter(masters, monkeypatch):
    monkeypatch.setattr(sandbox, "STEP_SECONDS", 1)
    notebook, key = masters[BLOCKS]
    solution = build.with_solutions(notebook)
    for cell in solution.cells:
        cell.metadata.clear()
    # The first of those that do not end is interrupted; the second catches that, and the sandbox starts without it.
    for source in ("raise SystemExit", "while True:\n    pass", HANG):
        solution.cells.insert(3, nbformat.v4.new_code_cell(source))
    lost = next(cell for cell in solution.cells if cell.source.startswith("# answer: conv_block"))
    lost.source = lost.source.replace("# answer: conv_block", "# my answer")
    graded = graded_with(solution, key)
    assert [verdict["points"] for verdict in graded["verdicts"].values()] == [2, 2, 4, 2]
    assert graded["notes"]["conv_block"].startswith("No cell begins with `# answer: conv_block`")


@needs_sandbox
def test_lost_answer_costs_what_needs_it(masters):
    notebook, key = masters[BLOCKS]
    solution = build.with_solutions(notebook)
    solution.cells = [cell for cell in solution.cells if not cell.source.startswith("# answer: conv_block")]
    verdicts = graded_with(solution, key)["verdicts"]
    assert [verdict["points"] for verdict in verdicts.values()] == [2, 0, 0, 2]
    assert verdicts["conv_block"]["remark"] == "Nothing was handed in as conv_block."


@pytest.fixture(scope="module")
def untrained():
    """A small network and a large one, by their specs' names."""
    specs = {"small": imagenet_spec(2, 1, 1), "large": imagenet_spec(32, 6, 12)}
    nets = {name: DenseNet(spec) for name, spec in specs.items()}
    for net in nets.values():
        net(np.zeros((1, 1, 28, 28)))
    return {name: (specs[name], nets[name]) for name in specs}


def test_network_over_the_budget_or_of_another_spec_cannot_be_handed_in(untrained):
    with pytest.raises(ValueError, match=r"has [0-9,]+ parameters, and 150,000 are allowed"):
        hand_in(*untrained["large"], parameters=150_000, activation_bytes=10**9)
    with pytest.raises(ValueError, match=r"MB of activations, and 0\.1 MB are allowed"):
        hand_in(*untrained["small"], parameters=150_000, activation_bytes=10**5)
    with pytest.raises(ValueError, match="was not built from this spec"):
        hand_in(untrained["small"][0], untrained["large"][1], parameters=10**9, activation_bytes=10**12)


@needs_sandbox
def test_forged_network_gets_no_points_and_the_remark_says_why(masters, untrained):
    notebook, key = deepcopy(masters[NETWORK])
    question = key["questions"][0]
    large = hand_in(*untrained["large"], parameters=10**9, activation_bytes=10**12).data
    forged = {
        "too_large": large,
        "cut_off": large[:1000] + '"',
        "no_network": 'href="data:application/octet-stream;base64,AAAA"',
        "missing": "",
    }
    key["cells"] = [{"name": name, "trained": True} for name in forged]
    key["questions"] = [
        question | {"name": name, "probe": re.sub(r"\bnetwork\b", name, question["probe"])} for name in forged
    ]
    for name, shown in forged.items():
        output = nbformat.v4.new_output("display_data", {"text/html": shown})
        notebook.cells.append(nbformat.v4.new_code_cell(f"# answer: {name}", outputs=[output]))
    no_labels = "No labels came: is the network within its budgets, and was it built from its spec?"
    remarks = dict.fromkeys(forged, no_labels) | {"missing": "Nothing was handed in as missing."}
    verdicts = graded_with(notebook, key)["verdicts"]
    assert verdicts == {name: {"points": 0, "remark": remark} for name, remark in remarks.items()}


def test_moved_images_are_whole_and_moved_by_at_most_two_pixels():
    image = numpy.zeros((1, 9, 9), "uint8")
    image[0, 4, 4] = 255
    places = {tuple(int(i) for i in numpy.argwhere(moved(image, seed)[0])[0]) for seed in range(200)}
    assert places == {(down, right) for down in range(2, 7) for right in range(2, 7)}
    assert moved(image, 1).shape == image.shape and (moved(image, 1) == moved(image, 1)).all()


def test_students_and_grader_judge_by_the_same_moved_images_and_train_on_others():
    data, again, published = moved_data(128), moved_data(1), FashionMNIST()
    for split in ("val", "test"):
        assert (data.images[split] == again.images[split]).all()
        # One of the 25 moves leaves an image where it was.
        assert (data.images[split] != published.images[split]).any(axis=(1, 2)).mean() > 0.9
        assert (data.labels[split] == published.labels[split]).all()
    assert (data.images["train"] == published.images["train"]).all()


@pytest.fixture
def graded_report(masters, untrained):
    """A function that grades what is reported of the small network; it returns the result."""
    notebook, key = deepcopy(masters[NETWORK])
    del key["questions"][0]
    ask_for_few_images(key)
    submission = build.with_solutions(notebook)
    network, accuracies = build.answer_cells(submission)
    handed_in = hand_in(*untrained["small"], parameters=10**9, activation_bytes=10**12).data
    network.outputs = [nbformat.v4.new_output("display_data", {"text/html": handed_in})]

    def graded_report(lines: str):
        accuracies.source = f"# answer: accuracies\nnum_designs = 1\n{lines}"
        return graded_with(submission, key)

    return graded_report


NO_POINTS = {"points": 0, "remark": "0 of 2 numbers that were reported are what was found."}


@needs_sandbox
def test_code_in_the_place_of_reported_numbers_is_not_run(graded_report):
    graded = graded_report("import grader.trained_network\n1 / 0")
    assert graded["verdicts"]["accuracies"] == NO_POINTS
    assert graded["code"] == "num_designs = 1"


@needs_sandbox
def test_reported_numbers_of_another_network_get_no_points(graded_report):
    shares = "validation_accuracy = 0.5\ntest_accuracy = 0.5"
    graded = graded_report(f"{shares}\nvalidation_error = 0.0224\ntest_error = 0.0224")
    assert graded["verdicts"]["accuracies"] == NO_POINTS
