"""Files and manifests: complete or not there, and never taken on trust."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact, load, publish, record_of, staged, write
from lc2fer.errors import ArtifactError, Lc2ferError
from lc2fer.inputs import InputSpec
from lc2fer.recipe import Calibration, Recipe

BYTES = b"weights" * 100


def make(folder: Path, stem: str = "C6-onnx-int8", content: bytes = BYTES) -> Artifact:
    """Publish a made-up artifact there."""
    with staged(folder) as staging:
        path = staging / f"{stem}.onnx"
        path.write_bytes(content)
        return publish(
            Artifact(
                path=path,
                kind="onnx",
                target="onnx-int8",
                variant="C6",
                input_spec=InputSpec(size=48),
                files=(record_of(path),),
                recipe=Recipe("int8", calibration=Calibration(count=64), smoothing=0.6),
                parent_sha256="ab" * 32,
                calibration={"fingerprint": "cd"},
                proof={"top1_agreement": 0.99},
                tools={"onnx": "1"},
            ),
            folder,
        )


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    return make(tmp_path)


def test_published_artifact_is_read_back_equal(made: Artifact, tmp_path: Path) -> None:
    assert load(made.path) == made
    assert load(made.manifest_path) == made
    assert made.path == tmp_path / "C6-onnx-int8.onnx"
    assert made.name == "C6-onnx-int8"
    assert made.size_bytes == 700
    assert made.sha256 == made.files[0].sha256 == hashlib.sha256(BYTES).hexdigest()
    assert sorted(os.listdir(tmp_path)) == ["C6-onnx-int8.json", "C6-onnx-int8.onnx"]


def test_several_files_have_one_hash_that_any_of_them_changes(tmp_path: Path) -> None:
    for name, content in (("a.xml", b"a"), ("a.bin", b"b")):
        (tmp_path / name).write_bytes(content)
    records = tuple(record_of(tmp_path / name) for name in ("a.xml", "a.bin"))
    both = Artifact(tmp_path / "a.xml", "openvino", "openvino-fp16", "C6", InputSpec(), files=records)
    other = dataclasses.replace(both, files=(records[0], dataclasses.replace(records[1], sha256="0" * 64)))
    assert both.size_bytes == 2
    assert len({both.sha256, other.sha256, records[0].sha256}) == 3


def corrupted(change: Callable[[bytearray], Any]) -> Callable[[Artifact], None]:
    def corrupt(made: Artifact) -> None:
        content = bytearray(made.path.read_bytes())
        change(content)
        made.path.write_bytes(content)

    return corrupt


@pytest.mark.parametrize(
    ("corrupt", "size"),
    [
        (corrupted(lambda content: content.pop()), 699),
        (corrupted(lambda content: content.append(0)), 701),
        (corrupted(lambda content: content.__setitem__(5, 0)), 700),
    ],
    ids=["truncated", "longer", "changed byte"],
)
def test_a_changed_file_is_refused(made: Artifact, corrupt: Callable[[Artifact], None], size: int) -> None:
    corrupt(made)
    with pytest.raises(ArtifactError) as refused:
        load(made.path)
    assert str(refused.value) == (
        f"{made.path} is not the file that its manifest describes ({size} bytes, expected 700 with sha256 "
        f"{made.sha256[:12]}...). It was truncated or changed. Copy it again, or make the model again."
    )


def test_missing_files_are_named(made: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        load(tmp_path / "C7.onnx")
    assert str(refused.value) == (
        f"{tmp_path / 'C7.onnx'} is missing. Expected a model file or its manifest. Make it with lc2fer-export."
    )
    made.path.rename(tmp_path / "elsewhere.onnx")
    with pytest.raises(ArtifactError) as refused:
        load(made.manifest_path)
    assert str(refused.value) == (
        f"{made.path} is missing. The manifest names it. Copy it too, or make the model again."
    )
    with pytest.raises(ArtifactError) as refused:
        load(tmp_path / "elsewhere.onnx")
    assert str(refused.value) == (
        f"{tmp_path / 'elsewhere.onnx'} has no manifest. Expected elsewhere.json beside it. "
        "Copy both, or export the model again."
    )


def test_a_page_names_a_file_whose_name_is_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    artifacts.write_text(tmp_path / "page.html", f"<td>{name}</td>\n")
    assert (tmp_path / "page.html").read_bytes() == b"<td>caf\\udce9.jpg</td>\n"


@pytest.mark.parametrize("folder", ["", ".", "..", "/", "made"])
def test_a_folder_is_no_model(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "made")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError) as refused:
        load(Path(folder))
    assert str(refused.value) == (
        f"{Path(folder)} is a folder. Expected a model file or its manifest. Name the one in it."
    )


def test_a_manifest_of_another_file_is_refused(made: Artifact, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"other weights")
    (tmp_path / "mine.json").write_bytes(made.manifest_path.read_bytes())
    with pytest.raises(ArtifactError, match=r"mine\.json does not describe mine\.onnx but C6-onnx-int8\.onnx\."):
        load(tmp_path / "mine.onnx")


def rewritten(made: Artifact, **changes: Any) -> None:
    fields = json.loads(made.manifest_path.read_text())
    made.manifest_path.write_text(json.dumps({**fields, **changes}))


RECORD = {"name": "C6-onnx-int8.onnx", "sha256": "0", "size_bytes": 700}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": 2}, "has format 2 and kind 'onnx'. This version reads format 1 and the kinds checkpoint, onnx, "),
        ({"kind": "pickle"}, "has format 1 and kind 'pickle'."),
        ({"files": []}, "is not a manifest of this project (IndexError: tuple index out of range)."),
        ({"files": [{**RECORD, "size_bytes": "700"}]}, "is not a manifest of this project (TypeError: file "),
        ({"files": [{**RECORD, "name": 3}]}, "is not a manifest of this project (TypeError: file 3 "),
        ({"files": [{"name": "a"}]}, "is not a manifest of this project (TypeError: "),
        ({"device": [1]}, "is not a manifest of this project (TypeError: device [1])."),
        ({"training": "much of it"}, "is not a manifest of this project (TypeError: training 'much of it')."),
        ({"self_test": 5}, "is not a manifest of this project (TypeError: self_test 5)."),
        ({"recipe": {"precision": "int4"}}, "The manifest's recipe is damaged ("),
        ({"recipe": {**Recipe("fp32").to_json(), "precision": "int4"}}, "There is no precision 'int4'."),
        ({"input_spec": {}}, "The manifest's input_spec is damaged ('labels')."),
    ],
)
def test_a_foreign_manifest_is_refused(made: Artifact, changes: dict[str, Any], text: str) -> None:
    rewritten(made, **changes)
    with pytest.raises(ArtifactError) as refused:
        load(made.path)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2]", b'"text"', b"{}", b'{"format": 1', b"\xff\xfe", b"[" * 200_000, b"1" * 5_000],
    ids=["empty", "list", "text", "no fields", "truncated", "not utf-8", "deep", "long number"],
)
def test_any_other_json_is_no_manifest(made: Artifact, content: bytes) -> None:
    made.manifest_path.write_bytes(content)
    with pytest.raises(ArtifactError) as refused:
        load(made.path)
    assert str(refused.value).startswith(f"{made.manifest_path} is not a manifest of this project (")
    assert str(refused.value).endswith("Expected what lc2fer-export or lc2fer-train writes. Make the model again.")


def test_a_huge_manifest_is_not_read(made: Artifact) -> None:
    made.manifest_path.write_bytes(b" " * 4_000_001)
    with pytest.raises(ArtifactError, match=r"has 4,000,001 bytes\. A manifest has at most 4,000,000\."):
        load(made.path)


@pytest.mark.parametrize("name", ["../C6.onnx", "/etc/passwd", "sub/C6.onnx"])
def test_a_name_with_a_path_is_refused(made: Artifact, name: str) -> None:
    rewritten(made, files=[{**RECORD, "name": name}])
    with pytest.raises(ArtifactError) as refused:
        load(made.manifest_path)
    assert str(refused.value) == (
        f"The manifest names the file {name!r}. Expected a plain name beside the manifest. Do not use it."
    )


def fail_while_staging(folder: Path, error: BaseException) -> None:
    with staged(folder) as staging:
        (staging / "C6-onnx-int8.onnx").write_bytes(b"half")
        raise error


def test_a_folder_that_is_not_there_yet_is_made_with_those_above_it(tmp_path: Path) -> None:
    assert load(make(tmp_path / "out" / "today").path).name == "C6-onnx-int8"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_staging_leaves_nothing_behind(made: Artifact, tmp_path: Path, error: type[BaseException]) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error):
        fail_while_staging(tmp_path, error())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_told_and_leaves_what_was_there(made: Artifact, tmp_path: Path) -> None:
    with pytest.raises(Lc2ferError) as told:
        fail_while_staging(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert str(told.value) == (
        f"The disk of {tmp_path} is full. Room for the new files was expected; what was there before is untouched. "
        "Free some space and run the command again."
    )
    assert load(made.path) == made


def test_other_errors_of_the_system_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        fail_while_staging(tmp_path, PermissionError(errno.EACCES, "no"))


def test_the_manifest_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        moved.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(artifacts.os, "replace", watched)
    make(tmp_path)
    names = ["C6-onnx-int8.onnx", "C6-onnx-int8.json"]
    assert moved == [names[1], *names, *names]  # the manifest is written, both are put beside their places, and moved


def test_a_document_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "folder" / "report.json"
    write(path, {"a": [1, 2.5, None]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="Out of range float"):
        write(path, {"a": float("nan")})
    monkeypatch.setattr(artifacts.json, "dump", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(path, {"a": 3})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None]}
    assert os.listdir(path.parent) == ["report.json"]


@pytest.mark.parametrize("sign", ["a", "\u00e9", "\U0001f600"])
def test_a_name_as_long_as_a_system_takes_is_written(sign: str, tmp_path: Path) -> None:
    path = tmp_path / (sign * (251 // len(sign.encode())) + ".csv")
    path.write_text("before")
    with artifacts.whole(path) as one, artifacts.whole(path) as other:  # another thread's
        assert one != other
        for temporary in (one, other):
            temporary.write_text("rows")
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(".")
    assert path.read_text() == "rows"
    assert list(tmp_path.iterdir()) == [path]


def test_tool_versions_are_the_installed_ones() -> None:
    import numpy as np

    assert artifacts.tool_versions("numpy")["numpy"] == np.__version__
    assert list(artifacts.tool_versions("numpy")) == ["lc2fer", "numpy"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".making-left"
    left.mkdir()
    (left / "half.onnx").write_bytes(b"half")
    young = tmp_path / ".making-young"
    young.mkdir()
    with staged(tmp_path) as living:
        for folder in (left, living):
            os.utime(folder, (0, 0))
        with staged(tmp_path):
            assert not left.exists()
            assert living.is_dir()
            assert young.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".making-young"]


NAMES = ["C6-onnx-int8.json", "C6-onnx-int8.onnx"]


@pytest.mark.parametrize("moved", [0, 1], ids=["nothing was in its place", "the model was"])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_process_had_ready_is_put_in_its_place(
    made: Artifact, tmp_path: Path, moved: int, name: str
) -> None:
    ready = tmp_path / ".ready-C6-onnx-int8"
    ready.mkdir()
    for each in NAMES[: 2 - moved]:
        (tmp_path / each).rename(ready / each)
    assert load(tmp_path / name) == made
    assert sorted(os.listdir(tmp_path)) == NAMES


def test_the_next_run_publishes_over_what_a_killed_one_had_ready(tmp_path: Path) -> None:
    make(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / ".ready-C6-onnx-int8")
    made = make(tmp_path, content=b"new")
    assert load(made.path) == made
    assert made.path.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == NAMES


def test_two_processes_that_publish_the_same_model_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def seen_by_another(source: Path, target: Path) -> None:
        rename(source, target)
        artifacts._settle(target)  # what another one does that finds the folder there

    monkeypatch.setattr(artifacts.os, "rename", seen_by_another)
    made = make(tmp_path)
    assert load(made.path) == made
    assert sorted(os.listdir(tmp_path)) == NAMES


def test_a_model_can_be_read_by_whoever_can_read_its_manifest(tmp_path: Path) -> None:
    with staged(tmp_path) as staging:
        path = staging / "a.onnx"
        path.write_bytes(b"model")
        path.chmod(0o600)  # as some writers make it
        made = publish(Artifact(path, "onnx", "onnx-fp32", "C6", InputSpec(), files=(record_of(path),)), tmp_path)
    assert made.path.stat().st_mode == made.manifest_path.stat().st_mode


def test_names_that_engines_cannot_open_are_refused_before_work_is_done(tmp_path: Path) -> None:
    odd = tmp_path / "o\udce9"
    for use in (lambda: artifacts.load(odd), lambda: artifacts.staged(odd).__enter__()):
        with pytest.raises(ArtifactError, match=r"o.* is not UTF-8\. A name that every engine can open was expected"):
            use()
