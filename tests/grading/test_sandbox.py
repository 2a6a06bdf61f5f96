"""Nobody's points depend on anybody else: what one submission does reaches neither another one nor the machine.

Each attack runs as root grades and as an ordinary user does, whom `unshare` makes where root runs the tests.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from grader import control_group, sandbox
from grader.control_group import ControlGroup
from grader.schema import Outcome

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("working_sandbox")
AS_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
USERS = {"root": [], "an ordinary user": AS_USER} if AS_USER else {"an ordinary user": []}
# What the sandbox runs, but for the import of MXNet, which takes a second and which few answers here need.
WITHOUT_MXNET = f"""{sandbox.CONFINED}
import sys
from types import SimpleNamespace
from grader import student_process
sys.modules["grader.fingerprint"] = SimpleNamespace(fingerprint=None)
student_process.notebook_namespace = dict
student_process.main()
"""
GRADER = f"""
import functools, json, sys
from grader import sandbox
sandbox.command = functools.partial(sandbox.command, code={WITHOUT_MXNET!r})
outcomes = [sandbox.run_steps(steps) for steps in json.load(sys.stdin)]
print(json.dumps([[[outcome.answers, outcome.error, outcome.failure] for outcome in each] for each in outcomes]))
"""


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(params=USERS)
def grader(request):
    """The command that grades as one of those who may run these tests."""
    return [*USERS[request.param], sys.executable, "-c", GRADER]


@pytest.fixture
def graded(grader):
    """A function that grades submissions, one after the other, each as its steps; it returns their outcomes."""

    def run(*submissions):
        run = subprocess.run(grader, input=json.dumps(submissions), env=ENVIRONMENT, capture_output=True, text=True)
        assert not run.returncode, run.stderr
        return [[Outcome(*outcome) for outcome in each] for each in json.loads(run.stdout)]

    return run


@pytest.fixture
def without_mxnet(monkeypatch):
    """Let the sandbox start as `WITHOUT_MXNET` says."""
    monkeypatch.setattr(sandbox, "command", partial(sandbox.command, code=WITHOUT_MXNET))


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


HOLES = {
    "a file of the course can be seen": ("VISIBLE", [*sandbox.VISIBLE, ROOT / "README.md"], "True 1 True"),
    "nothing is refused": ("CONFINED", f"import sys; sys.path.insert(0, {str(ROOT)!r}); ", "False 1 False"),
}


@pytest.mark.parametrize("hole", HOLES)
def test_sandbox_with_a_hole_is_not_used(hole, monkeypatch):
    constant, value, found = HOLES[hole]
    monkeypatch.setattr(sandbox, constant, value)
    with pytest.raises(SystemExit, match=rf"The sandbox does not work here \({found}\)"):
        sandbox.check()


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


def daemons() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == "a-daemon"]


def wait_until(condition) -> bool:
    """Whether a condition holds at last."""
    end = time.monotonic() + 2 * sandbox.STARTING_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_nothing_of_a_submission_outlives_it(graded):
    (outcomes,) = graded(steps(DAEMON))
    assert outcomes[1].answers == [["started"]]
    assert not daemons()


def test_nothing_of_a_submission_outlives_a_grader_that_is_killed(grader):
    process = subprocess.Popen(grader, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(json.dumps([steps(f"{DAEMON}\ntime.sleep(99)")]).encode())
    process.stdin.close()
    assert wait_until(daemons)
    process.kill()
    process.wait()
    assert wait_until(lambda: not daemons())


def test_sandbox_that_does_not_start_in_time_is_the_machines_failure(monkeypatch):
    monkeypatch.setattr(sandbox, "STARTING_SECONDS", 0.5)
    with pytest.raises(sandbox.MachineError, match=r"did not start within 0\.5 seconds"):
        sandbox.run_steps(steps("found = 1"))


def test_answer_may_use_scipy():
    outcomes = sandbox.run_steps(steps("from scipy.stats import norm\nfound = norm.cdf(0)"))
    assert outcomes == [Outcome(seconds=outcomes[0].seconds), Outcome([[0.5]], seconds=outcomes[1].seconds)]


@pytest.mark.usefixtures("without_mxnet")
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


@pytest.mark.usefixtures("without_mxnet")
@pytest.mark.parametrize("slot", [0, 1])
def test_busy_processes_keep_to_the_core_of_their_own_slot(slot):
    cores = sorted(os.sched_getaffinity(0))
    assert sandbox.run_steps(steps(SPREAD), slot)[1].answers == [[[cores[slot % len(cores)]]]]


HOARD = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        hoard = bytearray(os.urandom(2**10) * 2**16)
        time.sleep(99)
time.sleep(99)
"""


@pytest.fixture(params=["with groups", "without"])
def groups(request, monkeypatch):
    """The groups in which a submission gets its own, where there are any, and none."""
    if request.param == "without":
        monkeypatch.setattr(control_group, "parents", list)
    return control_group.parents()


FEW = sandbox.PROCESSES // 2


@pytest.fixture
def new_group(groups):
    """A function that makes the group of a submission that may have 256 MB and `FEW` processes."""
    made = []

    def new() -> ControlGroup:
        made.append(ControlGroup(sandbox.new_user(), 2**28, FEW))
        assert len(made[-1].folders) == len(groups)
        return made[-1]

    yield new
    for group in made:
        group.end()
    assert not [folder for group in made for folder in group.folders if folder.exists()]


def limit(group: ControlGroup, *names: str) -> str:
    """What stands in the first of these files of a group; nothing if it has none of them."""
    paths = [folder / name for folder in group.folders for name in names if (folder / name).exists()]
    return paths[0].read_text().strip() if paths else ""


def start(group: ControlGroup, code: str) -> subprocess.Popen:
    """Start Python code in the sandbox, in a group, as `run_once` does."""
    command = [*group.words(), *sandbox.command(0, code, user=sandbox.new_user())]
    return subprocess.Popen(command, env=sandbox.ENVIRONMENT, stdout=subprocess.PIPE, text=True)


PAIR = """
import os, time
os.fork()
print("started", flush=True)
time.sleep(600)
"""


def test_all_processes_of_a_submission_are_in_its_group_and_no_others(new_group):
    started = [(group, start(group, PAIR)) for group in (new_group(), new_group())]
    for group, process in started:
        assert [process.stdout.readline() for _ in range(2)] == ["started\n"] * 2
        pids = {process.pid, *(child.pid for child in sandbox.processes_below(process.pid))}
        for folder in group.folders:
            assert set(map(int, (folder / "cgroup.procs").read_text().split())) == pids
    for group, process in started:
        group.end()
        process.kill()  # where there are no groups
        process.wait()


STORM = """
import os, time
found = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        found += 1
except OSError:
    print(found, flush=True)
time.sleep(600)
"""


def test_fork_storm_keeps_to_the_processes_of_its_own_submission(new_group):
    group, neighbour = new_group(), new_group()
    storm = start(group, STORM)
    most = FEW if limit(group, "pids.max") else sandbox.PROCESSES
    # A few are the sandbox's own.
    assert most - 8 < int(storm.stdout.readline()) < most
    assert start(neighbour, "print('runs')").communicate()[0] == "runs\n"
    storm.kill()


@pytest.mark.usefixtures("without_mxnet")
def test_sandbox_runs_in_a_group_that_goes_when_it_ends(groups):
    def own() -> list[Path]:
        return [folder for group in groups for folder in group.glob(f"submission-{os.getpid()}-*")]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sandbox.run_steps, steps("import time\ntime.sleep(1)\nfound = 1"))
        assert wait_until(lambda: len(own()) == len(groups) and all((f / "cgroup.procs").read_text() for f in own()))
        assert running.result()[1].answers == [[1]]
    assert not own()


# Memory that several processes share and that is given back before anyone looks.
BURST = """
import mmap
held = [mmap.mmap(-1, 2**27) for _ in range(4)]
for memory in held:
    memory.write(bytes(2**27))
held.clear()
print("held", flush=True)
"""


def test_memory_that_is_held_for_a_moment_counts_where_the_kernel_counts(new_group):
    group, neighbour = new_group(), new_group()
    is_counted = bool(limit(group, "memory.max", "memory.limit_in_bytes"))
    waiting = start(neighbour, "import time; time.sleep(9999)")
    printed, _ = start(group, BURST).communicate()
    assert (printed == "", group.is_out_of_memory()) == (is_counted, is_counted)
    assert waiting.poll() is None and not neighbour.is_out_of_memory()
    waiting.kill()


# Buffers of sockets are memory of the kernel's, and count for no process.
SOCKETS = """
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
found, pairs = 0, []
try:
    while len(pairs) < 1000:
        pairs.append(socket.socketpair())
        for end in pairs[-1]:
            end.setblocking(False)
            try:
                while True:
                    found += end.send(bytes(2**16))
            except BlockingIOError:
                pass
except OSError:
    pass
print(found, flush=True)
"""


def test_memory_that_counts_for_no_process_is_little(new_group):
    printed, _ = start(new_group(), SOCKETS).communicate()
    # Seen: 59 million bytes in 256 files, 119 in 512.
    assert 0 < int(printed) < 90_000_000


ALONE = "found = [bytearray(2**26) for _ in range(10**4)]"


@pytest.mark.usefixtures("groups", "without_mxnet")
@pytest.mark.parametrize("source", [ALONE, HOARD], ids=["one", "several"])
def test_memory_of_all_processes_of_a_submission_counts(source, monkeypatch):
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 2**30 // 4)
    outcome, _ = sandbox.run_steps(steps(source))
    assert outcome.failure == "The code took more than 0.25 GB of memory."


BUSY = """
import os, time
for _ in range({others}):
    if os.fork() == 0:
        break
start, used = time.monotonic(), time.process_time()
while time.monotonic() < start + {seconds}:
    pass
print((time.process_time() - used) / {seconds}, flush=True)
while True:
    time.sleep(9)
"""


@pytest.mark.parametrize("groups", ["with groups"], indirect=True)
def test_many_busy_processes_of_a_submission_count_as_one(new_group):
    busy = new_group(), new_group()
    many, one = start(busy[0], BUSY.format(others=15, seconds=2)), start(busy[1], BUSY.format(others=0, seconds=1))
    share = float(one.stdout.readline())
    shares_of_many = [float(many.stdout.readline()) for _ in range(16)]
    many.kill()
    one.kill()
    if limit(busy[0], "cpu.weight", "cpu.shares"):
        assert share > 4 * sum(shares_of_many) / 16


ORPHAN = """
import subprocess, sys
from grader.control_group import ControlGroup
group = ControlGroup(1, 2**28, 64)
print(subprocess.Popen([*group.words(), "sleep", "60"], start_new_session=True).pid, flush=True)
input()
"""


def test_group_of_a_grader_that_was_killed_is_removed_with_what_is_left_in_it_and_that_of_another_stays():
    living = ControlGroup(sandbox.new_user(), 2**28, 64)
    words = [sys.executable, "-c", ORPHAN]
    grader = subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    orphan = psutil.Process(int(grader.stdout.readline()))
    grader.kill()
    grader.wait()
    assert orphan.is_running()
    control_group.remove_stale()
    if not living.folders:
        orphan.kill()
    orphan.wait(5)
    assert not [folder for parent in control_group.parents() for folder in parent.glob(f"submission-{grader.pid}-*")]
    assert all(folder.exists() for folder in living.folders)
    living.end()
    assert not [folder for folder in living.folders if folder.exists()]


def test_two_graders_on_one_machine_share_no_user():
    users = {sandbox.new_user() for _ in range(100)}
    assert len(users) == 100 and min(users) >= 2**30
