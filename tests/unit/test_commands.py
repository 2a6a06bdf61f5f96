"""What comes before the first test: .venv and the tools of `make test` are brought, or one sentence says what to do."""

import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import nbformat
import pytest

from tools import environment, files, make_notebooks, notebooks, render, system_packages

ROOT = Path(__file__).parents[2]
SENTENCE = re.compile(r"[^\n]+: [^\n]+\.")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a shell script of this name into the only folder of PATH beside those of the system's basic tools."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "cat", "cp", "chmod", "ln", "mkdir", "sleep", "touch", "env"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def sentence(function, *arguments) -> str:
    """The one sentence with which a program stops."""
    with pytest.raises(SystemExit) as stop:
        function(*arguments)
    assert SENTENCE.fullmatch(str(stop.value.code)), stop.value.code
    return stop.value.code


# What `make test` needs beyond Python packages


@pytest.fixture
def bare_machine(program, tmp_path, monkeypatch):
    """A machine with neither browser, sandbox, networks nor data set, and no way out to the web."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(system_packages, "has_dataset", lambda: False)
    for variable in ("FASHION_MNIST", "PLAYWRIGHT_BROWSERS_PATH", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return program


def installing(folder: Path, names: str) -> str:
    """A script that plays apt-get: writes down its arguments, and makes programs that do nothing when asked to."""
    makes = "".join(f"cp {folder}/nothing {folder}/{name}; " for name in names.split())
    return f'echo "$@" >> {folder}/calls; case "$2" in install) {makes} esac'


def test_all_that_cannot_be_brought_is_named_in_one_sentence_with_the_command(bare_machine):
    bare_machine("apt-get", "exit 100")
    assert sentence(system_packages.main) == (
        "`make test` needs Chromium, bubblewrap, iproute2 and Fashion-MNIST, and cannot bring that here: "
        "type `sudo apt-get install chromium-headless-shell bubblewrap iproute2 dataset-fashion-mnist`, "
        "then `make test` again."
    )


def test_machine_without_apt_is_told_of_no_command_that_it_lacks(bare_machine, monkeypatch):
    monkeypatch.setattr(system_packages, "has_dataset", lambda: True)
    assert sentence(system_packages.main) == (
        "`make test` needs Chromium, bubblewrap and iproute2, and cannot bring that here: "
        "install the programs with this system's package manager, then `make test` again."
    )
    monkeypatch.setattr(system_packages, "has_dataset", lambda: False)
    assert sentence(system_packages.main).endswith(
        "package manager and set FASHION_MNIST to a folder that holds the four .gz files, then `make test` again."
    )


def test_user_without_rights_gets_the_sentence_and_apt_is_not_called(bare_machine, monkeypatch, tmp_path):
    bare_machine("apt-get", f"touch {tmp_path}/called")
    bare_machine("sudo", "exit 1")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "Chromium, bubblewrap, iproute2 and Fashion-MNIST" in sentence(system_packages.main)
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(("user", "sudo"), [(0, None), (1000, 'shift; [ "$1" = true ] || exec "$@"')])
def test_apt_brings_what_is_missing_for_root_and_with_sudo(user, sudo, bare_machine, monkeypatch):
    folder = bare_machine("nothing", "").parent
    bare_machine("apt-get", installing(folder, "chromium bwrap ip"))
    if sudo:
        bare_machine("sudo", sudo)
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr(system_packages, "has_dataset", (folder / "chromium").exists)
    system_packages.main()
    calls = (folder / "calls").read_text().splitlines()
    assert [call.split()[1] for call in calls] == ["update", "install", "install", "install", "install"]
    packages = ["chromium-headless-shell", "bubblewrap", "iproute2", "dataset-fashion-mnist"]
    assert [call.split()[-1] for call in calls[1:]] == packages


def test_what_apt_does_not_bring_is_named_alone(bare_machine, monkeypatch):
    folder = bare_machine("nothing", "").parent
    bare_machine("apt-get", installing(folder, "bwrap ip"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(system_packages, "has_dataset", lambda: True)
    assert sentence(system_packages.main).startswith("`make test` needs Chromium, and cannot bring that here")


def test_complete_machine_passes_without_apt_or_web(bare_machine, monkeypatch):
    for name in ("chromium", "bwrap", "ip"):
        bare_machine(name, "")
    monkeypatch.setattr(system_packages, "has_dataset", lambda: True)
    monkeypatch.setattr(system_packages, "install", lambda parts: pytest.fail("apt was asked for nothing"))
    system_packages.main()


def test_sandbox_that_the_kernel_forbids_is_found_before_anything_runs(bare_machine, monkeypatch, tmp_path):
    bare_machine("chromium", "")
    bare_machine("ip", "")
    bare_machine("bwrap", "echo bwrap: setting up uid map: Permission denied >&2; exit 1")
    monkeypatch.setattr(system_packages, "has_dataset", lambda: True)
    monkeypatch.setattr(system_packages, "SWITCH", tmp_path / "apparmor_restrict_unprivileged_userns")
    assert "a container, that lets it" in sentence(system_packages.main)
    system_packages.SWITCH.write_text("1\n")
    assert "type `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`" in sentence(system_packages.main)


# .venv


@pytest.fixture
def course(program, tmp_path, monkeypatch):
    """A copy of the program in a folder with a lock file, and a uv that writes down what it is asked."""
    folder = tmp_path / "a course"
    (folder / "tools").mkdir(parents=True)
    (folder / "requirements.lock").write_text("mxnet\n")
    (folder / "tools" / "environment.py").write_bytes((ROOT / "tools" / "environment.py").read_bytes())
    monkeypatch.setenv("UV", str(uv(program)))
    return folder


def uv(program, venv: str = "", sync: str = "") -> Path:
    """A uv that makes an environment of this test's Python, after running other commands."""
    python = f'for last; do :; done; mkdir -p "$last/bin"; ln -sf "{sys.executable}" "$last/bin/python"'
    note = '[ "$1" = --version ] && exit\necho "$1 $2" >> calls'
    return program("uv", f'{note}\ncase "$1" in venv) {venv}\n{python};; pip) {sync}\n;; esac')


def start(course: Path) -> subprocess.Popen:
    command = [sys.executable, "tools/environment.py"]
    return subprocess.Popen(command, cwd=course, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def make_environment(course: Path) -> tuple[list[str], str]:
    """Run the program; return what it asked of uv, and what it said as it failed."""
    (course / "calls").write_text("")
    _, error = start(course).communicate()
    return [line.split()[0] for line in (course / "calls").read_text().splitlines()], error


def test_environment_is_made_once_and_again_when_the_lock_file_changes(course):
    assert make_environment(course) == (["venv", "pip"], "")
    assert make_environment(course) == ([], "")
    (course / "requirements.lock").write_text("mxnet\nd2l\n")
    assert make_environment(course) == (["pip"], "")


def test_interrupted_installation_goes_on(course, program):
    uv(program, sync="exit 1")
    assert make_environment(course)[0] == ["venv", "pip"]
    uv(program)
    assert make_environment(course) == (["pip"], "")


def test_environment_whose_python_is_gone_is_made_again(course):
    make_environment(course)
    (course / ".venv" / "bin" / "python").unlink()
    (course / ".venv" / "bin" / "python").symlink_to(course / "moved away")
    assert make_environment(course) == (["venv", "pip"], "")


def test_environment_of_another_python_is_left_alone_with_one_sentence(course):
    python = course / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$3" in *version*) exit 1; esac\n')
    python.chmod(0o755)
    calls, error = make_environment(course)
    assert calls == [] and SENTENCE.fullmatch(error.strip()), error
    assert error.startswith(f"{course / '.venv'} has another Python than 3.11, so the course did not make it: rename")
    assert python.exists()


def test_two_at_once_make_one_environment(course, program):
    uv(program, venv="sleep 0.5")
    for process in [start(course), start(course)]:
        assert process.communicate()[1] == ""
    assert (course / "calls").read_text().splitlines() == ["venv --quiet", "pip sync"]


@pytest.mark.parametrize(
    ("step", "script", "reason"),
    [
        ("sync", "echo 'error: dns error'; exit 1", r"The package index cannot be reached while .*: check the network"),
        (
            "sync",
            "echo 'cause: error sending request'; echo 'cause: invalid peer certificate: UnknownIssuer'; exit 1",
            r"The certificate of the package index is not trusted .*: set PIP_CERT to the file",
        ),
        ("sync", "echo 'No space left on device (os error 28)'; exit 1", r"The disk is full .*: free 1\.5 GB"),
        ("sync", "printf 'error: hash mismatch\\n  for x\\n'; exit 1", r"Something failed .* \(for x\): mend that"),
        ("venv", "echo 'error: No interpreter found for 3.11'; exit 1", "There is no Python 3.11 .*: install one"),
    ],
)
def test_failure_of_uv_is_one_sentence(step, script, reason, course, program):
    uv(program, **{step: script})
    _, error = make_environment(course)
    assert SENTENCE.fullmatch(error.strip()) and re.match(reason, error), error


def test_folder_that_cannot_be_written_is_one_sentence_even_when_the_environment_is_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "is_whole", lambda: True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert f"{tmp_path} cannot be written (Permission denied): clone" in sentence(environment.main)
    monkeypatch.undo()
    monkeypatch.setattr(environment, "ROOT", tmp_path / "gone")
    assert "gone cannot be written" in sentence(environment.main)


@pytest.fixture
def pip(program, tmp_path, monkeypatch):
    """Let a shell script take the place of `python -m pip`, in a course without uv."""
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "UV_FOLDER", tmp_path / ".uv")
    return lambda script: monkeypatch.setattr(sys, "executable", str(program("python", script)))


def test_uv_is_installed_whole_with_its_hash_and_by_options_that_old_pips_know(pip, tmp_path):
    (tmp_path / ".uv.part").mkdir()
    (tmp_path / ".uv.part" / "half").touch()
    pip(
        f'[ "$3" = --version ] || {{ echo "$PIP_USER$PIP_REQUIRE_VIRTUALENV $@" > {tmp_path}/call; '
        f'cat >> {tmp_path}/call; mkdir -p "$8/bin"; touch "$8/bin/uv"; }}'
    )
    assert environment.find_uv() == tmp_path / ".uv" / "bin" / "uv"
    assert [path.name for path in (tmp_path / ".uv").iterdir()] == ["bin"] and not (tmp_path / ".uv.part").exists()
    call, wheel = (tmp_path / "call").read_text().splitlines()
    # pip 20.0.2, that of Debian 11's predecessor, has all of these.
    options = {"--quiet", "--no-deps", "--require-hashes", "--target", "--requirement"}
    assert call.startswith("00 ") and set(re.findall(r"--[\w-]+", call)) == options
    assert re.fullmatch(r"uv==\S+ --hash=sha256:[0-9a-f]{64}", wheel)


@pytest.mark.parametrize(
    ("installed", "kept", "found"),
    [
        ("exit 127", "echo of the folder", "of the folder"),  # a shim of pyenv's, which has it for another Python
        ("echo of the machine", "exit 1", "of the machine"),
        ("", "exit 1", "of pip"),
        ("", "", "of pip"),
    ],
)
def test_uv_that_does_not_run_is_passed_over_and_replaced(installed, kept, found, program, pip, tmp_path):
    if installed:
        program("uv", installed)
    (tmp_path / ".uv" / "bin").mkdir(parents=True)
    (tmp_path / ".uv" / "bin" / "uv").write_text(f"#!/bin/sh\n{kept}\n")
    (tmp_path / ".uv" / "bin" / "uv").chmod(0o755 if kept else 0o644)
    pip('[ "$3" = --version ] || { mkdir -p "$8/bin"; echo "echo of pip" > "$8/bin/uv"; }')
    assert found in environment.find_uv().read_text()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "This Python has no pip: install it"),
        (
            '[ "$3" = --version ] || { echo "NewConnectionError: no route"; echo "No match"; exit 1; }',
            "The package index",
        ),
        (
            '[ "$3" = --version ] || { echo "SSLError: CERTIFICATE_VERIFY_FAILED"; echo "No match"; exit 1; }',
            "The certificate of the package index",
        ),
    ],
)
def test_failure_of_pip_is_one_sentence_and_leaves_no_uv(script, reason, pip, tmp_path):
    pip(script)
    with pytest.raises(environment.EnvironmentProblem, match=reason) as caught:
        environment.find_uv()
    assert SENTENCE.fullmatch(str(caught.value)) and not (tmp_path / ".uv").exists()


CONFIGURATION = """[global]
cert = /file/authority.pem
index-url = https://elsewhere/simple
[install]
index-url = https://mirror/simple
find-links =
    /wheels
    /others
"""


def test_uv_trusts_whom_pip_trusts_and_fetches_from_where_pip_does(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    (tmp_path / "pip.conf").write_text(CONFIGURATION)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    expected = {"UV_SYSTEM_CERTS": "1", "SSL_CERT_FILE": "/file/authority.pem"}
    expected["UV_DEFAULT_INDEX"] = "https://mirror/simple"
    assert environment.uv_settings() == expected
    assert environment.read_pip_settings()["find-links"].split() == ["/wheels", "/others"]
    monkeypatch.setenv("PIP_CERT", "/own/authority.pem")
    monkeypatch.setenv("PIP_INDEX_URL", "https://own/simple")
    expected |= {"SSL_CERT_FILE": "/own/authority.pem", "UV_DEFAULT_INDEX": "https://own/simple"}
    assert environment.uv_settings() == expected
    monkeypatch.setattr(sys, "executable", "/bin/false")  # a Python without pip
    assert environment.uv_settings() == expected
    # What is set for uv itself stays.
    monkeypatch.setenv("SSL_CERT_FILE", "/uv/authority.pem")
    monkeypatch.setenv("UV_INDEX_URL", "https://uv/simple")
    assert environment.uv_settings() == {"UV_SYSTEM_CERTS": "1"}


# The book and the notebooks


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "free 200 MB"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "make it yours"),
    ],
)
def test_book_that_cannot_be_written_is_one_sentence(output, remedy, program, monkeypatch):
    builder = program("jupyter-book", f'echo "{output}"; exit 1')
    monkeypatch.setattr(sys, "executable", str(builder.with_name("python")))
    assert remedy in sentence(render.render)


def test_failing_build_shows_why(program, monkeypatch):
    builder = program("jupyter-book", "echo 'index.md:3: WARNING: undefined label'; exit 1")
    monkeypatch.setattr(sys, "executable", str(builder.with_name("python")))
    with pytest.raises(SystemExit, match="undefined label"):
        render.render()


@pytest.mark.parametrize(
    "name", ["1", "01", "01_why_concatenate", "01_why_concatenate.md", "chapters/01_why_concatenate.ipynb"]
)
def test_chapter_is_chosen_by_its_number_or_file(name):
    assert [source.stem for source in make_notebooks.chosen(name)] == ["01_why_concatenate"]


@pytest.mark.parametrize("name", ["../README", "0", "99", "why", "*"])
def test_name_that_is_no_chapter_is_refused_with_the_known_ones(name):
    assert "01_why_concatenate" in sentence(make_notebooks.chosen, name)


def test_two_names_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_notebooks", "01", "02"])
    program = str(ROOT / "tools" / "make_notebooks.py")
    assert sentence(runpy.run_path, program, None, "__main__").startswith("'01 02' is no chapter")


@pytest.mark.parametrize(
    ("before", "after", "is_executed"),
    [
        ("x = 1", "x = 1  # why", True),
        ("x = 1", "x = (\n    1\n)", True),
        ("def f(x): return x", "def f(x: int) -> int: return x", True),
        ("def f(x): return x", "def f(x: int) -> int: return 1", False),
        ("x = 1", "x = 2", False),
        ("x = 1", "%time x = 1", False),
    ],
)
def test_chapter_is_executed_again_when_its_statements_change_and_not_for_a_comment(before, after, is_executed):
    stored, changed = (
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in ("setup()", source)])
        for source in (before, after)
    )
    assert notebooks.is_executed(changed, stored) == is_executed


def full(*_):
    raise OSError(28, "No space left on device")


def test_full_disk_leaves_the_old_file_and_names_it(tmp_path, monkeypatch):
    path = tmp_path / "01.ipynb"
    path.write_text("old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space") as caught:
        files.write_whole(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_threads_may_write_one_file(tmp_path, monkeypatch):
    both, write_bytes = Barrier(2, timeout=30), Path.write_bytes

    def write_together(path, content):
        write_bytes(path, content)
        both.wait()

    monkeypatch.setattr(Path, "write_bytes", write_together)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(files.write_whole, [tmp_path / "a.json"] * 2, ["same", "same"]))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["same"]


def test_notebook_that_cannot_be_read_counts_as_none(tmp_path, capsys):
    path = tmp_path / "01.ipynb"
    assert make_notebooks.stored_notebook(path) is None
    path.write_text('{"cells": [')
    assert make_notebooks.stored_notebook(path) is None and "01.ipynb cannot be read" in capsys.readouterr().out
    nbformat.write(nbformat.v4.new_notebook(), path)
    assert make_notebooks.stored_notebook(path) == nbformat.v4.new_notebook()


# What a run of the tests ends with


@pytest.mark.parametrize(("settings", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["at home", "in CI"])
def test_a_skipped_test_counts_as_a_failure_where_ci_is_set(settings, status, tmp_path):
    skipped = tmp_path / "test_skipped.py"
    skipped.write_text("import pytest\n\n\ndef test_sandbox():\n    pytest.skip('no sandbox')\n")
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--rootdir", tmp_path, skipped]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | settings
    run = subprocess.run(command, cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert run.returncode == status, run.stdout + run.stderr
    assert ("which counts as a failure" in run.stdout) == bool(status)
