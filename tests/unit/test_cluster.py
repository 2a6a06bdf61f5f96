"""Two workers train as one would, on machines of their own, and a lost machine costs them the epoch that it was in."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
SETTINGS = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
NEW_MACHINE = ["unshare", "--user", "--map-root-user", "--net"]


class End(NamedTuple):
    """What a worker ended with."""

    history: numpy.ndarray  # (train_loss, train_acc, val_loss, val_acc) by epoch
    parameters: list[numpy.ndarray]


def ends(folder: Path) -> list[End]:
    found = []
    for rank in (0, 1):
        with numpy.load(folder / f"worker_{rank}.npz") as arrays:
            history, *parameters = arrays.values()
        found.append(End(history, parameters))
    return found


def assert_same(one: End, other: End) -> None:
    numpy.testing.assert_array_equal(one.history, other.history)
    for value, expected in zip(one.parameters, other.parameters, strict=True):
        numpy.testing.assert_array_equal(value, expected)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What two workers on this machine end with."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    words = ["-m", "utils.launch", "--limit", "600", "--", sys.executable, FOLDER / "worker.py", folder, "0"]
    run = subprocess.run([sys.executable, *words], cwd=ROOT, env=SETTINGS, capture_output=True, text=True)
    assert run.stdout.endswith("launch | Every worker has ended well.\n"), run.stdout + run.stderr
    return ends(folder)


def test_workers_end_with_the_same_parameters_statistics_and_history_to_the_last_bit(uninterrupted):
    assert_same(*uninterrupted)
    history = uninterrupted[0].history
    assert history.shape == (4, 3) and numpy.isfinite(history).all() and (history > 0).all()


def test_machine_that_is_cut_off_is_named_and_the_training_goes_on_as_if_it_had_not_been(uninterrupted, tmp_path):
    tried = subprocess.run(
        [*NEW_MACHINE, "ip", "link", "add", "switch", "type", "bridge"], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"This machine makes no network namespaces, bridges or both: {tried.stderr.strip()}")
    words = [*NEW_MACHINE, sys.executable, FOLDER / "cluster.py", tmp_path]
    run = subprocess.run(words, cwd=ROOT, env=SETTINGS, capture_output=True, text=True)
    assert not run.returncode, run.stderr
    lost, left, resumed = run.stdout.splitlines()
    assert re.fullmatch(
        r"launch \| Nothing was heard of worker \d for 3 seconds: grace, or the way to it, is down\.", lost
    )
    assert left == "left on grace: 0"
    assert resumed == "launch | Every worker has ended well."
    for worker in ends(tmp_path):
        assert_same(worker, uninterrupted[0])
