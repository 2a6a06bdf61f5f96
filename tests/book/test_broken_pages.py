"""The checks of the rendered book find what is wrong: each page here has one fault, and fails the one test for it."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LINKS = "test_every_link_anchor_and_image_resolves"
# The test that has to fail, what stands on the page, and what the fault makes of it.
FAULTS = {
    "01_why_concatenate": (LINKS, r'href="02_the_dense_block.html"', 'href="nowhere.html"'),
    "02_the_dense_block": (LINKS, r'href="#exercises"', 'href="#nowhere"'),
    "03_the_transition_block": (LINKS, r'src="../_static/', 'src="../nowhere/'),
    "04_densenet_121": ("test_every_image_has_alt_text", r'alt="[^"]*"(?=[^>]* src="../_images)', 'alt="figure.png"'),
    "05_fashion_mnist": ("test_nothing_is_left_unresolved", r"\nYou need", "\n{ref}`nowhere`"),
    "06_training": ("test_headings_nest", r"<h2>(.*?)</h2>(?=\n<p>)", r"<h4>\1</h4>"),
    "08_counting_parameters": ("test_every_image_of_a_chapter_has_a_caption", r'(?<="caption-text">)[^<]*', ""),
    "09_measuring_memory": ("test_every_exercise_has_a_solution_in_a_dropdown", "solution dropdown", "solution"),
    "12_the_family": ("test_every_question_of_a_quiz_has_one_right_answer", r"<p>No\.", "<p>Right."),
    "10_memory_efficient_densenet": ("test_every_chapter_asks_its_reader_to_predict", "predict adm", "adm"),
    "15_debugging_by_shapes": ("test_every_chapter_opens_in_colab_on_binder_and_on_kaggle", "blob/main", "blob/other"),
    "14_what_the_layers_reuse": ("test_links_to_terms_carry_their_definitions", r'(?<=definition=")[^"]*', "Another."),
}


@pytest.fixture(scope="module")
def failed(html, all_pages, tmp_path_factory):
    """The names of the tests that failed, by page: the first, which has no fault, and those that have one."""
    book = tmp_path_factory.mktemp("book")
    chapters = [{"file": f"chapters/{chapter}"} for chapter in FAULTS]
    (book / "_toc.yml").write_text(yaml.dump({"root": all_pages[0], "chapters": chapters}))
    shutil.copytree(html, book / "_build" / "html")
    for chapter, (_, right, wrong) in FAULTS.items():
        page = book / "_build" / "html" / "chapters" / f"{chapter}.html"
        text, num_faults = re.subn(right, wrong, page.read_text())
        assert num_faults, f"{chapter} has nothing like {right!r}"
        page.write_text(text)
    report = book / "report.xml"
    command = "-m pytest -c pyproject.toml -p no:cacheprovider tests/book/test_book.py --book"
    subprocess.run([sys.executable, *command.split(), book, f"--junitxml={report}"], cwd=ROOT, capture_output=True)
    failures = defaultdict(set)
    for case in ElementTree.parse(report).iter("testcase"):
        test, _, page = case.get("name").rstrip("]").partition("[")
        failures[page] |= {test for _ in case.iter("failure")}
    return failures


@pytest.mark.parametrize("broken", FAULTS)
def test_fault_of_a_page_fails_its_test_and_no_other(broken, failed):
    assert failed[f"chapters/{broken}"] == {FAULTS[broken][0]}


def test_page_without_a_fault_fails_no_test(failed, all_pages):
    assert all_pages[0] in failed and not failed[all_pages[0]]
