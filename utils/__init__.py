"""The small library that the chapters import; each module is named for what it does."""

import os
import sys

# Parts count: a failed import leaves some of them behind.
MXNET_CAME_FIRST = any(name.partition(".")[0] == "mxnet" for name in sys.modules)

# Set COURSE_QUICK before the setup cell to see a whole chapter run in a short time: it learns too little to judge.
QUICK = os.environ.get("COURSE_QUICK", "").lower() not in ("", "0", "false")

# Those that this process may use, which a container or `taskset` can make fewer than the machine has.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
