"""Bundles: the same bytes every time, whole or refused, and proof on the golden faces."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lc2fer.benchmarks.measuring import machine
from lc2fer.benchmarks.report import document as reports
from lc2fer.deploy import command
from lc2fer.deploy.device import bundle, golden, wheel
from lc2fer.deploy.device import packing as making

from lc2fer import cli
from lc2fer.errors import ArtifactError
from lc2fer.kernels import build

Members = dict[str, bytes]

MODELS = [
    "C8-onnx-fp16.onnx",
    "C8-onnx-int8.onnx",
    "C8-onnx-int8-fp16.onnx",
    "C8-ort-fp32-fused.onnx",
    "C8-ort-fp16-fused.onnx",
    "C8-ort-int8-fused.onnx",
    "C8-native-int8.lc2",
    "C8-ort-fp32.onnx",
    "C8-ort-int8.onnx",
]
WHEEL = "lc2fer-0.1.0-py3-none-any.whl"
OWN_WHEEL = f"lc2fer-0.1.0-py3-none-manylinux_2_28_{build.machine()}.whl"


def make(out: Path, weights: Path, faces: Path) -> Path:
    path, verdicts = making.make(
        "C8",
        out,
        weights=weights,
        data=str(faces),
        images="aligned",
        calibration_images=40,
        say=lambda text: None,
    )
    assert [verdict.passed for verdict in verdicts] == [True] * len(MODELS)
    return path


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    small_weights: Path,
    small_faces: Path,
    small_exports: Any,
    own_wheels: None,
) -> Path:
    """A bundle of a small C8. Not to be changed."""
    out = tmp_path_factory.mktemp("bundle")
    small_exports.into(out, *(Path(model).stem.removeprefix("C8-") for model in MODELS))
    return make(out, small_weights, small_faces)


@pytest.fixture
def changed(made: Path, tmp_path: Path) -> Callable[[Callable[[Members], object]], Path]:
    """Makes a bundle with other members; `bundle.json` stays the first."""

    def change(how: Callable[[Members], object]) -> Path:
        with tarfile.open(made) as tar:
            members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        how(members)
        path = tmp_path / "changed.bundle"
        with tarfile.open(path, "w") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return change


def edited(members: Members, **fields: object) -> None:
    members[bundle.MANIFEST] = json.dumps({**json.loads(members[bundle.MANIFEST]), **fields}).encode()


def records(members: Members, name: str) -> list[dict[str, object]]:
    """The manifest's records with the first one's name changed."""
    files: list[dict[str, object]] = json.loads(members[bundle.MANIFEST])["files"]
    return [{**files[0], "name": name}, *files[1:]]


def test_a_bundle_holds_what_a_device_needs(made: Path, tmp_path: Path) -> None:
    unpacked = bundle.unpack(made, tmp_path / "there")
    assert [model.file for model in unpacked.models] == MODELS
    assert {record.name for record in unpacked.files} == {
        *(model.file for model in unpacked.models),
        *(Path(model.file).with_suffix(".json").name for model in unpacked.models),
        "golden.images",
        "golden.logits",
        WHEEL,
        OWN_WHEEL,
        "requirements.txt",
        "install.sh",
        "build-engines.sh",
        "max-performance.sh",
        "lc2fer.service",
    }
    images, logits = unpacked.golden
    assert images.shape == (golden.COUNT, 3, 32, 32)
    assert logits.shape == (golden.COUNT, 7)
    assert (images.min(), images.max()) >= (0, 100)
    assert unpacked.artifact(unpacked.models[1]).calibration is not None


def test_the_wheel_has_the_packages_data(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.write(tmp_path)) as archive:
        names = archive.namelist()
    page = {f"lc2fer/deploy/camera/page/{path.name}" for path in (checkout / "deploy" / "camera" / "page").iterdir()}
    assert {*page, "lc2fer/explain/page.css", "lc2fer/benchmarks/gates.toml"} <= set(names)
    assert "lc2fer/deploy/camera/page/index.html" in page
    assert not [name for name in names if "weights" in name or "__pycache__" in name]
    assert len(set(names)) == len(names)


def test_equal_files_give_equal_bytes(made: Path, tmp_path: Path, small_weights: Path, small_faces: Path) -> None:
    before = made.read_bytes()
    assert make(made.parent, small_weights, small_faces).read_bytes() == before
    assert wheel.write(tmp_path).read_bytes() == wheel.write(tmp_path).read_bytes()


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (lambda m: m.update({"golden.logits": m["golden.logits"][:-4]}), r"'golden.logits' is not what bundle.json"),
        (lambda m: m.update({"golden.logits": bytes(len(m["golden.logits"]))}), r"'golden.logits' is not what"),
        (lambda m: m.update({"more": b"x"}), r"'more' is not what bundle.json describes"),
        (lambda m: m.pop("requirements.txt"), r"'requirements.txt' is not what bundle.json describes"),
        (lambda m: m.update({bundle.MANIFEST: b"{"}), r"has a damaged bundle.json \(JSONDecodeError"),
        (lambda m: m.pop(bundle.MANIFEST), r"does not begin with bundle.json"),
        (lambda m: edited(m, format=9), r"is a bundle of format 9. This version reads format 1"),
        (lambda m: edited(m, models=[]), r"lacks models. Expected models and golden faces"),
        (lambda m: edited(m, files=records(m, "../C8.onnx")), r"names the file '../C8.onnx'. Expected plain names"),
        (lambda m: edited(m, files=records(m, "/etc/passwd")), r"names the file '/etc/passwd'"),
        (lambda m: edited(m, files=records(m, "a\nb")), r"names the file 'a\\nb'"),
        (
            lambda m: edited(m, files=[{"name": "x", "sha256": "", "size_bytes": 10**12}]),
            r"claims 1 files of 1,000,000,000,000 bytes. A bundle has at most 64 files of 200,000,000 bytes",
        ),
    ],
)
def test_a_changed_bundle_is_refused(
    changed: Callable[[Callable[[Members], object]], Path],
    how: Callable[[Members], object],
    text: str,
    tmp_path: Path,
) -> None:
    path = changed(how)
    with pytest.raises(ArtifactError, match=text):
        bundle.unpack(path, tmp_path / "there")
    assert [found.name for found in tmp_path.iterdir()] == ["changed.bundle"]


def test_links_and_devices_are_refused(made: Path, tmp_path: Path) -> None:
    with tarfile.open(made) as tar:
        text = tar.extractfile(bundle.MANIFEST).read()  # type: ignore[union-attr]
    path = tmp_path / "link.bundle"
    with tarfile.open(path, "w") as tar:
        first = tarfile.TarInfo(bundle.MANIFEST)
        first.size = len(text)
        tar.addfile(first, io.BytesIO(text))
        link = tarfile.TarInfo("golden.logits")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ArtifactError, match=r"'golden.logits' is not what bundle.json describes"):
        bundle.unpack(path, tmp_path / "there")


def test_a_truncated_bundle_is_refused(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.bundle"
    path.write_bytes(made.read_bytes()[:100_000])
    with pytest.raises(ArtifactError, match=r"short.bundle cannot be read as a bundle \(unexpected end of data\)"):
        bundle.unpack(path, tmp_path / "there")
    with pytest.raises(ArtifactError, match=r"none.bundle is missing. Expected a bundle"):
        bundle.unpack(tmp_path / "none.bundle", tmp_path / "there")


def test_unpacking_replaces_a_bundle_and_nothing_else(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    bundle.unpack(made, folder)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("three years of work")
    with pytest.raises(ArtifactError, match=r"mine is there and holds no bundle\. A new folder, an empty one, or one"):
        bundle.unpack(made, other)
    assert (other / "thesis.txt").read_text() == "three years of work"
    (folder / "golden.logits").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"'golden.logits' is not what bundle.json describes"):
        bundle.load(folder)
    assert bundle.unpack(made, folder).golden[1].shape == (golden.COUNT, 7)


@pytest.mark.parametrize("to", [".", "new", "empty", "a/b/../c"])
def test_a_bundle_is_unpacked_where_a_user_stands(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (tmp_path / "here" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "empty" if to == "." else tmp_path / "here")
    there = os.stat(".").st_ino
    assert cli.run("deploy", ["unpack", str(made), "--to", to]) == 0
    assert os.stat(".").st_ino == os.stat(os.getcwd()).st_ino == there  # a shell that stands there still does
    assert Path(os.path.abspath(to), "bundle.json").is_file()
    assert bundle.load(Path(os.path.abspath(to))).variant == "C8"
    assert [name for name in os.listdir("..") if name.startswith(".making")] == []


@pytest.mark.parametrize("to", [".", "..", "/", "file"])
def test_a_folder_with_other_things_is_not_unpacked_to(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("file").write_text("mine")
    assert cli.run("deploy", ["unpack", str(made), "--to", to]) == 2
    assert capsys.readouterr().err == (
        f"ArtifactError: {os.path.abspath(to)} is there and holds no bundle. A new folder, an empty one, or one that a "
        "bundle was unpacked to was expected. Choose another with --to.\n"
    )
    assert Path("file").read_text() == "mine"


def test_a_bundle_in_a_folder_that_cannot_be_written_is_verified(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(bundle.artifacts, "staged", refused)
    assert cli.run("deploy", ["verify", str(made)]) == 0


def test_unpacking_the_same_bundle_again_keeps_what_was_built(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    bundle.unpack(made, folder)
    (folder / "C8-trt-fp16.engine").write_bytes(b"built")
    bundle.unpack(made, folder)
    assert (folder / "C8-trt-fp16.engine").read_bytes() == b"built"


def test_verify_passes(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["verify", str(made)]) == 0
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 2 + len(MODELS)
    document = json.loads(out)
    assert [model["passed"] for model in document["models"]] == [True] * len(MODELS)
    assert document["variant"] == "C8"


def test_what_a_device_cannot_run_is_told_and_the_rest_is_verified(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    build.library.cache_clear()
    assert cli.run("deploy", ["verify", str(made)]) == 0
    found = capsys.readouterr()
    assert found.err.count(" was not judged. The fused operations cannot run here: there is no no-such-compiler.") == 3
    assert len(json.loads(found.out.splitlines()[-1])["models"]) == len(MODELS) - 4
    build.library.cache_clear()


def test_bench_measures_its_models(
    made: Path, small_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.unpack(made, tmp_path / "C8")
    out = tmp_path / "out"
    quick = ["--launches", "1", "--seconds", "0", "--threads", "1", "--limit", "14", "--data", str(small_faces)]
    assert cli.run("deploy", ["bench", str(tmp_path / "C8"), "--out", str(out), *quick]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [f"C8-{row['target']}" for row in document["rows"]] == [Path(model).stem for model in MODELS]
    report = reports.read(out / "report.json")
    assert report.to_json()["machine"]["identity"] == machine.detect().identity
    assert [len(row.outputs.predictions) for row in report.rows] == [14] * len(MODELS)
    assert (out / "report.html").is_file()


def test_bench_takes_a_bundle_an_engine_built_from_it_or_a_model(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(command, "measure", lambda models, options: asked.append((models, options)) or {})
    packed = tmp_path / "C8.bundle"
    shutil.copy(made, packed)
    folder = bundle.unpack(packed, tmp_path / "C8").folder
    for name in ("C8-trt-int8.engine", "C8-trt-int8.json", "half.engine"):
        (folder / name).write_bytes(b"x")
    command.main(["bench", str(packed), "other.onnx", "--threads", "1", "--out", "there"])
    ((models, options),) = asked
    assert [path.name for path in models] == [
        *MODELS,
        "C8-trt-int8.engine",
        "other.onnx",
    ]
    assert options == ["--out", "there", "--threads", "1"]


def test_bench_without_its_packages(python: Callable[..., Any]) -> None:
    program = "import sys; from lc2fer import cli; sys.exit(cli.run('deploy', sys.argv[1:]))"
    done = python(program, "bench", "C8.onnx", block=["scipy"])
    assert (done.returncode, done.stderr) == (
        3,
        "TargetUnavailable: The packages that measuring needs are not all installed (scipy missing). scipy and psutil "
        "were expected. Run: pip install 'lc2fer[bench]'.\n",
    )


def test_verify_names_the_first_difference(
    changed: Callable[[Callable[[Members], object]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def turn(members: Members) -> None:
        logits = np.frombuffer(members["golden.logits"], "<f4").reshape(-1, 7)
        members["golden.logits"] = np.roll(logits, 1, axis=1).tobytes()
        files = json.loads(members[bundle.MANIFEST])["files"]
        for record in files:
            if record["name"] == "golden.logits":
                record["sha256"] = hashlib.sha256(members["golden.logits"]).hexdigest()
        edited(members, files=files)

    assert cli.run("deploy", ["verify", str(changed(turn))]) == 1
    said = capsys.readouterr().err
    assert "C8-onnx-fp16.onnx differs from the trained network here: golden face " in said
    assert "Do not use it on this device." in said


def test_not_finite_logits_fail() -> None:
    reference = np.eye(7, dtype=np.float32)
    verdict = golden.judge("m", reference, np.full_like(reference, np.nan), 24.0)
    assert not verdict.passed
    assert not verdict.finite
    assert golden.judge("m", reference, reference, 24.0).sqnr_db == 200.0


def test_verify_refuses_a_model_of_other_weights(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((made.parent / "C8-onnx-int8.json").read_text())
    (tmp_path / "C8-onnx-int8.onnx").write_bytes((made.parent / "C8-onnx-int8.onnx").read_bytes())
    (tmp_path / "C8-onnx-int8.json").write_text(json.dumps({**document, "parent_sha256": "0" * 64}))
    assert cli.run("deploy", ["verify", str(made), "--model", str(tmp_path / "C8-onnx-int8.onnx")]) == 2
    assert "C8-onnx-int8.onnx was not made from this bundle's weights" in capsys.readouterr().err


def test_the_bundled_wheel_verifies_without_torch(made: Path, tmp_path: Path) -> None:
    """As on a device: the wheel of the bundle, ONNX Runtime and numpy, and nothing that trains or exports."""
    unpacked = bundle.unpack(made, tmp_path / "there")
    packed = unpacked.folder / OWN_WHEEL
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(packed)], check=True)
    program = f"""
import sys
sys.path.insert(0, {str(site)!r})
for name in ("torch", "onnx", "nncf", "openvino"):
    sys.modules[name] = None
import lc2fer
assert lc2fer.__file__.startswith({str(site)!r}), lc2fer.__file__
from lc2fer import cli
sys.exit(cli.run("deploy", ["verify", {str(unpacked.folder)!r}]))
"""
    environment = {**os.environ, "CXX": "no-such-compiler", "LC2FER_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "C8-ort-int8-fused.onnx" in done.stderr
    assert "was not judged" not in done.stderr
