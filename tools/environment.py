"""Make the folder .venv: Python 3.11 with the packages of requirements.lock.

`python3 tools/environment.py` runs in any Python from 3.8 on, with nothing installed but pip. It does nothing when
.venv is whole, and repairs what an interruption, a move of the folder or a change of the lock file left behind.
"""

from __future__ import annotations

import ast
import errno
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK_FILE = ROOT / "requirements.lock"
VENV, UV_FOLDER = ROOT / ".venv", ROOT / ".uv"
PYTHON = VENV / "bin" / "python"
# Written last: says for which lock file .venv is whole.
STAMP = VENV / "installed"
UV_WHEEL = "uv==0.13.9 --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
# As variables, because pip before 22.1 refuses options that it does not know. A reader's own settings for pip
# must not send the package elsewhere.
PIP_SETTINGS = {
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_USER": "0",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
}
# What pip and uv print when they do not trust an index, and when no connection comes about.
UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "invalid peer certificate")
OFFLINE = (
    "NewConnectionError",
    "ConnectTimeout",
    "ProxyError",
    "Name or service not known",
    "Temporary failure",
    "Connection refused",
    "Network is unreachable",
    "dns error",
    "tcp connect error",
    "error sending request",
)


class EnvironmentProblem(Exception):
    """Why there is no .venv, and what to do, in one sentence."""


def problem(doing: str, output: str) -> EnvironmentProblem:
    """What kept a program from `doing` its work, judged by what it printed."""
    last = [line.strip() for line in output.splitlines() if line.strip()] or ["it did not say why"]
    if "No space left" in output:
        return EnvironmentProblem(f"The disk is full while {doing}: free 1.5 GB, then type the command again.")
    if any(words in output for words in UNTRUSTED):
        return EnvironmentProblem(
            f"The certificate of the package index is not trusted while {doing}: "
            "set PIP_CERT to the file of your network's authority, then type the command again."
        )
    if any(words in output for words in OFFLINE):
        return EnvironmentProblem(
            f"The package index cannot be reached while {doing}: check the network, then type the command again."
        )
    reason = last[-1][:300].rstrip(".")
    return EnvironmentProblem(f"Something failed while {doing} ({reason}): mend that, then type the command again.")


def unwritable(error: OSError) -> EnvironmentProblem:
    """What keeps a file of the course's folder from being written."""
    return EnvironmentProblem(
        f"{error.filename or ROOT} cannot be written ({error.strerror}): "
        "clone the course into a folder of your own, or free some space, then type the command again."
    )


def run(command: list, doing: str, settings: dict[str, str], standard_input: str = "") -> None:
    """Run a program quietly, with these variables set besides. Raises `EnvironmentProblem` if it fails."""
    finished = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **settings},
        input=standard_input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode:
        raise problem(doing, finished.stdout)


def expected_stamp() -> str:
    """What `STAMP` says if .venv is made from the lock file of today."""
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()


def runs(*command: Path | str) -> bool:
    """Whether a program starts, and ends well."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def python_runs(python: Path) -> bool:
    """Whether a Python runs: a move of its folder or the end of the Python behind it may have broken it."""
    return runs(python, "-S", "-c", "")


def is_whole() -> bool:
    """Whether .venv has all packages of the lock file, and its Python runs."""
    return STAMP.exists() and STAMP.read_text() == expected_stamp() and python_runs(PYTHON)


def find_uv() -> Path:
    """The program uv: the machine's own, or one that pip puts into .uv, whole or not at all."""
    installed = os.environ.get("UV") or shutil.which("uv")
    if installed and runs(installed, "--version"):
        return Path(installed)
    program = UV_FOLDER / "bin" / "uv"
    if runs(program, "--version"):
        return program
    if not runs(sys.executable, "-m", "pip", "--version"):
        raise EnvironmentProblem(
            "This Python has no pip: install it (Debian, Ubuntu: sudo apt-get install python3-pip), "
            "then type the command again."
        )
    part = ROOT / ".uv.part"
    shutil.rmtree(part, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", part]
    run([*pip, "--requirement", "/dev/stdin"], "fetching uv, which fetches the packages", PIP_SETTINGS, UV_WHEEL)
    shutil.rmtree(UV_FOLDER, ignore_errors=True)
    part.rename(UV_FOLDER)
    return program


def read_pip_settings() -> dict[str, str]:
    """What pip is told by its configuration files, which it knows itself, and by variables: by its options' names."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    settings = {}
    for section in ("global", "install"):  # the later one counts more, and a variable most
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.+)$", listed, re.MULTILINE):
            settings[name] = ast.literal_eval(value)
    for variable, value in os.environ.items():
        if variable.startswith("PIP_") and value:
            settings[variable[len("PIP_") :].lower().replace("_", "-")] = value
    return settings


def uv_settings() -> dict[str, str]:
    """Let uv trust whom pip or the machine trusts, and fetch from the index that pip is told of."""
    settings, pip = {"UV_SYSTEM_CERTS": "1"}, read_pip_settings()
    bundle = pip.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and "SSL_CERT_FILE" not in os.environ:
        settings["SSL_CERT_FILE"] = bundle
    if "index-url" in pip and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(os.environ):
        settings["UV_DEFAULT_INDEX"] = pip["index-url"]
    return settings


def make() -> None:
    """Make .venv, or make it again. Raises `EnvironmentProblem`."""
    if python_runs(PYTHON) and not runs(PYTHON, "-S", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 11))"):
        raise EnvironmentProblem(
            f"{VENV} has another Python than 3.11, so the course did not make it: "
            "rename it or delete it, then type the command again."
        )
    print("Making .venv with Python 3.11 and the packages of requirements.lock (1 GB, once)", flush=True)
    uv = find_uv()
    settings = uv_settings()
    if STAMP.exists():
        STAMP.unlink()
    if not python_runs(PYTHON):
        try:
            run([uv, "venv", "--quiet", "--clear", "--relocatable", "--python", "3.11", VENV], "making .venv", settings)
        except EnvironmentProblem as error:
            if not any(word in str(error) for word in ("interpreter", "Python", "reached")):
                raise
            raise EnvironmentProblem(
                "There is no Python 3.11 on this machine, and none could be fetched: install one "
                "(Ubuntu: the package python3.11; anywhere: pyenv install 3.11), then type the command again."
            ) from error
    sync = [uv, "pip", "sync", "--quiet", "--python", PYTHON, "--require-hashes", LOCK_FILE]
    run(sync, "installing the packages", settings)
    STAMP.write_text(expected_stamp())


def main() -> None:
    try:
        if not os.access(ROOT, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(ROOT))
        if is_whole():
            return
        # Another `make` may be making the same: wait for it, then look again.
        with (ROOT / ".venv.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_whole():
                make()
    except EnvironmentProblem as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(str(unwritable(error)))


if __name__ == "__main__":
    main()
