"""Make the course run on this machine (first cell of every chapter)."""

import json
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from IPython import display

from utils import CORES, MXNET_CAME_FIRST, QUICK, THREADS
from utils.hosting import COLAB, KAGGLE, NO_GPU, find_gpu, find_host
from utils.install import SetupError, prepare

if TYPE_CHECKING:
    from mxnet.context import Context

# How long each chapter took when it was last executed, and where: written by `make notebooks`.
CHAPTER_TIMES = Path(__file__).parent / "chapter_times.json"
SEED = 1
TRIED_PYTHONS = ("3.11", "3.12", "3.13")
loaded_build = ""  # "cpu" or "gpu" once MXNet is imported


def setup(chapter: str = "", device: str = "") -> "Context":
    """Make MXNet run here, switch it to its NumPy interface, seed it, and return the device to compute on.

    `chapter` is the number of the calling notebook, such as "06". `device` may be "cpu" or "gpu";
    without it, the GPU is taken if MXNet can drive it. Prints what was found, and on the next line
    what that means. Calling it again is harmless and seeds again. Raises `SetupError`, one sentence
    with the next step.
    """
    global loaded_build
    host = find_host()
    on_cpu = f"call setup({chapter!r}, 'cpu')"
    gpu, trouble = find_gpu() if device != "cpu" else ("", "")
    if device == "gpu" and not gpu:
        raise SetupError(f"{trouble}: {host.gpu}, or {on_cpu}.")
    build = "gpu" if gpu else "cpu"
    if MXNET_CAME_FIRST or loaded_build not in ("", build):
        raise SetupError(f"MXNet was imported before this cell: {host.restart}, then run this cell first.")
    if not loaded_build:
        prepare(build, host)
        loaded_build = build
    import mxnet as mx
    from d2l import mxnet as d2l

    if gpu:
        trouble = try_out(gpu, f"{host.restart} and {on_cpu}")
    if device == "gpu" and trouble:
        raise SetupError(f"{trouble}: {host.gpu}, or {host.restart} and {on_cpu}.")
    mx.npx.set_np()
    mx.random.seed(SEED)
    lines = [f"{host.name}, Python {platform.python_version()}, MXNet {mx.__version__}, {machine()}."]
    lines.append(f"The course computes on {d2l.try_gpu()}{time_taken(chapter)}.")
    if trouble and (host in (COLAB, KAGGLE) or trouble != NO_GPU):
        lines.append(f"{trouble}: for a GPU, {host.gpu}.")
    if platform.python_version().rpartition(".")[0] not in TRIED_PYTHONS:
        lines.append(f"Nobody has tried the course with this Python: if a cell fails, {host.python}.")
    if QUICK:
        lines.append("COURSE_QUICK is set, so training stops after a few steps.")
    print(*lines, sep="\n")
    return d2l.try_gpu()


def try_out(gpu: str, instead: str) -> str:
    """Let the GPU add 1 and 1; return why MXNet does not see it, or nothing. Raises `SetupError` if it cannot add."""
    import mxnet as mx
    from d2l import mxnet as d2l

    if not d2l.num_gpus():
        return f"The driver shows a {gpu}, but MXNet sees none"
    try:
        is_right = (mx.nd.ones(1, ctx=d2l.try_gpu()) + 1).asscalar() == 2
        problem = "" if is_right else "1 + 1 is not 2"
    except mx.MXNetError as error:
        problem = str(error).strip().splitlines()[-1]
    if problem:
        raise SetupError(f"MXNet cannot compute on this {gpu} ({problem}): {instead}.")
    return ""


def time_taken(chapter: str) -> str:
    """How long the cells of the chapter with this number took, as the end of a sentence; nothing for no chapter."""
    execution = json.loads(CHAPTER_TIMES.read_text()).get(chapter)
    if not execution:
        return ""
    seconds = execution["seconds"]
    duration = "under a minute" if seconds < 60 else f"about {seconds / 60:.0f} min"
    where = "such a machine" if execution["machine"] == machine() else execution["machine"]
    return f"; the cells below took {duration} on {where}"


def processor() -> str:
    """The processor's name, as `/proc/cpuinfo` or the platform gives it, without trademark signs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        return re.sub(r"\((R|TM)\)", "", name)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> str:
    """One line on the hardware that this process computes on: cores, threads if they are not as many, and GPUs."""
    from d2l import mxnet as d2l

    cores = count(CORES, "core") if THREADS == CORES else f"{count(CORES, 'core')} ({count(THREADS, 'thread')})"
    gpus = count(d2l.num_gpus(), "GPU") if d2l.num_gpus() else "no GPU"
    return f"{cores} of {processor()}, {gpus}"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def glue(name: str, value: object) -> None:
    """Store `value` in the notebook under `name`, for `{glue:text}` in the book's prose.

    Does what `myst_nb.glue` does without an import of Sphinx, so that it works in hosted notebooks.
    """
    content = {"application/papermill.record/text/plain": str(value)}
    scrapbook = {"name": name, "mime_prefix": "application/papermill.record/"}
    display.display(content, raw=True, metadata={"scrapbook": scrapbook})
