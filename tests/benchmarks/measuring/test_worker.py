import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lc2fer.benchmarks.measuring.worker import Worker, WorkerError, revived

from lc2fer.errors import ParityError, TargetUnavailable

PROGRAM = """
import os, subprocess, sys, time
from lc2fer.benchmarks.measuring.worker import serve
from lc2fer.errors import TargetUnavailable

def work(link, job):
    do = job["do"]
    if do == "chatter":
        print('{"event": "lie"}', flush=True)
        os.write(1, b"noise")
        subprocess.run(["echo", "noise of a child"])
        link.send(event="truth", path=sys.path[0])
    if do == "unavailable":
        raise TargetUnavailable("There is none. One was expected. Buy one.")
    if do == "bug":
        raise ValueError("a bug.")
    if do == "exit":
        link.send(event="phase", stage="leaving")
        print("last words", file=sys.stderr, flush=True)
        os._exit(9)
    if do == "abort":
        os.abort()
    if do == "orphan":
        if os.fork() == 0:
            time.sleep(60)
        link.send(event="done")
    if do == "busy":
        link.send(event="busy", pid=os.getpid())
        if job["deaf"]:
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass
    if do == "silent":
        return
    if do == "ack":
        link.send(event="first")
        link.send(event="second", got=link.receive())
    if do == "sleep":
        try:
            link.send(event="asleep")
            time.sleep(60)
        finally:
            open(job["path"], "w").write("cleaned up")

serve(work)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda **job: Worker("program", job, purpose="tests C6 torch", log=tmp_path / "log")


def test_an_engine_that_prints_breaks_nothing(start, tmp_path):
    with start(do="chatter") as worker:
        message = worker.receive()
        assert message["event"] == "truth"
        assert message["path"] != os.getcwd()
        with pytest.raises(WorkerError, match="ended with exit code 0 while starting"):
            worker.receive()
    assert "noise of a child" in (tmp_path / "log").read_text()


def test_the_projects_errors_arrive_as_they_are(start):
    with (
        start(do="unavailable") as worker,
        pytest.raises(TargetUnavailable, match=r"^There is none\. One was"),
    ):
        worker.receive()


def test_other_errors_name_the_process(start):
    with start(do="bug") as worker, pytest.raises(WorkerError) as raised:
        worker.receive()
    assert str(raised.value) == (
        "The process that tests C6 torch, while starting, failed with ValueError: a bug. A result was expected. "
        "Run lc2fer-bench for this row alone to see whether it recurs."
    )


def test_a_death_is_told_with_its_stage_and_last_words(start):
    with start(do="exit") as worker:
        worker.receive()
        with pytest.raises(WorkerError) as raised:
            worker.receive()
    assert str(raised.value) == (
        "The process that tests C6 torch ended with exit code 9 while leaving. A result was expected. "
        "Its last line was: last words"
    )


def test_a_signal_is_named(start):
    with start(do="abort") as worker, pytest.raises(WorkerError, match="was killed by SIGABRT while starting"):
        worker.receive()


def test_lines_go_both_ways(start):
    with start(do="ack") as worker:
        assert worker.receive() == {"event": "first"}
        assert worker.receive(0.05) is None
        worker.send({"go": 1})
        assert worker.receive() == {"event": "second", "got": {"go": 1}}


def test_leaving_ends_the_process_and_lets_it_clean_up(start, tmp_path):
    with start(do="sleep", path=str(tmp_path / "mark")) as worker:
        assert worker.receive() == {"event": "asleep"}
        os.kill(worker.pid, signal.SIGINT)  # Ctrl-C is the parent's to act on
        time.sleep(0.1)
        assert not (tmp_path / "mark").exists()
    assert (tmp_path / "mark").read_text() == "cleaned up"
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_only_the_projects_errors_are_revived():
    assert type(revived("ParityError", "no", "It")) is ParityError
    for name in ("KeyError", "annotations", "Exception"):
        assert type(revived(name, "no", "It")) is WorkerError


def test_what_an_engine_forked_ends_with_it(start):
    with start(do="orphan") as worker:
        assert worker.receive()["event"] == "done"
    assert not worker._reader.is_alive()  # nobody holds the pipe open any more


PARENT = """
import os, sys, time
from pathlib import Path
from lc2fer.benchmarks.measuring.worker import Worker

deaf, held = sys.argv[1] == "deaf", sys.argv[2] == "held"
worker = Worker("program", {"do": "busy", "deaf": deaf})
if held and os.fork() == 0:  # which keeps the pipe to the worker open
    time.sleep(60)
    os._exit(0)
print(worker.receive()["pid"], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word is Linux's")
@pytest.mark.parametrize(("deaf", "held"), [("", ""), ("deaf", ""), ("", "held")])
def test_a_process_ends_with_its_parent_however_that_ends(start, tmp_path, deaf, held):
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), deaf, held],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as parent:
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        ends = time.monotonic() + 20
        while alive(pid):
            assert time.monotonic() < ends, "it measures on, alone"
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)


def alive(pid):
    """Whether the process still runs; one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
