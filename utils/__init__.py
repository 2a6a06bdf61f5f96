"""The small library that the chapters import; each module is named for what it does."""

import os
import sys
from pathlib import Path

# Parts count: a failed import leaves some of them behind.
MXNET_CAME_FIRST = any(name.partition(".")[0] == "mxnet" for name in sys.modules)

# Set COURSE_QUICK before the setup cell to see a whole chapter run in a short time: it learns too little to judge.
QUICK = os.environ.get("COURSE_QUICK", "").lower() not in ("", "0", "false")


def usable_cores(proc: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores that this process may use, which `taskset` or a container's quota can make fewer than the machine has.

    The quota stands in `cpu.max` of the process's control group or of one above it, in older systems in two files.
    """
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        path = Path(proc.read_text().strip().splitlines()[-1].rpartition(":")[2].lstrip("/"))
    except (OSError, IndexError):
        return int(cores)
    quotas = [groups / folder / "cpu.max" for folder in (path, *path.parents)]
    for quota in [*quotas, groups / "cpu" / "cpu.cfs_quota_us"]:
        try:
            numbers = quota.read_text().split()
            if quota.name == "cpu.cfs_quota_us":
                numbers += (quota.parent / "cpu.cfs_period_us").read_text().split()
            time, period = map(int, numbers)
            if time > 0:
                cores = min(cores, time / period)
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return max(1, round(cores))


CORES = usable_cores()
MOST_THREADS = 1000


def number_of_threads(setting: str) -> int:
    """What OMP_NUM_THREADS asks for, whose first number counts ("2,1"); as many as cores where it is no such number.

    MXNet ends the process on a list and on what is no number.
    """
    try:
        threads = int(setting.partition(",")[0])
    except ValueError:
        return CORES
    return threads if 1 <= threads <= MOST_THREADS else CORES


# OpenMP reads these once, when MXNet is first imported. With the number of threads left unset,
# MXNet used one of two cores. Threads that wait by spinning for long take the processor from those
# they wait for as soon as another program wants a share of it: training ran ten times slower.
THREADS = number_of_threads(os.environ.get("OMP_NUM_THREADS", ""))
os.environ["OMP_NUM_THREADS"] = str(THREADS)
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Operators that run one after the other need one piece of scratch memory, and MXNet would keep four.
os.environ.setdefault("MXNET_CPU_TEMP_COPY", "1")
