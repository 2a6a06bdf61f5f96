"""The small library that the chapters import; each module is named for what it does."""

import os
import sys

# Parts count: a failed import leaves some of them behind.
MXNET_CAME_FIRST = any(name.partition(".")[0] == "mxnet" for name in sys.modules)

# OpenMP reads these once, when MXNet is first imported. With the number of threads left unset,
# MXNet used one of two cores. Threads that wait by spinning for long take the processor from those
# they wait for as soon as another program wants a share of it: training ran ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
