"""A control group of Linux's for each submission, so that the kernel counts at every moment what its processes hold.

Groups are made in both versions (https://docs.kernel.org/admin-guide/cgroup-v2.html and, beside it, cgroup-v1), where
no other program manages them: below the root of what this process sees, or in what was delegated to it
(https://systemd.io/CGROUP_DELEGATION). Elsewhere there are none, and what else `sandbox` limits and watches has to do.
"""

import os
import shlex
import signal
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
ENDING_SECONDS = 5


@cache
def parents() -> list[Path]:
    """The groups in which this process may make others: in version 2 one for all controllers, in version 1 for each."""
    found: list[Path] = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers and is_prepared(GROUPS / path.removeprefix("/")):
                found.append(GROUPS / path.removeprefix("/"))
            elif path == "/":
                found += [GROUPS / name for name in controllers.split(",") if name in CONTROLLERS]
    return [parent for parent in found if os.access(parent, os.W_OK)]


def is_prepared(group: Path) -> bool:
    """Whether a group of version 2 is this process's to manage and can limit others inside it, which it then does."""
    if not (group / "cgroup.controllers").exists() or not (group == GROUPS or is_delegated(group)):
        return False
    with suppress(OSError):
        if group != GROUPS:
            # A group has either processes or limits for the groups inside it.
            (group / "grader").mkdir(exist_ok=True)
            for pid in (group / "cgroup.procs").read_text().split():
                (group / "grader" / "cgroup.procs").write_text(pid)
    for controller in CONTROLLERS:
        with suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
    return bool((group / "cgroup.subtree_control").read_text().strip())


def is_delegated(group: Path) -> bool:
    """Whether systemd has left a group to the processes in it."""
    with suppress(OSError):
        return os.getxattr(group, "user.delegate") == b"1"
    return False


class ControlGroup:
    """The group of one submission; without a folder where there is none to be had."""

    def __init__(self, number: int, memory: int, processes: int) -> None:
        """A group with limits on bytes of memory and processes, whose name no other has that has another number."""
        # All processes of a submission together count for the scheduler as one of the grader's does.
        weight = 1.25 ** -os.nice(0)
        limits = {
            "memory.max": memory,
            "memory.swap.max": 0,
            "memory.limit_in_bytes": memory,
            "pids.max": processes,
            "cpu.weight": max(1, round(100 * weight)),
            "cpu.shares": max(2, round(1024 * weight)),
        }
        self.folders: list[Path] = []
        for parent in parents():
            folder = parent / f"submission-{os.getpid()}-{number}"
            with suppress(OSError):
                folder.mkdir()
                self.folders.append(folder)
                for name, limit in limits.items():
                    if (folder / name).exists():
                        (folder / name).write_text(str(limit))

    def words(self) -> list[str]:
        """The words that start a program in the group."""
        if not self.folders:
            return []
        enter = [f"echo $$ > {shlex.quote(str(folder / 'cgroup.procs'))}" for folder in self.folders]
        return ["sh", "-c", f'{" && ".join(enter)} && exec "$@"', "sh"]

    def is_out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of the group because all together held too much."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                    return counts.get("oom_kill", "0") != "0"
        return False

    def end(self) -> None:
        """Kill all that runs in the group, and remove it."""
        for folder in self.folders:
            remove(folder)


def remove(folder: Path) -> None:
    """Kill all that runs in a group, and remove it; leave it if it does not end."""
    end = time.monotonic() + ENDING_SECONDS
    while folder.exists() and time.monotonic() < end:
        with suppress(OSError):
            for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                if pid:  # what another namespace has is 0, which would be this process and those beside it
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            folder.rmdir()
            return
        time.sleep(0.01)


def remove_stale() -> None:
    """Remove the groups of graders that have been killed, with what is left in them."""
    for parent in parents():
        for folder in parent.glob("submission-[0-9]*-[0-9]*"):
            if not psutil.pid_exists(int(folder.name.split("-")[1])):
                remove(folder)
