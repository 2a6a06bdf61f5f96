"""The launcher starts everything, ends everything, and says why: with workers that have no use for a store."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from utils import launch

SERVE = launch.SERVE
ROOT = Path(__file__).parents[2]
MARK = "COURSE_TEST_LAUNCH"


@pytest.fixture(autouse=True)
def no_store(monkeypatch):
    """The scheduler and the servers wait and do nothing; the workers are not given long to start."""
    monkeypatch.setattr(launch, "SERVE", "import time; time.sleep(99)")
    monkeypatch.setattr(launch, "ENDING_SECONDS", 0.5)


@pytest.fixture
def run(monkeypatch, capfd):
    """A function that launches shell commands; it returns the status, the lines, and the sentence of the end."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv(MARK, mark)

    def run(script, *options):
        monkeypatch.setattr(sys, "argv", ["launch", *options, "--", "sh", "-c", script])
        with pytest.raises(SystemExit) as end:
            launch.main()
        *lines, last = capfd.readouterr().out.splitlines()
        assert last.startswith("launch | ") and re.fullmatch(r"[A-Z0-9].*\.", last[9:]), last
        return end.value.code, lines, last[9:]

    yield run
    # A process that dies with its parent takes a moment.
    _, left = psutil.wait_procs(marked(mark), timeout=5)
    assert left == [], "a process was left"


def marked(mark):
    """The processes that were started with this mark in their environment, and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_output_comes_behind_the_name_of_its_worker_and_all_ends_when_the_workers_have(run):
    status, lines, sentence = run('echo "$DMLC_ROLE of $DMLC_NUM_WORKER"; printf "no newline"', "--workers", "2")
    assert status == 0 and sentence == "Every worker has ended well."
    assert sorted(lines) == [f"worker {n} | {text}" for n in (0, 1) for text in ("no newline", "worker of 2")]


def test_a_worker_that_fails_ends_the_others_and_its_last_line_is_the_reason(run, tmp_path):
    # Only one of them can make the folder.
    script = f"mkdir {tmp_path}/first || sleep 600; echo ValueError: it broke >&2; exit 3"
    status, _, sentence = run(script, "--workers", "3")
    assert status == 1 and re.fullmatch(r"Worker \d died with status 3: ValueError: it broke\.", sentence)


def test_a_worker_that_is_killed_is_named_with_the_signal(run):
    assert run("kill -KILL $$", "--workers", "1")[::2] == (1, "Worker 0 was killed by SIGKILL.")


def test_a_program_that_is_not_there_is_named(run, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["launch", "--workers", "1", "--", "no-such-program"])
    with pytest.raises(SystemExit):
        launch.main()
    sentence = "Worker 0 died with status 127: no-such-program cannot be run (No such file or directory)."
    assert sentence in capfd.readouterr().out


def test_the_time_limit_ends_workers_with_all_that_they_started(run):
    status, _, sentence = run("sleep 90 & sleep 90", "--limit", "3")
    assert (status, sentence) == (1, "The time limit of 3 seconds is over: a larger --limit gives more.")


def test_a_port_that_is_taken_is_named_before_anything_starts(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, lines, sentence = run("true", "--port", port)
    assert (status, lines) == (1, [])
    assert sentence == f"Port {port} of 127.0.0.1 is taken: name another with --port, or none, for one that is free."


def test_an_address_that_is_not_of_this_machine_is_named(run):
    sentence = run("true", "--address", "192.0.2.1")[2]
    assert sentence.startswith("This machine cannot listen at 192.0.2.1 (")


@pytest.fixture
def reach(tmp_path):
    """A program like ssh, which knows one host and cannot reach others, as it says in a line that a return ends."""
    path = tmp_path / "reach"
    path.write_text('#!/bin/sh\n[ "$1" = ada ] && exec sh -c "$2"\nprintf "$1 is not known\\r\\n" >&2; exit 255\n')
    path.chmod(0o755)
    return ["--reach", str(path), "--address", "127.0.0.1"]


def test_hosts_find_the_launcher_at_its_address_on_the_way_to_the_first_of_them(run, monkeypatch):
    assert launch.address_towards("me@127.0.0.1") == "127.0.0.1"
    monkeypatch.setattr(launch, "address_towards", {"ada": "127.0.0.1"}.get)
    lines = run('echo "$DMLC_PS_ROOT_URI"', "--workers", "1", "--hosts", "ada", "--reach", "sh -c 'eval \"$1\"'")[1]
    assert lines == ["worker 0 | 127.0.0.1"]


def test_a_host_to_which_no_way_is_known_is_named(run):
    sentence = run("true", "--hosts", "grace.invalid")[2]
    assert re.fullmatch(r"No way to the host grace\.invalid was found \(.*\): correct its name, or name .*", sentence)


def test_hosts_are_reached_by_a_command_for_their_shell(run, reach):
    status, lines, _ = run('pwd; echo "$DMLC_NODE_HOST $DMLC_PS_ROOT_URI"', "--hosts", "ada", *reach)
    assert status == 0
    assert sorted(lines) == sorted(
        f"worker {n} | {text}" for n in (0, 1) for text in (Path.cwd(), "127.0.0.1 127.0.0.1")
    )


def test_a_host_that_cannot_be_reached_is_named_and_the_others_do_not_wait_for_it(run, reach):
    status, _, sentence = run("sleep 90", "--servers", "1", "--hosts", "ada", "grace", *reach)
    assert (status, sentence) == (1, "The host grace cannot be reached: grace is not known.")


def test_the_cores_are_shared_among_the_workers_of_a_machine(run, reach, monkeypatch):
    monkeypatch.setattr(launch, "THREADS", 6)
    for hosts, threads in (((), 2), (("ada", "ada"), 3)):
        options = ["--hosts", *hosts, *reach] if hosts else []
        lines = run('echo "$OMP_NUM_THREADS"', "--workers", "3", *options)[1]
        assert {line.partition("| ")[2] for line in lines} == {str(threads)}


def test_a_machine_that_falls_silent_is_named(run, monkeypatch):
    monkeypatch.setattr(launch, "SILENT_SECONDS", 3)
    # The worker stops its own guard, which then neither beats nor hears.
    status, _, sentence = run("kill -STOP $PPID; exec sleep 20", "--workers", "1")
    assert status == 1
    assert sentence == "Nothing was heard of worker 0 for 3 seconds: this machine, or the way to it, is down."


def test_a_guard_that_is_slow_to_say_its_name_is_waited_for_and_a_stranger_is_not(monkeypatch):
    monkeypatch.setattr(launch, "BEAT_SECONDS", 0.2)
    training = launch.Launch("127.0.0.1", 0, 1, 0)
    process = launch.Process("worker 0", "", subprocess.Popen(["true"], stdout=subprocess.PIPE))
    training.processes.append(process)
    address = training.listener.getsockname()
    with socket.create_connection(address) as slow, socket.create_connection(address) as stranger:
        training.listen()
        slow.sendall(training.identity_of(0).encode())
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        training.listen()
        assert process.guard and process.guard.getpeername() == slow.getsockname()
        assert stranger.recv(1) == b""
    training.end(patiently=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_launcher_however_it_ends(number, tmp_path):
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    settings = os.environ | {MARK: mark, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "utils.launch", "--workers", "1", "--servers", "0", "--", "sh", "-c"]
    with subprocess.Popen([*words, "echo started; sleep 90"], env=settings, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "worker 0 | started\n"
        os.kill(run.pid, number)
        assert run.wait(30) != 0
        last = run.stdout.read().strip()
    end = time.monotonic() + 20
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.1)
    assert marked(mark) == []
    if number != signal.SIGKILL:
        assert last == f"launch | It was ended by {number.name}."


# What clusters start by themselves


VARIABLES = {
    "DMLC_ROLE",
    "DMLC_NODE_HOST",
    "DMLC_NUM_SERVER",
    "DMLC_NUM_WORKER",
    "DMLC_PS_ROOT_PORT",
    "DMLC_PS_ROOT_URI",
}


def test_launcher_sets_these_variables(run):
    lines = run("env | grep ^DMLC_ | cut -d= -f1", "--workers", "1")[1]
    assert {line.partition("| ")[2] for line in lines} == VARIABLES


# What stands for a program prints its role, its first argument and which variables it got.
ROLE_AND_VARIABLES = 'echo "$DMLC_ROLE $1 $(env | grep ^DMLC_ | cut -d= -f1 | sort | xargs)"'


def with_programs(folder, programs):
    """The environment in which these shell scripts, written to a folder, are found before all other programs."""
    for name, script in programs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_slurm_script_sets_the_same_variables_and_shares_out_the_roles(tmp_path):
    programs = {
        "srun": 'while [ "$1" != bash ]; do shift; done; for n in 0 1 2 3; do SLURM_PROCID=$n "$@"; done',
        "hostname": "echo 10.0.0.7 192.168.1.1",
        ".venv/bin/python": f"{ROLE_AND_VARIABLES} $DMLC_PS_ROOT_URI",
    }
    settings = with_programs(tmp_path, programs) | {"SLURM_JOB_ID": "123456"}
    words = ["bash", ROOT / "cluster" / "slurm.sh", ".venv/bin/python", "train.py"]
    printed = subprocess.run(words, cwd=tmp_path, env=settings, capture_output=True, text=True, check=True).stdout
    variables = " ".join(sorted(VARIABLES))
    roles = ["scheduler -c", "server -c", "worker train.py", "worker train.py"]
    assert printed.splitlines() == [f"{role} {variables} 10.0.0.7" for role in roles]


def test_kubernetes_manifest_sets_the_same_variables_and_shares_out_the_roles(tmp_path):
    documents = list(yaml.safe_load_all((ROOT / "cluster" / "kubernetes.yaml").read_text()))
    common = next(document["data"] for document in documents if document["kind"] == "ConfigMap")
    jobs = {document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "Job"}
    pods = {name: str(spec["parallelism"]) for name, spec in jobs.items()}
    assert pods == {"scheduler": "1", "server": common["DMLC_NUM_SERVER"], "worker": common["DMLC_NUM_WORKER"]}
    assert common["SERVE"] == SERVE
    programs = {
        "getent": 'mkdir asked 2> /dev/null && exit 2; echo "10.0.0.7       $2.course.svc"',  # not known at first
        "sleep": "exit",
        ".venv/bin/python": f"{ROLE_AND_VARIABLES} $DMLC_PS_ROOT_URI",
    }
    path = with_programs(tmp_path, programs)
    for name, spec in jobs.items():
        (container,) = spec["template"]["spec"]["containers"]
        own = {variable["name"]: variable.get("value", "10.0.0.7") for variable in container["env"]}
        words = [common["SERVE"] if word == "$(SERVE)" else word for word in container["command"]]
        run = subprocess.run(words, cwd=tmp_path, env=path | common | own, capture_output=True, text=True, check=True)
        first = "train.py" if name == "worker" else "-c"
        assert run.stdout == f"{name} {first} {' '.join(sorted(VARIABLES))} 10.0.0.7\n"
        if name != "scheduler":  # which knows its address
            (tmp_path / "asked").rmdir()
