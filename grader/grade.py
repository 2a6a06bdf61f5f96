"""Grade submissions of an assignment: `python -m grader grade KEY SUBMISSIONS... --out FOLDER`.

Students' code answers probes in a sandbox. This process, the only one that has the expected answers, compares.
"""

import builtins
import hashlib
import json
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from textwrap import shorten

from tqdm import tqdm

from grader import report, sandbox, similarity, students, submission
from grader.deadline import Deadline, lateness_of
from grader.schema import KEY_VERSION, Key, Outcome, Plain, Question, Result, Step, Verdict
from grader.submission import NotebookCell, SubmissionError
from tools.files import write_whole
from utils import CORES

# What the remarks call the kinds of answers.
KINDS = {
    int: "a whole number",
    float: "a number with a point",
    str: "a text",
    bool: "True or False",
    list: "a list",
    type(None): "None",
}


def grade(content: bytes, key: Key, slot: int = 0, safe: bool = True) -> Result:
    """Grade a submitted notebook; free texts get no verdict here.

    `slot` and `safe` are those of `sandbox.command`. Raises `SubmissionError` if the bytes are not a notebook.
    """
    cells = submission.read_cells(content, names_of(key))
    cell_outcomes, question_outcomes = outcomes_of(cells, key, slot, safe)
    verdicts, notes, seconds = {}, {}, {}
    for question, outcome in zip(key["questions"], question_outcomes, strict=True):
        name = question["name"]
        notes[name] = submission.note_on(cells, name)
        cell_remark = remark_on_cell(cell_outcomes.get(name, Outcome()))
        if any(outcome.answers):
            verdicts[name] = verdict(question, outcome)
            if outcome.seconds:
                seconds[name] = outcome.seconds
        elif name not in cell_outcomes:
            verdicts[name] = no_points(f"Nothing was handed in as {name}.")
        else:
            # What went wrong first says most.
            verdicts[name] = no_points(cell_remark) if cell_remark else verdict(question, outcome)
    texts = {text["name"]: submission.text_of(cells, text["name"]) for text in key["texts"]}
    for name, text in texts.items():
        notes[name] = "" if text else submission.note_on(cells, name)
    is_unsure = any(outcome.failure in sandbox.UNSURE for outcome in [*cell_outcomes.values(), *question_outcomes])
    needs_look = "A part of it ran for too long, or its process ended." if is_unsure else ""
    return {
        "verdicts": verdicts,
        "notes": notes,
        "texts": texts,
        "seconds": seconds,
        "code": code_of(cells, key),
        "needs_look": needs_look,
    }


def names_of(key: Key) -> list[str]:
    """The names by which the cells of a notebook are told apart."""
    return [part["name"] for part in [*key["cells"], *key["texts"]]]


def outcomes_of(cells: list[NotebookCell], key: Key, slot: int, safe: bool) -> tuple[dict[str, Outcome], list[Outcome]]:
    """What came back of the cells of the answers, by their names, where there are any, and of all probes."""
    steps, places = steps_of(cells, key)
    num_cells = len(steps)
    for question in key["questions"]:
        # What is expected stays here.
        steps.append({"probe": question["probe"], "inputs": question["inputs"], "seconds": question["seconds"]})
    outcomes = sandbox.run_steps(steps, slot, safe)
    return {name: outcomes[place] for name, place in places.items()}, outcomes[num_cells:]


def explain(key_path: Path, path: Path) -> None:
    """Print what each probe asks of a submission, what is right and what came back: for the teacher's eyes alone.

    Raises `SystemExit` if the key, the submission or the sandbox is not what it has to be.
    """
    key: Key = json.loads(read_key(key_path))
    sandbox.check()
    try:
        cells = submission.read_cells(students.read(path), names_of(key))
    except SubmissionError as error:
        sys.exit(f"{path}: {error}")
    cell_outcomes, question_outcomes = outcomes_of(cells, key, 0, safe=True)
    for question, outcome in zip(key["questions"], question_outcomes, strict=True):
        name = question["name"]
        print(f"\n{name}: {verdict(question, outcome)['points']:g} of {question['points']} points")
        cell_remark = remark_on_cell(cell_outcomes.get(name, Outcome()))
        for remark in (submission.note_on(cells, name), cell_remark, outcome.failure):
            if remark:
                print(f"  {remark}")
        for number, (arguments, right_answer) in enumerate(zip(question["inputs"], question["expected"], strict=True)):
            answer = outcome.answers[number] if number < len(outcome.answers) else []
            mark = "right" if answer and is_same(answer[0], right_answer) else "WRONG"
            edge = f" ({question['edges'][number]})" if number < len(question["edges"]) else ""
            shown_arguments = shorten(str(arguments)[1:-1], 100)
            shown_answer = shorten(str(answer[0]), 100) if answer else "nothing"
            print(f"  {mark}{edge}: {shown_arguments} -> {shown_answer}, expected {shorten(str(right_answer), 100)}")


def steps_of(cells: list[NotebookCell], key: Key) -> tuple[list[Step], dict[str, int]]:
    """The cells to run, and by the name of each question that was answered the place of the cell that counts.

    The teacher's cells run as they are in the key, those above the first answer before all others. Where a network or
    numbers are handed in, no code of the student's runs: it could put another network in the place of that one.
    """
    if any(cell.get("trained") or cell.get("numbers") for cell in key["cells"]):
        return steps_without_code(cells, key)
    steps: list[Step] = []
    places: dict[str, int] = {}
    order = {cell["name"]: number for number, cell in enumerate(key["cells"])}
    waiting = [cell for cell in key["cells"] if "source" in cell]

    def run_teachers_cells(before: int) -> None:
        while waiting and order[waiting[0]["name"]] < before:
            steps.append({"source": waiting.pop(0)["source"]})

    answers = [cell["name"] for cell in key["cells"] if "source" not in cell]
    run_teachers_cells(min(map(order.__getitem__, answers)))
    for run in submission.runs(cells, answers):
        if run.name:
            run_teachers_cells(order[run.name])
            places[run.name] = len(steps)
            steps.append({"source": submission.python_of(run.source)})
        elif source := submission.python_of(submission.without_setup(run.source)).strip():
            # Interrupted in time, so that the process goes on.
            steps.append({"source": source, "seconds": 0.8 * sandbox.STEP_SECONDS})
    return steps, places


def steps_without_code(cells: list[NotebookCell], key: Key) -> tuple[list[Step], dict[str, int]]:
    """As `steps_of`, where each answer is a line that gives a name to a network, or such lines for numbers."""
    steps: list[Step] = []
    places: dict[str, int] = {}
    for cell in key["cells"]:
        name, source = cell["name"], cell.get("source")
        if cell.get("trained") and (network := submission.network_of(cells, name)):
            source = f"{name} = {network!r}"
        elif cell.get("numbers") and submission.answers_of(cells, name):
            source = submission.numbers_of(cells, name)
        if source is None:
            continue
        if "source" not in cell:
            places[name] = len(steps)
        steps.append({"source": source})
    return steps, places


def code_of(cells: list[NotebookCell], key: Key) -> str:
    """What counted of the student's code, for a look at it and for similarity checkers."""
    parts: list[str] = []
    for cell in key["cells"]:
        if cell.get("numbers"):
            parts.append(submission.numbers_of(cells, cell["name"]))
        elif "source" not in cell and not cell.get("trained"):
            parts += [answer.source for answer in submission.answers_of(cells, cell["name"])]
    return "\n\n".join(parts)


def remark_on_cell(outcome: Outcome) -> str:
    """What went wrong in the cell of an answer; nothing if it ran. It ran before anything hidden was asked."""
    if not outcome.error:
        return outcome.failure
    # Nobody but a cheat lets a cell stop with a name that is not built in.
    error = outcome.error if hasattr(builtins, outcome.error) else "an error"
    return f"The code stopped with {error}."


def no_points(remark: str) -> Verdict:
    """The verdict on what is worth nothing."""
    return {"points": 0, "remark": remark}


def verdict(question: Question, outcome: Outcome) -> Verdict:
    """The points for what came back of a probe, and a remark that gives nothing away of what it asked.

    How a call of the probe failed is not said: what a student's code makes of it could carry a hidden number.
    """
    expected = question["expected"]
    if question["shares"]:
        return verdict_by_share(question, outcome.answers)
    if "reported_within" in question:
        return verdict_on_report(question, outcome.answers)
    num_right = 0
    for answer, right_answer in zip(outcome.answers, expected, strict=False):
        num_right += bool(answer) and is_same(answer[0], right_answer)
    if num_right == len(expected):
        return {"points": question["points"], "remark": "Right."}
    remark = f"{num_right} of {len(expected)} answers were right."
    num_answers = sum(map(len, outcome.answers))
    if num_answers < len(expected):
        remark += f" To {len(expected) - num_answers} no answer came: the code failed or ran for too long."
    elif not num_right:
        remark += wrong_kind(outcome.answers, expected)
    return {"points": partial_points(question["points"], num_right, len(expected)), "remark": remark}


def partial_points(points: float, num_right: int, num_answers: int) -> float:
    """The points for a part of right answers, rounded down to half a point."""
    return 2 * points * num_right // num_answers / 2


def verdict_by_share(question: Question, answers: list[list]) -> Verdict:
    """The verdict on a question with `shares`: one probe, whose answers count one by one."""
    (expected,) = question["expected"]
    assert isinstance(expected, list)
    labels = answers[0][0] if answers and answers[0] and isinstance(answers[0][0], list) else []
    share = sum(map(is_same, labels, expected)) / len(expected)
    reached = [threshold["points"] for threshold in question["shares"] if share >= threshold["share"]]
    if not labels:
        return no_points("No labels came: is the network within its budgets, and was it built from its spec?")
    return {"points": max(reached, default=0), "remark": f"{share:.1%} of {len(expected):,} answers were right."}


def verdict_on_report(question: Question, answers: list[list]) -> Verdict:
    """The verdict on a question with `reported_within`: shares that a student states, beside what they are."""
    expected = question["expected"]
    num_true = 0
    for answer, right_answers in zip(answers, expected, strict=False):
        match answer:
            case [[float(stated_share), list(labels)]] if isinstance(right_answers, list):
                share = sum(map(is_same, labels, right_answers)) / len(right_answers)
                num_true += abs(stated_share - share) <= question["reported_within"]
    if num_true == len(expected):
        return {"points": question["points"], "remark": "What was reported is what was found."}
    remark = f"{num_true} of {len(expected)} numbers that were reported are what was found."
    return {"points": partial_points(question["points"], num_true, len(expected)), "remark": remark}


def is_same(answer: object, expected: Plain) -> bool:
    """Whether an answer is the expected one: of the same types, and floats within 0.1 percent or 0.0001.

    A float that is a whole number passes for the integer, as it does in the checks that students see.
    """
    if type(expected) is int and type(answer) is float:
        return answer == expected
    if type(answer) is not type(expected):
        return False
    if isinstance(expected, list):
        assert isinstance(answer, list)
        return len(answer) == len(expected) and all(map(is_same, answer, expected))
    if isinstance(expected, float):
        assert isinstance(answer, float)
        return abs(answer - expected) <= max(1e-4, 1e-3 * abs(expected))
    return answer == expected


def wrong_kind(answers: list[list], expected: list[Plain]) -> str:
    """A sentence on the kind of the answers, if all have the same and it is wrong; else nothing.

    Where it could differ from answer to answer, a student's code could tell by it what was asked.
    """
    kinds = {type(answer) for (answer,) in answers}
    kind, *others = kinds
    expected_kind = type(expected[0])
    if others or kind is expected_kind or (kind, expected_kind) == (float, int):
        return ""
    return f" Each was {KINDS.get(kind, 'something else')}, where {KINDS[expected_kind]} was asked for."


def grade_all(
    submissions: dict[str, Path],
    key_text: str,
    folder: Path,
    safe: bool = True,
    jobs: int = CORES,
    again: Collection[str] = (),
) -> dict[str, Result]:
    """The result of each submission, by student, `jobs` at a time; what was graded before is read from `folder`.

    What ended by time or by a signal may be the machine's failure. It is graded once more, alone, and only then stored.
    Those of `again` are graded anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key: Key = json.loads(key_text)
    slots = list(range(jobs))

    def grade_one(student: str, is_alone: bool = False) -> Result:
        slot = slots.pop()
        try:
            content = students.read(submissions[student])
            stored = folder / f"{hashlib.sha256(version() + key_text.encode() + content).hexdigest()}.json"
            if stored.exists() and student not in again:
                return json.loads(stored.read_text())
            result = grade(content, key, slot, safe)
            if is_alone or not result["needs_look"]:
                result["needs_look"] = ""
                write_whole(stored, json.dumps(result))
            return result
        except SubmissionError as error:
            print(f"{student} has handed in {submissions[student]}. {error}")
            return ungraded(key, str(error))
        except Exception as error:  # one submission must not stop the others
            reason = f"{type(error).__name__}: {error}"
            result = ungraded(key, f"This could not be graded ({reason}): it needs a look by hand.", None)
            result["needs_look"] = reason
            return result
        finally:
            slots.append(slot)

    with ThreadPoolExecutor(jobs) as pool:
        graded = pool.map(grade_one, submissions)
        results = dict(zip(submissions, tqdm(graded, total=len(submissions), unit=" submissions"), strict=True))
    unsure = [student for student, result in results.items() if result["needs_look"]]
    if unsure:
        print(f"Graded once more, alone, since the machine may have been too busy: {', '.join(unsure)}.")
    for student in unsure:
        results[student] = grade_one(student, is_alone=True)
    return results


@cache
def version() -> bytes:
    """What changes when the grader does, so that what another version of it has stored does not count."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()


def ungraded(key: Key, remark: str, points: float | None = 0) -> Result:
    """The result of a submission of which nothing can be graded."""
    return {
        "verdicts": {question["name"]: {"points": points, "remark": remark} for question in key["questions"]},
        "notes": {},
        "texts": {text["name"]: "" for text in key["texts"]},
        "seconds": {},
        "code": "",
        "needs_look": "",
    }


def read_key(path: Path) -> str:
    """The text of a key. Raises `SystemExit` if the file is none, or one of another version of the grader."""
    try:
        text = path.read_text()
        key = json.loads(text)
    except (OSError, ValueError) as error:
        sys.exit(f"{path} is not a key ({error}): make one with `make assignment`.")
    if not isinstance(key, dict) or key.get("version") != KEY_VERSION:
        sys.exit(f"{path} is not a key of this version of the grader: make it anew with `make assignment`.")
    return text


def grade_class(
    key_path: Path,
    paths: list[Path],
    out: Path,
    roster: Path | None = None,
    deadline: Deadline | None = None,
    safe: bool = True,
    jobs: int = CORES,
    again: Collection[str] = (),
) -> None:
    """Grade the submissions in `paths`, `jobs` at a time, and write the reports into the folder `out`.

    With `safe` false, a student's code runs without a sandbox. Those of `again` are graded anew. Raises `SystemExit` if
    the key, the submissions, the sandbox or a table of the teacher's is not what it has to be.
    """
    key_text = read_key(key_path)
    key: Key = json.loads(key_text)
    submissions = students.find(paths, key["assignment"], names_of(key))
    if unknown := set(again) - set(submissions):
        sys.exit(f"There is no submission of {', '.join(sorted(unknown))}: name a student as grades.csv does.")
    if not safe and len(submissions) > 1:
        sys.exit("--unsafe-no-sandbox grades one submission: without a sandbox, one student's code reaches another's.")
    most_points = sum(question["points"] for question in [*key["questions"], *key["texts"]])
    lateness = lateness_of(submissions, deadline, most_points) if deadline else {}
    sandbox.check(safe)
    if not safe:
        print("Without a sandbox, what students wrote can use the network and read what everyone may read here.")
    results = grade_all(submissions, key_text, out / "graded", safe, jobs, again)
    report.write(out, key, results, roster, lateness)
    if len(results) > 1:
        similarity.compare(out)
