"""The small library that the chapters import; each module is named for what it does."""

import os

# MXNet reads this once, when it is first imported. Left unset, it used one of two cores here.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
