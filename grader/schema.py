"""The grader's data, each kind with its fields: the key, what the sandbox is asked and gives back, what a student gets.

`key.json` is a `Key`. Raise `KEY_VERSION` when a field of the key changes its name or its meaning.
"""

from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypeAlias, TypedDict, final

KEY_VERSION = 4

# What probes take and give. There are no booleans: they are too easily guessed.
Plain: TypeAlias = "str | int | float | list[Plain]"
Role: TypeAlias = Literal["", "read-only", "answer", "check", "text"]


class Cell(TypedDict):
    """A cell that runs in the student's process, before the questions and in the order of the notebook."""

    name: str  # nbgrader's grade_id; that of an answer is also the name of its question
    source: NotRequired[str]  # what runs, if the teacher wrote it; without it, what the student wrote
    trained: NotRequired[bool]  # True: the student's part is the network in the cell's output, as text in base 64
    numbers: NotRequired[bool]  # True: the student's part is the numbers that the cell gives names; no code runs


class Threshold(TypedDict):
    """Points for a share of right answers."""

    share: float  # of the answers, from 0 to 1, that have to be right
    points: int


class Question(TypedDict):
    """An answer with the check that follows it, graded by machine."""

    name: str  # of the answer's cell
    points: int  # for right answers
    task: str  # Markdown: the text above the answer, shown on the student's page
    # Python that defines `probe(*arguments)`, which asks the student's code; nothing else of the hidden tests
    probe: str
    inputs: list[list[Plain]]  # the arguments of each call of `probe`
    edges: list[str]  # the rules that the first inputs ask for, one each, for the teacher's eyes
    expected: list[Plain]  # the right answers, one for each call; the student's process never gets them
    shares: list[Threshold]  # if not empty: one call, whose answers count one by one, and points for the share
    seconds: float  # how long all calls may take
    # Answers are `[share, answers]`: the share that the student states, which may be off by as much as this, of answers
    # that are right
    reported_within: NotRequired[float]


class Criterion(TypedDict):
    """A line of a rubric."""

    text: str
    points: int  # the most that it can give


class Text(TypedDict):
    """A free text, graded by hand."""

    name: str
    points: int  # the sum over the rubric
    task: str  # Markdown, as in `Question`
    rubric: list[Criterion]


class Key(TypedDict):
    """What the grader needs to grade an assignment. It holds the right answers: only its owner may read the file."""

    version: int  # `KEY_VERSION` of the grader that made it
    assignment: str  # the file name of the master, without its ending
    cells: list[Cell]
    questions: list[Question]
    texts: list[Text]


@final
class CellStep(TypedDict):
    """A step of the student's process: run the source of a cell."""

    source: str
    seconds: NotRequired[float]  # after which a cell that is no answer is interrupted; others are ended from outside


@final
class ProbeStep(TypedDict):
    """A step of the student's process: define the probe, and call it with each input. Fields as in `Question`."""

    probe: str
    inputs: list[list[Plain]]
    seconds: float


Step: TypeAlias = CellStep | ProbeStep


@dataclass(frozen=True)
class Outcome:
    """What came back of a step; of a cell that ran without an error, the time alone."""

    answers: list[list] = field(default_factory=list)  # for each input that was asked `[answer]`, or `[]` if it failed
    error: str = ""  # the built-in type of the exception that the step ended with
    failure: str = ""  # a remark for the student, if the step ended the process or used up its time
    seconds: float = 0  # how long the step took, if it came to its end


class Verdict(TypedDict):
    """What a student gets for a question or a free text."""

    points: float | None  # None as long as they wait to be given by hand, or for the machine to do its part
    remark: str  # for the student; it gives no hidden number away


class Lateness(TypedDict):
    """How late a student handed in, and what that takes."""

    handed_in: str  # the time of the submission
    due: str  # the time until which it is not late
    days: int  # those that have begun after `due`; 0 if in time
    points: float  # the most that is taken for these days


class Result(TypedDict):
    """A graded submission, as it is stored to be read when the same class is graded again."""

    verdicts: dict[str, Verdict]  # by the name of the question
    notes: dict[str, str]  # by the name of the question, what was taken for the answer and why, where it is not plain
    texts: dict[str, str]  # by the name of the free text, what the student wrote; empty if nothing
    seconds: dict[str, float]  # by the name of the question, how long it took to get the answers, where some came
    code: str  # what counted of the student's code, as one Python file
    needs_look: str  # why the points may not be what the student has earned; empty for a result that counts
