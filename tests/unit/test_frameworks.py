"""The environment with PyTorch and Keras: which notebooks get it, how it is made, and what if it cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import frameworks
from tools.environment import EnvironmentProblem

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import torch", True),
        ("from keras import layers", True),
        ("import mxnet as mx\nimport jax.numpy", True),
        ("from mxnet import np  # where PyTorch says torch", False),
        ("# a port of the torch network\nimport numpy", False),
    ],
)
def test_only_a_notebook_that_imports_a_framework_gets_its_kernel(code, needed):
    assert bool(frameworks.kernel_settings(code)) == needed


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What is run to make the environment in an empty folder: command and input; nothing is run in truth."""
    listed = []
    for name in ("FOLDER", "KERNELS", "STAMP", "PYTHON"):
        monkeypatch.setattr(frameworks, name, tmp_path / getattr(frameworks, name).relative_to(ROOT))
    monkeypatch.setattr(frameworks, "ROOT", tmp_path)
    monkeypatch.setattr(frameworks, "read_pip_settings", dict)
    monkeypatch.setattr(frameworks, "uv_settings", dict)
    cached = tmp_path / "cached.json"
    cached.write_text("of every environment")

    def run(command, doing, settings, standard_input=""):
        listed.append(([str(word) for word in command], standard_input))
        kernel = frameworks.KERNELS / "kernels" / "python3" / "kernel.json"
        if not kernel.exists():
            kernel.parent.mkdir(parents=True)
            kernel.hardlink_to(cached)
        frameworks.PYTHON.parent.mkdir(exist_ok=True)
        frameworks.PYTHON.unlink(missing_ok=True)
        frameworks.PYTHON.symlink_to(sys.executable)

    monkeypatch.setattr(frameworks, "run", run)
    return listed


@pytest.mark.parametrize(
    ("settings", "wheels"),
    [
        ({}, [frameworks.TORCH_WHEELS]),
        ({"find-links": ""}, [frameworks.TORCH_WHEELS]),
        ({"find-links": "/here"}, ["/here"]),
    ],
)
def test_pytorch_alone_comes_from_its_own_wheels_and_everything_has_a_hash(calls, monkeypatch, settings, wheels):
    monkeypatch.setattr(frameworks, "read_pip_settings", lambda: settings)
    frameworks.make()
    _, (first, torch), (second, others) = calls
    assert torch.startswith("torch==2.13.0+cpu") and torch.count("==") == 1 and "torch==" not in others
    assert [word for word in first if "://" in word or "=/" in word] == [f"--find-links={place}" for place in wheels]
    assert "--no-index" in first and "--no-index" not in second
    assert others.count("==") == frameworks.LOCK_FILE.read_text().count("==") - 1
    for command, requirements in ((first, torch), (second, others)):
        assert "--require-hashes" in command and requirements.count("--hash=sha256:") >= requirements.count("==")


def test_places_without_pytorch_are_passed_over(calls, monkeypatch, tmp_path):
    run = frameworks.run

    def run_uv(command, doing, settings, answer=""):
        run(command, doing, settings, answer)
        if "--find-links=/here" in command:
            raise EnvironmentProblem("It has no PyTorch.")

    monkeypatch.setattr(frameworks, "run", run_uv)
    monkeypatch.setattr(frameworks, "read_pip_settings", lambda: {"find-links": "/here /there"})
    frameworks.make()
    assert [command[-3] for command, _ in calls[1:3]] == ["--find-links=/here", "--find-links=/there"]
    monkeypatch.setattr(frameworks, "read_pip_settings", lambda: {"find-links": "/here"})
    frameworks.STAMP.unlink()
    frameworks.make()
    assert calls[-2][0][-3] == f"--find-links={frameworks.TORCH_WHEELS}"


def test_it_is_made_once_and_again_when_its_stamp_is_gone_or_of_another_folder(calls):
    frameworks.make()
    frameworks.make()
    assert len(calls) == 3
    frameworks.STAMP.write_text(frameworks.STAMP.read_text() + "/moved")
    frameworks.make()
    assert len(calls) == 6


def test_a_file_that_uv_linked_to_its_cache_is_replaced_and_not_changed(calls, tmp_path):
    frameworks.make()
    assert str(frameworks.PYTHON) in (frameworks.KERNELS / "kernels" / "python3" / "kernel.json").read_text()
    assert (tmp_path / "cached.json").read_text() == "of every environment"


def test_an_installation_that_failed_is_not_taken_for_whole(calls, monkeypatch):
    def fail(*_):
        raise EnvironmentProblem("The package index cannot be reached.")

    monkeypatch.setattr(frameworks, "install", fail)
    for _ in range(2):
        with pytest.raises(EnvironmentProblem):
            frameworks.make()
    assert not frameworks.STAMP.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence_unless_the_frameworks_are_there(calls, tmp_path):
    frameworks.make()
    (tmp_path / ".frameworks.lock").unlink()
    (tmp_path / ".frameworks.lock").mkdir()  # who runs the tests may be root, whom no rights keep from writing
    frameworks.make()
    frameworks.STAMP.unlink()
    with pytest.raises(EnvironmentProblem, match=r"\.frameworks\.lock cannot be written \(Is a directory\): clone"):
        frameworks.make()


NO_FRAMEWORKS = """
from tools import frameworks
from tools.environment import EnvironmentProblem

def make():
    raise EnvironmentProblem("PyTorch cannot be had: check the network.")

frameworks.make = make
"""


@pytest.mark.parametrize(("settings", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["at home", "in CI"])
def test_chapter_is_skipped_with_the_reason_where_there_are_no_frameworks(settings, status, tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("import torch")]), tmp_path / "16.ipynb")
    (tmp_path / "without.py").write_text(NO_FRAMEWORKS)
    options = ["-c", ROOT / "pyproject.toml", "-p", "without", "-p", "conftest", tmp_path / "16.ipynb"]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | settings
    environment["PYTHONPATH"] = f"{ROOT}:{tmp_path}"
    command = [sys.executable, "-m", "pytest", *options]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == status and "PyTorch cannot be had: check the network." in run.stdout, run.stdout
