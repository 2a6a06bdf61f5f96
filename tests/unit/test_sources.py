"""Spelling of all texts, lint of the code in notebooks and of scripts; each check finds a planted fault."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[2]
TEXT = ("*.md", "*.py", "*.js", ":!book/_static/living/numbers.js", "*.css", "*.yml", "*.toml", "Makefile", ".ci/run")


def misspelled(*paths):
    """What codespell says of the files, a line a word; `nd` is a module of MXNet."""
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list=nd", *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def test_words_are_spelled_right():
    # In a container, the folder is often another user's.
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files"]
    listed = subprocess.run([*git, *TEXT], cwd=ROOT, capture_output=True, text=True, check=True)
    # There are 183; Git says nothing of a pattern that matches no file.
    assert len(listed.stdout.split()) > 50
    assert not misspelled(*listed.stdout.split())


def test_misspelled_word_is_found(tmp_path):
    (tmp_path / "page.md").write_text("The transition halves the channels.\n".replace("nn", "n"))
    assert "channels" in misspelled(tmp_path)


@pytest.mark.parametrize(("code", "command"), [("import os", "check"), ("x = {1 : 2}", "format --check")])
def test_fault_in_the_code_of_a_notebook_is_found(code, command, tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), tmp_path / "chapter.ipynb")
    run = [sys.executable, "-m", "ruff", *command.split(), "--config", ROOT / "pyproject.toml", tmp_path]
    assert "chapter.ipynb" in subprocess.run(run, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("const one = 1;\nconsole.info(one);\n", ""),
        ("const one=1;\nconsole.info(one);\n", "format"),
        ("var one = 1;\nconsole.info(one == 1);\n", "lint/suspicious/noDoubleEquals"),
        ("const one = 1;\n", "lint/correctness/noUnusedVariables"),
    ],
)
def test_fault_in_a_script_is_found(script, said, tmp_path):
    path = tmp_path / "book" / "_static" / "script.js"
    path.parent.mkdir(parents=True)
    path.write_text(script)
    shutil.copy(ROOT / "biome.json", tmp_path)
    biome = Path(sys.executable).with_name("biome")
    run = subprocess.run([biome, "ci", "--error-on-warnings"], cwd=tmp_path, capture_output=True, text=True)
    assert bool(run.returncode) == bool(said) and said in run.stdout + run.stderr
