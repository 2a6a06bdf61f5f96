"""Grade submissions of an assignment: `python -m grader.grade KEY SUBMISSIONS... --out FOLDER`.

Students' code answers probes in a sandbox. This process, the only one that has the expected answers, compares.
"""

import argparse
import builtins
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from grader import report, sandbox

NOTEBOOK_BYTES = 10 * 2**20
ANSWER = re.compile(r"\s*(?:#|<!--) answer: (\w+)(?: *-->)?[ \t]*(?:\n|$)")
HANDED_IN = re.compile(r'href="data:application/octet-stream;base64,([A-Za-z0-9+/=]+)"')  # by network.hand_in
NO_TEXT = "*Write your answer here.*"
NOT_A_NOTEBOOK = "This is not a Jupyter notebook."


class SubmissionError(Exception):
    """A submission of which nothing can be graded, and why."""


def read(submission: Path) -> bytes:
    """The bytes of a submitted file. Raises `SubmissionError` if it is not a plain file of a sensible size."""
    is_link = submission.is_symlink() or submission.parent.is_symlink()
    if is_link or not submission.is_file() or submission.stat().st_size > NOTEBOOK_BYTES:
        raise SubmissionError(f"This is not a plain file of at most {NOTEBOOK_BYTES >> 20} MB.")
    return submission.read_bytes()


def answers(content: bytes, key: dict) -> dict[str, str]:
    """What a notebook answers, by the name in a cell's first line or metadata; of several cells, the first counts.

    Raises `SubmissionError` if it is not a notebook.
    """
    trained = {cell["name"] for cell in key["cells"] if cell.get("trained")}
    found = {}
    try:
        for cell in json.loads(content.decode())["cells"]:
            source = "".join(cell["source"])
            first = ANSWER.match(source)
            name = first[1] if first else cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
            if name in trained:
                htmls = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", [])]
                networks = HANDED_IN.findall("".join(htmls))
                if networks:
                    found.setdefault(name, f"{name} = {networks[-1]!r}")
            elif name:
                found.setdefault(name, source[first.end() :] if first and cell["cell_type"] == "markdown" else source)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SubmissionError(NOT_A_NOTEBOOK) from error
    return found


def grade(content: bytes, key: dict, slot: int = 0, safe: bool = True) -> dict:
    """The verdict on each question, `{"points", "remark"}`, the free texts, and the code of a submitted notebook."""
    given = answers(content, key)
    steps = [{"source": cell.get("source") or given.get(cell["name"], "")} for cell in key["cells"]]
    asked = [{part: question[part] for part in ("probe", "inputs", "seconds")} for question in key["questions"]]
    messages, failures = sandbox.answers_of(steps + asked, slot, safe)
    cells = [cell["name"] for cell in key["cells"]]
    verdicts = {}
    for number, question in enumerate(key["questions"], len(steps)):
        name, message = question["name"], messages.get(number)
        if not message or message[0] == "error":  # what went wrong first says most
            number = min(
                (step for step in (cells.index(name), number) if step in {*messages, *failures}), default=number
            )
        verdicts[name] = verdict(question, messages.get(number), failures.get(number))
        if name not in given:
            verdicts[name] = nothing(f"Nothing was handed in as {name}.")
    texts = {text["name"]: given.get(text["name"], "").replace(NO_TEXT, "").strip() for text in key["texts"]}
    code = [given[cell["name"]] for cell in key["cells"] if cell["name"] in given and not cell.get("trained")]
    return {"verdicts": verdicts, "texts": texts, "code": "\n\n".join(code)}


def nothing(remark: str) -> dict:
    return {"points": 0, "remark": remark}


def verdict(question: dict, message: list | None, failure: str | None) -> dict:
    """The points for what came back from the sandbox, and a remark that gives no hidden number away."""
    if failure or not message:
        return nothing(failure or "No answer came back.")
    if message[0] == "error":
        # A name that a student made up could carry what was asked out of the sandbox.
        name = message[2] if hasattr(builtins, message[2]) else "an error"
        return nothing(f"The code stopped with {name}.")
    came, expected = message[2], question["expected"]
    if question["shares"]:  # one probe, whose answers count one by one
        came, expected = came[0] if came and isinstance(came[0], list) else [], expected[0]
    pairs = list(zip(came, expected, strict=False))
    right, of = sum(is_same(*pair) for pair in pairs), len(expected)
    if question["shares"]:
        reached = [points for share, points in question["shares"] if right / of >= share]
        return {"points": max(reached, default=0), "remark": f"{right / of:.1%} of {of:,} answers were right."}
    if right == of:
        return {"points": question["points"], "remark": "Right."}
    differences = filter(None, (difference(*pair) for pair in pairs))
    return nothing(f"{right} of {of} answers were right. {next(differences, '')}".rstrip())


def is_same(answer: object, expected: object) -> bool:
    """Whether an answer is the expected one: of the same types, and floats within 0.1 percent or 0.0001."""
    if type(answer) is not type(expected):
        return False
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(is_same, answer, expected))
    if isinstance(expected, float):
        return abs(answer - expected) <= max(1e-4, 1e-3 * abs(expected))
    return answer == expected


def difference(answer: object, expected: object) -> str:
    """What is wrong with the kind of an answer, in a sentence that says nothing of its value; empty if nothing is."""
    words = {
        int: "a whole number",
        float: "a number with a point",
        str: "a text",
        bool: "True or False",
        list: "a list",
    }
    if type(answer) is not type(expected):
        came = words.get(type(answer), "None" if answer is None else "something else")
        return f"One was {came}, where {words[type(expected)]} was asked for."
    return "One was a list of the wrong length." if isinstance(expected, list) and len(answer) != len(expected) else ""


def grade_all(submissions: dict[str, Path], key_text: str, folder: Path, safe: bool = True) -> Iterator[tuple]:
    """The name and the result of each submission, several at a time; what was graded before is read from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = json.loads(key_text)
    slots = list(range(os.cpu_count()))

    def grade_one(submission: Path) -> dict:
        slot = slots.pop()
        try:
            content = read(submission)
            stored = folder / f"{hashlib.sha256(key_text.encode() + content).hexdigest()}.json"
            if not stored.exists():
                report.write_whole(stored, json.dumps(grade(content, key, slot, safe)))
            return json.loads(stored.read_text())
        except SubmissionError as error:
            return ungraded(key, str(error))
        except Exception as error:  # one submission must not stop the others
            return ungraded(
                key, f"This could not be graded ({type(error).__name__}: {error}): it needs a look by hand."
            )
        finally:
            slots.append(slot)

    with ThreadPoolExecutor(len(slots)) as pool:
        results = pool.map(grade_one, submissions.values())
        yield from zip(submissions, tqdm(results, total=len(submissions), unit=" submissions"), strict=True)


def ungraded(key: dict, remark: str) -> dict:
    verdicts = {question["name"]: nothing(remark) for question in key["questions"]}
    return {"verdicts": verdicts, "texts": {text["name"]: "" for text in key["texts"]}, "code": ""}


def find(paths: list[Path], assignment: str) -> dict[str, Path]:
    """The submissions by student, who is named by the file or by a folder above it, whichever tells them apart.

    A folder stands for all notebooks in it. Raises `SystemExit` if nothing tells them apart.
    """
    submissions = []
    for path in paths:
        inside = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        submissions += [file for file in inside if ".ipynb_checkpoints" not in file.parts]
    if not submissions:
        sys.exit("There are no submissions: give notebooks, or folders that hold notebooks.")
    paths_upwards = ([submission.stem, *(folder.name for folder in submission.parents)] for submission in submissions)
    for names in zip(*paths_upwards, strict=False):
        if len({name.lower() for name in names}) == len(names) and names != (assignment,) and all(names):
            return dict(zip(names, submissions, strict=True))
    sys.exit(
        "Neither file names nor folder names tell the submissions apart: give each student one file or one folder."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m grader.grade", description="Grade an assignment.")
    parser.add_argument("key", type=Path, help="key.json, as `make assignment` wrote it")
    parser.add_argument("submissions", type=Path, nargs="+", help="notebooks, or folders of notebooks")
    parser.add_argument("--out", type=Path, required=True, help="folder for grades.csv, pages, summary and rubric.csv")
    parser.add_argument("--roster", type=Path, help="CSV from Canvas or Moodle, to be filled with points as lms.csv")
    parser.add_argument("--unsafe-no-sandbox", action="store_true", help="let students' code use network and files")
    given = parser.parse_args()
    safe = not given.unsafe_no_sandbox
    try:
        key_text = given.key.read_text()
        key = json.loads(key_text)
    except (OSError, ValueError) as error:
        sys.exit(f"{given.key} is not a key ({error}): make one with `make assignment`.")
    submissions = find(given.submissions, key["assignment"])
    sandbox.check(safe)
    if not safe:
        print("Without a sandbox, what students wrote can use the network and read what everyone may read here.")
    results = dict(grade_all(submissions, key_text, given.out / "graded", safe))
    report.write(given.out, key, results, given.roster)


if __name__ == "__main__":
    main()
