"""The setup cell and `setup`: what they find and install, and the one sentence when something is in the way."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks import from_source
from tools.setup_cell import SETUP_MARK, repository_address, setup_cell
from tools.status import chapter_times
from utils import CORES, hosting, install, runtime, usable_cores
from utils.install import SetupError

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
COLAB = hosting.COLAB
SENTENCE = re.compile(r"[^\n]+: [^\n]+\.")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder to install into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "densenet-course"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a shell script of this name first in PATH; return its path."""

    def make(name, script):
        (tmp_path / "bin").mkdir(exist_ok=True)
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        return path

    return make


@pytest.fixture(autouse=True)
def no_gpu(program):
    """Hide this machine's GPU, for which `setup` would install 2.3 GB."""
    program("nvidia-smi", "exit 9")


@pytest.fixture
def nvidia_smi(program):
    return lambda answer: program("nvidia-smi", f"echo '{answer}'")


@pytest.fixture
def pip(program, monkeypatch):
    """Let a shell script, which finds the folder to fill in $5, take the place of `python -m pip`."""
    return lambda script: monkeypatch.setattr(sys, "executable", str(program("python", script)))


def in_a_new_kernel(code):
    """What `code` prints in a process of its own."""
    run = [ROOT / ".venv" / "bin" / "python", "-c", code]
    return subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


SHOWN = """
from utils.install import SetupError
from utils.runtime import setup
try:
    setup({arguments})
except SetupError as error:
    print(*error._render_traceback_())
"""


@pytest.mark.parametrize(
    "name, capability", [("Tesla T4", 7.5), ("Tesla P100-PCIE-16GB", 6.0), ("NVIDIA A100", 8.0), ("NVIDIA L4", 8.9)]
)
def test_gpu_that_the_wheel_has_code_for_is_used(nvidia_smi, name, capability):
    nvidia_smi(f"{name}, {capability}")
    assert hosting.find_gpu() == (name, "")


@pytest.mark.parametrize("name, capability", [("NVIDIA H100 PCIe", 9.0), ("NVIDIA B200", 10.0), ("Tesla K80", 3.7)])
def test_gpu_that_the_wheel_has_no_code_for_is_named_and_not_used(nvidia_smi, name, capability):
    nvidia_smi(f"{name}, {capability}")
    gpu, trouble = hosting.find_gpu()
    assert gpu == "" and name in trouble and str(capability) in trouble


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "", 'echo "Field is not valid"; exit 2'])
def test_driver_without_a_working_gpu_counts_as_no_gpu(program, script):
    program("nvidia-smi", script)
    assert hosting.find_gpu() == ("", "The driver's nvidia-smi finds no GPU that works")


def test_machine_without_a_driver_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hosting.find_gpu() == ("", hosting.NO_GPU)


@pytest.mark.parametrize(
    "host, variable",
    [("Colab", "COLAB_RELEASE_TAG"), ("Kaggle", "KAGGLE_KERNEL_RUN_TYPE"), ("Binder", "BINDER_REPO_URL")],
)
def test_host_is_known_by_what_it_sets(monkeypatch, host, variable):
    assert hosting.find_host().name == "A clone"
    monkeypatch.setenv(variable, "x")
    assert hosting.find_host().name == host


def test_newer_gpu_falls_back_to_the_processor_and_says_so(nvidia_smi):
    nvidia_smi("NVIDIA H100 PCIe, 9.0")
    _, device, trouble = in_a_new_kernel(SHOWN.format(arguments="")).splitlines()
    assert device.startswith("The course computes on cpu(0)")
    assert trouble.startswith(
        "MXNet 1.9.1 has no code for this NVIDIA H100 PCIe (compute capability 9.0): for a GPU, open"
    )


def test_setup_twice_says_the_same_and_gives_the_same_random_numbers():
    code = "from utils.runtime import setup\nsetup('06')\nfrom mxnet import np\nprint(np.random.uniform())\n"
    lines = in_a_new_kernel(2 * code).splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :] and re.search(
        r"computes on .*; the cells below took .+ on ", lines[1]
    )


@pytest.mark.parametrize(
    "setting, threads",
    {"3": 3, "2,1": 2, "abc": CORES, "0": CORES, "": CORES, "-1": CORES, "99999999999999999999": CORES}.items(),
)
def test_number_of_threads_is_made_one_that_mxnet_understands(monkeypatch, setting, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    assert in_a_new_kernel("import os, utils; print(os.environ['OMP_NUM_THREADS'])") == f"{threads}\n"


def test_process_that_may_use_one_core_takes_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import utils; print(utils.THREADS)"
    assert in_a_new_kernel(code) == "1\n"


@pytest.mark.parametrize(
    "cores, threads, start",
    [(1, 1, "1 core of "), (4, 4, "4 cores of "), (4, 1, "4 cores (1 thread) of "), (1, 2, "1 core (2 threads) of ")],
)
def test_machine_is_described_by_its_cores_and_by_other_numbers_of_threads(monkeypatch, cores, threads, start):
    monkeypatch.setattr(runtime, "CORES", cores)
    monkeypatch.setattr(runtime, "THREADS", threads)
    assert runtime.machine().startswith(start)


@pytest.mark.parametrize(
    "setting, quick", {"1": True, "yes": True, "": False, "0": False, "false": False, "False": False}.items()
)
def test_quick_run_is_asked_for_by_what_is_no_refusal(monkeypatch, setting, quick):
    monkeypatch.setenv("COURSE_QUICK", setting)
    assert in_a_new_kernel("import utils; print(utils.QUICK)") == f"{quick}\n"


def test_times_that_setup_tells_are_those_of_the_notebooks():
    assert runtime.CHAPTER_TIMES.read_text() == chapter_times(), "run `make notebooks`"


def test_untried_python_is_told_and_used(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "TRIED_PYTHONS", ("2.7",))
    runtime.setup()
    assert "Nobody has tried the course with this Python: if a cell fails, use `make lab`" in capsys.readouterr().out


def test_gpu_that_was_wanted_and_is_missing_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"^There is no GPU here: open .*, or call setup\('06', 'cpu'\)\.$"):
        runtime.setup("06", "gpu")


@pytest.mark.parametrize(
    "first", ["import mxnet", "import sys, types; sys.modules['mxnet.base'] = types.ModuleType('x')"]
)
def test_mxnet_imported_before_setup_is_an_error(first):
    line = in_a_new_kernel(first + SHOWN.format(arguments=""))
    assert line == "MXNet was imported before this cell: restart the kernel, then run this cell first.\n"


def test_other_build_than_the_one_loaded_is_an_error(nvidia_smi):
    nvidia_smi("Tesla T4, 7.5")
    with pytest.raises(SetupError, match="MXNet was imported before"):
        runtime.setup("06", "cpu") and runtime.setup("06")


def test_cuda_12_in_the_kernel_is_an_error_before_anything_is_installed(tmp_path, nvidia_smi, home):
    library = shutil.copy(psutil._psutil_linux.__file__, tmp_path / "libcudart.so.12")
    nvidia_smi("Tesla T4, 7.5")
    loaded = f"import ctypes, sys; ctypes.CDLL({str(library)!r}); sys.modules['torch'] = None"
    line = in_a_new_kernel(loaded + SHOWN.format(arguments=""))
    assert line.startswith("torch holds CUDA 12 in this kernel, and MXNet needs CUDA 11: restart the kernel, then")
    assert SENTENCE.fullmatch(line.strip()) and not home.exists()


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(install, "NEEDED", ("tqdm", "no_such_package"))
    with pytest.raises(SetupError, match="lacks no_such_package: run `%pip install no_such_package`"):
        install.prepare("cpu", COLAB)


def test_other_system_than_linux_on_x86_64_is_an_error(monkeypatch, home):
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(
        SetupError, match="needs Linux on x86-64, and this is Linux on arm64: open the chapter in Colab"
    ):
        install.install("cpu", COLAB)


@pytest.mark.parametrize(("build", "lock"), [("cpu", "mxnet_cpu.lock"), ("onnx", "onnx.lock")])
def test_build_is_installed_whole_and_once(home, pip, build, lock):
    pip('mkdir -p "$5/mxnet"; echo "$@" >> "$5/calls"')
    folder = install.install(build, COLAB)
    assert folder == install.install(build, COLAB) and [path.name for path in folder.iterdir()] == ["packages"]
    (call,) = (folder / "packages" / "calls").read_text().splitlines()
    assert "--no-deps" in call and f"{lock} " in call and "--require-hashes" in call and call.endswith("--timeout 15")


def test_readers_own_settings_of_pip_do_not_keep_it_from_the_folder(home, pip, monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    pip('mkdir -p "$5/mxnet"; echo "$PIP_USER$PIP_REQUIRE_VIRTUALENV" > "$5/settings"')
    assert (install.install("cpu", COLAB) / "packages" / "settings").read_text() == "00\n"


def test_another_python_gets_an_installation_of_its_own(home, pip, monkeypatch):
    pip('mkdir -p "$5/onnx"')
    folders = []
    for version in ("cpython-311", "cpython-312"):
        monkeypatch.setattr(sys.implementation, "cache_tag", version)
        folders.append(install.install("onnx", COLAB))
    assert folders[0] != folders[1] and all(folder.exists() for folder in folders)


def test_cuda_libraries_stay_off_the_import_path(home, pip):
    pip('mkdir -p "$5/mxnet" "$5/nvidia/cublas"')
    folder = install.install("gpu", COLAB)
    assert (folder / "libraries" / "cublas").exists() and not (folder / "packages" / "nvidia").exists()


def test_half_finished_installation_is_removed_and_made_again(home, pip):
    pip('mkdir -p "$5/mxnet"; kill -9 $PPID')
    code = f"import sys; sys.executable = {sys.executable!r}\nfrom utils import hosting, install\n"
    in_a_new_kernel(code + "install.install('cpu', hosting.COLAB)")
    assert [path.suffix for path in home.iterdir() if path.is_dir()] == [".part"]
    pip('mkdir -p "$5/mxnet"')
    folder = install.install("cpu", COLAB)
    assert {path.name for path in home.iterdir()} == {"lock", folder.name}


@pytest.mark.parametrize(
    "script, sentence",
    {
        'echo "ERROR: No matching distribution" >&2; exit 1': r"could not be downloaded \(No matching .*\): check",
        "exit 1": r"could not be downloaded \(pip did not say why\): check",
        'echo "python: No module named pip" >&2; exit 1': r"has no pip, which installs MXNet: run `.* -m ensurepip`",
        'echo "[Errno 28] No space left on device" >&2; exit 1': r"needs 0\.4 GB in .* are free: delete some files",
    }.items(),
)
def test_failed_installation_says_why_in_one_sentence_and_leaves_nothing(home, pip, script, sentence):
    pip(f'mkdir -p "$5/mxnet"; {script}')
    with pytest.raises(SetupError, match=sentence) as caught:
        install.install("cpu", COLAB)
    assert SENTENCE.fullmatch(str(caught.value)) and [path.name for path in home.iterdir()] == ["lock"]


def test_full_disk_is_found_before_anything_is_downloaded(home, monkeypatch, pip):
    pip("exit 1")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 3.5e9}))
    with pytest.raises(SetupError, match=r"needs 6\.0 GB in .*, and 3\.5 GB are free: delete some files"):
        install.install("gpu", COLAB)


def test_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError, match=r"cannot be installed in .*/file/densenet-course \(Not a directory\): make"):
        install.install("cpu", COLAB)


def test_installation_that_does_not_load_is_removed_with_one_sentence(home, pip):
    pip('mkdir -p "$5/mxnet" "$5/d2l"; touch "$5/d2l/__init__.py"; echo "import what_is_missing" > "$5/d2l/mxnet.py"')
    lacking = "from utils import install; install.find_spec = lambda name: name not in ('mxnet', 'd2l')\n"
    code = f"import sys; sys.executable = {sys.executable!r}\n{lacking}{SHOWN.format(arguments='')}"
    line = in_a_new_kernel(code).strip()
    assert "does not load in Python 3.11" in line and "ModuleNotFoundError: No module named 'what_is_missing'" in line
    assert SENTENCE.search(line) and [path.name for path in home.iterdir()] == ["lock"]


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_begins_with_the_generated_setup_cell(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == setup_cell(source.stem) and repository_address() in first.source
    assert f"\n{SETUP_MARK}\n" in source.read_text()


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_notebook_asks_for_a_gpu_where_it_computes_on_one(source):
    metadata = from_source(source).metadata
    on_the_device = source.stem[:2] not in {"05", "08", "16"}
    assert metadata["kaggle"]["isGpuEnabled"] == ("accelerator" in metadata) == on_the_device
    assert nbformat.read(source.with_suffix(".ipynb"), as_version=4).metadata["kaggle"] == metadata["kaggle"]


def test_cell_that_readers_with_a_gpu_are_asked_to_run_works_on_the_processor():
    (cell,) = re.findall(r"```python\n(.*?)```", (ROOT / "book" / "gpu.md").read_text(), re.DOTALL)
    printed = in_a_new_kernel("from utils.runtime import setup\nsetup('06')\n" + cell.replace("128", "8"))
    assert re.search(r"^cpu\(0\): off by 0e\+00, [\d,]+ images a second$", printed, re.MULTILINE), printed


@pytest.fixture
def notebook_folder(tmp_path, monkeypatch):
    """An empty folder for a notebook; git finds a course of two files at the course's address."""
    for file, content in {
        "utils/runtime.py": "def setup(chapter):\n    print('course', chapter)\n",
        "chapters/x": "",
    }.items():
        (tmp_path / "published" / file).parent.mkdir(parents=True)
        (tmp_path / "published" / file).write_text(content)
    git = ["git", "-C", tmp_path / "published", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/published.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", repository_address())
    (tmp_path / "a" / "notebooks").mkdir(parents=True)
    return tmp_path / "a" / "notebooks"


def start_setup_cell(folder):
    command = [sys.executable, "-c", setup_cell("06_training")]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_setup_cell(folder):
    """The last line that the setup cell prints in `folder`: what `setup` prints, or the sentence of an error."""
    return start_setup_cell(folder).communicate()[0].splitlines()[-1]


def test_setup_cell_fetches_the_course_once(notebook_folder, program):
    assert run_setup_cell(notebook_folder) == "course 06"
    program("git", "exit 1")
    assert run_setup_cell(notebook_folder) == run_setup_cell(notebook_folder / "course" / "chapters") == "course 06"


def test_two_notebooks_may_fetch_the_course_at_once(notebook_folder, program):
    started = notebook_folder.parent / "started"
    started.mkdir()
    # Each waits until both have begun.
    wait = f'touch {started}/$$; while [ "$(ls {started} | wc -l)" -lt 2 ]; do sleep 0.01; done'
    program("git", f'{wait}; exec {shutil.which("git")} "$@"')
    notebooks = [start_setup_cell(notebook_folder) for _ in range(2)]
    assert [notebook.communicate()[0] for notebook in notebooks] == ["course 06\n", "course 06\n"]
    assert [path.name for path in notebook_folder.iterdir()] == ["course"]


def test_missing_git_is_named(notebook_folder, monkeypatch, tmp_path):
    (tmp_path / "programs").mkdir()
    for name in ("test", "mv", "rm"):
        (tmp_path / "programs" / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    sentence = run_setup_cell(notebook_folder)
    assert "cannot be cloned (" in sentence and "git: not found): mend that" in sentence


DUBIOUS = """Cloning into 'x'...
fatal: detected dubious ownership in repository at '/x/.git'
To add an exception for this directory, call:

\tgit config --global --add safe.directory /x/.git
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""


@pytest.mark.parametrize(
    "stderr, reason",
    [
        (
            "Cloning into 'x'...\nfatal: could not create work tree dir 'x': Read-only file system\n",
            "Read-only file system",
        ),
        (DUBIOUS, "detected dubious ownership in repository at '/x/.git'"),
        ("fatal: unable to access 'https://x/': Could not resolve host: x", "Could not resolve host: x"),
    ],
)
def test_what_git_says_is_quoted(notebook_folder, program, tmp_path, stderr, reason):
    (tmp_path / "stderr").write_text(stderr)
    program("git", f"cat {tmp_path}/stderr >&2; exit 128")
    sentence = run_setup_cell(notebook_folder)
    assert f"{reason}): mend that, then run this cell again." in sentence


def test_failed_clone_is_one_sentence_and_leaves_no_course(notebook_folder, tmp_path):
    shutil.rmtree(tmp_path / "published")
    notebook = new_notebook(cells=[new_code_cell(setup_cell("06_training"))])
    with pytest.raises(CellExecutionError):
        NotebookClient(notebook).execute(cwd=str(notebook_folder))
    (output,) = notebook.cells[0].outputs
    (sentence,) = output.traceback
    assert sentence.startswith(f"{repository_address()} cannot be cloned (fatal: ") and SENTENCE.fullmatch(sentence)
    assert not list(notebook_folder.iterdir())


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_something_else_with_the_name_of_the_course_is_told_and_left_alone(notebook_folder, make):
    make(notebook_folder / "course")
    assert run_setup_cell(notebook_folder).endswith(
        "(the folder `course` here is something else, so rename it): mend that, then run this cell again."
    )
    assert [path.name for path in notebook_folder.iterdir()] == ["course"]


def test_folder_utils_of_the_readers_own_beside_the_notebooks_is_not_taken_for_the_course(notebook_folder):
    (notebook_folder.parent / "utils").mkdir()
    assert run_setup_cell(notebook_folder) == "course 06"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "max 100000", "a/b/cpu.max": "50000 100000"}, 1),
        ({"a/cpu.max": "150000 50000", "a/b/cpu.max": "max 100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_cores_are_those_that_a_quota_leaves(files, cores, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    (tmp_path / "cgroup").write_text("1:name=systemd:/\n0::/a/b\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path / "cgroup", tmp_path) == cores


def test_device_is_chosen_in_one_place():
    """`d2l.try_gpu` chooses, after `setup`; code that names a device itself would compute elsewhere."""
    named = []
    for path in [*ROOT.glob("*/*.py"), *CHAPTERS]:
        code = path.read_text()
        if path.suffix == ".md":
            code = "\n".join(cell.source for cell in from_source(path).cells if cell.cell_type == "code")
        calls = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
        names = [getattr(call, "attr", getattr(call, "id", "")) for call in calls]
        named += [f"{path.name}: {name}" for name in names if name in ("cpu", "gpu", "cpu_pinned", "Context", "Device")]
    assert named == ["01_why_concatenate.md: cpu", "17_many_devices.md: cpu"], (
        "only these name one, for a second device"
    )


def test_processor_is_named_without_trademark_signs(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda path: "model name\t: Intel(R) Xeon(R) Processor\n")
    assert runtime.processor() == "Intel Xeon Processor"
