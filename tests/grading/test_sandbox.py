"""Nobody's points depend on anybody else: what one submission does reaches neither another one nor the machine.

Each attack runs as root grades and as an ordinary user does, whom `unshare` makes where root runs the tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from grader import sandbox
from grader.schema import Outcome

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("working_sandbox")
AS_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
GRADER = """
import json, sys
from grader import sandbox
outcomes = [sandbox.run_steps(steps) for steps in json.load(sys.stdin)]
print(json.dumps([[[outcome.answers, outcome.error, outcome.failure] for outcome in each] for each in outcomes]))
"""


@pytest.fixture(params=["root", "ordinary user"])
def graded(request):
    """A function that grades submissions, one after the other, each as its steps; it returns their outcomes."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("root does not run these tests")

    def run(*submissions):
        words = [*(AS_USER if request.param != "root" else []), sys.executable, "-c", GRADER]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(words, input=json.dumps(submissions), env=environment, capture_output=True, text=True)
        assert not run.returncode, run.stderr
        return [[Outcome(*outcome) for outcome in each] for each in json.loads(run.stdout)]

    return run


def steps(source: str) -> list:
    """A submission of one cell, and a probe that asks for `found`."""
    return [{"source": source}, {"probe": "def probe():\n    return found", "inputs": [[]], "seconds": 10}]


# By numbers, as a student would who has no library for it: add_key(user, ..) and keyctl(READ, search(..)).
LEAVE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
found = [libc.syscall(248, b"user", b"note", b"answer", 6, ring) for ring in (-3, -4, -5)]
for folder in ("/tmp", "/dev/shm", "/dev", "/", "/var/tmp", "/run", "/dev/mqueue", os.path.expanduser("~")):
    try:
        open(f"{folder}/note", "w").write("answer")
    except OSError:
        pass
found += [libc.shmget(4711, 4096, 0o1777), libc.msgget(4711, 0o1777), libc.semget(4711, 1, 0o1777)]
"""
FIND = """
import ctypes, glob
libc = ctypes.CDLL(None, use_errno=True)
found = [libc.syscall(250, 10, ring, b"user", b"note", 0) for ring in (-3, -4, -5)]
found += [libc.shmget(4711, 4096, 0), libc.msgget(4711, 0), libc.semget(4711, 1, 0)]
folders = ("/tmp", "/dev/shm", "/dev", "", "/var/tmp", "/run")
found += [path for folder in folders for path in glob.glob(f"{folder}/note")]
"""


def test_message_that_a_submission_leaves_is_not_found_by_the_next(graded):
    left, found = graded(steps(LEAVE), steps(FIND))
    assert left[1].answers == [[[-1] * 6]]
    assert found[1].answers == [[[-1] * 6]]


# mount, unshare(CLONE_NEWUSER), clone(CLONE_NEWUSER | SIGCHLD), ptrace, bpf, io_uring_setup, perf_event_open,
# userfaultfd, memfd_create, setns, process_vm_writev, sched_setaffinity
REFUSED = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
found = []
for call in ((165, 0, 0, 0, 0, 0), (272, 0x10000000), (56, 0x10000000 | 17, 0, 0, 0, 0), (101, 0, 1, 0, 0),
             (321, 0, 0, 0), (425, 1, 0), (298, 0, 0, -1, -1, 0), (323, 0), (319, b"x", 0), (308, -1, 0),
             (311, 1, 0, 0, 0, 0, 0), (203, 0, 8, b"\\xff" * 8)):
    ctypes.set_errno(0)
    found.append([libc.syscall(*call), ctypes.get_errno()])
"""


def test_kernel_refuses_what_no_answer_needs(graded):
    (outcomes,) = graded(steps(REFUSED))
    assert outcomes[1].answers == [[[[-1, 1]] * 12]]


FILL = """
found = []
for folder in ("/tmp", "/dev/shm", "/", "/dev", "/run"):
    written = 0
    try:
        for number in range(9):
            with open(f"{folder}/file{number}", "wb") as file:
                for _ in range(40):
                    written += file.write(bytes(2**20))
                    file.flush()
    except OSError:
        pass
    found.append(written >> 20)
"""


def test_every_place_that_can_be_written_is_small(graded):
    (outcomes,) = graded(steps(FILL))
    ((sizes,),) = outcomes[1].answers
    assert max(sizes[:2]) <= sandbox.FILE_BYTES >> 20 and sizes[2:] == [0, 0, 0]


DAEMON = """
import ctypes, os, signal, time
libc = ctypes.CDLL(None)
for pid in (1, 2, 3):
    libc.ptrace(16, pid, 0, 0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        libc.prctl(1, 0)
        libc.prctl(15, b"a-daemon")
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        time.sleep(99)
    os._exit(0)
time.sleep(0.2)
found = "started"
"""


def test_nothing_of_a_submission_outlives_it(graded):
    (outcomes,) = graded(steps(DAEMON))
    assert outcomes[1].answers == [["started"]]
    assert not [process for process in psutil.process_iter(["name"]) if process.info["name"] == "a-daemon"]


def test_time_of_a_probe_is_that_of_its_calls_alone():
    probe = "import time\ndef probe(seconds):\n    time.sleep(seconds)\n    return 1"
    outcomes = sandbox.run_steps(
        [{"source": "import time\ntime.sleep(1)"}, {"probe": probe, "inputs": [[0.1], [0.2]], "seconds": 10}]
    )
    assert 0.3 <= outcomes[1].seconds < 1 <= outcomes[0].seconds


SPREAD = """
import os
try:
    os.sched_setaffinity(0, range(os.cpu_count()))
except OSError:
    pass
found = sorted(os.sched_getaffinity(0))
"""


@pytest.mark.parametrize("slot", [0, 1])
def test_busy_processes_keep_to_the_core_of_their_own_slot(slot):
    cores = sorted(os.sched_getaffinity(0))
    assert sandbox.run_steps(steps(SPREAD), slot)[1].answers == [[[cores[slot % len(cores)]]]]


HOARD = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        hoard = bytearray(os.urandom(2**10) * 2**17)
        time.sleep(99)
time.sleep(99)
"""


def test_memory_of_all_processes_of_a_submission_counts(monkeypatch):
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 2**30 // 2)
    outcome, _ = sandbox.run_steps(steps(HOARD))
    assert outcome.failure == "The code took more than 0.5 GB of memory."


def test_two_graders_on_one_machine_share_no_user():
    users = {sandbox.new_user() for _ in range(100)}
    assert len(users) == 100 and min(users) >= 2**30
