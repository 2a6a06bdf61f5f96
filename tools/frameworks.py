"""Make the folder .frameworks: Python with PyTorch and Keras, a replica of Colab, in which chapter 16 runs.

These frameworks never enter .venv, since they need a newer NumPy than MXNet's. MXNet is not in the folder: the
chapter's setup cell brings it, as it does in Colab.
"""

import fcntl
import hashlib
import json
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from tools.environment import (
    ROOT,
    EnvironmentProblem,
    find_uv,
    python_runs,
    read_pip_settings,
    run,
    unwritable,
    uv_settings,
)

LOCK_FILE = Path(__file__).with_suffix(".lock")
FOLDER = ROOT / ".frameworks"
PYTHON = FOLDER / "bin" / "python"
KERNELS = FOLDER / "share" / "jupyter"
# Written last: says from which lock file and where the folder was made, for its programs know their own place.
STAMP = FOLDER / "installed"
IMPORTED = re.compile(r"\b(?:import|from) (?:torch|keras|jax)\b")
# PyPI's wheel of PyTorch needs gigabytes of CUDA.
TORCH_WHEELS = "https://download.pytorch.org/whl/cpu/torch/"
REQUIREMENT = re.compile(r"^\S+==.*(?:\n +.*)*", re.MULTILINE)


def are_imported(code: str) -> bool:
    """Whether a notebook with this text needs the folder."""
    return bool(IMPORTED.search(code))


def kernel_settings(code: str) -> dict[str, str]:
    """The variables with which Jupyter starts the kernel that a notebook with this text needs."""
    return {"JUPYTER_PATH": str(KERNELS)} if are_imported(code) else {}


def expected_stamp() -> str:
    """What `STAMP` says if the folder is made here from the lock file of today."""
    return f"{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()} {FOLDER}"


def is_whole() -> bool:
    """Whether the folder has all packages of the lock file, and its Python runs."""
    return STAMP.exists() and STAMP.read_text() == expected_stamp() and python_runs(PYTHON)


def install(requirements: list[str], *options: str) -> None:
    """Let uv install these lines of the lock file. Raises `EnvironmentProblem`."""
    pip = [find_uv(), "pip", "install", "--quiet", "--python", PYTHON, "--no-deps", "--require-hashes"]
    command = [*pip, "--only-binary=:all:", *options, "--requirement", "-"]
    run(command, "installing PyTorch and Keras", uv_settings(), "\n".join(requirements))


def install_pytorch(requirement: str) -> None:
    """Install PyTorch from one of the places that pip is told of, or from its own if none of them has it."""
    # One by one, because uv fails as soon as one of several cannot be reached.
    for place in read_pip_settings().get("find-links", "").split():
        with suppress(EnvironmentProblem):
            return install([requirement], "--no-index", f"--find-links={place}")
    install([requirement], "--no-index", f"--find-links={TORCH_WHEELS}")


def make() -> None:
    """Make the folder, unless it is whole. Raises `EnvironmentProblem`, one sentence that says what to do."""
    if is_whole():
        return
    try:
        # Another process may be making the same: wait for it, then look again.
        with (ROOT / ".frameworks.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_whole():
                make_anew()
    except OSError as error:
        raise unwritable(error) from error


def make_anew() -> None:
    """Make the folder in the place of what is there."""
    print("Making .frameworks with PyTorch and Keras for chapter 16 (1.5 GB, once)", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    run([sys.executable, "-m", "venv", "--without-pip", FOLDER], "making .frameworks", {})
    requirements = REQUIREMENT.findall(LOCK_FILE.read_text())
    (torch,) = [requirement for requirement in requirements if requirement.startswith("torch==")]
    install_pytorch(torch)
    install([requirement for requirement in requirements if requirement != torch])
    kernel = KERNELS / "kernels" / "python3" / "kernel.json"
    # uv's files are links to its cache: to write into one would change it in every environment.
    kernel.unlink()
    command = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
    STAMP.write_text(expected_stamp())


if __name__ == "__main__":
    try:
        make()
    except EnvironmentProblem as error:
        sys.exit(str(error))
