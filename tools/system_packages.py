"""Bring what `make test` needs beyond Python packages: Chromium, bubblewrap, iproute2 and Fashion-MNIST.

`python3 tools/system_packages.py` runs before anything else, in any Python from 3.8 on. Where it may, it installs with
apt. What nothing on this machine can bring it names in one sentence, with the command to type.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_HOST = "https://cdn.playwright.dev"  # from which Playwright's own installer fetches Chromium
DATASET_HOST = "https://raw.githubusercontent.com"
DATASET_FILE = "t10k-labels-idx1-ubyte.gz"
# What a missing part is called in a sentence, and the package of Debian that brings it.
PACKAGES = {
    "Chromium": "chromium-headless-shell",
    "bubblewrap": "bubblewrap",
    "iproute2": "iproute2",
    "Fashion-MNIST": "dataset-fashion-mnist",
}
SWITCH = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def has_dataset() -> bool:
    """Whether Fashion-MNIST lies where `utils.data` looks for it."""
    if os.environ.get("FASHION_MNIST"):
        return True  # no other copy is used, and `tools.dataset` says what that folder lacks
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for folder in (Path("/usr/share/datasets/fashion-mnist"), cache / "fashion-mnist"):
        with suppress(OSError):  # a folder that cannot be searched
            if (folder / DATASET_FILE).is_file():
                return True
    return False


def has_playwrights_chromium() -> bool:
    """Whether Playwright's own installer has brought a Chromium before."""
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "~/.cache/ms-playwright"
    return any(Path(folder).expanduser().glob("chromium-*"))


def lacking() -> list[str]:
    """The parts that are not on this machine."""
    is_there = {
        "Chromium": any(map(shutil.which, BROWSERS)) or has_playwrights_chromium(),
        "bubblewrap": shutil.which("bwrap"),
        "iproute2": shutil.which("ip"),
        "Fashion-MNIST": has_dataset(),
    }
    return [part for part in PACKAGES if not is_there[part]]


def install(parts: list[str]) -> None:
    """Install the packages of the parts with apt, as far as it is there and allowed and knows them."""
    if not shutil.which("apt-get"):
        return
    words = ["apt-get"]
    if os.geteuid() != 0:
        if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode:
            return
        words = ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    print(f"Installing {' and '.join(parts)} with apt, once", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    nothing = subprocess.DEVNULL
    steps = [["update"]]
    for part in parts:
        steps.append(["install", "-y", "--no-install-recommends", PACKAGES[part]])
    for step in steps:
        subprocess.run([*words, "-qq", *step], env=environment, stdin=nothing, stdout=nothing, stderr=nothing)


def is_reachable(address: str) -> bool:
    """Whether a host on the web answers at all."""
    try:
        with urlopen(Request(address, method="HEAD"), timeout=5):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def unobtainable(parts: list[str]) -> list[str]:
    """The parts that nothing later in `make test` can fetch either."""
    fetched_from = {"Chromium": BROWSER_HOST, "Fashion-MNIST": DATASET_HOST}
    return [part for part in parts if part not in fetched_from or not is_reachable(fetched_from[part])]


def check_sandbox() -> None:
    """Stop with one sentence where the kernel does not let bubblewrap make namespaces."""
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    attempt = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if attempt.returncode:
        remedy = "run this on a machine, or in a container, that lets it"
        if SWITCH.exists() and SWITCH.read_text().strip() == "1":
            remedy = f"type `sudo sysctl -w kernel.{SWITCH.name}=0`, then `make test` again"
        sys.exit(f"bubblewrap may not make namespaces here ({attempt.stdout.strip()}): {remedy}.")


def main() -> None:
    missing = lacking()
    if missing:
        install(missing)
        missing = unobtainable(lacking())
    if missing:
        *others, last = missing
        names = f"{', '.join(others)} and {last}" if others else last
        remedies = [f"type `sudo apt-get install {' '.join(PACKAGES[part] for part in missing)}`"]
        if not shutil.which("apt-get"):
            remedies = []
            if missing != ["Fashion-MNIST"]:
                remedies.append("install the programs with this system's package manager")
            if "Fashion-MNIST" in missing:
                remedies.append("set FASHION_MNIST to a folder that holds the four .gz files")
        sys.exit(
            f"`make test` needs {names}, and cannot bring that here: {' and '.join(remedies)}, then `make test` again."
        )
    check_sandbox()


if __name__ == "__main__":
    main()
