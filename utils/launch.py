"""Start the processes of a training on one machine or many, and end all of them together (chapter 17).

    python -m utils.launch --workers 2 --servers 1 -- python train.py
    python -m utils.launch --workers 4 --servers 2 --hosts ada grace --address 10.0.0.1 -- python train.py

The scheduler runs here. Workers and servers run here too or, in turn, on the hosts, which ssh has to reach without a
password, and where the course, Python and the program have the paths that they have here. Each process gets the
variables of MXNet's parameter server, and its output is printed here behind its name. The last line says in one
sentence why all ended; the status is 0 only if every worker's was.

Each process has a guard beside it, which talks to the launcher over the network once a second: it ends its process,
with all that this one started, when the launcher says so, and also when the launcher has gone or can no longer be
heard. A guard that can no longer be heard is how the launcher learns that a machine was lost.
The numbers in the names are the launcher's; the store gives the workers ranks of its own, in the order in which they
come.
"""

import argparse
import ctypes
import errno
import os
import secrets
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from utils import THREADS

ROOT = Path(__file__).parents[1]
BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.1  # how often a guard looks whether its process still runs
SILENT_SECONDS = 10.0  # a machine that was not heard for so long is lost
STARTING_SECONDS = 120.0
ENDING_SECONDS = 10.0
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG in the kernel's prctl.h
SERVE = "from utils.compatibility import make_mxnet_importable; make_mxnet_importable(); import mxnet"


class LaunchError(Exception):
    """Why the processes ended before the workers were done, in one sentence."""


@dataclass
class Process:
    """A process of the training, as the launcher sees it."""

    name: str  # such as "worker 1"
    host: str  # empty for this machine
    popen: subprocess.Popen
    # The launcher's own beats since its guard was last heard: a machine that was suspended has missed none.
    missed: int = 0
    guard: socket.socket | None = None
    guard_left: bool = False
    status: int | None = None  # how it ended, as `subprocess` says it, once its guard has told
    silent_since: float | None = None  # when its output ended, by the monotonic clock
    unread: dict[object, bytes] = field(default_factory=dict)  # the unfinished line of the pipe, and of the guard
    last_line: str = ""

    def is_over(self) -> bool:
        """Whether it has ended, and all that is to be heard of it has been."""
        if self.silent_since is None:
            return False
        # A guard that was quick may still wait to be welcomed.
        return self.guard_left if self.guard else time.monotonic() > self.silent_since + BEAT_SECONDS

    def where(self) -> str:
        return f"{self.name} on {self.host}" if self.host else self.name


class Launch:
    """The processes of one training, from their start to their end."""

    def __init__(self, address: str, port: int, num_workers: int, num_servers: int) -> None:
        """Raises `LaunchError` if the port is taken or the address is not this machine's."""
        self.listener = listening(address, 0)
        with listening(address, port) as scheduler:
            port = scheduler.getsockname()[1]
        self.token = secrets.token_hex(8)
        self.variables = {
            "DMLC_PS_ROOT_URI": address,
            "DMLC_PS_ROOT_PORT": str(port),
            "DMLC_NUM_WORKER": str(num_workers),
            "DMLC_NUM_SERVER": str(num_servers),
        }
        self.processes: list[Process] = []
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)

    def start(
        self, role: str, name: str, command: Sequence[str], threads: int, host: str, reach: Sequence[str]
    ) -> None:
        """Start a process behind a guard, on this machine or with the words `reach` on a host."""
        address, port = self.listener.getsockname()[:2]
        identity = self.identity_of(len(self.processes))
        words = [sys.executable, "-m", "utils.launch", "guard", address, str(port), identity, str(threads), *command]
        variables = self.variables | {"DMLC_ROLE": role, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        environment = None
        if host:
            settings = [f"{variable}={value}" for variable, value in variables.items()]
            words = [
                *reach,
                host,
                f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(['env', *settings, *words])}",
            ]
        else:
            environment = os.environ | variables
        popen = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the launcher, which ends the others
        )
        process = Process(name, host, popen)
        self.processes.append(process)
        assert popen.stdout
        self.selector.register(popen.stdout, selectors.EVENT_READ, process)

    def wait(self, limit: float) -> None:
        """Wait until all workers are done. Raises `LaunchError` if a process fails first or the time is over."""
        end = time.monotonic() + limit
        while not all(process.is_over() for process in self.processes if process.name.startswith("worker")):
            if time.monotonic() > end:
                raise LaunchError(f"The time limit of {limit:g} seconds is over: a larger --limit gives more.")
            self.listen()
            for process in self.processes:
                check(process)

    def listen(self) -> None:
        """Beat once, then take what comes until the next beat is due."""
        for process in self.processes:
            process.missed += 1
            if process.guard:
                with suppress(OSError):
                    process.guard.send(b".\n")
        next_beat = time.monotonic() + BEAT_SECONDS
        num_over = self.num_over()
        while (left := next_beat - time.monotonic()) > 0 and self.num_over() == num_over:
            for key, _ in self.selector.select(left):
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.selector.register(connection, selectors.EVENT_READ)
                elif not isinstance(key.fileobj, socket.socket):
                    self.forward(key.fileobj, key.data)
                elif key.data:
                    self.hear(key.fileobj, key.data)
                else:
                    self.welcome(key.fileobj)

    def num_over(self) -> int:
        return sum(process.is_over() for process in self.processes)

    def identity_of(self, number: int) -> str:
        """By what the guard of the process with this number is known: as many characters for each."""
        return f"{number:06} {self.token}"

    def welcome(self, connection: socket.socket) -> None:
        """Learn from a new connection's first words whose guard it is; close it if it is nobody's."""
        self.selector.unregister(connection)
        with suppress(OSError, ValueError, IndexError):
            number, token = connection.recv(len(self.identity_of(0))).decode().split()
            if secrets.compare_digest(token, self.token):
                connection.setblocking(False)
                process = self.processes[int(number)]
                process.guard, process.missed = connection, 0
                self.selector.register(connection, selectors.EVENT_READ, process)
                return
        connection.close()

    def hear(self, guard: socket.socket, process: Process) -> None:
        """Take what a guard says: that all is well, or how its process ended."""
        content = b""
        with suppress(OSError):
            content = guard.recv(4096)
        if not content:
            self.selector.unregister(guard)
            process.guard_left = True
            return
        process.missed = 0
        for line in complete_lines(process, guard, content):
            if line.startswith("ended"):
                process.status = int(line.split()[1])

    def forward(self, pipe: object, process: Process) -> None:
        """Print what a process printed, each line behind its name."""
        assert process.popen.stdout
        content = os.read(process.popen.stdout.fileno(), 65536)
        if not content:
            self.selector.unregister(process.popen.stdout)
            process.silent_since = time.monotonic()
            content = b"\n" if process.unread.get(pipe) else b""
        for line in complete_lines(process, pipe, content):
            # Of a progress bar, what it came to; ssh ends its lines with a return, too.
            shown = line.rstrip().rsplit("\r")[-1]
            process.last_line = shown.strip() or process.last_line
            print(f"{process.name} | {shown}", flush=True)

    def end(self, patiently: bool) -> None:
        """End every process: at once, or after the seconds that servers need to notice that the workers are done."""
        end = time.monotonic() + ENDING_SECONDS
        while patiently and time.monotonic() < end and not all(process.is_over() for process in self.processes):
            self.listen()
        for process in self.processes:
            if process.guard:
                process.guard.close()  # which tells the guard to end its process
            else:
                process.popen.terminate()
        self.listener.close()
        end = time.monotonic() + ENDING_SECONDS
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0, end - time.monotonic()))
            process.popen.kill()
            process.popen.wait()
            assert process.popen.stdout
            process.popen.stdout.close()


def listening(address: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `LaunchError` if it cannot."""
    try:
        return socket.create_server((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {port} of {address} is taken: name another with --port, or none, for one that is free."
        else:
            problem = f"This machine cannot listen at {address} ({error.strerror}): name an address of its own."
        raise LaunchError(problem) from None


def complete_lines(process: Process, source: object, content: bytes) -> list[str]:
    """The lines that are complete with `content`; the rest is kept for the next call."""
    *lines, process.unread[source] = (process.unread.get(source, b"") + content).split(b"\n")
    return [line.decode(errors="replace") for line in lines]


def check(process: Process) -> None:
    """Raise `LaunchError` if a process failed, never started, or is on a machine that cannot be heard."""
    silent = process.missed * BEAT_SECONDS
    machine = process.host or "this machine"
    if process.is_over() and process.status != 0:
        last = f": {process.last_line.rstrip('.')}." if process.last_line else "."
        if process.guard is None and process.host:
            raise LaunchError(f"The host {process.host} cannot be reached{last}")
        raise LaunchError(f"{process.where().capitalize()} {manner(process.status)}{last}")
    if not process.is_over() and process.guard is None and silent > STARTING_SECONDS:
        raise LaunchError(f"{process.where().capitalize()} has not started within {STARTING_SECONDS:g} seconds.")
    if not process.is_over() and process.guard and silent > SILENT_SECONDS:
        raise LaunchError(
            f"Nothing was heard of {process.name} for {SILENT_SECONDS:g} seconds: {machine}, or the way to it, is down."
        )


def manner(status: int | None) -> str:
    """How a process with this status ended, as the end of a sentence."""
    if status is None:
        return "was lost"
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"died with status {status}"


def guard(address: str, port: int, identity: str, threads: str, command: Sequence[str]) -> int:
    """Run a command until it ends, or the launcher does, or cannot be heard; return its status."""
    with ended_by_signals():
        try:
            launcher = socket.create_connection((address, port), timeout=SILENT_SECONDS)
        except OSError as error:
            sys.exit(f"It cannot reach the launcher at {address}, port {port} ({error.strerror or error}).")
        launcher.sendall(identity.encode())
        # The address at which this machine meets the launcher is the one at which the other machines find it.
        environment = os.environ | {"DMLC_NODE_HOST": launcher.getsockname()[0], "OMP_NUM_THREADS": threads}
        try:
            process = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=die_with_parent)
        except OSError as error:
            launcher.sendall(b"ended 127\n")
            sys.exit(f"{command[0]} cannot be run ({error.strerror}).")
        try:
            status = watch(process, launcher)
            with suppress(OSError):
                launcher.sendall(f"ended {status}\n".encode())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return 1 if status else 0


def watch(process: subprocess.Popen, launcher: socket.socket) -> int:
    """Wait for the process to end; return its status. Ends this program if the launcher goes, or falls silent."""
    launcher.settimeout(LOOK_SECONDS)
    silent_looks, last_beat = 0, time.monotonic()
    while (status := process.poll()) is None:
        if time.monotonic() - last_beat > BEAT_SECONDS:
            last_beat = time.monotonic()
            with suppress(TimeoutError):
                launcher.sendall(b".\n")
        try:
            content = launcher.recv(4096)
        except TimeoutError:
            silent_looks += 1
            if silent_looks * LOOK_SECONDS > SILENT_SECONDS:
                sys.exit(f"Nothing was heard of the launcher for {SILENT_SECONDS:g} seconds.")
            continue
        if not content:
            sys.exit(1)
        silent_looks = 0
    return status


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it dies."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let the signals that end a program do so by `SystemExit`, after which everything is cleared away."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(f"It was ended by {signal.Signals(number).name}.")

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def launch(options: argparse.Namespace) -> None:
    """Start everything and wait for the workers. Raises `LaunchError` if that fails; leaves no process."""
    places = options.hosts or [""]
    address = options.address or (address_towards(options.hosts[0]) if options.hosts else "127.0.0.1")
    training = Launch(address, options.port, options.workers, options.servers)
    is_done = False
    reach = shlex.split(options.reach)
    threads = max(1, THREADS // -(-options.workers // len(places)))
    serve = [sys.executable, "-c", SERVE]
    try:
        training.start("scheduler", "scheduler", serve, 1, "", reach)
        for number in range(options.servers):
            training.start("server", f"server {number}", serve, 1, places[number % len(places)], reach)
        for number in range(options.workers):
            training.start("worker", f"worker {number}", options.command, threads, places[number % len(places)], reach)
        training.wait(options.limit)
        is_done = True
    finally:
        training.end(patiently=is_done)


def address_towards(host: str) -> str:
    """This machine's address on the way to a host, which may find it there. Raises `LaunchError` if there is no way."""
    name = host.rpartition("@")[2]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((name, 1))  # which sends nothing
            return way.getsockname()[0]
    except OSError as error:
        problem = f"No way to the host {name} was found ({error.strerror}): correct its name, or name this machine's "
        raise LaunchError(problem + "address with --address.") from None


def main() -> None:
    if sys.argv[1:2] == ["guard"]:
        address, port, identity, threads, *command = sys.argv[2:]
        sys.exit(guard(address, int(port), identity, threads, command))
    parser = argparse.ArgumentParser(
        prog="python -m utils.launch", description="Start workers and servers of a training, and end them together."
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that train; 2")
    parser.add_argument("--servers", type=int, default=1, help="processes that hold the parameters; 1")
    parser.add_argument("--hosts", nargs="+", help="machines to share these among; this one alone")
    parser.add_argument("--address", help="this machine's, at which the hosts find it; the one towards the first host")
    parser.add_argument("--port", type=int, default=0, help="of the scheduler; one that is free")
    parser.add_argument("--limit", type=float, default=3600, help="seconds after which all is ended; 3600")
    parser.add_argument(
        "--reach",
        default="ssh -o BatchMode=yes -o ConnectTimeout=20",
        help="words before a host and a command for its shell; %(default)s",
    )
    parser.add_argument("command", nargs="+", help="what a worker runs, after --")
    options = parser.parse_args()
    try:
        with ended_by_signals():
            launch(options)
        sentence, status = "Every worker has ended well.", 0
    except LaunchError as error:
        sentence, status = str(error), 1
    except SystemExit as error:
        sentence, status = str(error.code), 1
    print(f"launch | {sentence}", flush=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
