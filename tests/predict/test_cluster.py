"""lc2fer-predict --engine ray, on a Ray of two workers on this machine."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from lc2fer import cli
from lc2fer.inputs import LABELS
from lc2fer.predicting import cluster as cluster_module

ray = pytest.importorskip("ray", reason="lc2fer[ray] is not installed here")
arrow = pytest.importorskip("pyarrow", reason="lc2fer[ray] is not installed here")
parquet = pytest.importorskip("pyarrow.parquet", reason="lc2fer[ray] is not installed here")

pytestmark = pytest.mark.slow
COUNT = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, small_weights: Path, small_faces: Path) -> Path:
    from lc2fer.export.pipeline import Pipeline

    return (
        Pipeline("C8", tmp_path_factory.mktemp("model"), weights=small_weights, data=small_faces)
        .export("ort-fp32")
        .path
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces as noise, and one file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(random.integers(0, 256, (40, 40), np.uint8)).save(folder / f"{number:03}.png")
    (folder / "017b.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def local(model: Path, pictures: Path) -> list[dict[str, Any]]:
    from contextlib import redirect_stdout

    out = io.StringIO()
    with redirect_stdout(out):
        assert cli.run("predict", ["--model", str(model), "--faces", "crop", "--json", str(pictures)]) == 2
    return [json.loads(line) for line in out.getvalue().splitlines()[:-1]]


def predict(model: Path, out: Path, *given: object, part: int = 15) -> int:
    arguments = ["--engine", "ray", "--model", model, "--faces", "crop", "--workers", 2, "--batch", 4, "--part", part]
    return cli.run("predict", [str(each) for each in (*arguments, "--out", out, *given)])


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]


def check_same(rows: list[dict[str, Any]], local: list[dict[str, Any]]) -> None:
    """The same answers in the same order as on one machine."""
    judged = [row for row in rows if row["error"] is None]
    assert len(judged) == len(local)
    for row, wanted in zip(judged, local):
        assert row["picture"].endswith(wanted["picture"]) or row["picture"] == wanted["picture"]
        assert [row[side] for side in ("left", "top", "width", "height")] == wanted["box"]
        assert row["expression"] == max(wanted["probabilities"], key=wanted["probabilities"].get)
        assert {name: row[name] for name in LABELS} == pytest.approx(wanted["probabilities"], abs=1e-5)


def test_the_same_answers_part_by_part_and_no_part_twice(
    cluster: None,
    model: Path,
    pictures: Path,
    local: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "answers"
    assert predict(model, out, pictures) == 2
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    counts = {"parts": 3, "parts_there": 0, "pictures": COUNT, "faces": COUNT, "without_face": 0, "unreadable": 1}
    assert {name: document[name] for name in counts} == counts
    rows = rows_of(out)
    check_same(rows, local)
    (failed,) = [row for row in rows if row["error"] is not None]
    assert failed["picture"].endswith("017b.jpg")
    assert "cannot be read as a picture: " in failed["error"]
    assert rows.index(failed) == 18
    assert failed["expression"] is None

    kept = (out / "part-000000.parquet").stat().st_mtime_ns
    whole = (out / "part-000001.parquet").read_bytes()
    (out / "part-000001.parquet").unlink()  # as where it was stopped
    assert predict(model, out, pictures) == 2
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: document[name] for name in counts} == {**counts, "parts_there": 2}
    assert (out / "part-000000.parquet").stat().st_mtime_ns == kept
    assert (out / "part-000001.parquet").read_bytes() == whole

    Image.new("L", (40, 40), 90).save(pictures / "000a.png")
    try:
        assert predict(model, out, pictures) == 2
    finally:
        (pictures / "000a.png").unlink()
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"UsageError: {out / 'part-000000.parquet'} has the answers of other pictures. Expected none, or those of the "
        "same run, which then goes on. Name another folder with --out."
    )


def test_a_worker_that_is_killed_costs_no_answer(
    cluster: None, model: Path, pictures: Path, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.02) and not killed:
            for process in psutil.process_iter(["cmdline"]):
                if any("MapBatches(Judge))." in word for word in process.info["cmdline"] or ()):  # at work on a batch
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    break

    thread = threading.Thread(target=kill)
    thread.start()
    listed = [str(pictures)] * 5  # so that there is a middle
    assert predict(model, tmp_path / "answers", *listed, part=1000) == 2
    ended.set()
    thread.join()
    assert len(killed) == 1
    check_same(rows_of(tmp_path / "answers"), local * 5)


def test_tables_of_bytes_of_hugging_face_and_of_paths(
    cluster: None, model: Path, pictures: Path, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    paths = sorted(pictures.glob("*.png"))[:6]
    contents = [path.read_bytes() for path in paths]
    folder = tmp_path / "tables"
    folder.mkdir()
    made: dict[str, Callable[[], Any]] = {
        "a": lambda: arrow.table({"image": contents, "label": range(6)}),
        "b": lambda: arrow.table({"image": [{"bytes": c, "path": p.name} for c, p in zip(contents, paths)]}),
        "c": lambda: arrow.table({"image": [str(path) for path in paths]}),
    }
    for name, table in made.items():
        parquet.write_table(table(), folder / f"{name}.parquet")
    assert predict(model, tmp_path / "answers", folder) == 0
    rows = rows_of(tmp_path / "answers")
    assert len(rows) == 18
    for begin in (0, 6, 12):
        for row, wanted in zip(rows[begin : begin + 6], local):
            assert {name: row[name] for name in LABELS} == pytest.approx(wanted["probabilities"], abs=1e-5)
    assert rows[0]["picture"].startswith("a.parquet#")
    assert [row["picture"] for row in rows[6:12]] == [path.name for path in paths]


def test_an_empty_picture_of_a_table_is_not_looked_for_on_the_disk(
    cluster: None, model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = {"bytes": b"", "path": str(pictures / "000.png")}
    parquet.write_table(arrow.table({"image": [image]}), tmp_path / "a.parquet")
    assert predict(model, tmp_path / "answers", tmp_path / "a.parquet") == 2
    (row,) = rows_of(tmp_path / "answers")
    assert "000.png cannot be read as a picture: it is empty. " in row["error"]


def test_a_folder_without_pictures_and_a_name_that_is_no_utf8_stop_nothing(
    cluster: None, model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    odd.write_bytes((pictures / "000.png").read_bytes())
    (tmp_path / "empty").mkdir()
    assert predict(model, tmp_path / "answers", tmp_path / "empty", odd, pictures / "000.png") == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out.splitlines()[-1])
    assert (document["pictures"], document["unreadable"]) == (1, 2)
    assert [line.split()[1] for line in captured.err.splitlines()[-2:]] == [
        str(tmp_path / "empty"),
        f"{tmp_path}/caf\\udce9.png",
    ]
    assert predict(model, tmp_path / "none", tmp_path / "empty") == 2
    assert capsys.readouterr().err.startswith(f"DataError: {tmp_path / 'empty'} holds no picture. ")


def test_another_finder_of_faces_under_the_same_name_makes_other_answers(tmp_path: Path) -> None:
    artifact: Any = SimpleNamespace(sha256="0" * 64, input_spec=SimpleNamespace(alignment="none"))
    given: Any = SimpleNamespace(faces="largest", face_model=tmp_path / "yunet.onnx")
    found = set()
    for content in (b"one", b"two"):
        given.face_model.write_bytes(content)
        found.add(cluster_module._model(artifact, given))
    given.face_model = given.face_model.rename(tmp_path / "moved.onnx")
    found.add(cluster_module._model(artifact, given))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--engine", "ray"], "--engine ray was given without --out. Expected a folder for the answers. Name one."),
        (["--engine", "ray", "--out", "o", "--json"], "--json was given with --engine ray. Expected the answers as"),
        (
            ["--engine", "ray", "--out", "o", "--threads", "1"],
            "--threads was given with --engine ray. Expected --workers",
        ),
        (["--engine", "ray", "--out", "o", "--part", "0"], "--part is 0. Expected 1 or more. Correct --part."),
        (["--out", "o"], "--out was given without --engine ray. Expected both."),
        (["--column", "image"], "--column was given without --engine ray. Expected both."),
    ],
)
def test_what_does_not_go_together(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run("predict", [*arguments, "x.png"]) == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_not_there_is_named(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**options: Any) -> None:
        raise ConnectionError("Could not find a running Ray instance.\nMore of it.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    assert predict(model, tmp_path / "answers", pictures, "--ray", "10.0.0.1:6379") == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        "TargetUnavailable: Ray cannot be reached at 10.0.0.1:6379: Could not find a running Ray instance. A cluster "
        "that answers was expected. Look at it with ray status, or run without --engine ray."
    )


def test_a_table_without_pictures_is_refused(
    cluster: None, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet.write_table(arrow.table({"name": ["x"], "age": [3]}), tmp_path / "people.parquet")
    assert predict(model, tmp_path / "answers", tmp_path / "people.parquet") == 2
    assert (
        "has the columns name, age. Expected pictures, as bytes or paths, in one of image, bytes, picture, path."
        in (capsys.readouterr().err)
    )
