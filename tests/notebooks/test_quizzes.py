"""The quizzes of all chapters: neither the length of an answer nor its place gives away that it is right.

Leave both to chance, and the right answer is the longest of three in about one question of three. How far from that
a book may be is derived, not chosen: each bound is the tightest that 97 of 100 books written by chance keep.
"""

import random
import re
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest

ANSWER = re.compile(r'<details name="(quiz-[\d-]+)"><summary>(.*?)</summary>\s*(No|Right)\.', re.DOTALL)
TAG = re.compile(r"<[^>]+>")
SHARE = 0.97


class Answer(NamedTuple):
    length: int
    right: bool


Question = list[Answer]


def questions(chapter: Path) -> list[Question]:
    """A chapter's questions; an answer's length is in the characters that a reader sees."""
    text = chapter.with_suffix(".md").read_text()
    found: dict[str, Question] = {}
    for name, answer, reply in ANSWER.findall(text):
        found.setdefault(name, []).append(Answer(len(TAG.sub("", answer)), reply == "Right"))
    assert sum(map(len, found.values())) == text.count('name="quiz-'), f"{chapter.stem} writes an answer another way"
    return list(found.values())


def most(chances: Iterable[float], share: float = SHARE) -> int:
    """How many of these independent events happen at most, in that share of all cases."""
    probabilities = [1.0]
    for chance in chances:
        happened, did_not = [0.0, *probabilities], [*probabilities, 0.0]
        probabilities = [chance * a + (1 - chance) * b for a, b in zip(happened, did_not, strict=True)]
    return next(number for number, total in enumerate(accumulate(probabilities)) if total >= share)


def too_often_the_longest(quiz: list[Question]) -> str:
    """What is wrong with the lengths of the right answers, if anything."""
    number, chances = 0, []
    for answers in quiz:
        length = max(answer.length for answer in answers)
        longest = [answer for answer in answers if answer.length == length]
        number += any(answer.right for answer in longest)
        chances.append(len(longest) / len(answers))
    bound = most(chances)
    return f"{number} of {len(quiz)} right answers are the longest, not {bound} at most" if number > bound else ""


def uneven(quiz: list[Question]) -> str:
    """What is wrong with the places of the right answers, if anything."""
    num_places = max(map(len, quiz))
    share = 1 - (1 - SHARE) / (2 * num_places)  # Two bounds for each place: together they are kept in SHARE of cases.
    for place in range(num_places):
        long_enough = [answers for answers in quiz if place < len(answers)]
        number = sum(answers[place].right for answers in long_enough)
        chances = [1 / len(answers) for answers in long_enough]
        least, highest = len(chances) - most([1 - chance for chance in chances], share), most(chances, share)
        if not least <= number <= highest:
            return f"{number} of {len(quiz)} right answers come at place {place + 1}, not {least} to {highest}"
    return ""


@pytest.fixture
def book(pytestconfig):
    return [answers for path in pytestconfig.option.chapters.glob("*.md") for answers in questions(path)]


@pytest.mark.parametrize("giveaway", [too_often_the_longest, uneven])
def test_quizzes_of_the_book_do_not_give_their_answers_away(giveaway, book):
    fault = giveaway(book)
    assert not fault, fault


def test_quiz_of_a_chapter_does_not_give_its_answers_away(chapter):
    quiz = questions(chapter)
    fault = too_often_the_longest(quiz)
    assert not fault, fault
    places = {[answer.right for answer in answers].index(True) for answers in quiz}
    assert len(places) > 1, f"all right answers come at the same place: {places}"


def written(right: Iterable[int]) -> list[Question]:
    """Questions with three answers, each longer than the one before, and these right ones."""
    return [[Answer(30 + 10 * place, place == chosen) for place in range(3)] for chosen in right]


def test_bound_is_the_binomial_distributions():
    # Of 52 questions with three answers each, chance makes more than 23 right answers the longest in 3.7 % of books,
    # and more than 24 in 1.9 %.
    assert most([1 / 3] * 52) == 24


@pytest.mark.parametrize("giveaway", [too_often_the_longest, uneven])
def test_books_written_by_chance_pass(giveaway):
    chance = random.Random(0)
    passed = sum(not giveaway(written(chance.choices(range(3), k=52))) for _ in range(1000))
    assert passed >= 960  # 970 and more are expected; one standard deviation is 5.


@pytest.mark.parametrize(
    ("giveaway", "right", "fault"),
    [
        (too_often_the_longest, [2] * 26 + [0, 1] * 11, "26 of 48 right answers are the longest"),
        (uneven, [0, 1, 0, 2, 0] * 10, "30 of 50 right answers come at place 1"),
        (uneven, [0, 2] * 26, "0 of 52 right answers come at place 2"),
    ],
)
def test_quiz_that_gives_its_answers_away_is_found(giveaway, right, fault):
    assert giveaway(written(right)).startswith(fault)
