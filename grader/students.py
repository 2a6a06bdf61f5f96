"""Which of the files that a teacher has downloaded is whose, and which of a student's files counts."""

import re
import sys
import unicodedata
from collections.abc import Collection
from pathlib import Path

from grader.submission import SubmissionError, read_cells

NOTEBOOK_BYTES = 10 * 2**20
# What systems put beside the files that people hand in.
NOT_HANDED_IN = {".ipynb_checkpoints", "__MACOSX", ".DS_Store"}
# As Canvas names files: the student's name, whether it is late, the numbers of the student and of the submission. A
# file that is handed in again has a higher number, or the same with -1, -2, … at its end.
CANVAS = re.compile(r"(?P<student>.+?_)(?:LATE_)?(?P<number>\d+)_(?P<submission>\d+)_.*?(?:-(?P<again>\d+))?$")


def read(path: Path) -> bytes:
    """The bytes of a submitted file. Raises `SubmissionError` if it is not a plain file of a sensible size."""
    is_link = path.is_symlink() or path.parent.is_symlink()
    if is_link or not path.is_file() or path.stat().st_size > NOTEBOOK_BYTES:
        raise SubmissionError(f"This is not a plain file of at most {NOTEBOOK_BYTES >> 20} MB.")
    return path.read_bytes()


def find(paths: list[Path], assignment: str, names: Collection[str] = ()) -> dict[str, Path]:
    """The file of each student that counts.

    In a folder that is given, each folder is a student's, whatever the files in it are called, and so is each file
    beside them. Of several files of a student the one counts that answers most of the questions `names`, then the one
    that was handed in last; what was left out is printed. Raises `SystemExit` if there is nothing.
    """
    files: dict[str, list[Path]] = {}
    for path in paths:
        for student, file in files_in(path, assignment):
            files.setdefault(student, []).append(file)
    if not files:
        sys.exit("There are no submissions: give notebooks, or folders that hold notebooks.")
    submissions: dict[str, Path] = {}
    names_shown = shown(files)
    for name, candidates in files.items():
        student = names_shown[name]
        *others, file = sorted(candidates, key=lambda file: (num_answers(file, names), *time_of(file)))
        submissions[student] = file
        if others:
            print(f"{student}: {file} counts, and not {', '.join(map(str, others))}.")
    return submissions


def shown(names: Collection[str]) -> dict[str, str]:
    """How tables and pages show the names of students: in one form of Unicode, with escapes for what is not UTF-8.

    If two are the same after that, both are written with escapes. Those that look alike are printed.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(readable(name).casefold(), []).append(name)
    names_shown: dict[str, str] = {}
    for namesakes in alike.values():
        is_unique = len(set(map(readable, namesakes))) == len(namesakes)
        for name in namesakes:
            names_shown[name] = readable(name) if is_unique else name.encode("unicode_escape").decode()
        if len(namesakes) > 1:
            together = " and ".join(names_shown[name] for name in namesakes)
            print(f"{together} look alike and are graded as different students: if they are one, remove a folder.")
    return names_shown


def readable(name: str) -> str:
    """A name in composed characters, with escapes for bytes that are not UTF-8."""
    return unicodedata.normalize("NFC", name).encode(errors="backslashreplace").decode()


def files_in(path: Path, assignment: str) -> list[tuple[str, Path]]:
    """The files in a folder with their students, or a file alone with its own."""
    if not path.is_dir():
        return [(path.parent.resolve().name if path.stem == assignment else student_of(path.stem), path)]
    found: list[tuple[str, Path]] = []
    for entry in sorted(path.iterdir()):
        if entry.name in NOT_HANDED_IN or entry.name.startswith("._"):
            continue
        if entry.is_symlink() or not entry.is_dir():
            found.append((student_of(entry.stem), entry))
            continue
        files = [file for file in sorted(entry.rglob("*")) if is_handed_in(file)]
        notebooks = [file for file in files if file.suffix == ".ipynb"]
        # A student without a notebook has another file read, so that the feedback can say what it is.
        found += [(student_of(entry.name), file) for file in notebooks or files[:1]]
    if {student for student, _ in found} == {assignment}:  # one student's folder
        return [(path.resolve().name, file) for _, file in found]
    return found


def is_handed_in(file: Path) -> bool:
    """Whether a path is a file that a person may have handed in."""
    return file.is_file() and not file.name.startswith("._") and not NOT_HANDED_IN & set(file.parts)


def student_of(name: str) -> str:
    """The student's name and number in the name that Canvas gives a file; any other name as it is."""
    match = CANVAS.match(name)
    return match["student"] + match["number"] if match else name


def time_of(file: Path) -> tuple[int, int, float]:
    """What grows from one submission of a student to the next: Canvas's numbers, or else the time of the file."""
    match = CANVAS.match(file.stem)
    numbers = (int(match["submission"]), int(match["again"] or 0)) if match else (0, 0)
    return (*numbers, file.lstat().st_mtime)


def num_answers(file: Path, names: Collection[str]) -> int:
    """How many of the questions a file answers, if it is a notebook."""
    try:
        return len({cell.name for cell in read_cells(read(file), names)} & set(names))
    except (SubmissionError, OSError):
        return -1
