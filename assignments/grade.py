"""Grade submissions of an assignment: `python -m assignments.grade KEY SUBMISSIONS... --out FOLDER`.

The student's code runs in a process of its own, in bubblewrap: without a network, without files but a read-only
environment, with limits on time, memory, processes and output. This process, the only one that has the expected
answers, sends it probes and compares what comes back. A step that hangs or kills its process costs its own question:
the rest is run again without it.
"""

import argparse
import csv
import hashlib
import html
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parent.parent
ANSWER = re.compile(r"\s*# answer: (\w+)[ \t]*(\n|$)")
STARTING_SECONDS, STEP_SECONDS, OUTPUT_BYTES, NOTEBOOK_BYTES = 60, 10, 2**20, 10 * 2**20
COURSE = [ROOT / "assignments" / name for name in ("__init__.py", "child.py", "probes.py")]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from assignments.child import main; main()"
MEMORY_BYTES, PROCESSES = 6 * 2**30, 128


class SubmissionError(Exception):
    """A submission of which nothing can be graded, and why."""


def sandbox(slot: int) -> list[str]:
    """The command that runs Python in bubblewrap, as a user of its own for each `slot` where root grades."""
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev"]
    command += ["--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64"):
        command += ["--symlink", f"usr/{name}", f"/{name}"] if Path(f"/{name}").is_symlink() else []
    for path in (sys.base_prefix, sys.prefix, *COURSE):
        command += [*open_folders(Path(path).parent), "--ro-bind", str(path), str(path)]
    command += ["--chdir", "/tmp", "--setenv", "OMP_NUM_THREADS", "1", "--setenv", "HOME", "/tmp"]
    limits = ["prlimit", f"--as={MEMORY_BYTES}", f"--nproc={PROCESSES}", "--core=0", f"--fsize={2**26}"]
    if os.geteuid() == 0:
        # The limit on processes does not bind root, nor whom a user namespace makes of root.
        user = ["setpriv", f"--reuid={60000 + slot}", f"--regid={60000 + slot}", "--clear-groups", "--no-new-privs"]
        command += [
            "--cap-add",
            "CAP_SETUID",
            "--cap-add",
            "CAP_SETGID",
            *user,
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]
    else:
        command[1:1] = ["--unshare-user"]
    return [*command, *limits, sys.executable, "-E", "-s", "-P", "-c", START]


def is_same(answer: object, expected: object) -> bool:
    """Whether an answer is the expected one: of the same types, and floats within 0.1 percent or 0.0001."""
    if type(answer) is not type(expected):
        return False
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(is_same, answer, expected))
    if isinstance(expected, float):
        return abs(answer - expected) <= max(1e-4, 1e-3 * abs(expected))
    return answer == expected


def open_folders(folder: Path) -> list[str]:
    """What lets bubblewrap make a folder and those around it for everyone, not just for who starts it."""
    return [word for path in (*folder.parents[-2::-1], folder) for word in ("--perms", "0755", "--dir", str(path))]


def is_sensible(submission: Path) -> bool:
    return not submission.is_symlink() and submission.is_file() and submission.stat().st_size <= NOTEBOOK_BYTES


def answers(submission: Path, names: list[str]) -> dict[str, str]:
    """The source of each answer in a submitted notebook, by the name in its cell's metadata or first line.

    Raises `SubmissionError` if the file is not a notebook of a sensible size.
    """
    if not is_sensible(submission):
        raise SubmissionError(f"It is not a plain file of at most {NOTEBOOK_BYTES >> 20} MB.")
    try:
        cells = json.loads(submission.read_bytes().decode())["cells"]
        found = {}
        for cell in cells:
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                first = ANSWER.match(source)
                name = first[1] if first else cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
                found.setdefault(name, source)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SubmissionError("It is not a Jupyter notebook.") from error
    return {name: found[name] for name in names if name in found}


def grade(submission: Path, key: dict, slot: int = 0) -> dict:
    """Points and a remark for each question of one submission, `{name: {"points", "remark"}}`."""
    try:
        given = answers(submission, [cell["name"] for cell in key["cells"] if cell["source"] is None])
    except SubmissionError as error:
        return {question["name"]: {"points": 0, "remark": str(error)} for question in key["questions"]}
    steps = [cell["source"] if cell["source"] is not None else given.get(cell["name"], "") for cell in key["cells"]]
    questions = [{part: question[part] for part in ("probe", "inputs")} for question in key["questions"]]
    said, failed = {}, {}
    for _ in range(len(steps) + len(questions) + 1):
        blank = [step if number not in failed else "" for number, step in enumerate(steps)]
        left = [
            question if len(steps) + number not in {*failed, *said} else {"probe": "def probe(): pass", "inputs": []}
            for number, question in enumerate(questions)
        ]
        got, stuck = run({"cells": blank, "questions": left}, slot)
        for number, message in got.items():
            said.setdefault(number, message)
        if stuck is None:
            break
        failed.setdefault(*stuck)
    return {
        question["name"]: verdict(question, said.get(len(steps) + number), failed.get(len(steps) + number))
        for number, question in enumerate(key["questions"])
    }


def verdict(question: dict, message: list | None, failure: str | None) -> dict:
    if failure or not message:
        return {"points": 0, "remark": failure or "No answer came back."}
    if message[0] == "error":
        return {"points": 0, "remark": "The code stopped with an error."}
    right = is_same(message[2], question["expected"])
    return {"points": question["points"] if right else 0, "remark": "Right." if right else "An answer is not right."}


def run(task: dict, slot: int) -> tuple[dict[int, list], tuple[int, str] | None]:
    """Send a task to a new sandbox; return its messages by step, and the step that it did not survive with the reason.

    Each step has `STEP_SECONDS`, the first `STARTING_SECONDS`.
    """
    process = subprocess.Popen(
        sandbox(slot), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    messages, step, reason = {}, 0, None
    try:
        with selectors.DefaultSelector() as selector:
            process.stdin.write(json.dumps(task).encode())
            process.stdin.close()
            selector.register(process.stdout, selectors.EVENT_READ)
            unread, received, deadline = b"", 0, time.monotonic() + STARTING_SECONDS
            while reason is None:
                if not selector.select(max(0, deadline - time.monotonic())):
                    reason = f"The code ran for more than {STEP_SECONDS} seconds."
                    break
                chunk = os.read(process.stdout.fileno(), 65536)
                received += len(chunk)
                if not chunk:
                    reason = "The code ended its process."
                elif received > OUTPUT_BYTES:
                    reason = f"The code gave back more than {OUTPUT_BYTES >> 20} MB."
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    message = parse(line)
                    if message[:1] == ["end"]:
                        return messages, None
                    if len(message) == 2 and message[0] == "start" and type(message[1]) is int and message[1] > step:
                        step, deadline = message[1], time.monotonic() + STEP_SECONDS
                    elif len(message) == 3 and message[0] in ("answers", "error") and type(message[1]) is int:
                        messages[message[1]] = message
    except BrokenPipeError:
        reason = "The sandbox did not start."
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return messages, (step, reason)


def parse(line: bytes) -> list:
    """One line of the sandbox as a list; an empty one if it is anything else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return message if isinstance(message, list) else []


def check_sandbox() -> None:
    """Stop unless the sandbox starts, and hides this machine's files and network."""
    lacking = [program for program in ("bwrap", "prlimit", "setpriv") if not shutil.which(program)]
    if lacking:
        sys.exit(f"Grading needs a sandbox: install {' '.join(lacking)} (Debian: bubblewrap, util-linux).")
    look = f"import os, json, sys; print(json.dumps(['answers', 0, [os.path.exists({str(ROOT / 'README.md')!r})]]))"
    command = [*sandbox(0)[:-1], look]
    seen = subprocess.run(command, capture_output=True, text=True)
    if seen.stdout.strip() != '["answers", 0, [false]]':
        sys.exit(f"The sandbox does not work here: {seen.stderr.strip() or seen.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m assignments.grade", description="Grade submissions of an assignment."
    )
    parser.add_argument("key", type=Path, help="key.json, as `make assignment` wrote it")
    parser.add_argument("submissions", type=Path, nargs="+", help="notebooks, each named for its student")
    parser.add_argument("--out", type=Path, required=True, help="folder for grades.csv and a page for each student")
    arguments = parser.parse_args()
    names = [submission.stem for submission in arguments.submissions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        sys.exit(f"Two submissions have the same name, {twice[0]}: rename one, for the name says whose it is.")
    check_sandbox()
    grades = grade_all(arguments.submissions, arguments.key.read_text(), arguments.out / "graded")
    write(arguments.out, dict(zip(names, grades, strict=True)))


def grade_all(submissions: list[Path], key: str, folder: Path) -> list[dict]:
    """The grades of all submissions, several at a time; what was graded before is read from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    slots = list(range(os.cpu_count()))

    def grade_one(submission: Path) -> dict:
        slot = slots.pop()
        try:
            if not is_sensible(submission):
                return grade(submission, json.loads(key), slot)
            stored = folder / f"{hashlib.sha256(key.encode() + submission.read_bytes()).hexdigest()}.json"
            if not stored.exists():
                part = stored.with_suffix(f".{slot}")
                part.write_text(json.dumps(grade(submission, json.loads(key), slot)))
                part.replace(stored)
            return json.loads(stored.read_text())
        except Exception as error:  # one submission must not stop the others
            remark = f"This could not be graded ({type(error).__name__}: {error}): grade it by hand."
            return {question["name"]: {"points": 0, "remark": remark} for question in json.loads(key)["questions"]}
        finally:
            slots.append(slot)

    with ThreadPoolExecutor(len(slots)) as pool:
        return list(tqdm(pool.map(grade_one, submissions), total=len(submissions), unit=" submissions"))


def write(folder: Path, grades: dict[str, dict]) -> None:
    """Write `grades.csv`, a row a student, and a page for each student in `feedback`."""
    questions = list(next(iter(grades.values())))
    (folder / "feedback").mkdir(exist_ok=True)
    with (folder / "grades.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["student", *questions, "points"])
        for student, verdicts in grades.items():
            points = [verdicts[question]["points"] for question in questions]
            table.writerow([student, *points, sum(points)])
            rows = [[question, verdicts[question]["points"], verdicts[question]["remark"]] for question in questions]
            (folder / "feedback" / f"{student}.html").write_text(page(student, [*rows, ["in all", sum(points), ""]]))


def page(student: str, rows: list[list]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(student)}</title>'
        f"<h1>{html.escape(student)}</h1><table><tr><th>question</th><th>points</th><th>remark</th></tr>{cells}</table>"
    )


if __name__ == "__main__":
    main()
