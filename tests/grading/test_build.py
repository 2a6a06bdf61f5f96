"""Making an assignment: masters that cannot be handed out, and the files that come out. No student's code runs here."""

import json
from pathlib import Path

import pytest
from mxnet import npx

from grader import build, schema
from grader.__main__ import main

MASTERS = Path(__file__).parents[2] / "assignments"
GRADER = Path(build.__file__).parent
# The smallest master with everything in it.
MARK = "---\nnbgrader: {{grade_id: {}, grade: {}, solution: {}, locked: true, points: {}}}\n---\n"
CELL = "```{{code-cell}} ipython3\n{}{}\n```\n\n"
ANSWER = """\
# answer: double
def double(number):
    ### BEGIN SOLUTION
    return 2 * number
    ### END SOLUTION"""
TESTS = """\
assert double(1) == 2
### BEGIN HIDDEN TESTS
def inputs(random):
    return [[random.randint(1, 10**9)] for _ in range(3)]


def probe(number):
    return double(number)
### END HIDDEN TESTS"""


def answer(name: str = "double") -> str:
    source = ANSWER.replace("double", name)
    return f"## Task of {name}\n\n" + CELL.format(MARK.format(name, "false", "true", 0), source)


def check(name: str = "check_double", tests: str = TESTS) -> str:
    return CELL.format(MARK.format(name, "true", "false", 2), tests)


@pytest.fixture(scope="module", autouse=True)
def numpy_interface():
    npx.set_np()


@pytest.fixture
def in_new_folder(tmp_path, monkeypatch):
    """An empty folder to work in, with a folder of masters, and a seed that is not the checkout's."""
    (tmp_path / "masters").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "SEED", tmp_path / "seed")
    return tmp_path


def write_master(folder: Path, text: str) -> Path:
    header = "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\n---\n\n"
    (folder / "a.md").write_text(header + text)
    return folder / "a.md"


def key_of(text: str, folder: Path, seed: str = "a seed"):
    return build.make_key(build.read(write_master(folder, text)), seed)


UNSOLVED = answer().replace("### BEGIN", "### ")
EARLY_CHECK = check(tests=TESTS.replace("assert double(1) == 2\n", ""))
FAULTS = {
    "two checks": (answer() + check() + check("check_again"), "check_again follows no answer of its own: put one"),
    "a check before any answer": (EARLY_CHECK + answer(), "check_double follows no answer of its own: put one"),
    "two cells of one name": (answer() + check() + answer(), "double has the name of a cell above it"),
    "no hidden tests": (answer() + check(tests="assert double"), "check_double has no hidden tests"),
    "no name": (answer().replace("# answer: ", "# "), "double does not begin with its name, `# answer: double`"),
    "no solution": (UNSOLVED, "double has no solution"),
    "a wrong solution": (answer().replace("2 * number", "1 / 0") + check(), "check_double fails on the solution: Zero"),
    "a broken probe": (
        answer() + check(tests=TESTS.replace("return do", "return lo")),
        "hidden tests that stop with Name",
    ),
    "an answer easily guessed": (
        answer() + check(tests=TESTS.replace("return do", "return 1 > 0 or do")),
        "other than lists",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_master_that_cannot_be_handed_out_says_which_cell_of_which_master(fault, tmp_path):
    text, problem = FAULTS[fault]
    with pytest.raises(build.MasterError, match=problem) as caught:
        key_of(text, tmp_path)
    assert str(caught.value).startswith("a.md: the cell ")


def test_key_holds_the_answers_of_the_solution_and_depends_on_the_seed(tmp_path):
    text = answer() + check() + answer("triple") + check("check_triple", TESTS.replace("double", "triple"))
    key, other = key_of(text, tmp_path), key_of(text, tmp_path, "another seed")
    assert [question["name"] for question in key["questions"]] == ["double", "triple"]
    assert [question["task"] for question in key["questions"]] == ["## Task of double", "## Task of triple"]
    for question, other_question in zip(key["questions"], other["questions"], strict=True):
        assert question["expected"] == [2 * number for (number,) in question["inputs"]]
        assert question["inputs"] != other_question["inputs"]


def test_page_for_maintainers_names_every_field_of_a_key_and_every_module():
    page = (GRADER / "README.md").read_text()
    kinds = (schema.Key, schema.Cell, schema.Question, schema.Threshold, schema.Text, schema.Criterion)
    fields = {f"{name}?" if name in kind.__optional_keys__ else name for kind in kinds for name in kind.__annotations__}
    modules = {path.stem for path in GRADER.glob("*.py")} - {"__init__", "__main__"}
    assert not [name for name in fields | modules if f"`{name}`" not in page]


EDGES = """edges = {"the smallest": lambda random: [1]}
mutants = {"adds two": ("2 * number", "number + 2"), "a square": ("2 * number", "number**2")}
"""


def test_edges_are_asked_first_and_the_students_process_sees_neither_them_nor_the_mutants(tmp_path):
    key = key_of(answer() + check(tests=TESTS.replace("def inputs", f"{EDGES}\n\ndef inputs")), tmp_path)
    (question,) = key["questions"]
    assert question["edges"] == ["the smallest"] and question["inputs"][0] == [1] and len(question["inputs"]) == 4
    assert question["probe"] == "def probe(number):\n    return double(number)"


def test_mistake_that_gets_all_points_for_one_seed_stops_the_build_with_its_name(in_new_folder):
    tests = TESTS.replace("def inputs", f"{EDGES}\n\ndef inputs").replace("10**9", "4")
    build.check_mutants(build.read(write_master(in_new_folder, answer() + check(tests=tests))))
    write_master(in_new_folder / "masters", answer() + check(tests=tests.replace("[1]}", "[2]}")))
    with pytest.raises(
        SystemExit, match=r"check_double gives all points to the mutant '(adds two|a square)': add an edge"
    ):
        main(["build", "a", "--masters", "masters"])
    assert not (in_new_folder / "_build").exists()


def test_mistake_in_what_the_solution_does_not_have_is_refused(tmp_path):
    mutants = 'mutants = {"thrice": ("2 *number", "3 * number")}'
    master = build.read(
        write_master(tmp_path, answer() + check(tests=TESTS.replace("def inputs", f"{mutants}\ndef inputs")))
    )
    with pytest.raises(build.MasterError, match=r"has the mutant 'thrice', and '2 \*number' is not in the solution"):
        build.check_mutants(master)


def test_key_says_which_cell_is_read_for_numbers_alone_and_how_nearly_a_report_has_to_be_right(tmp_path):
    mark = MARK.replace("---\n", "---\ntags: [numbers]\n", 1)
    cell = CELL.format(
        mark.format("share", "false", "true", 0), "# answer: share\n### BEGIN SOLUTION\nshare = 0.5\n### END SOLUTION"
    )
    more = "reported_within = 0.01\n\n\ndef expected(random):\n    return [[1, 2]]\n"
    tests = TESTS.replace("assert double(1) == 2\n", "").replace("### END", f"{more}### END")
    key = key_of(cell + check("check_share", tests), tmp_path)
    assert key["cells"] == [{"name": "share", "numbers": True}]
    (question,) = key["questions"]
    assert question["reported_within"] == 0.01 and question["expected"] == [[1, 2]]


def test_build_writes_the_notebooks_and_a_key_that_only_its_owner_may_read(in_new_folder, capsys):
    write_master(in_new_folder / "masters", answer() + check())
    main(["build", "a", "--masters", "masters"])
    assert "2 points" in capsys.readouterr().out
    folder = in_new_folder / "_build" / "assignments" / "a"
    assert sorted(path.name for path in folder.iterdir()) == ["a.ipynb", "a_solution.ipynb", "key.json"]
    assert "2 * number" not in (folder / "a.ipynb").read_text()
    assert "2 * number" in (folder / "a_solution.ipynb").read_text()
    assert json.loads((folder / "key.json").read_text())["assignment"] == "a"
    for secret in (folder / "key.json", in_new_folder / "seed"):
        assert secret.stat().st_mode & 0o777 == 0o600


def test_key_is_secret_from_its_first_byte_and_whole_or_not_there(in_new_folder, monkeypatch):
    write_master(in_new_folder / "masters", answer() + check())
    main(["build", "a", "--masters", "masters"])
    folder = in_new_folder / "_build" / "assignments" / "a"
    (folder / "key.json").chmod(0o644)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_bytes, modes = Path.write_bytes, {}

    def write_half(path, content):
        """Write as a disk does that is full when it comes to the key."""
        if b"expected" not in content:
            return write_bytes(path, content)
        write_bytes(path, content[: len(content) // 2])
        modes[path.name] = path.stat().st_mode & 0o777
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(SystemExit, match=r"key\.json cannot be read or written \(No space left on device\)"):
        main(["build", "a", "--masters", "masters"])
    assert set(modes.values()) == {0o600}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_seed_is_kept_and_an_empty_one_is_made_anew(in_new_folder):
    first = build.read_seed()
    assert build.read_seed() == first and len(first) == 32
    (in_new_folder / "seed").write_text("")
    assert len(build.read_seed()) == 32


@pytest.mark.parametrize("words", [[], ["05_unknown"], ["../README"]], ids=["no name", "unknown", "outside"])
def test_name_of_no_master_is_answered_with_the_names_there_are(words):
    with pytest.raises(SystemExit, match=r"choose a NAME \(01_blocks, 02_counting, 03_memory, 04_network\)"):
        main(["build", *words, "--masters", str(MASTERS)])
