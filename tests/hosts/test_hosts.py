"""The notebooks, from top to bottom, in the Python of each host: `make test-hosts` tries all, `make test` one.

A replica of a host is an environment with that host's Python and packages and without MXNet. A kernel of it runs the
notebooks in an empty folder, as Colab and Kaggle do: the setup cell clones the course and installs MXNet, from the
package index. Of the network, only GitHub is played: git finds this working tree at the repository's address.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from grader import build
from tools import frameworks
from tools.environment import EnvironmentProblem, find_uv, run, uv_settings
from tools.setup_cell import repository_address
from utils import data

ROOT = Path(__file__).parents[2]
# What all hosts have, beside what the replica pins; no package is newer than this.
PACKAGES = ["cloudpickle", "matplotlib", "matplotlib-inline", "pandas", "pooch", "requests", "setuptools", "tqdm"]
DATE = "2026-09-01"
ALL = pytest.mark.all_hosts


class Replica(NamedTuple):
    """A host's Python, the packages that it pins, what tells the course where it is, and how the setup line begins."""

    python: str
    pinned: list[str]
    environment: dict[str, str]
    setup_line: str


REPLICAS = {
    "colab": Replica(
        "3.13",
        ["numpy==2.1.3", "matplotlib==3.10.0", "ipykernel==6.17.1", "ipython==7.34.0"],
        {"COURSE_QUICK": "1"},
        "Colab, Python 3.13.",
    ),
    "kaggle": Replica(
        "3.12",
        ["numpy==2.0.2", "ipykernel"],
        {"COURSE_QUICK": "1", "KAGGLE_KERNEL_RUN_TYPE": "Interactive"},
        "Kaggle, Python 3.12.",
    ),
    "clone": Replica("3.11", [], {"COURSE_QUICK": "0"}, "A clone, Python 3.11."),
}


def uv(*arguments: str | Path) -> None:
    """Run uv, which finds Pythons that pyenv made and fetches others. Raises `EnvironmentProblem`."""
    settings = uv_settings()
    if shutil.which("pyenv"):
        versions = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True).stdout
        settings["PYENV_VERSION"] = ":".join(versions.split())
    run([find_uv(), *arguments, "--quiet"], "making the replica of a host", settings)


def make_replica(name: str, folder: Path) -> Path:
    """Make the environment of a host; return its Python. The clone's is the course's own."""
    if name == "clone":
        return Path(sys.executable)
    replica, python = REPLICAS[name], folder / "bin" / "python"
    try:
        uv("venv", "--seed", "--python", replica.python, folder)
    except EnvironmentProblem:
        pytest.skip(
            f"There is no Python {replica.python} on this machine, and none could be fetched: "
            f"install one (anywhere: pyenv install {replica.python}), then type the command again."
        )
    uv("pip", "install", "--python", python, "--exclude-newer", DATE, *PACKAGES, *replica.pinned)
    if name == "colab":
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "google" / "colab").mkdir(parents=True)
        (site / "google" / "colab" / "__init__.py").touch()
        (site / "colab.pth").write_text("import google.colab\n")
    return python


def play_github(folder: Path) -> dict[str, str]:
    """Make a repository of the working tree; return what makes git find it at the course's address."""
    # In a container, the folder is often another user's.
    listed = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *arguments], check=True)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{folder}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository_address(),
    }


def install_kernel(python: Path, folder: Path) -> None:
    """Let Jupyter find `python` as the kernel "replica" when JUPYTER_PATH is `folder`."""
    kernel = folder / "kernels" / "replica"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "x", "language": "python"}))


def put_notebooks(pattern: str, folder: Path) -> None:
    """Copy the notebooks that `pattern` names into `folder`; an assignment gets its solutions.

    What imports other frameworks is left out: `make test` replays it in a replica of its own, `.frameworks`.
    """
    folder.mkdir()
    for path in ROOT.glob(pattern):
        if frameworks.are_imported(path.read_text()):
            continue
        if path.suffix == ".ipynb":
            shutil.copy(path, folder)
        else:
            nbformat.write(build.with_solutions(build.read(path)), folder / f"{path.stem}.ipynb")


TRAIN = """
import sys
sys.path.insert(0, "..")
from utils.runtime import setup
setup("06")
import numpy
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.spec import small_spec
from utils.training import Trainer
Trainer(1).fit(DenseNet(small_spec), FashionMNIST())
print("NumPy", numpy.__version__)
"""


@pytest.mark.parametrize(
    ("name", "notebooks"),
    [
        ("colab", "chapters/05_*.ipynb"),
        pytest.param("colab", "chapters/*.ipynb", marks=ALL),
        pytest.param("colab", "assignments/*.md", marks=ALL),
        pytest.param("kaggle", "chapters/0[1-6]_*.ipynb", marks=ALL),
        pytest.param("clone", "chapters/0[1-6]_*.ipynb", marks=ALL),
    ],
)
def test_notebooks_run_as_on_the_host_and_print_the_committed_shapes_and_counts(name, notebooks, tmp_path):
    """What differs on a host is its Python, its NumPy and that the setup cell has to fetch everything.

    Chapter 05 shows that this works and goes through the data and the figures, and a training through the
    operators, the optimizer and the progress bar. The other chapters add little to that but time, and wait for
    `make test-hosts`. Of Colab and Kaggle, `make test` plays the one that is further from the course's own Python.
    """
    python = make_replica(name, tmp_path / "python")
    install_kernel(python, tmp_path / "jupyter")
    put_notebooks(notebooks, tmp_path / "content")
    environment = os.environ | REPLICAS[name].environment | play_github(tmp_path / "github")
    environment |= {
        "FASHION_MNIST": str(data.find(data.FashionMNIST.source, "train-images-idx3-ubyte.gz").parent),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        # Where this is set, each kernel compiles MXNet and its packages anew, for 7 seconds; no host sets it.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": "",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    # The chapters' outputs are compared; a solution has none, and its checks hold it to what is right.
    compare = "--nbval" if notebooks.endswith(".ipynb") else "--nbval-lax"
    options = [
        "--nbval-cell-timeout=1800",
        "--nbval-kernel-name=replica",
        "-q",
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
    ]
    replay = subprocess.run(
        [sys.executable, "-m", "pytest", compare, *options],
        cwd=tmp_path / "content",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert replay.returncode == 0, replay.stdout[-5000:]
    training = subprocess.run(
        [python, "-c", TRAIN],
        cwd=tmp_path / "content" / "course" / "chapters",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert training.stdout.startswith(REPLICAS[name].setup_line)
    assert ("COURSE_QUICK is set" in training.stdout) == (environment["COURSE_QUICK"] == "1")
    numpy_pins = [package for package in REPLICAS[name].pinned if package.startswith("numpy==")]
    assert all(training.stdout.endswith(f"NumPy {package.removeprefix('numpy==')}\n") for package in numpy_pins)


def test_replica_whose_python_cannot_be_had_is_skipped_with_the_reason(monkeypatch, tmp_path):
    (tmp_path / "uv").write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "cause: dns error" >&2; exit 2; }\n')
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("UV", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        make_replica("colab", tmp_path / "python")
    assert str(skipped.value) == (
        "There is no Python 3.13 on this machine, and none could be fetched: "
        "install one (anywhere: pyenv install 3.13), then type the command again."
    )


DRIVER_FUNCTIONS = [
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuGetErrorString",
    "cuGraphKernelNodeGetParams",
    "cuGraphNodeGetType",
    "cuLaunchKernel",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
]
NO_DEVICE = 100  # cudaErrorNoDevice
COUNT_GPUS = """
import sys
from utils.runtime import setup
device = setup("06")
import mxnet as mx
print(device, mx.context.num_gpus(), mx.runtime.Features().is_enabled("CUDA"), (mx.nd.ones(1) + 1).asscalar())
print([path for path in sys.path if "libraries" in path])
"""


@ALL
def test_gpu_build_installs_and_binds_every_symbol_beside_a_stub_of_the_driver(tmp_path):
    python = make_replica("colab", tmp_path / "python")
    source, library = tmp_path / "stub.c", tmp_path / "stub" / "libcuda.so.1"
    library.parent.mkdir()
    source.write_text("".join(f"int {name}() {{ return {NO_DEVICE}; }}\n" for name in DRIVER_FUNCTIONS))
    gcc = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", source, "-o", library]
    subprocess.run(gcc, check=True)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'Tesla T4, 7.5'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    environment = os.environ | {
        "LD_BIND_NOW": "1",
        "LD_LIBRARY_PATH": str(library.parent),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = [str(python), "-c", COUNT_GPUS]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    *_, trouble, found, on_path = run.stdout.splitlines()
    assert trouble.startswith("The driver shows a Tesla T4, but MXNet sees none")
    assert found == "cpu(0) 0 True 2.0" and on_path == "[]"
