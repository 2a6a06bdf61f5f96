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
    sums: numpy.ndarray  # (call, number) of what the workers added up in the end
    parameters: list[numpy.ndarray]


def end(folder: Path, rank: int) -> End:
    with numpy.load(folder / f"worker_{rank}.npz") as arrays:
        history, sums, *parameters = arrays.values()
    return End(history, sums, parameters)


def ends_of_two(folder: Path, *options: str) -> list[End]:
    """What two workers on this machine end with."""
    words = ["-m", "utils.launch", "--limit", "600", "--", sys.executable, FOLDER / "worker.py", folder, *options]
    run = subprocess.run([sys.executable, *words], cwd=ROOT, env=SETTINGS, capture_output=True, text=True)
    assert run.stdout.endswith("launch | Every worker has ended well.\n"), run.stdout + run.stderr
    return [end(folder, rank) for rank in (0, 1)]


def assert_same(one: End, other: End) -> None:
    numpy.testing.assert_array_equal(one.history, other.history)
    numpy.testing.assert_array_equal(one.sums, other.sums)
    for value, expected in zip(one.parameters, other.parameters, strict=True):
        numpy.testing.assert_array_equal(value, expected)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return ends_of_two(tmp_path_factory.mktemp("uninterrupted"))


def test_workers_end_with_the_same_parameters_statistics_and_history_to_the_last_bit(uninterrupted):
    assert_same(*uninterrupted)
    history = uninterrupted[0].history
    assert history.shape == (4, 3) and numpy.isfinite(history).all() and (history > 0).all()


def test_two_workers_take_the_steps_that_one_process_with_all_images_takes(tmp_path):
    words = [sys.executable, FOLDER / "worker.py", tmp_path, "--plain"]
    subprocess.run(words, cwd=ROOT, env=SETTINGS, capture_output=True, check=True)
    alone = end(tmp_path, 0)
    (tmp_path / "checkpoint").unlink()
    together, _ = ends_of_two(tmp_path, "--plain")
    numpy.testing.assert_allclose(together.history, alone.history, rtol=1e-5)
    for value, expected in zip(together.parameters, alone.parameters, strict=True):
        assert abs(value - expected).max() <= 1e-5 * abs(expected).max()


def test_workers_that_compress_gradients_train_and_add_up_everything_else_exactly(uninterrupted, tmp_path):
    compressed = ends_of_two(tmp_path, "--threshold", "0.01")
    assert_same(*compressed)
    number = numpy.float32([0.1, -1e-30, 3e7, 0, 1 / 3])
    for worker in (compressed[0], uninterrupted[0]):
        numpy.testing.assert_array_equal(worker.sums, [number + 2 * number] * 3)
    losses = compressed[0].history[0]
    assert losses[-1] < losses[0] and losses[-1] != uninterrupted[0].history[0, -1]


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
    for rank in (0, 1):
        assert_same(end(tmp_path, rank), uninterrupted[0])
