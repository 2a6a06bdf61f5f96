"""MXNet and d2l, installed where the reader's Python lacks them (the setup cell of every chapter), and ONNX.

MXNet 1.9.1 is the last there will be. With its own requirements pip would set back the NumPy of a hosted notebook,
or find nothing that fits. So it is installed without them, into a folder of its own; `utils.compatibility` does the
rest.
"""

import hashlib
import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from utils.compatibility import make_mxnet_importable
from utils.hosting import Host, find_host


class Packages(NamedTuple):
    """What is installed together: its file of pins and hashes, its short name, what a reader is told, and the bytes.

    The bytes are those that it takes while it is being installed.
    """

    lock: str
    name: str
    description: str
    size: float


NEEDED = ("cloudpickle", "matplotlib", "matplotlib_inline", "pandas", "pooch", "requests", "tqdm")
BUILDS = {
    "cpu": Packages("mxnet_cpu.lock", "MXNet", "MXNet for processors (50 MB)", 4e8),
    "gpu": Packages("mxnet_gpu.lock", "MXNet", "MXNet for CUDA 11.2 with its libraries (2.3 GB)", 6e9),
    "onnx": Packages("onnx.lock", "ONNX", "ONNX and its runtime (40 MB)", 4e8),
}
CUDA_12 = re.compile(r"lib(cudart|cublas|cublasLt)[\w.-]*\.so\.1[2-9]")


class SetupError(Exception):
    """What keeps the course from running here and what to do next, in one sentence: all that a notebook shows."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def prepare(build: str, host: Host) -> None:
    """Make `import mxnet` and `import d2l` work, with MXNet's build "cpu" or "gpu". Raises `SetupError`."""
    if missing := " ".join(name for name in NEEDED if find_spec(name) is None):
        raise SetupError(f"This Python lacks {missing}: run `%pip install {missing}`, then this cell again.")
    folder = None
    if build == "gpu" or not (find_spec("mxnet") and find_spec("d2l")):
        if build == "gpu" and CUDA_12.search(Path("/proc/self/maps").read_text()):
            holders = " and ".join(name for name in ("torch", "tensorflow", "jax") if name in sys.modules)
            raise SetupError(
                f"{holders or 'A library'} holds CUDA 12 in this kernel, and MXNet needs CUDA 11: "
                f"{host.restart}, then run this cell before any import of it."
            )
        folder = install(build, host)
        sys.path.insert(0, str(folder / "packages"))
        if build == "gpu":
            os.environ["COURSE_CUDA_LIBRARIES"] = str(folder / "libraries")
    try:
        with warnings.catch_warnings():
            # Python 3.12 and later warn of the backslashes in MXNet's docstrings.
            warnings.simplefilter("ignore")
            make_mxnet_importable()
            importlib.import_module("d2l.mxnet")
    except Exception as error:
        if folder:
            shutil.rmtree(folder)
        raise SetupError(
            f"MXNet 1.9.1 does not load in Python {platform.python_version()} ({type(error).__name__}: {error}): "
            f"{host.restart} and run this cell again; if it fails again, {host.python}."
        ) from error


def prepare_onnx() -> None:
    """Make `import onnx` and `import onnxruntime` work, whatever the reader's Python has (chapter 18).

    Raises `SetupError`.
    """
    sys.path.insert(0, str(install("onnx", find_host()) / "packages"))
    # MXNet, which was imported before, fills its tables of translations only where there is ONNX.
    for opset in (12, 13):
        table = importlib.import_module(f"mxnet.onnx.mx2onnx._op_translations._op_translations_opset{opset}")
        importlib.reload(table)


def install(build: str, host: Host) -> Path:
    """The folder with a build, MXNet's "cpu" or "gpu" with d2l, or "onnx", made at the first call.

    Its `packages` belongs on `sys.path`, its `libraries` does not. It gets its name when it is
    whole, so that an interrupted installation is never taken for one. Raises `SetupError`.
    """
    import pooch

    lock = Path(__file__).parent / BUILDS[build].lock
    home = Path(pooch.os_cache("densenet-course"))
    # Part of ONNX is compiled for one version of Python, which a reader may have beside others.
    folder = home / f"{build}-{sys.implementation.cache_tag}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        here = f"{platform.system()} on {platform.machine()}"
        raise SetupError(f"MXNet 1.9.1 needs Linux on x86-64, and this is {here}: open the chapter in Colab.")
    import fcntl

    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another notebook may be installing the same
            for part in home.glob("*.part"):
                shutil.rmtree(part)
            if not folder.exists():
                download(build, lock, folder, host)
    except OSError as error:
        raise SetupError(
            f"{BUILDS[build].name} cannot be installed in {home} ({error.strerror}): make the folder writable, "
            "or set XDG_CACHE_HOME to another one, and run this cell again."
        ) from error
    return folder


def download(build: str, lock: Path, folder: Path, host: Host) -> None:
    """Make `folder` from the wheels that `lock` names, each checked against its hash. Raises `SetupError`."""
    _, name, description, size = BUILDS[build]
    free = shutil.disk_usage(folder.parent).free
    needs = f"{description} needs {size / 1e9:.1f} GB in {folder.parent}"
    no_space = f"{needs}, and {free / 1e9:.1f} GB are free: delete some files, then run this cell again."
    if free < size:
        raise SetupError(no_space)
    print(f"Installing {description}, once ...", end="\r", flush=True)
    part = folder.with_suffix(".part")
    (part / "temporary").mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "install", "--target", str(part / "packages"), "--requirement", str(lock)]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--no-compile"]
    pip = subprocess.run(
        [*command, "--quiet", "--retries", "1", "--timeout", "15"],
        # pip unpacks in TMPDIR and then moves; on the same disk that is a renaming.
        env=os.environ | {"TMPDIR": str(part / "temporary"), "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"},
        capture_output=True,
        text=True,
    )
    if pip.returncode:
        shutil.rmtree(part)
        if "No space left" in pip.stderr:
            raise SetupError(no_space)
        messages = pip.stderr.strip().splitlines() or ["pip did not say why"]
        if messages[-1].endswith("No module named pip"):
            raise SetupError(
                f"{sys.executable} has no pip, which installs {name}: "
                f"run `{sys.executable} -m ensurepip` in a terminal, then this cell again."
            )
        raise SetupError(
            f"{name} could not be downloaded ({messages[-1].removeprefix('ERROR: ')}): "
            f"{host.network}, then run this cell again."
        )
    shutil.rmtree(part / "temporary")
    if build == "gpu":
        (part / "packages" / "nvidia").rename(part / "libraries")
    part.rename(folder)
