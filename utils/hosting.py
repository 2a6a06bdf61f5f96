"""Where the course runs: on which host, what to click there, and whether MXNet can drive its GPU."""

import os
import subprocess
import sys
from typing import NamedTuple

# MXNet's wheel for CUDA 11.2 holds machine code for compute capabilities 5.0 to 8.6, which 8.9 runs too, and
# no intermediate code from which a driver could make any for a newer GPU.
FIRST_CAPABILITY, FIRST_TOO_NEW = 5.0, 9.0
NO_GPU = "There is no GPU here"


class Host(NamedTuple):
    """A host, and what to do there for a GPU, for a fresh kernel, for another Python, and for the network."""

    name: str
    gpu: str
    restart: str
    python: str
    network: str = "check the connection"


COLAB = Host(
    "Colab",
    gpu="choose Runtime > Change runtime type > T4 GPU",
    restart="choose Runtime > Restart session",
    python="choose an earlier one under Runtime > Change runtime type > Runtime version",
)
KAGGLE = Host(
    "Kaggle",
    gpu="choose Settings > Accelerator > GPU T4 x2",
    restart="choose Run > Restart & clear cell outputs",
    python="pin an earlier environment under Settings > Environment",
    network="switch on Settings > Internet",
)
BINDER = Host(
    "Binder",
    gpu="open the chapter in Colab, for Binder has none",
    restart="choose Kernel > Restart Kernel",
    python="open the chapter with the Binder button of its page",
)
CLONE = Host(
    "A clone",
    gpu="open the chapter in Colab, or use a machine with an NVIDIA GPU and its driver",
    restart="restart the kernel",
    python="use `make lab`, which brings its own Python",
)


def find_host() -> Host:
    """Where this runs."""
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return COLAB
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return KAGGLE
    return BINDER if "BINDER_REPO_URL" in os.environ else CLONE


def find_gpu() -> tuple[str, str]:
    """The name of the GPU that MXNet can drive, and why there is none; one of the two is empty."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()[0]
        name, _, number = answer.rpartition(",")
        capability = float(number)
    except FileNotFoundError:
        return "", NO_GPU
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return "", "The driver's nvidia-smi finds no GPU that works"
    if FIRST_CAPABILITY <= capability < FIRST_TOO_NEW:
        return name, ""
    return "", f"MXNet 1.9.1 has no code for this {name} (compute capability {capability})"
