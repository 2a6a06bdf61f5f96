"""Three machines, each a network namespace with an address of its own, joined by a switch: two train, one launches.

Called in a new namespace for users and network, which becomes the first machine, with a folder for what is trained.
Starts a training on the others, takes the second one off the network after an epoch, and lets the training go on when
it is back. Prints what the launcher says each time, and how many processes the lost machine was left with.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils import launch

WORKER = Path(__file__).with_name("worker.py")
# A host is known by its name; nsenter takes the place of ssh.
REACH = """#!/bin/sh
case $1 in {cases} *) echo "$1 is not known" >&2; exit 255;; esac
exec nsenter --net --target $pid sh -c "$2"
"""


def ip(words: str, machine: int = 0) -> None:
    entered = ["nsenter", "--net", f"--target={machine}"] if machine else []
    subprocess.run([*entered, "ip", *words.split()], check=True)


@contextmanager
def machines(names: list[str]) -> Iterator[dict[str, int]]:
    """Machines with these names and the addresses 10.17.0.2, ..; for each a process in it."""
    ip("link set lo up")
    ip("link add switch type bridge")
    ip("addr add 10.17.0.1/24 dev switch")
    ip("link set switch up")
    started = [subprocess.Popen(["unshare", "--net", "sleep", "600"], stdout=subprocess.PIPE) for _ in names]
    try:
        own = Path("/proc/self/ns/net").readlink()
        for number, process in enumerate(started, 2):
            while Path(f"/proc/{process.pid}/ns/net").readlink() == own:
                time.sleep(0.01)
            ip(f"link add port{number} type veth peer name eth0 netns {process.pid}")
            ip(f"link set port{number} master switch up")
            ip(f"addr add 10.17.0.{number}/24 dev eth0", process.pid)
            ip("link set eth0 up", process.pid)
            ip("link set lo up", process.pid)
        yield {name: process.pid for name, process in zip(names, started, strict=True)}
    finally:
        for process in started:
            process.kill()


def processes_on(machine: int) -> int:
    """How many processes a machine has, beside the one that stands for it."""
    network = Path(f"/proc/{machine}/ns/net").readlink()
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += (process / "ns" / "net").readlink() == network
        except OSError:
            continue
    return found - 1


def main(folder: Path) -> None:
    with machines(["ada", "grace"]) as pids:
        reach = folder / "reach"
        reach.write_text(REACH.format(cases=" ".join(f"{name}) pid={pid};;" for name, pid in pids.items())))
        reach.chmod(0o755)
        options = f"--workers 2 --servers 1 --hosts ada grace --address 10.17.0.1 --limit 240 --reach {reach} --"
        words = [sys.executable, __file__, "launch", *options.split(), sys.executable, str(WORKER), str(folder)]
        with subprocess.Popen([*words, "--seconds", "0.4"], stdout=subprocess.PIPE, text=True) as run:
            while not (folder / "checkpoint").exists() and run.poll() is None:
                time.sleep(0.05)
            ip("link set eth0 down", pids["grace"])
            print(run.communicate()[0].splitlines()[-1])
        end = time.monotonic() + 3 * launch.SILENT_SECONDS
        while processes_on(pids["grace"]) and time.monotonic() < end:
            time.sleep(0.1)
        print("left on grace:", processes_on(pids["grace"]), flush=True)
        ip("link set eth0 up", pids["grace"])
        print(subprocess.run(words, capture_output=True, text=True).stdout.splitlines()[-1])


if sys.argv[1] == "launch":
    del sys.argv[1]
    launch.SILENT_SECONDS = launch.ENDING_SECONDS = 3
    launch.main()
else:
    main(Path(sys.argv[1]))
