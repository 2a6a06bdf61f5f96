"""Run what students wrote where it can do no harm, and read what it answers (book/teaching.md says against what).

The code runs in bubblewrap: without a network, without files but a read-only environment, as a user without rights,
with limits on time, memory, processes and output.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTING_SECONDS, STEP_SECONDS, SUBMISSION_SECONDS = 60, 10, 240
OUTPUT_BYTES, MEMORY_BYTES, FILE_BYTES, PROCESSES = 2**20, 6 * 2**30, 2**26, 128
FIRST_USER = 60000
VISIBLE = [
    ROOT / "utils",
    *(ROOT / "grader" / f"{name}.py" for name in ("__init__", "student_process", "fingerprint", "trained_network")),
]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from grader.student_process import main; main()"
LIMITS = ["prlimit", f"--as={MEMORY_BYTES}", f"--nproc={PROCESSES}", "--core=0", f"--fsize={FILE_BYTES}"]
# If memory runs out, the system should end the student's processes and no others.
FIRST_TO_GO = ["choom", "--adjust", "1000", "--"]
PYTHON = [sys.executable, "-E", "-s", "-P", "-B", "-c"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HOME": "/tmp", "PATH": "/usr/bin:/bin"}


def command(slot: int, code: str = START, safe: bool = True) -> list[str]:
    """The command that runs Python code in the sandbox; where root grades, each `slot` has a user of its own.

    With `safe` false the limits stay, and the other user where root grades; network and files are open.
    """
    words = [*(bubblewrap() if safe else []), *(other_user(slot) if os.geteuid() == 0 else [])]
    return [*FIRST_TO_GO, *words, *LIMITS, *PYTHON, code]


def bubblewrap() -> list[str]:
    words = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr"]
    for folder in ("/tmp", "/dev/shm"):
        words += ["--perms", "1777", "--size", str(FILE_BYTES), "--tmpfs", folder]
    for name in ("bin", "lib", "lib64"):
        words += ["--symlink", f"usr/{name}", f"/{name}"] if Path(f"/{name}").is_symlink() else []
    for path in (sys.base_prefix, sys.prefix, *VISIBLE):
        words += [*open_folders(Path(path).parent), "--ro-bind", str(path), str(path)]
    words += ["--chdir", "/tmp"]
    if os.geteuid() == 0:
        # The limit on processes does not bind whom a user namespace makes of root.
        return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*words, "--unshare-user"]


def other_user(slot: int) -> list[str]:
    user = f"{FIRST_USER + slot}"
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    return [*words, "--inh-caps=-all", "--bounding-set=-all"]


def open_folders(folder: Path) -> list[str]:
    """What lets bubblewrap make a folder and those around it for everyone, not just for who starts it."""
    return [word for path in (*folder.parents[-2::-1], folder) for word in ("--perms", "0755", "--dir", str(path))]


def check(safe: bool = True) -> None:
    """Stop unless the sandbox starts, and hides this machine's files and network."""
    programs = ["choom", "prlimit", *(["bwrap"] if safe else []), *(["setpriv"] if os.geteuid() == 0 else [])]
    if lacking := [program for program in programs if not shutil.which(program)]:
        sys.exit(
            f"Grading needs a sandbox: install what has {' and '.join(lacking)} (Debian: apt install bubblewrap "
            "util-linux)."
        )
    look = f"import os, socket; print(os.path.exists({str(ROOT / 'README.md')!r}), len(socket.if_nameindex()))"
    seen = subprocess.run(command(0, look, safe), env=ENVIRONMENT, capture_output=True, text=True)
    if seen.returncode or (safe and seen.stdout.strip() != "False 1"):
        sys.exit(
            f"The sandbox does not work here ({(seen.stderr or seen.stdout).strip()}): grade on a machine, or in a "
            "container, that lets bubblewrap make namespaces; --unsafe-no-sandbox grades without, and lets what "
            "students wrote use the network and read the files that everyone may read."
        )


def answers_of(steps: list[dict], slot: int = 0, safe: bool = True) -> tuple[dict[int, list], dict[int, str]]:
    """Run the steps; return the last message of each, and for those that ended the process or its time, a remark.

    Such a step is left out, and the rest is run again, for `SUBMISSION_SECONDS` in all.
    """
    messages, failures = {}, {}
    end = time.monotonic() + SUBMISSION_SECONDS
    while True:
        left = [
            {"source": ""} if number in failures or ("probe" in step and number in messages) else step
            for number, step in enumerate(steps)
        ]
        said, stuck, remark = run(left, slot, safe, end)
        for number, message in said.items():
            messages.setdefault(number, message)
        if stuck is None:
            return messages, failures
        # A step that is left out does not get stuck, unless somebody forged its start.
        if stuck in failures or time.monotonic() > end:
            missing = [number for number, step in enumerate(steps) if "probe" in step and number not in messages]
            return messages, dict.fromkeys(missing, remark) | failures
        failures[stuck] = remark


def run(steps: list[dict], slot: int, safe: bool, end: float) -> tuple[dict[int, list], int | None, str]:
    """Run the steps in a new sandbox; return its messages by step, and the step that it did not survive with a remark.

    A step has its `seconds`, or `STEP_SECONDS`; before the first go `STARTING_SECONDS`.
    """
    questions = {number for number, step in enumerate(steps) if "probe" in step}
    messages, at, remark = {}, -1, ""
    process = subprocess.Popen(
        command(slot, safe=safe),
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    try:
        with selectors.DefaultSelector() as selector:
            process.stdin.write(json.dumps(steps).encode())
            process.stdin.close()
            selector.register(process.stdout, selectors.EVENT_READ)
            unread, received, deadline = b"", 0, min(end, time.monotonic() + STARTING_SECONDS)
            while not remark:
                if not selector.select(max(0, deadline - time.monotonic())):
                    remark = "The code ran for too long."
                    break
                chunk = os.read(process.stdout.fileno(), 65536)
                received += len(chunk)
                if not chunk:
                    remark = "The code ended its process."
                elif received > OUTPUT_BYTES:
                    remark = f"The code gave back more than {OUTPUT_BYTES >> 20} MB."
                *lines, unread = (unread + chunk).split(b"\n")
                for message in map(parse, lines):
                    if message == ["end"] and questions <= set(messages):
                        return messages, None, ""
                    if message[0] == "start" and at < message[1] < len(steps):
                        at = message[1]
                        deadline = min(end, time.monotonic() + steps[at].get("seconds", STEP_SECONDS))
                    elif message[0] in ("answers", "error"):
                        messages[message[1]] = message
    except BrokenPipeError:
        remark = "The sandbox did not start."
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return messages, max(at, 0), remark


def parse(line: bytes) -> list:
    """One message of the sandbox; `[""]` if the line is none, for students can write lines of their own."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return [""]
    match message:
        case ["end"] | ["start", int()] | ["answers", int(), list()] | ["error", int(), str()]:
            return message
    return [""]
