"""The life of every session: many threads, an end, and forks."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from forks import forked
from lc2fer.export.pipeline import Pipeline

from lc2fer import open_session
from lc2fer.artifact import Artifact
from lc2fer.errors import NO_MEMORY, ArtifactError, UsageError
from lc2fer.opened import refused
from lc2fer.threads import usable_cores

THREADS = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, noise_faces: Path) -> Callable[[str], Artifact]:
    return Pipeline("C8", tmp_path_factory.mktemp("life"), data=noise_faces).export


@pytest.fixture(
    scope="module",
    params=["torch", "onnx-fp32", "openvino-fp32", "native-fp32", "ort-fp32-fused", "openvino-fp32-fused"],
)
def model(request: pytest.FixtureRequest, made: Callable[[str], Artifact]) -> Artifact:
    return made(request.param)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 3, 100, 100)).astype(np.float32)


def test_many_threads_get_the_serial_answers(model: Artifact, images: np.ndarray) -> None:
    with open_session(model, threads=1) as session:
        wanted = [session.run(image[None]) for image in images]

        def work(first: int) -> int:
            places = [(first + step) % len(images) for step in range(2 * len(images))]
            found = [(place, session.run(images[place : place + 1])) for place in places]
            return sum(not np.array_equal(logits, wanted[place]) for place, logits in found)

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(work, range(THREADS))) == 0


def test_a_closed_session_says_so(model: Artifact, images: np.ndarray) -> None:
    with open_session(model, threads=1) as session:
        session.close()
        session.close()  # as files, and `with` closes it a third time
        for use in (session.run, getattr(session, "bind", session.run)):
            with pytest.raises(UsageError) as refused:
                use(images[:1])
            assert str(refused.value) == (
                f"{model.path} was closed. An open session was expected. Open it again with open_session."
            )


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_sessions_that_nobody_closed_end_with_their_last_reference(model: Artifact) -> None:
    counts = []
    for _ in range(8):
        open_session(model, threads=2)
        gc.collect()
        counts.append(len(os.listdir("/proc/self/task")))
    assert counts[-1] <= counts[0] + 1


def test_closing_waits_for_those_that_run(model: Artifact, images: np.ndarray) -> None:
    session = open_session(model, threads=1)
    wanted = session.run(images)
    begun, found = threading.Barrier(THREADS + 1), []

    def work() -> None:
        begun.wait()
        try:
            while True:
                found.append(session.run(images[:8]))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.1)
    session.close()
    for thread in threads:
        thread.join(30)
    errors = [each for each in found if isinstance(each, Exception)]
    assert {str(error).split(". ")[0] for error in errors} == {f"{model.path} was closed"}
    assert len(errors) == THREADS
    assert all(np.allclose(each, wanted[:8], atol=1e-4) for each in found if isinstance(each, np.ndarray))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_session_is_opened_after_a_fork(model: Artifact, images: np.ndarray) -> None:
    with open_session(model, threads=1) as session:
        wanted = session.run(images[:1])
        answer = forked(lambda: np.array_equal(session.run(images[:1]), wanted))
        anew = forked(lambda: np.array_equal(open_session(model, threads=1).run(images[:1]), wanted))
        assert forked(session.close) == "None"
        assert np.array_equal(session.run(images[:1]), wanted), "a fork closed its parent's session"
    if model.kind in ("onnx", "native"):
        assert answer == "True"
    else:
        name = {"checkpoint": "PyTorch", "openvino": "OpenVINO"}[model.kind]
        assert answer.startswith(f"{model.path} was opened in process {os.getpid()}, and this is its fork ")
        assert answer.endswith(
            f". {name} was expected to run where it was opened: its threads do not come along. Open it after the fork."
        )
    assert anew == "True"


def test_memory_that_runs_out_is_not_blamed_on_the_file() -> None:
    for word in NO_MEMORY:
        assert repr(refused("X 1", Path("C8.onnx"), word)) == "MemoryError('X 1 could not open C8.onnx')"
    said = 'Cannot load library "/x/lib_cpu.so": /x/lib_cpu.so: failed to map segment from shared object'
    assert repr(refused("X 1", Path("C8.xml"), said)) == repr(ImportError(said))
    error = refused("X 1", Path("C8.onnx"), "no graph")
    assert isinstance(error, ArtifactError)
    assert str(error) == (
        "X 1 refuses C8.onnx: no graph. A model that it can run was expected. Export it again with this installation."
    )


def test_a_session_is_not_sent_to_another_process(model: Artifact) -> None:
    with open_session(model, threads=1) as session:
        for send in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(UsageError) as refused:
                send(session)
            assert str(refused.value).startswith(f"{model.path} was to be copied, or sent to another process. ")
            assert str(refused.value).endswith("Send the path, and open it there with open_session.")


def test_a_session_answers_with_no_other_model_though_its_files_are_replaced(
    model: Artifact, images: np.ndarray, tmp_path: Path
) -> None:
    """As where a service runs on while its model is exported anew; ONNX Runtime opens it once more for batches."""
    there = tmp_path / "there"
    shutil.copytree(model.path.parent, there)
    path = there / model.path.name
    with open_session(path, threads=min(2, usable_cores())) as session:
        before = session.run(images[:1])
        for file in there.iterdir():
            file.unlink()
            file.write_bytes(b"another one")
        if model.kind == "onnx" and usable_cores() > 1:
            with pytest.raises(ArtifactError) as refused:
                session.run(images)
            text = f"{path} was replaced or removed while it was open. The same file was expected. Open it with "
            assert str(refused.value) == text + "open_session again."
        else:
            assert np.allclose(session.run(images)[:1], before, atol=1e-4)
        assert np.allclose(session.run(images[:1]), before, atol=1e-4)
