"""Make the course run on this machine (first cell of every chapter)."""

import os
import platform
from pathlib import Path

import mxnet as mx
from d2l import mxnet as d2l
from IPython import display

SEED = 1


def processor() -> str:
    """The processor's name, as `/proc/cpuinfo` or the platform gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> str:
    """One line on the hardware that this process computes on."""
    cores = os.environ["OMP_NUM_THREADS"]
    gpus = d2l.num_gpus()
    return f"{cores} cores of {processor()}, {f'{gpus} GPU' if gpus else 'no GPU'}"


def setup() -> mx.context.Context:
    """Switch MXNet to its NumPy interface, seed it, and return the device to compute on.

    Prints one line that says what was found. Calling it again is harmless and seeds again.
    """
    mx.npx.set_np()
    mx.random.seed(SEED)
    device = d2l.try_gpu()
    print(f"MXNet {mx.__version__} on {machine()}. The course computes on {device}.")
    return device


def glue(name: str, value: object) -> None:
    """Store `value` in the notebook under `name`, for `{glue:text}` in the book's prose.

    Does what `myst_nb.glue` does without an import of Sphinx, so that it works in hosted notebooks.
    """
    content = {"application/papermill.record/text/plain": str(value)}
    scrapbook = {"name": name, "mime_prefix": "application/papermill.record/"}
    display.display(content, raw=True, metadata={"scrapbook": scrapbook})
