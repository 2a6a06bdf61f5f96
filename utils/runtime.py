"""Make the course run on this machine (first cell of every chapter)."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from IPython import display

from utils import MXNET_CAME_FIRST
from utils.install import SetupError, prepare

CHAPTERS = Path(__file__).parent.parent / "chapters"
SEED = 1
TRIED_PYTHONS = ("3.11", "3.12", "3.13")
# MXNet's wheel for CUDA 11.2 holds machine code for compute capabilities 5.0 to 8.6, which 8.9 runs too, and
# no intermediate code from which a driver could make any for a newer GPU.
FIRST_CAPABILITY, FIRST_TOO_NEW = 5.0, 9.0
NO_GPU = "There is no GPU here"
build = None

CLICKS = {
    "Colab": {
        "gpu": "choose Runtime > Change runtime type > T4 GPU",
        "restart": "choose Runtime > Restart session",
        "python": "choose an earlier one under Runtime > Change runtime type > Runtime version",
        "network": "check the connection",
    },
    "Kaggle": {
        "gpu": "choose Settings > Accelerator > GPU T4 x2",
        "restart": "choose Run > Restart & clear cell outputs",
        "python": "pin an earlier environment under Settings > Environment",
        "network": "switch on Settings > Internet",
    },
    "Binder": {
        "gpu": "open the chapter in Colab, for Binder has none",
        "restart": "choose Kernel > Restart Kernel",
        "python": "open the chapter with the Binder button of its page",
        "network": "check the connection",
    },
    "A clone": {
        "gpu": "open the chapter in Colab, or use a machine with an NVIDIA GPU and its driver",
        "restart": "restart the kernel",
        "python": "use `make lab`, which brings its own Python",
        "network": "check the connection",
    },
}


def setup(chapter: str = "", device: str = ""):
    """Make MXNet run here, switch it to its NumPy interface, seed it, and return the device to compute on.

    `chapter` is the number of the calling notebook, such as "06". `device` may be "cpu" or "gpu";
    without it, the GPU is taken if MXNet can drive it. Prints what was found, and on the next line
    what that means. Calling it again is harmless and seeds again. Raises `SetupError`, one sentence
    with the next step.
    """
    global build
    host = find_host()
    clicks = CLICKS[host]
    on_cpu = f"call setup({chapter!r}, 'cpu')"
    gpu, trouble = find_gpu() if device != "cpu" else ("", "")
    if device == "gpu" and not gpu:
        raise SetupError(f"{trouble}: {clicks['gpu']}, or {on_cpu}.")
    wanted = "gpu" if gpu else "cpu"
    if MXNET_CAME_FIRST or build not in (None, wanted):
        raise SetupError(f"MXNet was imported before this cell: {clicks['restart']}, then run this cell first.")
    if build is None:
        prepare(wanted, clicks)
        build = wanted
    import mxnet as mx
    from d2l import mxnet as d2l

    if gpu:
        trouble = try_out(gpu, f"{clicks['restart']} and {on_cpu}")
    if device == "gpu" and trouble:
        raise SetupError(f"{trouble}: {clicks['gpu']}, or {clicks['restart']} and {on_cpu}.")
    mx.npx.set_np()
    mx.random.seed(SEED)
    lines = [f"{host}, Python {platform.python_version()}, MXNet {mx.__version__}, {machine()}."]
    lines.append(f"The course computes on {d2l.try_gpu()}{minutes(chapter)}.")
    if trouble and (host in ("Colab", "Kaggle") or trouble != NO_GPU):
        lines.append(f"{trouble}: for a GPU, {clicks['gpu']}.")
    if platform.python_version().rpartition(".")[0] not in TRIED_PYTHONS:
        lines.append(f"Nobody has tried the course with this Python: if a cell fails, {clicks['python']}.")
    if os.environ.get("COURSE_QUICK"):
        lines.append("COURSE_QUICK is set, so training stops after a few steps.")
    print(*lines, sep="\n")
    return d2l.try_gpu()


def find_host() -> str:
    """Where this runs: "Colab", "Kaggle", "Binder" or "A clone"."""
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "Colab"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    return "Binder" if "BINDER_REPO_URL" in os.environ else "A clone"


def find_gpu() -> tuple[str, str]:
    """The name of the GPU that MXNet can drive, and why there is none; one of the two is empty."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()[0]
        name, capability = answer.rsplit(",", 1)
        capability = float(capability)
    except FileNotFoundError:
        return "", NO_GPU
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return "", "The driver's nvidia-smi finds no GPU that works"
    if FIRST_CAPABILITY <= capability < FIRST_TOO_NEW:
        return name, ""
    return "", f"MXNet 1.9.1 has no code for this {name} (compute capability {capability})"


def try_out(gpu: str, instead: str) -> str:
    """Let the GPU add 1 and 1; return why MXNet does not see it, or nothing. Raises `SetupError` if it cannot add."""
    import mxnet as mx
    from d2l import mxnet as d2l

    if not d2l.num_gpus():
        return f"The driver shows a {gpu}, but MXNet sees none"
    try:
        right = (mx.nd.ones(1, ctx=d2l.try_gpu()) + 1).asscalar() == 2
        problem = "" if right else "1 + 1 is not 2"
    except mx.MXNetError as error:
        problem = str(error).strip().splitlines()[-1]
    if problem:
        raise SetupError(f"MXNet cannot compute on this {gpu} ({problem}): {instead}.")
    return ""


def minutes(chapter: str) -> str:
    """What the chapter's notebook says of the time that its cells took, as the end of a sentence."""
    notebook = next(CHAPTERS.glob(f"{chapter}_*.ipynb"), None)
    made = json.loads(notebook.read_text())["metadata"].get("course") if notebook else None
    if not made:
        return ""
    took = "under a minute" if made["seconds"] < 60 else f"about {made['seconds'] / 60:.0f} min"
    where = "such a machine" if made["machine"] == machine() else made["machine"]
    return f"; the cells below took {took} on {where}"


def processor() -> str:
    """The processor's name, as `/proc/cpuinfo` or the platform gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> str:
    """One line on the hardware that this process computes on."""
    from d2l import mxnet as d2l

    cores = os.environ["OMP_NUM_THREADS"]
    gpus = d2l.num_gpus()
    return f"{cores} cores of {processor()}, {f'{gpus} GPU' if gpus else 'no GPU'}"


def glue(name: str, value: object) -> None:
    """Store `value` in the notebook under `name`, for `{glue:text}` in the book's prose.

    Does what `myst_nb.glue` does without an import of Sphinx, so that it works in hosted notebooks.
    """
    content = {"application/papermill.record/text/plain": str(value)}
    scrapbook = {"name": name, "mime_prefix": "application/papermill.record/"}
    display.display(content, raw=True, metadata={"scrapbook": scrapbook})
