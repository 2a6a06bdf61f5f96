"""Run what students wrote where it can do no harm, and read what it answers (book/teaching.md says against what).

The code runs in bubblewrap: without a network, without files but a read-only environment, as a user without rights,
with limits on time, memory, processes and output. Students can write lines of their own to where the answers are read
from, so nothing in them is trusted.
"""

import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from grader import control_group
from grader.control_group import ControlGroup
from grader.schema import Outcome, Step

ROOT = Path(__file__).parent.parent
STARTING_SECONDS = 60  # from the start of a sandbox to its first step: mostly the import of MXNet
STEP_SECONDS = 10  # for a cell, and for a probe that names no other time
SUBMISSION_SECONDS = 240  # for all sandboxes of a submission together
WATCH_SECONDS = 0.5  # from one look at the memory to the next
ENDING_SECONDS = 5  # for bubblewrap to end once what runs in it was killed
OUTPUT_BYTES = 2**20  # that a sandbox may write to the grader
MEMORY_BYTES = 6 * 2**30  # that each process may have, and all of a submission together
FILE_BYTES = 2**26  # of each file, and of each of the two places that can be written
PROCESSES = 64
OPEN_FILES = 256
FIRST_USER, NUM_USERS = 2**30, 2**30  # no system gives these numbers to anybody
# All of the course that the student's process needs. What is not listed here does not exist in the sandbox.
STUDENT_MODULES = ("__init__.py", "confine.py", "student_process.py", "fingerprint.py", "trained_network.py")
VISIBLE = [ROOT / "utils", *(ROOT / "grader" / name for name in STUDENT_MODULES)]
CONFINED = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from grader.confine import confine; confine(); "
START = f"{CONFINED}from grader.student_process import main; main()"
LIMITS = ["prlimit", f"--as={MEMORY_BYTES}", f"--nproc={PROCESSES}", "--core=0", f"--fsize={FILE_BYTES}"]
# What waits in sockets is memory of the kernel's, a quarter of a megabyte for each, that counts for no process.
LIMITS += [f"--nofile={OPEN_FILES}"]
# If memory runs out, the system should end the student's processes and no others.
FIRST_TO_GO = ["choom", "--adjust", "1000", "--"]
PYTHON = [sys.executable, "-E", "-s", "-P", "-B", "-c"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HOME": "/tmp", "PATH": "/usr/bin:/bin"}
# Remarks on what may be the machine's failure as well as the code's.
TOO_LONG, ENDED = "The code ran for too long.", "The code ended its process."
UNSURE = (TOO_LONG, ENDED)


def command(slot: int, code: str = START, safe: bool = True, user: int = FIRST_USER) -> list[str]:
    """The command that runs Python code in the sandbox, on the one core of its slot: there it starves nobody else.

    Where root grades, the code runs as `user`. With `safe` false the limits stay, and the user and what `CONFINED`
    refuses; network and files are open.
    """
    cores = sorted(os.sched_getaffinity(0))
    words = [*FIRST_TO_GO, "taskset", "--cpu-list", str(cores[slot % len(cores)])]
    if safe:
        words += bubblewrap()
    if os.geteuid() == 0:
        words += other_user(user)
    return [*words, *LIMITS, *PYTHON, code]


def bubblewrap() -> list[str]:
    """The words that start a program in bubblewrap."""
    words = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr"]
    for writable in ("/tmp", "/dev/shm"):
        words += ["--perms", "1777", "--size", str(FILE_BYTES), "--tmpfs", writable]
    for name in ("bin", "lib", "lib64"):
        if Path(f"/{name}").is_symlink():
            words += ["--symlink", f"usr/{name}", f"/{name}"]
    for path in (Path(sys.base_prefix), Path(sys.prefix), *VISIBLE):
        # Without these words the folders around it would be open to nobody but whoever starts bubblewrap.
        for folder in reversed(path.parents[:-1]):
            words += ["--perms", "0755", "--dir", str(folder)]
        words += ["--ro-bind", str(path), str(path)]
    # Without root, the user that starts bubblewrap owns these, and could fill them.
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    if os.geteuid() == 0:
        # The limit on processes does not bind whom a user namespace makes of root.
        return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*words, "--unshare-user"]


def other_user(user: int) -> list[str]:
    """The words that start a program as a user of that number, without rights."""
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    return [*words, "--inh-caps=-all", "--bounding-set=-all"]


def new_user() -> int:
    """The number of a user whom no other submission has, nor another grader on this machine."""
    return FIRST_USER + secrets.randbelow(NUM_USERS)


def check(safe: bool = True) -> None:
    """Raise `SystemExit` unless the sandbox starts, refuses what it should, and hides files and network."""
    programs = ["choom", "prlimit", "taskset"]
    if safe:
        programs.append("bwrap")
    if os.geteuid() == 0:
        programs.append("setpriv")
    if lacking := [program for program in programs if not shutil.which(program)]:
        sys.exit(
            f"Grading needs a sandbox: install what has {' and '.join(lacking)} (on Debian and Ubuntu: "
            "apt-get install bubblewrap util-linux)."
        )
    control_group.remove_stale()
    # Shut in, it sees no file of the course, and of network interfaces only the one that leads back to itself.
    look = f"print(os.path.exists({str(ROOT / 'README.md')!r}), len(socket.if_nameindex()), is_confined())"
    code = f"{CONFINED}import os, socket; from grader.confine import is_confined; {look}"
    seen = subprocess.run(command(0, code, safe, new_user()), env=ENVIRONMENT, capture_output=True, text=True)
    found = seen.stdout.split()
    is_shut_in, is_confined = found[:2] == ["False", "1"], found[2:] == ["True"]
    if seen.returncode or not is_confined or (safe and not is_shut_in):
        sys.exit(
            f"The sandbox does not work here ({(seen.stderr or seen.stdout).strip()}): grade on a machine, or in a "
            "container, that has libseccomp2 and lets bubblewrap make namespaces; --unsafe-no-sandbox grades one "
            "submission without namespaces, and lets what the student wrote use the network and read the files that "
            "everyone may read."
        )


def run_steps(steps: Sequence[Step], slot: int = 0, safe: bool = True) -> list[Outcome]:
    """Run the steps in a sandbox; return what came back of each.

    A step that ends the process or uses up its time is left out, and the rest is run again, for `SUBMISSION_SECONDS`
    in all. Raises `MachineError` if a sandbox does not come as far as the first step.
    """
    outcomes: dict[int, Outcome] = {}
    end = time.monotonic() + SUBMISSION_SECONDS
    while True:
        attempt = run_once(steps_left(steps, outcomes), slot, safe, end)
        if attempt.stuck == -1 and time.monotonic() < end:
            if attempt.remark == ENDED:
                raise MachineError("The sandbox ended before its first step.")
            raise MachineError(f"The sandbox did not start within {STARTING_SECONDS} seconds.")
        for number, outcome in attempt.outcomes.items():
            outcomes.setdefault(number, outcome)
        if attempt.stuck is None:
            break
        # A step that is left out does not get stuck, unless the code wrote lines that are not its own.
        is_forged = attempt.stuck in outcomes and outcomes[attempt.stuck].failure
        if is_forged or time.monotonic() > end:
            for number, step in enumerate(steps):
                if "probe" in step:
                    outcomes.setdefault(number, Outcome(failure=attempt.remark))
            break
        answers = attempt.outcomes.get(attempt.stuck, Outcome()).answers
        outcomes[attempt.stuck] = Outcome(answers, failure=attempt.remark)
    return [outcomes.get(number, Outcome()) for number in range(len(steps))]


class MachineError(Exception):
    """The machine, and not what a student wrote, is why nothing came back."""


def steps_left(steps: Sequence[Step], outcomes: dict[int, Outcome]) -> list[Step]:
    """The steps, with nothing to do in the place of those that failed and of probes that have an outcome."""
    left: list[Step] = []
    for number, step in enumerate(steps):
        is_done = number in outcomes and ("probe" in step or outcomes[number].failure)
        left.append({"source": ""} if is_done else step)
    return left


@dataclass
class Attempt:
    """What one sandbox gave back."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by the number of the step
    stuck: int | None = None  # the step that the process did not survive
    remark: str = ""  # why it did not


def run_once(steps: list[Step], slot: int, safe: bool, end: float) -> Attempt:
    """Run the steps in a new sandbox, until they are done or one of them gets stuck.

    A probe has its `seconds`, a cell `STEP_SECONDS`, and what comes before the first step `STARTING_SECONDS`; the
    sandbox has until `end`, by the monotonic clock.
    """
    protocol, user = Protocol(steps), new_user()
    group = ControlGroup(user, MEMORY_BYTES, PROCESSES)
    process = subprocess.Popen(
        [*group.words(), *command(slot, safe=safe, user=user)],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdin and process.stdout
    os.set_blocking(process.stdin.fileno(), False)  # who does not read must not stop the grader
    unread, unsent, num_received, num_sent = b"", b"", 0, 0
    deadline = min(end, time.monotonic() + STARTING_SECONDS)
    remark, next_look = TOO_LONG, time.monotonic()
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not protocol.is_over():
                if num_sent == protocol.current:
                    if not unsent:
                        selector.register(process.stdin, selectors.EVENT_WRITE)
                    unsent += json.dumps(steps[num_sent]).encode() + b"\n"
                    num_sent += 1
                    protocol.sent = time.monotonic()
                    deadline = min(end, protocol.sent + protocol.seconds())
                ready = selector.select(min(WATCH_SECONDS, max(0, deadline - time.monotonic())))
                if time.monotonic() >= deadline and not ready:
                    break
                if time.monotonic() >= next_look:
                    next_look += WATCH_SECONDS
                    if group.is_out_of_memory() or memory_of(process.pid) > MEMORY_BYTES:
                        raise StuckError(too_much_memory())
                for pipe, _ in ready:
                    if pipe.fileobj is process.stdin:
                        unsent = unsent[os.write(pipe.fd, unsent) :]
                        if not unsent:
                            selector.unregister(process.stdin)
                        continue
                    chunk = os.read(pipe.fd, 65536)
                    num_received += len(chunk)
                    if not chunk:
                        raise StuckError(ENDED)
                    if num_received > OUTPUT_BYTES:
                        raise StuckError(f"The code gave back more than {OUTPUT_BYTES >> 20} MB.")
                    *lines, unread = (unread + chunk).split(b"\n")
                    for line in lines:
                        protocol.take(line)
    except StuckError as error:
        remark = str(error)
    except BrokenPipeError:
        remark = ENDED
    finally:
        if remark == ENDED and group.is_out_of_memory():
            remark = too_much_memory()
        end_all(process, safe, user, group)
        process.stdin.close()
        process.stdout.close()
    return Attempt(protocol.outcomes, stuck=None if protocol.is_over() else protocol.current, remark=remark)


def processes_below(pid: int) -> list[psutil.Process]:
    """The processes that a process started, and those that these started; not those that have ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def memory_of(pid: int) -> int:
    """Bytes of memory that a process and all below it hold in all, what several share counted once."""
    processes, total = processes_below(pid), 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    if total <= MEMORY_BYTES:
        return total
    # What is shared was counted more than once; to count it once takes longer.
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def end_all(process: subprocess.Popen, safe: bool, user: int, group: ControlGroup) -> None:
    """End a sandbox with all that runs in it and in its group; of a `user` without one, all that he runs."""
    for descendant in processes_below(process.pid):
        with suppress(psutil.NoSuchProcess):
            descendant.kill()
    if safe:
        # Bubblewrap ends when its process 1 has, and that one when all others in the sandbox have.
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_SECONDS)
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not safe and os.geteuid() == 0:
        subprocess.run([*other_user(user), "kill", "-KILL", "-1"], stderr=subprocess.DEVNULL)
    group.end()


def too_much_memory() -> str:
    """The remark on code that took more memory than it may."""
    return f"The code took more than {MEMORY_BYTES / 2**30:g} GB of memory."


class StuckError(Exception):
    """A step does not get further, and a remark on why."""


class Protocol:
    """What the lines of a student's process say (`student_process` has their forms), in the only order there is."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.current = -1  # the step that runs; -1 before the first, the number of steps after the last
        self.outcomes: dict[int, Outcome] = {}  # by the number of the step
        self.sent = 0.0  # when the step that runs was sent, by the monotonic clock

    def is_over(self) -> bool:
        return self.current == len(self.steps)

    def seconds(self) -> float:
        """How long the step that runs may take."""
        step = self.steps[self.current]
        return step["seconds"] if "probe" in step else STEP_SECONDS

    def take(self, line: bytes) -> None:
        """Add what a line says to the outcomes. Raises `StuckError` for a line that does not come at this place."""
        outcome = self.outcomes.get(self.current, Outcome())
        num_missing = 0
        if 0 <= self.current < len(self.steps):
            step = self.steps[self.current]
            num_missing = len(step["inputs"]) - len(outcome.answers) if "probe" in step and not outcome.error else 0
        match parse(line):
            case ["ready"] if self.current == -1:
                self.current = 0
            case ["answer", answer] if num_missing:
                self.outcomes[self.current] = Outcome([*outcome.answers, [answer]])
            case ["no answer"] if num_missing:
                self.outcomes[self.current] = Outcome([*outcome.answers, []])
            case ["error", str(error)] if 0 <= self.current < len(self.steps) and outcome == Outcome():
                self.outcomes[self.current] = Outcome(error=error)
            case ["done", self.current] if not num_missing:
                self.outcomes[self.current] = replace(outcome, seconds=time.monotonic() - self.sent)
                self.current += 1
            case _:
                raise StuckError("The code wrote what only the grader's own code may write.")


def parse(line: bytes) -> object:
    """A line of the student's process as JSON; None if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
