"""The chapters, from top to bottom, in the Python of each host: `make test-hosts` tries all, `make test` one.

A replica of a host is an environment with that host's Python and packages and without MXNet. A kernel of it runs the
notebooks in an empty folder, as Colab and Kaggle do: the setup cell clones the course and installs MXNet, from the
package index. Of the network, only GitHub is played: git finds this working tree at the repository's address.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from grader import build
from tools.setup_cell import repository_address
from utils import data

ROOT = Path(__file__).parents[2]
# What all hosts have, beside what the replica pins; no package is newer than this.
PACKAGES = ["cloudpickle", "matplotlib", "matplotlib-inline", "pandas", "pooch", "requests", "setuptools", "tqdm"]
DATE = "2026-09-01"


class Host(NamedTuple):
    """A host: its Python, the packages it pins, what tells the course where it is, what the setup line begins with."""

    python: str
    pinned: tuple[str, ...]
    environment: dict[str, str]
    line: str


HOSTS = {
    "colab": Host(
        "3.13",
        ("numpy==2.1.3", "matplotlib==3.10.0", "ipykernel==6.17.1", "ipython==7.34.0"),
        {},
        "Colab, Python 3.13.",
    ),
    "kaggle": Host(
        "3.12", ("numpy==2.0.2", "ipykernel"), {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "Kaggle, Python 3.12."
    ),
    "clone": Host("3.11", (), {"COURSE_QUICK": ""}, "A clone, Python 3.11."),
}
ALL = pytest.mark.all_hosts


def uv(*arguments):
    """Run the uv of the Makefile, which finds Pythons that pyenv made and fetches others."""
    program = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    environment = dict(os.environ)
    if shutil.which("pyenv"):
        versions = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True).stdout
        environment["PYENV_VERSION"] = ":".join(versions.split())
    subprocess.run([program, *arguments, "--quiet"], env=environment, check=True)


def replica(name: str, folder: Path) -> Path:
    """Make the environment of a host; return its Python. The clone's is the course's own."""
    if name == "clone":
        return Path(sys.executable)
    host, python = HOSTS[name], folder / "bin" / "python"
    uv("venv", "--seed", "--python", host.python, folder)
    uv("pip", "install", "--python", python, "--exclude-newer", DATE, *PACKAGES, *host.pinned)
    if name == "colab":
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "google" / "colab").mkdir(parents=True)
        (site / "google" / "colab" / "__init__.py").touch()
        (site / "colab.pth").write_text("import google.colab\n")
    return python


def play_github(folder: Path) -> dict[str, str]:
    """Make a repository of the working tree; return what makes git find it at the course's address."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git = ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *arguments], check=True)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{folder}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository_address(),
    }


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("colab", "01", "06"),
        pytest.param("colab", "07", "12", marks=ALL),
        pytest.param("colab", "assignments", "", marks=ALL),
        pytest.param("kaggle", "01", "06", marks=ALL),
        pytest.param("clone", "01", "06", marks=ALL),
    ],
)
def test_notebooks_run_as_on_the_host_and_print_the_committed_shapes_and_counts(name, first, last, tmp_path):
    python = replica(name, tmp_path / "python")
    kernel = tmp_path / "jupyter" / "kernels" / "replica"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": name, "language": "python"}))
    environment = os.environ | {"COURSE_QUICK": "1"} | HOSTS[name].environment | play_github(tmp_path / "github")
    environment |= {
        "FASHION_MNIST": str(data.find("train-images-idx3-ubyte.gz").parent),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "PYTHONPATH": "",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    content = tmp_path / "content"
    content.mkdir()
    for notebook in (ROOT / "chapters").glob("*.ipynb"):
        if first <= notebook.stem[:2] <= last:
            shutil.copy(notebook, content)
    for master in (ROOT / "assignments").glob("*.md") if first == "assignments" else []:
        nbformat.write(build.with_solutions(build.read(master)), content / f"{master.stem}.ipynb")
    # The chapters' outputs are compared; a solution has none, and its checks hold it to what is right.
    nbval = "--nbval" if last else "--nbval-lax"
    nbval += " --nbval-cell-timeout=1800 --nbval-kernel-name=replica -q --rootdir=. -p no:cacheprovider"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *nbval.split()], cwd=content, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-5000:]
    once_more = "import sys; sys.path[:0] = ['..']; from utils.runtime import setup; setup('06'); import mxnet, numpy"
    code = f"{once_more}; print(mxnet.__file__, numpy.__version__)"
    start = time.perf_counter()
    said = subprocess.run(
        [python, "-c", code], cwd=content / "course" / "chapters", env=environment, capture_output=True, text=True
    )
    print(f"{time.perf_counter() - start:.0f} s to set up again")
    found, *_, versions = said.stdout.splitlines()
    assert found.startswith(HOSTS[name].line) and ("COURSE_QUICK is set" in said.stdout) == bool(
        environment["COURSE_QUICK"]
    )
    assert all(version.removeprefix("numpy==") in versions for version in HOSTS[name].pinned if "numpy" in version)


STUB = "".join(
    f"int {name}() {{ return 100; }}\n"
    for name in (
        *("cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuGetErrorString", "cuGraphKernelNodeGetParams"),
        *("cuGraphNodeGetType", "cuLaunchKernel", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleLoadDataEx"),
        "cuModuleUnload",
    )
)


@ALL
def test_gpu_build_installs_and_binds_every_symbol_beside_a_stub_of_the_driver(tmp_path):
    python = replica("colab", tmp_path / "python")
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub.c").write_text(STUB)
    subprocess.run(
        [
            *["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"],
            tmp_path / "stub.c",
            "-o",
            tmp_path / "stub/libcuda.so.1",
        ],
        check=True,
    )
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'Tesla T4, 7.5'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    code = """
import sys
from utils.runtime import setup
device = setup("06")
import mxnet as mx
print(device, mx.context.num_gpus(), mx.runtime.Features().is_enabled("CUDA"), (mx.nd.ones(1) + 1).asscalar())
print([path for path in sys.path if "libraries" in path])
"""
    environment = {
        "LD_BIND_NOW": "1",
        "LD_LIBRARY_PATH": str(tmp_path / "stub"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    run = subprocess.run(
        [python, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    *_, trouble, found, on_path = run.stdout.splitlines()
    assert trouble.startswith("The driver shows a Tesla T4, but MXNet sees none")
    assert found == "cpu(0) 0 True 2.0" and on_path == "[]"
